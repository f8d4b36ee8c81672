"""The list of the commands, and ``python -m dir``."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from dir.commands.names import COMMANDS, main
from dir.commands.prepare_data import NAMES
from dir.data.prepare import CAPS

ROOT = Path(__file__).parents[2]


def test_pyproject_has_the_same_list() -> None:
    # Python 3.10 has no tomllib.
    section = (ROOT / "pyproject.toml").read_text().split("[project.scripts]\n")[1].split("\n\n")[0]
    listed = re.findall(r'^dir-([a-z-]+) = "([\w.:]+)"$', section, re.MULTILINE)
    assert listed == [(name, command.function) for name, command in COMMANDS.items()]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_function_and_a_script(name: str) -> None:
    module, _, function = COMMANDS[name].function.partition(":")
    assert callable(getattr(import_module(module), function))
    script = (ROOT / f"scripts/{name.replace('-', '_')}.py").read_text()
    assert f"from {module} import {function}\n" in script
    assert len(script.splitlines()) < 40


def test_every_script_is_a_command() -> None:
    assert {path.stem.replace("_", "-") for path in (ROOT / "scripts").glob("*.py")} == set(COMMANDS)


def test_a_wrong_command_is_named_with_the_closest_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^trian: no such command\. Did you mean train\?\nusage: python -m dir"):
        main(["trian"])
    with pytest.raises(SystemExit, match="usage: python -m dir"):
        main([])
    main(["-h"])
    assert "usage: python -m dir" in capsys.readouterr().out


def test_prepare_data_offers_the_benchmarks_that_can_be_prepared() -> None:
    assert sorted(CAPS) == list(NAMES)
