"""The tables and pictures of docs/settle.md and docs/results, from the committed results alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.settle.curves import curve_of
from benchmarks.settle.plan import DATA, NUM_TRIALS, OBJECTIVE, SEED_STAGES, TRAININGS, trainings_of
from benchmarks.settle.prior_trials import prior_trials_grid
from benchmarks.settle.queue import complete_seeds, read_complete, read_results
from benchmarks.settle.readme import readme_grid
from benchmarks.settle.same_seeds import same_seeds_grid
from benchmarks.settle.targets import targets_grid
from dir.compare.ranks import diagram, rank_grid, rank_methods
from dir.compare.report import Grid, decimals, difference_cell, markdown_table, spread_cell
from dir.compare.runs import Run
from dir.compare.statistics import Comparison, compare

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "settle.md"
README = ROOT / "README.md"
_BLOCK = re.compile(r"(<!-- python -m benchmarks\.settle report -->\n).*?(\n<!-- end -->)", re.DOTALL)

# Rows in the order of the table. Weights count^-p have the labels that dir.compare knows.
LABELS = {"power_0.25": "power method.power=0.25"}
ORDER = (
    *("vanilla", "power_0.25", "sqinv", "inv", "lds", "lds_fds", "bmc", "isotonic", "resampler"),
    *("hist_gbdt", "hist_gbdt_sqinv", "histogram", "histogram_sqinv"),
    *("histogram_prior_0", "histogram_prior_0.5", "histogram_prior_1", "histogram_prior_chosen", "tabm_prior_chosen"),
    *("histogram_fds", "histogram_fds_shrink"),
)
# Ranks over fewer data sets cannot differ at 5 %: Wilcoxon's p-value of five is 0.0625 at best.
MIN_RANKED = 6
# Metric and shot group of each table of ranks.
RANKED = (("bmase", "all"), ("mae", "all"), ("mae", "few"))
# Rows of the training of histogram_prior beside histogram_prior_chosen, which stands for it in the ranks. More rows
# of one training would count as more methods, and widen the critical difference of all.
_SAME_TRAINING = ("histogram_prior_0", "histogram_prior_0.5", "histogram_prior_1")
# Columns of the tables. A group without test rows is left out.
GROUPS = ("all", "many", "median", "few", "zero")


def runs_of(name: str) -> list[Run]:
    """Return the rows of the test runs of a data set at the seeds that are complete, in the order of the table."""
    found = []
    for line in read_complete(name):
        if line["role"] != "test":
            continue
        for row, values in line["rows"].items():
            if row == "curve":
                continue
            groups = {
                group: {metric: math.nan if value is None else float(value) for metric, value in metrics.items()}
                for group, metrics in values["groups"].items()
            }
            groups["all"] |= {
                key: math.nan if values[key] is None else float(values[key]) for key in ("bmase", "sera")
            }
            for group in groups:
                share = values.get("coverage", {}).get(group)
                groups[group]["coverage"] = math.nan if share is None else float(share)
                groups[group]["n"] = int(groups[group]["n"])
            found.append(Run(f"{name}: {row}", name, LABELS.get(row, row), "", line["number"], {"test": groups}))
    return sorted(found, key=lambda run: (_position(run.method), run.seed))


def _position(label: str) -> int:
    labels = [LABELS.get(row, row) for row in ORDER]
    return labels.index(label) if label in labels else len(labels)


def comparisons() -> list[Comparison]:
    """Return one comparison with vanilla for each data set that has the first seeds of all but slow trainings."""
    found = []
    for name in DATA:
        if complete_seeds(name, read_results(name)) >= set(SEED_STAGES[0]):
            found.append(compare(runs_of(name), baseline="vanilla"))
    return found


def data_grid(one: Comparison) -> Grid:
    """Return the table of a data set: MAE by shot group, its difference to vanilla, and the other metrics."""
    groups = [group for group in GROUPS if one.sizes.get(group, (0, 0))[1] > 0]
    places = decimals([row.spread["mae", "all"].mean for row in one.rows])
    last = groups[-1] if groups[-1] != "zero" else groups[-2]
    header = (
        *("method", "seeds", *(f"MAE {group}" for group in groups)),
        *("all - vanilla", f"{last} - vanilla", "bMASE", "SERA", f"coverage all / {last}"),
    )
    rows = []
    for row in one.rows:
        cells = [spread_cell(row.spread["mae", group], places, len(row.seeds)) for group in groups]
        for group in ("all", last):
            difference = row.difference.get(("mae", group))
            cells.append("" if difference is None else difference_cell(difference, places, len(row.seeds)))
        sera, covered = row.spread["sera", "all"].mean, [row.spread["coverage", group] for group in ("all", last)]
        cells += [f"{row.spread['bmase', 'all'].mean:.3f}", f"{sera:.4g}"]
        cells.append(" / ".join("-" if value.n == 0 else f"{value.mean:.2f}" for value in covered))
        rows.append((row.label, str(len(row.seeds)), *cells))
    return Grid(one.experiment, header, tuple(rows))


def overview(found: Sequence[Comparison]) -> Grid:
    """Return the short table: bMASE of each row on each data set, the lowest of each data set in bold."""
    header = ("method", *(one.experiment for one in found))
    means = [{row.label: row.spread["bmase", "all"].mean for row in one.rows} for one in found]
    rows = []
    for label in (LABELS.get(row, row) for row in ORDER):
        cells = []
        for values in means:
            value = values.get(label, math.nan)
            text = "-" if math.isnan(value) else f"{value:.3f}"
            cells.append(f"**{text}**" if value == min(values.values()) else text)
        if any(cell != "-" for cell in cells):
            rows.append((label, *cells))
    return Grid("bMASE", header, tuple(rows))


def choices_grid(name: str) -> Grid:
    """Return the trials of a data set: the choice of each training, and the range of its objective."""
    rows = []
    for key in trainings_of(name):
        lines = [line for line in read_results(name) if line["role"] == "trial" and line["training"] == key]
        values = [line["objective"] for line in lines if line["objective"] is not None]
        if len(lines) < NUM_TRIALS or not values:
            continue
        best = min((line for line in lines if line["objective"] is not None), key=lambda line: line["objective"])
        rows.append(
            (key, " ".join(best["choice"]), f"{best['objective']:.4g}", f"{max(values):.4g}", f"{len(values)} of 6")
        )
    return Grid(name, ("training", "chosen", f"lowest {OBJECTIVE}", "highest", "trials that trained"), tuple(rows))


def numbers(table: str) -> str:
    """Return a table whose numbers the site does not break into two lines."""
    return f'<div class="numbers" markdown>\n\n{table}\n\n</div>'


def parts() -> Iterator[str]:
    """Yield the generated text of the page."""
    found = comparisons()
    if not found:
        yield "No data set is complete yet."
        return
    yield "### Balanced error relative to a constant (bMASE)"
    yield numbers(markdown_table(overview(found)))
    if len(found) >= MIN_RANKED:
        for metric, group in RANKED:
            yield f"### Average ranks by {metric}, {group}"
            try:
                grid = rank_grid(rank_methods(ranked(found), metric, group))
            except ValueError as error:
                yield f"No ranks: {error}"
                continue
            yield f"![Critical differences of the ranks by {metric}, {group}]({ranks_picture(metric, group).name})"
            yield numbers(markdown_table(grid))
            yield f"{grid.caption} Not ranked: {', '.join(_SAME_TRAINING)} (the training of histogram_prior_chosen)."
    yield "### Goals"
    grid = targets_grid(found)
    yield markdown_table(grid)
    yield grid.caption
    yield "### Two settings of `histogram_prior`"
    grid = prior_trials_grid([one.experiment for one in found])
    yield numbers(markdown_table(grid))
    yield grid.caption
    yield "### TabM, mlp and trees on the same seeds"
    yield numbers(markdown_table(same_seeds_grid([one.experiment for one in found])))
    yield "### By data set"
    yield "MAE by shot group with its spread, paired differences, SERA, coverage, curve and trials:"
    yield "\n".join(f"- [{one.experiment}](results/{one.experiment}.md#equal-budgets)" for one in found)
    waiting = [name for name in DATA if name not in {one.experiment for one in found}]
    if waiting:
        yield f"Not complete yet: {', '.join(waiting)}."


def data_set_parts(one: Comparison, docs: str) -> Iterator[str]:
    """Yield what the page of one data set shows: its table, its curve and its trials.

    Args:
        one: comparison of the data set.
        docs: way from the page to the folder docs/, such as "../".
    """
    yield f"{max(len(row.seeds) for row in one.rows)} seeds, mean ± standard deviation:"
    yield numbers(markdown_table(data_grid(one)))
    picture = PAGE.parent / f"settle_{one.experiment}.png"
    if picture.is_file():
        yield f"![Few-shot over many-shot error on {one.experiment}]({docs}{picture.name})"
    yield "Trials, on validation:"
    yield numbers(markdown_table(choices_grid(one.experiment)))


def ranked(found: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons without the rows that are another row's training at other powers."""
    return [replace(one, rows=tuple(row for row in one.rows if row.label not in _SAME_TRAINING)) for one in found]


