"""Keeps Lightning's own work in a training step small, where a step of a small network takes two milliseconds."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from lightning import Callback, LightningModule
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

_CUDA_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"


class NoProfiler(PassThroughProfiler):
    """Lightning's profiler that measures nothing, without a new context for each of its 140 calls in a step."""

    _nothing: AbstractContextManager[Any] = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self._nothing


class LightModule(LightningModule):
    """LightningModule that logs all values of an epoch at once.

    Lightning keeps each logged value as a metric of its own, which takes some 20 times as long as the loggers.
    Validation metrics that a callback monitors still pass through Lightning.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch_log: dict[str, Tensor | float] = {}
        # Values of the last validation, such as "val/few/mae", for callbacks.
        self.validated: Mapping[str, Tensor | float] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # In each step Lightning asks for the parameters of training_step, and inspect works them out unless they are
        # written down.
        step: Any = cls.training_step
        step.__signature__ = inspect.signature(step)

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning records the name of the running hook 50 times in a step. torch.nn.Module would compare each value
        # with the types of parameters, buffers and modules: a plain attribute that becomes a text is none of them.
        if type(value) is str and name in self.__dict__:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def epoch_values(self) -> Mapping[str, Tensor | float]:
        """Return the values of the training epoch that are not written yet."""
        return self._epoch_log

    def log_validation(self, values: Mapping[str, Tensor | float]) -> None:
        """Log validation metrics."""
        self.validated = values
        if self.trainer.state.fn != TrainerFn.FITTING:
            self.log_dict(values)
        elif not self.trainer.sanity_checking:
            callbacks: Any = (*self.trainer.checkpoint_callbacks, *self.trainer.early_stopping_callbacks)
            watched = {callback.monitor for callback in callbacks}
            self.log_dict({name: value for name, value in values.items() if name in watched}, logger=False)
            self._write_log(values)

    def log_epoch(self, values: Mapping[str, Tensor | float]) -> None:
        """Keep values of the training epoch, which :meth:`write_epoch` gives to the loggers."""
        self._epoch_log.update(values)

    def write_epoch(self) -> None:
        """Give the values of the epoch to the loggers, and let the loggers write their files."""
        self._write_log(self._epoch_log)
        self._epoch_log = {}
        for logger in self.loggers:
            logger.save()

    def _write_log(self, values: Mapping[str, Tensor | float]) -> None:
        if not self.loggers:
            return
        # One transfer from the device for all tensors.
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        read = torch.stack(list(tensors.values())).tolist() if tensors else []
        numbers = {**values, **dict(zip(tensors, read, strict=True)), "epoch": self.current_epoch}
        # Lightning counts the steps of a log from zero.
        step = max(self.global_step - 1, 0)
        for logger in self.loggers:
            if not (isinstance(logger, TensorBoardLogger) and write_together(logger, numbers, step)):
                logger.log_metrics(numbers, step=step)


def write_together(logger: TensorBoardLogger, numbers: Mapping[str, Any], step: int) -> bool:
    """Write scalars to TensorBoard as one event, and return whether this is possible.

    Lightning's logger makes an event for each scalar, and hands each to the thread that writes. TensorBoard shows
    both in the same way.
    """
    writer = getattr(logger.experiment, "file_writer", None)
    # tensorboardX has another writer, and a closed writer has none.
    if writer is None or type(writer).__module__ != "torch.utils.tensorboard.writer":
        return False
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=name, simple_value=float(value)) for name, value in numbers.items()]
    writer.add_summary(Summary(value=values), step)
    return True


class CallbackGroup(Callback):
    """Several callbacks without a state of their own, which Lightning calls as one and only where they do something.

    Lightning calls six hooks of every callback in each step, also those that the callback does not override.

    Args:
        callbacks: called in this order.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        for hook in (name for name in vars(Callback) if name.startswith("on_") or name in ("setup", "teardown")):
            calls = [
                getattr(one, hook) for one in callbacks if getattr(type(one), hook) is not getattr(Callback, hook)
            ]
            if calls:
                setattr(self, hook, partial(_call_each, calls))


def _call_each(calls: Sequence[Callable[..., None]], *arguments: Any, **named: Any) -> None:
    for call in calls:
        call(*arguments, **named)


def skip_profiling(trainer: Any) -> None:
    """Replace the trainer's profiler if it measures nothing; ``+trainer.profiler=simple`` stays."""
    if type(trainer.profiler) is PassThroughProfiler:
        trainer.profiler = NoProfiler()


@contextmanager
def quick_cuda_check(device: torch.device) -> Iterator[None]:
    """Let PyTorch check for CUDA in a microsecond while a run trains on the CPU.

    Each step of an optimizer asks whether CUDA is there. Lightning makes this check load a library every time, to
    keep CUDA usable in forked processes; a run on the CPU forks only workers that load data.
    """
    before = os.environ.get(_CUDA_CHECK)
    if device.type != "cpu" or before is None:
        yield
        return
    os.environ[_CUDA_CHECK] = "0"
    try:
        yield
    finally:
        os.environ[_CUDA_CHECK] = before
