"""Settings, numbers and facts of a run, as loggers take them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dir.recipe.run_data import DataRecord
from dir.recipe.run_info import commit
from dir.recipe.same_settings import leaves
from dir.recipe.summary import Groups

# Settings that decide nothing about the results.
_NO_PARAMETERS = ("logger", "resume", "best", "checkpoint_every_seconds", "trainer.enable_progress_bar")


@dataclass(frozen=True)
class RunFacts:
    """What is known about a run before it trains.

    Args:
        config: resolved config of the run.
        folder: run folder.
        record: record of the data; or None.
        run_info: entries of metrics.json about the run, such as the method's name.
        first_stage: whether this is the first stage of a method with two stages. Such a run has no use of its own.
    """

    config: dict[str, Any]
    folder: Path
    record: DataRecord | None = None
    run_info: dict[str, Any] = field(default_factory=dict)
    first_stage: bool = False

    @property
    def name(self) -> str:
        """Name of the run: the last parts of the path of its folder, such as ``age_synthetic/lds/seed_0``."""
        return "/".join(self.folder.absolute().parts[-4 if self.first_stage else -3 :])

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings by their dotted keys, with the choices of method and experiment."""
        chosen = {key: self.run_info[key] for key in ("method", "experiment") if self.run_info.get(key) is not None}
        kept = {
            key: value
            for key, value in leaves(self.config).items()
            if not any(key == name or key.startswith(f"{name}.") for name in _NO_PARAMETERS)
        }
        return chosen | kept

    @property
    def tags(self) -> dict[str, str]:
        """Facts by which one searches: run folder, commit, and hash and rows of the data."""
        found = {"dir.folder": str(self.folder.absolute())}
        here = commit()
        if here is not None:
            found["dir.commit"] = here
        if self.record is not None:
            found["dir.data_hash"] = self.record.hash
            found |= {f"dir.rows.{split}": str(len(ids)) for split, ids in self.record.split.items()}
        if self.first_stage:
            found["dir.stage"] = "1"
        return found


def flat_numbers(groups: Groups, prefix: str) -> dict[str, float]:
    """Return the metrics of a split by ``prefix/group/metric``, without those that are undefined.

    Example:
        >>> flat_numbers({"few": {"mae": 2.0, "gm": None}}, "test")
        {'test/few/mae': 2.0}
    """
    return {
        f"{prefix}/{group}/{name}": value
        for group, values in groups.items()
        for name, value in values.items()
        if value is not None
    }
