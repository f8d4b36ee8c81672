"""Run the commands and the Python blocks of a tutorial, and write their real outputs into the page.

    python -m benchmarks.pages docs/tutorials/first_run.md            # runs it, writes its outputs
    python -m benchmarks.pages docs/tutorials/first_run.md --check    # runs it, compares the words

A page is run from top to bottom in one empty folder:

- a block ``bash`` runs as a shell runs it;
- a block ``python`` with ``title="NAME.py"`` is written to that file;
- any other block ``python`` runs in a Python process, after the blocks above it;
- a block ``text`` below such a block is replaced by what the block printed. ``<!-- the last 12 lines -->`` between
  the two keeps the end of a long output;
- a block below ``<!-- refused -->`` shows an error: it must end with a status other than 0;
- a block below ``<!-- not run: REASON -->`` is left alone.

The cells of a notebook (``.ipynb``) run in the same way, see benchmarks/notebook.py.

Numbers differ between machines. ``--check`` therefore compares the words of the outputs, and fails if the page shows
a word that its command no longer prints. tests/docs/test_tutorials.py does the same with short trainings, in one
process.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(
    r"(?:<!-- (?:(?P<skip>not run: [^>]+)|(?P<refused>refused)) -->\n)?"
    r"^```(?P<language>bash|python)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```\n"
    r"(?:\n(?:<!-- the last (?P<last>\d+) lines -->\n)?```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
# NAME="value": the variable stays set for the blocks below.
ASSIGNMENT = re.compile(r"^[A-Z]+=.*\n", re.MULTILINE)


class Block(NamedTuple):
    """A block of a page that is run; ``output`` is what the page shows below it, None where it shows nothing."""

    language: str
    title: str | None
    code: str
    output: str | None
    last: int | None
    refused: bool
    span: tuple[int, int]  # where the output stands in the page


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page that are run, in order."""
    return [
        Block(
            found["language"],
            found["title"],
            found["code"],
            found["output"],
            int(found["last"]) if found["last"] else None,
            found["refused"] is not None,
            found.span("output"),
        )
        for found in _FENCE.finditer(text)
        if not found["skip"]
    ]


def run(page: Sequence[Block], folder: Path, execute: Callable[[Block, Path], str]) -> list[str]:
    """Run the blocks in a folder, and return what each printed, without the path of the folder."""
    printed = []
    for block in page:
        if block.title is not None:
            (folder / block.title).write_text(block.code, encoding="utf-8")
            printed.append("")
            continue
        text = execute(block, folder)
        for path in {str(folder.resolve()), str(folder)}:
            text = text.replace(f"{path}/", "")
        lines = [line.rstrip() for line in text.rstrip().splitlines()]
        if block.last is not None and len(lines) > block.last:
            lines = ["...", *lines[-block.last :]]
        printed.append("".join(f"{line}\n" for line in lines))
    return printed


def lost_words(block: Block, printed: str) -> set[str]:
    """Return the words that the page shows below a block and the block did not print.

    Words of two letters are left out: "no" in "no trial is better" depends on the last digits of a machine.
    """
    found = re.compile(r"[A-Za-z_]{3,}")
    return set(found.findall(block.output or "")) - set(found.findall(printed))


def with_outputs(text: str, page: Sequence[Block], printed: Sequence[str]) -> str:
    """Return the page with the outputs that its commands printed now."""
    for block, output in reversed(list(zip(page, printed, strict=True))):
        if block.output is not None:
            start, end = block.span
            text = text[:start] + output + text[end:]
    return text


class Shell:
    """Runs each ``bash`` block in a shell, and each ``python`` block in a Python process after those above it."""

    def __init__(self) -> None:
        self.above: list[str] = []
        self.variables: list[str] = []
        self.commands = tempfile.TemporaryDirectory()
        python = Path(sys.executable).parent
        path = [str(python), os.environ.get("PATH", "")]
        self.environment = {**os.environ, "COLUMNS": "100"}
        if not (python / "dir-train").exists():  # a checkout that is not installed
            for name in _names():
                file = Path(self.commands.name) / f"dir-{name}"
                file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dir {name} "$@"\n')
                file.chmod(0o755)
            path.insert(0, self.commands.name)
            self.environment["PYTHONPATH"] = str(ROOT)
        self.environment["PATH"] = os.pathsep.join(path)

    def __call__(self, block: Block, folder: Path) -> str:
        """Return what a block printed, errors and warnings included."""
        if block.language == "bash":
            command = ["bash", "-euo", "pipefail", "-c", "".join(self.variables) + block.code]
            self.variables += ASSIGNMENT.findall(block.code)
        else:
            # What the blocks above print is not shown again.
            above = "".join(self.above)
            before = f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    exec({above!r})\n"
            self.above.append(block.code)
            command = [sys.executable, "-c", before + block.code]
        done = subprocess.run(
            command, cwd=folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if bool(done.returncode) != block.refused:
            sys.exit(f"{block.code}\n{done.stdout}\nThe block ended with status {done.returncode}.")
        return done.stdout


def _names() -> list[str]:
    sys.path.insert(0, str(ROOT))
    from dir.commands.names import COMMANDS

    return list(COMMANDS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the pages; the status is 1 if --check finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path, nargs="+")
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args(arguments)
    failed = False
    for path in args.pages:
        if path.suffix == ".ipynb":
            from benchmarks.notebook import run_notebook  # the extra dev has the packages that run notebooks

            began = time.monotonic()
            lines = run_notebook(path, Shell().environment, args.check)
            failed = failed or bool(lines)
            print(*(f"{path}: {line}" for line in lines), f"{path}: {time.monotonic() - began:.0f} s", sep="\n")
            continue
        text = path.read_text(encoding="utf-8")
        page = blocks(text)
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            printed = run(page, Path(folder), Shell())
        if args.check:
            for block, output in zip(page, printed, strict=True):
                if lost := lost_words(block, output):
                    print(f"{path}: {', '.join(sorted(lost))} not printed by:\n{block.code}\n{output}")
                    failed = True
        else:
            path.write_text(with_outputs(text, page, printed), encoding="utf-8")
        print(f"{path}: {len(page)} blocks, {time.monotonic() - began:.0f} s")
    sys.exit(failed)


if __name__ == "__main__":
    main()
