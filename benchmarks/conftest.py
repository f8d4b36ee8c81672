"""Fixtures of the benchmarks: one thread, measuring side by side, and writing down ratios and gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.gates import ROWS, judged
from benchmarks.measure import Action, Interleaved, machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gates", action="store_true", help="fail where a gate is not met; on a quiet machine only")


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    # The committed json names device and versions, but not the name and the boot parameters of a computer.
    machine_info.clear()
    machine_info.update(machine(gpu=torch.cuda.is_available()))


def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict[str, Any]) -> None:
    for name in [name for name in commit_info if name not in ("id", "time", "dirty")]:
        del commit_info[name]


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    # Medians and ratios are kept; every single round would make the committed file a hundred times larger.
    for entry in output_json["benchmarks"]:
        entry["stats"].pop("data", None)


@pytest.fixture
def record(benchmark: Any, pytestconfig: pytest.Config) -> Callable[..., None]:
    """``record(key, values)`` writes values, ratios and gates of a row into ``extra_info``."""

    def write(key: str, values: dict[str, float], note: str = "", title: str = "") -> None:
        row = ROWS.get(key)
        ratios = judged(row, values) if row else []
        benchmark.extra_info.update(
            {
                "key": key,
                "title": row.title if row else title,
                "unit": row.unit if row else "s",
                "values": values,
                "ratios": ratios,
                "note": note,
                **machine(gpu=row is not None and row.gpu),
            }
        )
        if pytestconfig.getoption("--gates"):
            missed = [ratio for ratio in ratios if ratio["met"] is False]
            assert not missed, f"{key}: {missed}"

    return write


@pytest.fixture
def compare(benchmark: Any, record: Callable[..., None]) -> Callable[..., None]:
    """``compare(key, ours, naive=..., floor=...)`` times them in turn and records the row.

    pytest-benchmark itself times our code; the other actions are timed in its set-up, before each of its rounds.
    ``times`` multiplies a median, where a part stands for the whole.
    """

    def run(
        key: str,
        ours: Action,
        *,
        budget: float = 4.0,
        rounds: tuple[int, int] = (3, 200),
        times: dict[str, float] | None = None,
        note: str = "",
        **others: Action,
    ) -> None:
        if benchmark.disabled:
            for action in (*others.values(), ours):
                action()
            benchmark(lambda: None)
            return
        gpu = key in ROWS and ROWS[key].gpu
        turns = Interleaved({"ours": ours, **others}, budget, rounds, gpu)

        def before() -> None:
            for name in others:
                turns.time(name)
            turns.time("ours")

        # Ours is timed by the same clock as the others; pytest-benchmark's own round follows it.
        benchmark.pedantic(ours, setup=before, rounds=turns.rounds, iterations=1)
        values = {name: median * (times or {}).get(name, 1.0) for name, median in turns.medians().items()}
        record(key, values, note)

    return run
