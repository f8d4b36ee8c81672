"""Trainings of a search: on the training and validation rows alone, with their output in a log file.

``dir-recommend`` and ``dir-tune`` compare trainings. The test rows are closed to all of them, see
:meth:`dir.data.base.RegressionData.close_test`: whatever asks for a test row raises an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dir._checks import message
from dir.data.base import RegressionData
from dir.data.identity import hash_ids
from dir.recipe.run_folder import RunFolder

if TYPE_CHECKING:
    from lightning import Callback
    from omegaconf import DictConfig

    from dir.recipe.build import SetUp


def train_closed(
    cfg: DictConfig,
    folder: RunFolder,
    run_info: dict[str, Any],
    log: Path,
    callbacks: Sequence[Callback] = (),
    set_up: SetUp = RegressionData.close_test,
) -> None:
    """Train without test rows. Resume an interrupted training, and leave a finished one as it is.

    Args:
        cfg: config of the run; ``resume`` is set here.
        folder: run folder.
        run_info: see :func:`dir.recipe.train.train`.
        log: file to which the output of the run is added.
        callbacks: further callbacks of Lightning.
        set_up: sets the data module up and closes its test rows.
    """
    if folder.finished:
        return
    # Importing Lightning takes seconds.
    from dir.recipe.train import train

    cfg.resume = folder.path.is_dir() and any(folder.path.iterdir())
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
        train(cfg, folder, run_info, set_up, callbacks)


def row_hashes(data: RegressionData) -> dict[str, str]:
    """Return a hash of the rows of each open split. Another order of the rows is the same hash.

    Raises:
        ValueError: the rows of this data have no ids, so that a search could go on with other data.
    """
    try:
        return {split: hash_ids(sorted(ids)) for split, ids in data.split_ids().items()}
    except RuntimeError as error:
        raise ValueError(message("data", f"a search compares the rows of its trainings, and {error}")) from error


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the first keys in which two flat dictionaries differ, with both values; an empty text if they agree.

    Example:
        >>> differences({"a": 1, "b": 2}, {"a": 1, "b": 3})
        'b (2 -> 3)'
    """
    changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    return ", ".join(f"{key} ({before.get(key)} -> {now.get(key)})" for key in changed[:5])
