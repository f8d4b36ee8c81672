"""The report: one page without requests, with tables that sort and methods that can be switched off."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dir.compare.html.cli import main
from dir.compare.html.series import figure_edges, label_series
from dir.compare.runs import find_runs


class Names(HTMLParser):
    """Collect the tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_asks_for_nothing_and_runs_no_foreign_markup(page):
    text = page.read_text()
    names = Names()
    names.feed(text)
    for _, attributes in names.tags:
        for key in ("src", "href", "xlink:href"):
            link = attributes.get(key)
            assert link is None or link.startswith(("#", "data:")), link
        assert not [key for key in attributes if key.startswith("on")]
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert "<b " not in text


def test_identities_are_unique_and_every_reference_has_one(page):
    text = page.read_text()
    found = re.findall(r'\sid="([^"]+)"', text)
    assert len(set(found)) == len(found)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(found)


def test_tables_warnings_and_commands(page):
    text = page.read_text()
    assert "Fewer than 3 seeds: " in text
    assert "uncommitted changes" in text
    assert (
        "dir-train -m +experiment=tabular &#39;data.path=my houses.csv&#39; data.target=price method=lds seed=0,1"
        in text
    )
    assert "<strong>mae</strong> (lower is better)" in text
    assert "(higher is better)" in text


def test_the_page_holds_no_row_of_the_data(page):
    label = np.load(page.parent / "outputs/houses/lds/seed_0/predictions.npz")["label"]
    text = page.read_text()
    assert not [value for value in label[:50] if f"{value:.6g}" in text]


def test_the_page_is_small(page):
    assert page.stat().st_size < 1_000_000


def test_series_equal_a_loop(page):
    runs, _ = find_runs(page.parent / "outputs/houses")
    found = label_series(runs)
    one = next(series for series in found.series if series.label == "lds")
    label, prediction = (
        np.concatenate(
            [np.load(page.parent / f"outputs/houses/lds/seed_{seed}/predictions.npz")[name] for seed in (0, 1)]
        )
        for name in ("label", "prediction")
    )
    low, high = found.edges[3], found.edges[4]
    rows = (label >= low) & (label < high)
    assert one.rows[3] == rows.sum()
    assert one.mae[3] == pytest.approx(np.abs(prediction - label)[rows].mean())
    assert one.bias[3] == pytest.approx((prediction - label)[rows].mean())
    np.testing.assert_allclose(one.map[3].sum(), 1.0)


def test_each_series_counts_its_own_rows(write_houses, tmp_path):
    for method, seeds in (("vanilla", (0, 1)), ("lds", (0,))):
        for seed in seeds:
            write_houses(tmp_path, method, seed, 3.0)
    found = label_series(find_runs(tmp_path / "houses")[0])
    assert {one.label: one.rows.sum() for one in found.series} == {"vanilla": 600, "lds": 300}
    # The bars behind the lines are the rows of the first series.
    assert sum(counts.sum() for counts in found.shots.values()) == 600


def test_bins_of_the_figures_hold_whole_numbers_alike():
    edges = figure_edges(np.arange(0.0, 101.0))
    assert set(np.diff(edges)) == {5.0}
    assert edges[0] == -0.5
    assert edges[-1] >= 100


def test_several_data_sets_are_ranked_together(write_houses, tmp_path):
    for name, better in (("one", "lds"), ("two", "lds"), ("three", "vanilla")):
        for method in ("vanilla", "lds"):
            run = write_houses(tmp_path / name, method, 0, 2.0 if method == better else 3.0)
            (run / "predictions.npz").unlink()  # fewer figures
        (tmp_path / name / "houses").rename(tmp_path / name / name)
    out = tmp_path / "report.html"
    main([*(str(tmp_path / name / name) for name in ("one", "two", "three")), "--out", str(out)])
    text = out.read_text()
    section = text[text.index('<section id="section-ranks"') :]
    assert '<a href="#section-ranks">' in text
    assert section.count("<svg") == 2
    cells = re.findall(r"<t[hd] [^>]*>([^<]*)</t[hd]>", section)
    at = cells.index("lds")
    assert cells[at + 1 : at + 5] == ["1.33", "1", "1", "2"]
    assert "lds  1.33" in re.sub(r"<[^>]*>", "", section)
    found = re.findall(r'\sid="([^"]+)"', text)
    assert len(set(found)) == len(found)


def test_one_data_set_has_no_ranks_and_data_sets_without_a_common_method_say_so(page, write_houses, tmp_path):
    assert "section-ranks" not in page.read_text()
    for name, method in (("one", "lds"), ("two", "bmc")):
        (write_houses(tmp_path / name, method, 0, 2.0) / "predictions.npz").unlink()
        (tmp_path / name / "houses").rename(tmp_path / name / name)
    main([str(tmp_path / "one/one"), str(tmp_path / "two/two"), "--out", str(tmp_path / "report.html")])
    section = (tmp_path / "report.html").read_text().partition('<section id="section-ranks"')[2]
    assert "No ranks by mae, all: --ranks: mae on all needs two data sets with two methods in common" in section
    assert "<svg" not in section


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere"], "nowhere"),
        (["{outputs}", "--out", "report.pdf"], "--out: expected a file that ends in .html"),
        (["{outputs}", "--baseline", "ldss"], "lds"),
    ],
)
def test_bad_arguments_write_nothing(page, tmp_path, monkeypatch, capsys, arguments, problem):
    monkeypatch.chdir(tmp_path)
    outputs = str(page.parent / "outputs/houses")
    with pytest.raises(SystemExit):
        main([part.format(outputs=outputs) for part in arguments])
    assert problem in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
