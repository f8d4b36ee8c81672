"""The text of the pages, from the committed results."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.results_pages.sets import SETS, DataSet
from benchmarks.settle import report as settle_report
from benchmarks.settle.plan import DATA, trainings_of
from benchmarks.settle.queue import plan, read_results
from dir.compare.report import Grid, decimals, markdown_table, readme_tables, with_command
from dir.compare.runs import Run, find_runs
from dir.compare.statistics import Comparison, Row, compare

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
# Overrides that change no result.
_SILENT = ("logger=", "trainer.enable_progress_bar=")
COMMAND = "python -m benchmarks.results_pages"
# Columns of the overview: a row of the tables of benchmarks/results, and the same row of the settling table.
SHOWN = {"vanilla": "vanilla", "lds": "lds", "histogram_prior": "histogram_prior_chosen"}


@dataclass(frozen=True)
class Page:
    """A data set with its results.

    Args:
        name: of the file.
        about: the data set in words.
        tables: heading, metric, runs and comparison of each result file.
        settled: comparison of the settling table, or None while it is not complete.
    """

    name: str
    about: DataSet
    tables: tuple[tuple[str, str, list[Run], Comparison], ...]
    settled: Comparison | None

    @property
    def overview(self) -> tuple[Comparison, str] | None:
        """The comparison that the overview shows, and where it comes from: the one with most of its columns."""
        both = [(one, "one setting" if self.about.tuned else "not tuned") for *_, one in self.tables[:1]]
        both += [] if self.settled is None else [(self.settled, "equal budgets")]
        return max(both, key=lambda pair: sum(row is not None for row in _picked(pair[0])), default=None)

    @cached_property
    def lines(self) -> int:
        """Result lines of the settling table."""
        return len(read_results(self.about.settle)) if self.about.settle else 0


def pages() -> list[Page]:
    """Return the data sets that have results, in the order of the menu.

    Raises:
        ValueError: a data set or a result file of runs that no page describes.
    """
    shown = {stem for about in SETS.values() for stem, *_ in about.files}
    unknown = [path.name for path in sorted(RESULTS.glob("*.jsonl")) if path.stem not in shown]
    unknown += [name for name in DATA if name not in {about.settle for about in SETS.values()}]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: describe the data set in benchmarks/results_pages/sets.py")
    settled = {one.experiment: one for one in settle_report.comparisons()}
    found = []
    for name, about in SETS.items():
        tables = []
        for stem, metric, heading in about.files:
            runs, _ = find_runs(RESULTS / f"{stem}.jsonl")
            tables.append((heading, metric, runs, compare(runs)))
        page = Page(name, about, tuple(tables), settled.get(about.settle))
        if page.tables or page.lines:
            found.append(page)
    return found


def text_of(page: Page) -> str:
    """Return the whole page."""
    return "\n\n".join(_parts(page)) + "\n"


def _parts(page: Page) -> Iterator[str]:
    about = page.about
    yield f"# {about.title}: {about.label}"
    yield f"<!-- {COMMAND} writes this page. -->"
    yield about.about
    yield _sizes(page)
    yield from about.notes
    for heading, metric, runs, one in page.tables:
        yield f"## {heading}: test {metric.upper() if metric != 'cost' else metric}"
        if about.tuned and one is page.tables[0][3]:
            yield (
                "The settings were [chosen on validation splits](../tuning.md#how-the-settings-were-chosen), never "
                "on a test split. [Every method](../methods.md) explains each row in one line."
            )
        source = f"benchmarks/results/{one.experiment}.jsonl"
        tables = with_command(f"python scripts/compare.py {source} --readme {metric}", readme_tables(one, metric))
        yield settle_report.numbers(tables)
        yield f"The metrics of every run: [{source}](../../{source}). Commands that made the runs:"
        yield "\n".join(("```bash", *commands_of(runs), "```"))
    if about.settle and page.lines:
        yield from _settled(page)
    if about.links:
        yield "## More on this data"
        yield "\n".join(f"- {link}" for link in about.links)


def _sizes(page: Page) -> str:
    """Return a line with the rows of the splits, where the runs know them, and with the shot groups of labels."""
    rows = [
        counts
        for _, _, runs, _ in page.tables[:1]
        for run in runs
        if (counts := (run.content.get("run", {}).get("data") or {}).get("rows"))
    ]
    shown = page.overview
    parts = []
    if rows:
        parts.append("rows " + ", ".join(f"{split} {_range([one[split] for one in rows])}" for split in rows[0]))
    if shown is not None:
        sizes = ", ".join(f"{group} {_range(list(pair))}" for group, pair in shown[0].sizes.items())
        parts.append(f"test labels by [shot group](../glossary.md): {sizes}")
    text = "; ".join(parts) or "no test run is committed yet"
    return f"**Size**: {text}."


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def commands_of(runs: Sequence[Run]) -> list[str]:
    """Return the commands that made the runs: one for the methods that share seeds and other overrides."""
    seeds: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for run in runs:
        given = [str(part) for part in run.content["run"]["overrides"]]
        others = [part for part in given if not part.startswith(("method=", "seed=", *_SILENT))]
        seeds.setdefault((run.method, tuple(sorted(others, key=_experiment_first))), []).append(run.seed)
    groups: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (method, others), found in seeds.items():
        groups.setdefault((others, ",".join(map(str, sorted(found)))), []).append(method)
    shared = [part for part in next(iter(groups))[0] if all(part in others for others, _ in groups)]
    # A variable keeps the lines short. The shell takes its words as they are, without quotes.
    short = len(groups) > 1 and not any(set(part) & set(" '\"$*?~") for part in shared)
    lines = [f'D="{" ".join(shared)}"'] if short else []
    for (others, numbers), methods in sorted(groups.items(), key=lambda group: (group[0][0], -len(group[0][1]))):
        own = [shlex.quote(part) for part in others if not (short and part in shared)]
        # The experiment comes before the method, and the method before its settings.
        first = [] if short else own[:1]
        words = [*(["-m"] if len(methods) > 1 or "," in numbers else []), *(["$D"] if short else []), *first]
        words += [f"method={','.join(methods)}", *own[len(first) :], f"seed={numbers}"]
        lines.append(f"python scripts/train.py {' '.join(words)}")
    return lines


def _experiment_first(override: str) -> tuple[bool, bool, str]:
    return not override.startswith("+experiment="), not override.startswith("data."), override


def _settled(page: Page) -> Iterator[str]:
    """Yield the part of a page on the settling table."""
    name, one = page.about.settle, page.settled
    yield "## Equal budgets"
    yield (
        "Every method has six trials on the validation split, with one seed that no test run uses. "
        "[Which method wins](../settle.md) explains rows and columns, and compares the data sets."
    )
    if one is None:
        tests = [line for line in read_results(name) if line["role"] == "test"]
        total = sum(item.data == name for item in plan())
        yield (
            f"Not complete yet: {page.lines} of {total} results are there, {len(tests)} of them test runs. The table "
            f"appears when all {len(trainings_of(name, slow=False))} trainings have three seeds."
        )
    else:
        yield from settle_report.data_set_parts(one, "../")
    source = f"benchmarks/settle/results/{name}.jsonl"
    yield f"The metrics of every run: [{source}](../../{source}). Commands:"
    example = next((line for line in read_results(name) if line["role"] == "test"), read_results(name)[0])
    yield "\n".join(
        (
            "```bash",
            f"python -m benchmarks.settle work --data FOLDER --only {name}   # trains what is missing",
            f"python scripts/train.py {shlex.join(example['overrides'])}   # one of its runs",
            "```",
        )
    )


def overview(found: Sequence[Page]) -> Grid:
    """Return one line per data set: what is predicted, test rows, and errors of a few methods."""
    header = ("data set", "label", "test (few-shot)", *(f"`{name}`" for name in SHOWN), "runs")
    lines = []
    for page in found:
        title = f"[{page.about.title}](results/{page.name}.md)"
        if page.overview is None:
            lines.append((title, page.about.label, "-", *("-" for _ in SHOWN), "not complete yet"))
            continue
        one, source = page.overview
        sizes = [_range(list(one.sizes.get(group, (0, 0)))) for group in ("all", "few")]
        picked = _picked(one)
        places = decimals(row.spread["mae", group].mean for row in picked if row for group in ("all", "few"))
        errors = [_errors(row, places) for row in picked]
        lines.append((title, page.about.label, f"{sizes[0]} ({sizes[1]})", *errors, source))
    return Grid("overview", header, tuple(lines))


def _picked(one: Comparison) -> list[Row | None]:
    """Return the rows of the columns of the overview."""
    rows = {row.label: row for row in one.rows}
    return [rows.get(name) or rows.get(settled) for name, settled in SHOWN.items()]


def _errors(row: Row | None, places: int) -> str:
    if row is None:
        return "-"
    means = [row.spread["mae", group].mean for group in ("all", "few")]
    return " / ".join("-" if math.isnan(mean) else f"{mean:.{places}f}" for mean in means)


def overview_text(found: Sequence[Page]) -> str:
    """Return the block of docs/results.md."""
    caption = (
        "Test MAE on all / on few-shot labels, mean over the seeds. `histogram_prior` has the power that "
        "validation chose. The pages have all methods, the spread over the seeds, paired differences and commands."
    )
    return f"{settle_report.numbers(markdown_table(overview(found)))}\n\n{caption}"
