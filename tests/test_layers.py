"""The imports of the package follow the floors of the design: no circle, no import upward."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.layout import PACKAGE, circles, count_arrows, picture, read_imports, read_sources

ROOT = Path(__file__).resolve().parents[1]
SOURCES = read_sources()
IMPORTS = read_imports(SOURCES)

# Floors from the ground up. A module may import from its own part and from lower floors.
FLOORS = (
    {
        "_archives",
        "_atomic",
        "_cell_mass",
        "_box_plot",
        "_checks",
        "_epoch_sums",
        "_even_edges",
        "_figure_text",
        "_labels",
        "_lazy",
        "_plain_state",
        "_precision",
        "_program",
        "_sentence_encoder",
    },
    {"bins", "cells", "costs", "distribution", "kernels", "relevance", "reweighter"},
    {"denseweight", "fds", "lds", "losses", "metrics", "mixup", "posthoc", "prior", "resampling"},
    {"bundle", "callbacks", "data", "figures", "models", "sklearn"},
    {"monitor"},
    {"compare", "recipe"},
    {"commands"},
    {"__main__"},
)
# Imports between two parts of one floor. Every other pair of parts of a floor is independent.
NEIGHBOURS = {
    *{
        ("_epoch_sums", "_plain_state"),
        ("_plain_state", "_precision"),
        ("_labels", "_checks"),
        ("_sentence_encoder", "_checks"),
        ("_archives", "_checks"),
        ("_box_plot", "_checks"),
        ("cells", "bins"),
        ("costs", "distribution"),
    },
    *{("losses", "prior"), ("prior", "lds")},
    *{("bundle", "data"), ("bundle", "models"), ("sklearn", "data"), ("sklearn", "models")},
}
FLOOR_OF = {part: number for number, floor in enumerate(FLOORS) for part in floor}
# Longest file in lines. A longer file holds two ideas.
MAX_LINES = 300


def part_of(module: str) -> str:
    return module.split(".")[1]


def test_every_part_of_the_package_has_a_floor() -> None:
    assert {part_of(module) for module in SOURCES if module != PACKAGE} == set(FLOOR_OF)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(IMPORTS) == []


def test_no_import_runs_upward_or_between_independent_parts() -> None:
    wrong = []
    for module, targets in IMPORTS.items():
        if module == PACKAGE:  # the lazy face, which only imports for type checkers
            continue
        for target in targets:
            if target == PACKAGE:
                wrong.append(f"{module} imports the face of the package, which lies above it")
                continue
            start, end = part_of(module), part_of(target)
            allowed = start == end or (start, end) in NEIGHBOURS or FLOOR_OF[end] < FLOOR_OF[start]
            if not allowed:
                wrong.append(f"{module} imports {target}")
    assert wrong == []


def test_every_listed_pair_of_neighbours_exists() -> None:
    pairs = {
        (part_of(module), part_of(target))
        for module, targets in IMPORTS.items()
        for target in targets
        if PACKAGE not in (module, target)
    }
    assert [pair for pair in NEIGHBOURS - pairs if pair != ("prior", "lds")] == []


def test_recipes_and_comparison_never_import_each_other_and_data_no_model() -> None:
    arrows = count_arrows(IMPORTS, SOURCES)
    for pair in (("recipe", "compare"), ("compare", "recipe"), ("data", "models")):
        assert arrows[pair] == 0


def test_no_file_is_longer_than_300_lines() -> None:
    folders = ("dir", "scripts", "benchmarks", "tests", "examples")
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.fixture
def small() -> dict[str, str]:
    return {
        "dir": "",
        "dir.bins": "import os\n",
        "dir.low": "def late():\n    from dir.high.a import f\n",
        "dir.high": "from dir.high.a import f\n",
        "dir.high.a": "from dir.low import late\nimport dir.bins\nfrom dir.high import b\n",
        "dir.high.b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dir.bins import X\n",
    }


def test_imports_are_read_from_functions_type_checks_and_submodules(small: dict[str, str]) -> None:
    imports = read_imports(small)
    assert imports["dir.low"] == {"dir.high.a"}
    assert imports["dir.high.a"] == {"dir.low", "dir.bins", "dir.high.b"}
    assert imports["dir.high.b"] == {"dir.bins"}
    assert circles(imports) == [["dir.high.a", "dir.low"]]
    assert count_arrows(imports, small) == {("dir/*.py", "high"): 1, ("high", "dir/*.py"): 3}


def test_the_picture_shows_boxes_arrows_and_circles(small: dict[str, str]) -> None:
    text = picture(small)
    assert '["high/<br/>3 files"]' in text
    assert "-->|3|" in text
    assert "circle: dir.high.a - dir.low." in text
    assert "Boxes that import each other: dir/*.py and high." in text


def test_a_relative_import_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dir\.a: relative import in line 1"):
        read_imports({"dir.a": "from .b import c\n"})
