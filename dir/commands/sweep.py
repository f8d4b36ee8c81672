"""SweepReport: a title when each run of a sweep starts, and a table of all runs at its end."""

from __future__ import annotations

import math
import os
import shlex
import uuid
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from dir.recipe.cli import RANKS
from dir.recipe.schema import register_configs

_BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


class SweepReport(Callback):
    """Callback of Hydra, set in configs/train.yaml. Single runs print neither title nor table.

    A launcher may start each run in another process (joblib) or on another machine (SLURM). Hydra then gives a copy
    of this callback to each run. The copy prints the title there, and adds the folder of the run to a hidden file in
    the folder of the sweep, from which this process makes the table.

    State:
        swept (keys whose values change between runs), total (number of runs, None if a sweeper decides it),
        record (the hidden file) and folders (of the runs that have ended in this process), written at the start of
        the sweep and at the end of each run.
    """

    def __init__(self) -> None:
        self.swept: set[str] = set()
        self.total: int | None = None
        self.folders: list[Path] = []
        self.record: Path | None = None
        self._copied = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "folders": [], "_copied": True}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Another process composes the config of its run before it reads any other module of this package.
        register_configs()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Read from the command line which keys are swept, and the number of runs."""
        params = config.hydra.sweeper.get("params") or {}
        lines = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
        overrides = OverridesParser.create().parse_overrides(lines)
        swept = {one.get_key_element().lstrip("+"): one for one in overrides if one.is_sweep_override()}
        self.swept = set(swept)
        self.record = Path(config.hydra.sweep.dir).resolve() / f".sweep_{uuid.uuid4().hex[:8]}"
        if config.hydra.sweeper._target_ == _BASIC_SWEEPER:
            self.total = math.prod(sum(1 for _ in one.sweep_string_iterator()) for one in swept.values())

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the number of the run and the values that distinguish it."""
        if not self._prints(config):
            return
        own = [line for line in config.hydra.overrides.task if line.lstrip("+").partition("=")[0] in self.swept]
        of = "" if self.total is None else f" of {self.total}"
        print(f"\nrun {config.hydra.job.num + 1}{of}: {' '.join(own or config.hydra.overrides.task)}", flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn | None = None, **kwargs: Any) -> None:
        """Remember the folder of the run."""
        if not self._prints(config):
            return
        folder = Path(config.hydra.runtime.output_dir).resolve()
        if not self._copied:
            self.folders.append(folder)
        elif self.record is not None:
            # A short line is written in one step, also by several processes at once.
            with self.record.open("a", encoding="utf-8") as stream:
                stream.write(f"{folder}\n")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print a table of the finished runs for each data set."""
        if self.record is not None and self.record.is_file():
            lines = self.record.read_text(encoding="utf-8").splitlines()
            self.record.unlink()
            # Runs at once end in any order.
            self.folders += sorted(map(Path, lines))
        if not self.folders:
            return

        from dir.compare.report import print_summary
        from dir.compare.runs import in_table_order, read_run
        from dir.compare.statistics import compare

        found = {folder: read_run(folder / "metrics.json") for folder in self.folders}
        for root in dict.fromkeys(folder.parents[1] for folder, run in found.items() if run is not None):
            runs = [run for folder, run in found.items() if run is not None and folder.parents[1] == root]
            shown = root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root
            print()
            command = f"dir-compare {shlex.quote(str(shown))} --all"
            print_summary(compare(in_table_order(runs)), f"{command} prints all tables")

    def _prints(self, config: DictConfig) -> bool:
        """Return whether this is the first process of a sweep."""
        multirun = str(config.hydra.mode).endswith("MULTIRUN")
        return multirun and all(os.environ.get(name, "0") == "0" for name in RANKS)
