"""Runs in processes that can be killed, forked from this process, which has imported everything once.

The process reads one JSON object per line and answers with another: `{"path", "overrides", "resume", "moment",
"action", "clock", "log"}` starts a run and returns its `pid`; `{"wait": pid}` returns its exit code. The output of
the run goes to LOG.log, its moments to LOG.moments.

A moment is a point of the run, counted from the start: a training step, a validation step, a file of the run folder
that is opened to write, renamed, linked, removed, or half written. At the requested moment, the run kills itself
(`action="kill"`, the default), sends itself SIGTERM ("term"), cannot write files above 512 bytes ("limit"), or
finds the disk full ("fill"; a file `filler` takes what is left). With `clock="steps"` a second of
`checkpoint_every_seconds` is a training step, so that the same checkpoints are written on every machine.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

# The config of the tiny data and model of the tests.
TINY = Path(__file__).resolve().parents[2] / "tests/recipe/tiny"
MAIN_EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir"}


class Moments:
    """Counts the moments of a run, and acts at one of them."""

    def __init__(self, folder: Path, last: int | None, action: str) -> None:
        self.folder, self.last, self.action = folder, last, action
        self.names: list[str] = []
        self.pid = os.getpid()

    def pass_by(self, name: str, handle: int | None = None) -> None:
        if os.getpid() != self.pid:  # a worker of the loader
            return
        self.names.append(name)
        if self.last != len(self.names) - 1:
            return
        if self.action == "kill":
            if handle is not None:
                os.ftruncate(handle, os.fstat(handle).st_size // 2)
            os.kill(self.pid, signal.SIGKILL)
        elif self.action == "term":
            os.kill(self.pid, signal.SIGTERM)
        elif self.action == "limit":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
        else:
            self._fill()

    def _fill(self) -> None:
        with (self.folder.parent / "filler").open("wb", buffering=0) as filler:
            for size in (1 << 16, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        filler.write(b" " * size)

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in MAIN_EVENTS or not str(args[0]).startswith(str(self.folder)):
            return
        if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR):
            return
        self.pass_by(f"{event} {Path(str(args[0])).name}")

    def watch(self) -> None:
        from dir.recipe.module import RegressionModule

        sys.addaudithook(self.audit)
        fsync = os.fsync

        def synced(handle: int) -> None:
            name = Path(f"/proc/self/fd/{handle}").readlink().name
            if "partial" in name:
                self.pass_by(f"half of {name}", handle)
            fsync(handle)

        os.fsync = synced
        for step in ("training_step", "validation_step"):
            self._count_calls(RegressionModule, step)

    def _count_calls(self, owner: type, method: str) -> None:
        original = getattr(owner, method)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.pass_by(method)
            return original(*args, **kwargs)

        setattr(owner, method, counted)


@functools.cache
def config(overrides: tuple[str, ...]) -> DictConfig:
    """Composed in this process, once: it takes as long as three epochs."""
    from hydra import compose, initialize_config_dir

    from dir.recipe.cli import config_dir

    fixed = ["data=tiny", "model=tiny", "name=tiny", "trainer.accelerator=cpu"]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose("train", [f"hydra.searchpath=[file://{TINY}]", *fixed, *overrides])


def run(job: dict[str, Any]) -> int:
    import torch

    from dir.recipe.run_folder import RunFolder
    from dir.recipe.train import train

    torch.set_num_threads(1)
    path = Path(job["path"])
    with Path(f"{job['log']}.log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    moments = Moments(path, job.get("moment"), job.get("action", "kill"))
    moments.watch()
    if job.get("clock") == "steps":
        _count_steps_as_seconds(moments)
    try:
        cfg = config(tuple(job["overrides"]))
        cfg.resume = job.get("resume", False)
        train(cfg, RunFolder(path), {"method": "test"})
        Path(f"{job['log']}.moments").write_text(json.dumps(moments.names))
        return 0
    except SystemExit as error:
        # What Python does with it outside of tests.
        print(error)
        return 3
    except BaseException:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _count_steps_as_seconds(moments: Moments) -> None:
    import dir.recipe.train as recipe
    from dir.recipe.checkpoints import AtomicCheckpointIO

    clock = functools.partial(moments.names.count, "training_step")
    recipe.AtomicCheckpointIO = functools.partial(AtomicCheckpointIO, clock=clock)  # type: ignore[attr-defined, misc]


def serve() -> None:
    sys.path.insert(0, str(TINY))
    import tensorboard.compat.proto.event_pb2  # noqa: F401
    import tiny_parts  # noqa: F401
    import torch._dynamo
    import torch.utils.tensorboard  # noqa: F401

    import dir.recipe.train  # noqa: F401
    from dir.recipe.cli import register_configs

    register_configs()
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            _, status = os.waitpid(job["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            config(tuple(job["overrides"]))
            pid = os.fork()
            if not pid:
                os._exit(run(job))
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
