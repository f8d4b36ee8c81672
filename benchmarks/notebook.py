"""Run a notebook in an empty folder and compare or keep its outputs; ``benchmarks.pages`` is the command.

The notebooks of docs/tutorials keep their outputs, so that the site and a viewer show them without a run. Messages on
stderr are left out: they name paths of the machine.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

WORD = re.compile(r"[A-Za-z_]{2,}")


def execute(notebook: Any, environment: Mapping[str, str]) -> Any:
    """Return a copy of a notebook with the outputs of its cells, which run from top to bottom.

    Args:
        notebook: as read by nbformat.
        environment: variables of the kernel.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises an error.
    """
    done = deepcopy(notebook)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(done, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute(env=dict(environment))
    return cleaned(done)


def cleaned(notebook: Any) -> Any:
    """Return a copy without times, versions and stderr, and with one stream where a cell printed several times."""
    done = deepcopy(notebook)
    done.metadata = nbformat.from_dict(
        {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    )
    for cell in done.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type != "code":
            continue
        kept: list[Any] = []
        for output in cell.outputs:
            if output.output_type != "stream":
                kept.append(output)
            elif output.name == "stdout" and kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
            elif output.name == "stdout":
                kept.append(output)
        cell.outputs = kept
    return done


def texts(cell: Any) -> str:
    """Return the texts that a cell shows, without those that stand for a picture."""
    shown = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
    return "\n".join(text for text in shown if not text.startswith("<Figure"))


def pictures(cell: Any) -> int:
    """Return the number of pictures that a cell shows."""
    return sum("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def differences(stored: Any, executed: Any) -> list[str]:
    """Return what a notebook shows and its run did not: words of a text, and pictures."""
    found = []
    for old, new in zip(stored.cells, executed.cells, strict=True):
        if lost := set(WORD.findall(texts(old))) - set(WORD.findall(texts(new))):
            found.append(f"cell {old.id}: {', '.join(sorted(lost))} not printed")
        if pictures(old) != pictures(new):
            found.append(f"cell {old.id}: {pictures(old)} pictures, {pictures(new)} drawn")
    return found


def run_notebook(path: Path, environment: Mapping[str, str], check: bool) -> list[str]:
    """Run a notebook; write its outputs into the file, or return the differences if ``check``."""
    stored = nbformat.read(path, as_version=4)
    executed = execute(stored, environment)
    if check:
        return differences(stored, executed)
    nbformat.write(executed, path)
    return []