def ranks_picture(metric: str, group: str) -> Path:
    """Return the path of a critical-difference diagram."""
    return PAGE.parent / f"settle_ranks_{metric}_{group}.png"


def draw_ranks(found: Sequence[Comparison]) -> None:
    """Draw the ranks over all data sets, once there are enough."""
    from dir.figures import critical_difference_figure

    for metric, group in RANKED if len(found) >= MIN_RANKED else ():
        try:
            ranks = rank_methods(ranked(found), metric, group)
        except ValueError:
            continue  # parts() says why
        critical_difference_figure(diagram(ranks)).savefig(ranks_picture(metric, group), dpi=110)


def draw(found: Sequence[Comparison]) -> None:
    """Draw the curve of each data set beside the points of the other rows."""
    from dir.compare.tradeoff_figure import tradeoff_figure

    for one in found:
        name = one.experiment
        groups = ("many", "few") if one.sizes.get("many", (0, 0))[1] > 0 else ("median", "few")
        if any(one.sizes.get(group, (0, 0))[1] == 0 for group in groups):
            continue
        # The rows of histogram_prior are points of the curve.
        others = replace(one, rows=tuple(row for row in one.rows if not row.label.startswith("histogram_prior")))
        figure = tradeoff_figure(
            [curve_of(name, read_complete(name))],
            others,
            f"{name}: test MAE of rare over that of frequent labels",
            "mae",
            groups,
        )
        figure.savefig(PAGE.parent / f"settle_{name}.png", dpi=110)


def write_block(path: Path, text: str) -> None:
    """Replace the block of a page that this report generates."""
    page = path.read_text(encoding="utf-8")
    if not _BLOCK.search(page):
        raise ValueError(f"{path.name}: has no block of the report")
    path.write_text(_BLOCK.sub(lambda block: f"{block[1]}{text}{block[2]}", page), encoding="utf-8")


def write_page() -> None:
    """Write the generated blocks of docs/settle.md and README.md, and the pictures."""
    found = comparisons()
    draw(found)
    draw_ranks(found)
    write_block(PAGE, "\n" + "\n\n".join(parts()) + "\n")
    write_block(README, markdown_table(readme_grid(found)))
    print(f"{PAGE.name}: {sum(len(read_results(name)) for name in DATA)} results of {len(TRAININGS)} trainings")
