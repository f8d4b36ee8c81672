"""Services that no longer exist, so that ``logger=NAME`` says why a run cannot log to them."""

from __future__ import annotations

from typing import Any, NoReturn

from dir._checks import message

NEPTUNE = "dir.recipe.tracking.neptune"


def neptune(**_: Any) -> NoReturn:
    """Refuse ``logger=neptune``.

    Raises:
        ValueError: always.
    """
    advice = "Set logger=mlflow, wandb, tensorboard or csv. docs/tracking.md says what is known about the service."
    raise ValueError(message("logger", "the service Neptune was closed in March 2026", "neptune", advice))
