"""Filters for messages of Lightning that every run would repeat and that a user cannot act on."""

from __future__ import annotations

import logging
import warnings


def quiet_lightning() -> None:
    """Silence the messages that Lightning prints in every run."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.accelerators.cuda").setLevel(logging.WARNING)
    for pattern in (
        ".*does not have many workers.*",  # our datasets are in memory: workers would slow the loading down
        ".*smaller than the logging interval.*",  # we log by epoch
        ".*treespec, LeafSpec.*",  # Lightning's own use of torch
        r".*recommended to use `self\.log\(.*sync_dist=True.*",  # metrics and diagnostics are of all processes
        r".*module\(s\) in eval mode.*",  # the frozen encoder of a second stage
        ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run
        ".*Experiment logs directory .* exists and is not empty.*",  # a resumed run; its old log was renamed
    ):
        warnings.filterwarnings("ignore", message=pattern)
