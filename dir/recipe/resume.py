"""Check that an interrupted run can be resumed: its checkpoint is complete and belongs to the same model."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from dir._checks import message
from dir.recipe.checkpoints import mismatches, read_checkpoint
from dir.recipe.run_folder import LAST, PREVIOUS

# Entries that a checkpoint needs for resuming. A checkpoint of the best weights lacks most of them.
_STATE = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks")


def check_resumable(path: Path, module: nn.Module) -> None:
    """Raise a ValueError unless training can resume from a checkpoint with this module.

    The error names the reason, and the other checkpoint that ``resume=previous`` uses where there is one.
    """
    advice = f"Remove {path.parent.parent} to start again."
    if path.name == LAST and path.with_name(PREVIOUS).is_file():
        advice = (
            "Set resume=previous to resume from the checkpoint before, or remove "
            f"{path.parent.parent} to start again."
        )
    try:
        content = read_checkpoint(path)
    except ValueError as error:
        raise ValueError(f"{error} {advice}") from error
    missing = [key for key in _STATE if key not in content]
    if missing:
        raise ValueError(
            message(str(path), f"expected a whole training state, it lacks {', '.join(missing)}", advice=advice)
        )
    wrong = mismatches(module.state_dict(), content["state_dict"])
    if wrong:
        raise ValueError(
            message(str(path), f"the checkpoint belongs to another model: {', '.join(wrong[:5])}", advice=advice)
        )
