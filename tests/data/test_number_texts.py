"""Columns of texts: the message names the odd texts, and its settings can be copied into a shell."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from dir.data import TabularData
from dir.data.problems import list_setting

GERMAN: dict[str, Any] = {"sep": ";", "decimal": ","}


def table(**columns: Any) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {"size": random.normal(size=200).round(3), "price": random.normal(size=200).round(3), **columns}
    )


def refusal(path: Path, content: pd.DataFrame, **settings: Any) -> str:
    content.to_csv(path, index=False, sep=settings.get("sep", ","), decimal=settings.get("decimal", "."))
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        TabularData(str(path), "price", **settings).setup()
    return str(caught.value)


@pytest.mark.parametrize("names", [["id", "name"], ["a, b"], ['say "x"', "it's"], ["Ø (m²)"], ["back\\slash"], ["1"]])
def test_a_setting_comes_through_the_shell_and_hydra(names: list[str]) -> None:
    (override,) = shlex.split(list_setting("data.drop", names))
    (parsed,) = OverridesParser.create().parse_overrides([override])
    assert [getattr(one, "text", one) for one in parsed.value()] == names


@pytest.mark.parametrize("column", ["pressure, hPa", "price"])
def test_a_text_among_numbers_with_a_decimal_comma_is_named(tmp_path: Path, column: str) -> None:
    content = table()
    content[column] = [f"{number:.1f}".replace(".", ",") for number in np.linspace(900, 1020, 200)]
    content.loc[[3, 8], column] = "k. A."
    path = tmp_path / "houses.csv"
    message = refusal(path, content, **GERMAN)
    assert "k. A." in message
    assert "900" not in message
    assert "texts like" not in message
    (setting,) = re.findall(r"'data\.na_values=(.*?)'\.", message)
    assert setting == '["k. A."]'
    settings = {**GERMAN, "na_values": ["k. A."], "missing": "drop"}
    data = TabularData(str(path), "price", **settings)
    data.setup()
    assert sum(len(data.labels(split)) for split in ("train", "val", "test")) == 198


def test_texts_that_differ_in_each_row_lead_to_the_recipe_for_texts(tmp_path: Path) -> None:
    smiles = ["C" * (1 + row % 14) + "O" * (1 + row // 14) for row in range(200)]
    message = refusal(tmp_path / "molecules.csv", table(smiles=smiles))
    assert "Set data.drop=[smiles]. Or train on the texts" in message
    assert "+experiment=text data.text=smiles" in message
    assert "data.categorical" not in message
    # Names that come back are categories or identities, and no texts.
    names = [f"owner {row % 50}" for row in range(200)]
    message = refusal(tmp_path / "owners.csv", table(owner=names))
    assert "data.categorical=[...]" in message
    assert "experiment=text" not in message
