"""The tutorials run from top to bottom, and their commands still print what the pages show.

The blocks run in this process, with trainings of one epoch. ``.ci/run`` runs the first page in full, with the
commands of the wheel. ``python -m benchmarks.pages PAGE`` runs a page in full and writes its outputs.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.pages import Block, blocks, lost_words, run, with_outputs
from dir.commands.names import COMMANDS

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs/tutorials").glob("*.md"))


class Process:
    """Runs the blocks of a page in this process; variables of the shell and of Python stay."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__page__"}
        self.variables: dict[str, str] = {}

    def __call__(self, block: Block, folder: Path) -> str:
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if block.language == "python":
                short = block.code.replace("epochs=20", "epochs=1")
                exec(compile(short, "block of the page", "exec"), self.names)
            else:
                statuses = [self.command(line, output) for line in block.code.replace("\\\n", " ").splitlines()]
                assert any(statuses) == block.refused, f"{block.code}\n{output.getvalue()}"
        return output.getvalue()

    def command(self, line: str, output: io.StringIO) -> int:
        """Run one command and return its status."""
        if found := re.fullmatch(r'([A-Z]+)="(.*)"', line):
            self.variables[found[1]] = self.expand(found[2])
            return 0
        name, *arguments = [
            word
            for quoted in shlex.split(line)
            for word in (self.expand(quoted).split() if quoted.startswith("$") else [quoted])
        ]
        if not name.startswith("dir-") and name != "python":
            done = subprocess.run(["bash", "-c", self.expand(line)], capture_output=True, text=True, check=True)
            output.write(done.stdout)
            return 0
        sys.argv = [name, *arguments]
        try:
            if name == "python":
                runpy.run_path(arguments[0], run_name="__main__")
            else:
                module, _, function = COMMANDS[name.removeprefix("dir-")].function.partition(":")
                getattr(importlib.import_module(module), function)()
        except SystemExit as end:
            if isinstance(end.code, str):
                output.write(end.code)
            return int(end.code not in (None, 0))
        return 0

    def expand(self, text: str) -> str:
        return re.sub(r"\$([A-Z]+)", lambda found: self.variables[found[1]], text)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Work in an empty folder, and end each training after one epoch."""
    pytest.importorskip("lightning", reason="needs the extra 'recipes'")
    import dir.recipe.train as training

    train = training.train

    def one_epoch(cfg: Any, *rest: Any) -> Any:
        cfg.trainer.max_epochs = 1
        if "max_iter" in (cfg.method.get("estimator") or {}):
            cfg.method.estimator.max_iter = 5
        return train(cfg, *rest)

    monkeypatch.setattr(training, "train", one_epoch)
    monkeypatch.setattr("hydra._internal.utils.is_under_debugger", lambda: False)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return tmp_path


@pytest.mark.parametrize("path", [path for path in PAGES if path.stem != "first_run"], ids=lambda path: path.stem)
def test_a_tutorial_runs_and_prints_what_it_shows(path: Path, short: Path) -> None:
    page = blocks(path.read_text(encoding="utf-8"))
    printed = run(page, short, Process())
    for block, output in zip(page, printed, strict=True):
        if block.output is not None:
            assert block.output.strip(), f"no output: python -m benchmarks.pages {path.name}"
            assert not lost_words(block, output), block.code


def test_every_page_stands_in_a_list_of_runnable_pages() -> None:
    assert {path.stem for path in PAGES} >= {"first_run", "own_table", "own_pictures", "own_model"}
    for path in PAGES:
        assert f"python -m benchmarks.pages docs/tutorials/{path.name}" in path.read_text(encoding="utf-8")


PAGE = """
```bash
N="one two"
echo $N
```

<!-- the last 1 lines -->
```text
old
```

<!-- not run: a reason -->
```bash
rm -rf x
```

```python title="a.py"
print(1)
```

```python
print(2)
print(3)
```

```text
```

<!-- refused -->
```bash
dir-predict modell=x
```
"""


def test_the_reader_of_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    page = blocks(PAGE)
    assert [(block.language, block.title, block.refused) for block in page] == [
        ("bash", None, False),
        ("python", "a.py", False),
        ("python", None, False),
        ("bash", None, True),
    ]
    assert lost_words(page[0], "new\n") == {"old"}
    printed = run(page, tmp_path, lambda block, folder: f"first\n{folder}/outputs  \n" if block.last else "4\n")
    assert printed == ["...\noutputs\n", "", "4\n", "4\n"]
    assert (tmp_path / "a.py").read_text() == "print(1)\n"
    written = with_outputs(PAGE, page, printed)
    assert "```text\n...\noutputs\n```" in written
    assert "print(3)\n```\n\n```text\n4\n```" in written
    assert with_outputs(written, blocks(written), printed) == written
    process = Process()
    assert [process(block, tmp_path) for block in page[:3:2]] == ["one two\n", "2\n3\n"]
    assert "no such argument" in process(page[3], tmp_path)
