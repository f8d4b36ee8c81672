"""The SIGTERM handler of a rank, in a separate process with a stand-in for the trainer."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time
from types import SimpleNamespace
from dir.recipe.callbacks import EndsTogether

signal.signal(signal.SIGTERM, lambda number, frame: print("earlier handler", flush=True))
strategy = SimpleNamespace(cluster_environment=None, launcher=None)
trainer = SimpleNamespace(strategy=strategy, world_size=int(sys.argv[1]))
callback = EndsTogether()
callback.grace = 1.0
callback.setup(trainer, None, "fit")
callback.on_train_start(trainer, None)
try:
    os.kill(os.getpid(), signal.SIGTERM)
except SystemExit as end:
    print("asked to end", end.code, flush=True)
    if sys.argv[2] == "end":
        raise
time.sleep(30 if trainer.world_size > 1 else 0)  # the exception got lost
print("still running")
"""


@pytest.mark.parametrize(
    ("ranks", "then", "words", "code"),
    [
        (2, "end", ["earlier handler", "asked to end 1"], 1),
        (2, "stay", ["earlier handler", "asked to end 1"], 1),
        (1, "end", ["earlier handler", "still running"], 0),
    ],
)
def test_rank_ends_and_calls_the_earlier_handler(ranks: int, then: str, words: list[str], code: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(ranks), then]
    done = subprocess.run(command, capture_output=True, text=True, timeout=25, check=False)
    assert done.stdout.splitlines() == words, done.stderr
    assert done.returncode == code
