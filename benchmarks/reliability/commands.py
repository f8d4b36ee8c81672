"""The commands of scripts/ in forked processes, which need no second for the imports."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Ended(NamedTuple):
    """Exit status and output of a process."""

    code: int
    output: str

    @property
    def refused(self) -> bool:
        """Whether the process ended with an error message, without a traceback."""
        return self.code not in (0, None) and "Traceback" not in self.output


def forked(action: Callable[[], object], folder: Path, log: Path) -> Ended:
    """Run an action in a forked process whose working directory is ``folder``; its output goes to ``log``.

    This process must not have trained a network before: threads do not survive a fork.
    """
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.chdir(folder)
            with log.open("wb") as stream:
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)
            action()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return Ended(os.waitstatus_to_exitcode(status), log.read_text(errors="replace"))


def train(folder: Path, log: Path, *arguments: str) -> Ended:
    """Run ``scripts/train.py ARGUMENTS`` in a folder."""

    def action() -> None:
        from dir.recipe.cli import train_main

        sys.argv = ["train.py", "trainer.accelerator=cpu", "logger=none", *arguments]
        train_main()

    return forked(action, folder, log)


def evaluate(folder: Path, log: Path, *arguments: str) -> Ended:
    """Run ``scripts/evaluate.py ARGUMENTS`` in a folder."""

    def action() -> None:
        from dir.recipe.cli import evaluate_main

        evaluate_main(list(arguments))

    return forked(action, folder, log)


def predict(folder: Path, log: Path, *arguments: str) -> Ended:
    """Run ``scripts/predict.py ARGUMENTS`` in a folder."""

    def action() -> None:
        from dir.bundle.cli import predict_main

        predict_main(list(arguments))

    return forked(action, folder, log)


def import_everything() -> None:
    """Import the packages of all commands, so that the forked processes find them."""
    import sklearn.ensemble  # noqa: F401
    import skops.io  # noqa: F401
    import torch

    import dir.bundle.cli
    import dir.data
    import dir.data.csv_images
    import dir.data.npz_images
    import dir.data.tabular
    import dir.recipe.evaluate
    import dir.recipe.train  # noqa: F401

    torch.set_num_threads(1)
