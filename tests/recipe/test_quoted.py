"""Command lines as a shell passes them on, with the quotation marks taken away."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from dir.recipe.cli import config_dir, register_configs
from dir.recipe.quoted import config_of, quote_values


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.sep", ";"),
        ("data.decimal", ","),
        ("data.target", "Preis, TEUR"),
        ("data.target", "Fläche (m²)"),
        ("data.path", 'C:\\a "b"; c.csv'),
        ("data.target", "plain"),
    ],
)
def test_a_text_reaches_the_config_as_it_was_typed(key: str, value: str) -> None:
    register_configs()
    given = quote_values(["+experiment=tabular", "data.path=x.csv", "data.target=y", f"{key}={value}"])
    with initialize_config_dir(config_dir(), version_base="1.3"):
        assert compose("train", given).data[key.removeprefix("data.")] == value


def test_values_that_hydra_reads_stay_as_they_are() -> None:
    lines = ["method=vanilla,lds", "seed=range(3)", "data.drop=[a,b]", "data.sep=';'", "~logger", "-m", "data.split="]
    assert quote_values(lines) == lines
    assert quote_values(["data.target=a,b"], sweep=True) == ["data.target=a,b"]
    assert quote_values(["data.target=choice(a, b)", "seed=0, 1"], sweep=True) == [
        "data.target=choice(a, b)",
        "seed=0, 1",
    ]
    assert quote_values(["data.target=wind, kn"], sweep=True) == ['data.target="wind, kn"']


def test_a_config_holds_the_values_as_hydra_reads_them() -> None:
    words = ["data.decimal=,", "data.sep=;", "data.target=Wind, kn", 'data.na_values=["k. A."]', "lr=1e-3", "x=null"]
    expected = {"decimal": ",", "sep": ";", "target": "Wind, kn", "na_values": ["k. A."]}
    assert config_of(words) == {"data": expected, "lr": 0.001, "x": None}
