"""Services that have ended, so that ``logger=NAME`` says why a run cannot log to them."""

from __future__ import annotations

from typing import Any, NoReturn

from dir._checks import message

NEPTUNE = "dir.recipe.tracking.neptune"


def neptune(**_: Any) -> NoReturn:
    """Refuse ``logger=neptune``.

    Raises:
        ValueError: always.
    """
    advice = "Set logger=mlflow, wandb, tensorboard or csv."
    raise ValueError(message("logger", "Neptune announced the end of its service for March 2026", "neptune", advice))
