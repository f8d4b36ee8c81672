"""The notebook of the tutorials runs from top to bottom, and still prints and draws what it shows."""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra 'dev'")
pytest.importorskip("nbclient", reason="needs the extra 'dev'")
pytest.importorskip("ipykernel", reason="needs the extra 'dev'")

from benchmarks.notebook import cleaned, differences, pictures, run_notebook, texts  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/tutorials/notebook.ipynb"


@pytest.fixture(scope="module")
def stored() -> Any:
    return nbformat.read(PAGE, as_version=4)


@pytest.mark.slow
def test_the_notebook_prints_and_draws_what_it_shows() -> None:
    assert run_notebook(PAGE, {**os.environ, "PYTHONPATH": str(ROOT)}, check=True) == []


def test_the_stored_outputs_are_those_of_one_run_without_traces_of_the_machine(stored: Any) -> None:
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(pictures(cell) for cell in code) >= 6
    assert cleaned(stored) == stored
    assert len(PAGE.read_bytes()) < 500_000


def test_a_picture_or_a_word_that_is_gone_is_found(stored: Any) -> None:
    executed = deepcopy(stored)
    assert differences(stored, executed) == []
    cells = {cell.id: cell for cell in executed.cells}
    cells["residuals"].outputs = []
    cells["lds"].outputs[0].text = texts(cells["lds"]).replace("vanilla", "plain")
    assert differences(stored, executed) == [
        "cell residuals: 1 pictures, 0 drawn",
        "cell lds: vanilla not printed",
    ]


def test_other_numbers_are_no_difference(stored: Any) -> None:
    executed = deepcopy(stored)
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = output.text.replace("1", "2")
    assert differences(stored, executed) == []


def test_stderr_and_times_are_left_out() -> None:
    v4 = nbformat.v4
    streams = [
        v4.new_output("stream", name=name, text=text) for name, text in [("stdout", "a\n"), ("stderr", "/home\n")]
    ]
    cell = v4.new_code_cell("1", outputs=[*streams, v4.new_output("stream", name="stdout", text="b\n")])
    cell.metadata["execution"] = {"iopub.execute_input": "2026-01-01"}
    kernel = {"name": "python3", "display_name": "Python 3"}
    notebook = v4.new_notebook(
        cells=[cell], metadata={"kernelspec": kernel, "language_info": {"name": "python", "version": "3"}}
    )
    found = cleaned(notebook)
    assert [dict(output) for output in found.cells[0].outputs] == [
        {"output_type": "stream", "name": "stdout", "text": "a\nb\n"}
    ]
    assert found.cells[0].metadata == {}
    assert found.metadata == {"kernelspec": kernel, "language_info": {"name": "python"}}
    assert cell.metadata["execution"]  # the notebook that was given is unchanged
