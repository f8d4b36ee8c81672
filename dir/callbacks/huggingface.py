"""LDS, FDS and the losses in the Trainer of Hugging Face transformers.

``DIRTrainer`` is transformers' Trainer with :class:`DIRTrainerMixin`. Put the mixin before your own Trainer class in
the same way. The mixin adds :class:`DIRCallback`, which ends epochs, and saves and restores the state.

Needs the extra ``huggingface`` (transformers and accelerate).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from dir._checks import message
from dir.fds import FDS, attach_fds
from dir.losses import WeightedMSE
from dir.losses.base import Criterion
from dir.reweighter import Reweighter

try:
    from transformers import Trainer, TrainerCallback
    from transformers.trainer_utils import get_last_checkpoint
except ImportError as error:
    _ADVICE = 'pip install "deep-imbalanced-regression[huggingface]".'
    raise ModuleNotFoundError(message("dir.callbacks.huggingface", f"{error}", advice=_ADVICE)) from error

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class DIRTrainerMixin:
    """Train a model of transformers with a loss of this package, LDS weights, and FDS before its last layer.

    ``loss = criterion(logits, labels, weight=lds(labels))``. The epochs of FDS end with those of the Trainer, and the
    diagnostics of FDS are logged as ``fds/<name>``. Evaluation computes the same loss, without FDS.

    Each checkpoint folder gets a file ``dir_state_<rank>.pt`` with the state of FDS, LDS and the criterion. The model
    itself is saved as without FDS, so that ``from_pretrained`` needs neither this package nor FDS. A training that
    resumes with ``train(resume_from_checkpoint=...)`` ends as an uninterrupted one, where that of the Trainer does.

    Args:
        args, kwargs: of the Trainer. The model has ``num_labels=1``, unless the criterion takes more outputs.
        lds: fitted reweighter, or None (default) for unweighted losses.
        fds: an FDS, which is attached to the model, or None (default).
        fds_before: name of the layer that FDS stands before, as in ``model.named_modules()``. Default "classifier".
        criterion: called as ``criterion(prediction, labels, weight=weight_or_None)`` with predictions [N] (or outputs
            [N, k] of a model with k > 1 labels) and labels [N]. Default :class:`dir.losses.WeightedMSE`.

    Raises:
        RuntimeError: LDS that is not fitted.
        ValueError: settings of the Trainer that the mixin would ignore or cannot serve (``compute_loss_func``,
            ``label_smoothing_factor``; with FDS also ``model_init``, DataParallel, FSDP and DeepSpeed); a layer that
            ``attach_fds`` refuses; later, a checkpoint without the file of this rank.

    Example:
        A whole script is in docs/adapters.md.
    """

    if TYPE_CHECKING:
        model: Any
        args: Any
        state: Any
        label_names: list[str]
        train_dataset: Dataset[Any] | None
        is_fsdp_enabled: bool
        is_deepspeed_enabled: bool

        def add_callback(self, callback: Any) -> None: ...
        def log(self, logs: dict[str, float]) -> None: ...

    def __init__(
        self,
        *args: Any,
        lds: Reweighter | None = None,
        fds: FDS | None = None,
        fds_before: str = "classifier",
        criterion: Criterion | None = None,
        **kwargs: Any,
    ) -> None:
        if lds is not None and not lds.fitted:
            raise RuntimeError(message("lds", "LDS is not fitted", advice="Call lds.fit(train_labels) first."))
        if kwargs.get("compute_loss_func") is not None:
            raise ValueError(message("compute_loss_func", "DIRTrainer computes the loss", advice="Set criterion=."))
        if fds is not None and kwargs.get("model_init") is not None:
            advice = "Pass model=, or make a trainer for each trial."
            raise ValueError(message("model_init", "it would make models without FDS", advice=advice))
        super().__init__(*args, **kwargs)
        if self.args.label_smoothing_factor:
            problem = "expected 0, since labels are numbers"
            raise ValueError(message("label_smoothing_factor", problem, self.args.label_smoothing_factor))
        self.lds, self.fds = lds, fds
        self.criterion: Criterion = WeightedMSE() if criterion is None else criterion
        for part in (self.lds, self.criterion):
            if isinstance(part, nn.Module):
                part.to(self.args.device)
        # The loss is a mean over a batch: the Trainer then divides it by the number of accumulated batches.
        self.model_accepts_loss_kwargs = False
        if fds is not None:
            if self.args.n_gpu > 1:
                advice = "Start one process per GPU: torchrun --nproc-per-node=N, or accelerate launch."
                raise ValueError(message("fds", "DataParallel has no labels in its threads", advice=advice))
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                raise ValueError(message("fds", "FSDP and DeepSpeed are not supported; DistributedDataParallel is"))
            attach_fds(self.model, fds, before=fds_before)
        self._resumed_from: Path | None = None
        self.add_callback(DIRCallback(self))

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as the Trainer does, and restore FDS, LDS and the criterion where the training resumes."""
        folder = (
            get_last_checkpoint(self.args.output_dir) if resume_from_checkpoint is True else resume_from_checkpoint  # type: ignore[no-untyped-call]
        )
        self._resumed_from = Path(folder) if folder else None
        if self._resumed_from is not None:
            self._state_file(self._resumed_from, must_exist=True)
        return super().train(resume_from_checkpoint, *args, **kwargs)  # type: ignore[misc]

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of a batch, and the outputs of the model if asked for."""
        name = self.label_names[0] if self.label_names else "labels"
        if name not in inputs:
            raise ValueError(message("inputs", f"expected {name!r} among the inputs of a batch", sorted(inputs)))
        labels = as_labels(inputs[name])
        rest = {key: value for key, value in inputs.items() if key != name}
        if self.fds is None:
            outputs = model(**rest)
        else:
            with self.fds.labels(labels):
                outputs = model(**rest)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        prediction = logits.squeeze(-1) if logits.ndim == 2 and logits.shape[1] == 1 else logits
        weight = None if self.lds is None else self.lds(labels)
        loss = self.criterion(prediction, labels, weight=weight)
        return (loss, outputs) if return_outputs else loss

    def _parts(self) -> dict[str, nn.Module]:
        parts = {"fds": self.fds, "lds": self.lds, "criterion": self.criterion}
        return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}

    def _state_file(self, folder: Path, must_exist: bool = False) -> Path:
        path = folder / f"dir_state_{self.args.process_index}.pt"
        if must_exist and not path.is_file():
            advice = "Resume from a checkpoint that DIRTrainer wrote with as many processes as now."
            raise FileNotFoundError(message(str(path), "the state of FDS and LDS is missing", advice=advice))
        return path


class DIRCallback(TrainerCallback):
    """End the epochs of FDS, and save and restore the state of the parts of a :class:`DIRTrainerMixin`.

    Args:
        trainer: the trainer, which adds the callback itself.
    """

    def __init__(self, trainer: DIRTrainerMixin) -> None:
        self.trainer = trainer
        # Step of the last call of end_epoch(): a checkpoint at the end of an epoch may be written before the call.
        self.closed_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore the parts, or begin the first epoch."""
        trainer, self.closed_step = self.trainer, 0
        folder = trainer._resumed_from
        if folder is not None:
            self._restore(trainer._state_file(folder, must_exist=True))
        at_end = state.global_step > 0 and float(state.epoch).is_integer()
        if folder is not None and at_end and self.closed_step != state.global_step:
            self.end_epoch()
        elif trainer.fds is not None and (folder is None or (args.ignore_data_skip and not at_end)):
            # Samples of an interrupted epoch, which the Trainer starts again.
            trainer.fds.sums.clear()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the epoch of FDS, before the Trainer evaluates and saves."""
        self.end_epoch()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the state of this rank into the checkpoint folder."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        # Trials of a hyper-parameter search save elsewhere, and nothing resumes them.
        if folder.is_dir() and not args.save_only_model:
            parts = {name: part.state_dict() for name, part in self.trainer._parts().items()}
            content = {"parts": parts, "closed_step": self.closed_step, "world_size": args.world_size}
            torch.save(content, self.trainer._state_file(folder))

    def end_epoch(self) -> None:
        """Call ``end_epoch()`` of FDS, on all ranks, and log its diagnostics."""
        trainer = self.trainer
        if trainer.fds is not None:
            diagnostics = trainer.fds.end_epoch()
            self.closed_step = int(trainer.state.global_step)
            trainer.log({f"fds/{name}": value for name, value in diagnostics.items()})

    def _restore(self, path: Path) -> None:
        trainer = self.trainer
        content = torch.load(path, map_location="cpu", weights_only=True)
        saved, parts = cast("dict[str, dict[str, Any]]", content["parts"]), trainer._parts()
        if saved.keys() != parts.keys():
            problem = f"the checkpoint holds the state of {sorted(saved)}, and the trainer has {sorted(parts)}"
            raise ValueError(message(str(path), problem, advice="Resume with the parts of the interrupted training."))
        if trainer.fds is not None and content["world_size"] != trainer.args.world_size:
            problem = f"it was written by {content['world_size']} processes, and each keeps its own sums of the epoch"
            advice = "Resume with as many processes."
            raise ValueError(message(str(path), problem, trainer.args.world_size, advice))
        if trainer.lds is not None and not torch.equal(trainer.lds.weights.cpu(), saved["lds"]["weights"]):
            warnings.warn(
                message(
                    "lds", f"its weights differ from those in {path}, which are used", advice="Is the data the same?"
                ),
                stacklevel=2,
            )
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        self.closed_step = int(content["closed_step"])


class DIRTrainer(DIRTrainerMixin, Trainer):  # type: ignore[misc]
    """transformers' Trainer with LDS, FDS and a loss of this package; see :class:`DIRTrainerMixin`."""


def as_labels(labels: Tensor) -> Tensor:
    """Return labels [N] or [N, 1] as numbers [N] of at least single precision.

    Example:
        >>> as_labels(torch.tensor([[1], [2]]))
        tensor([1., 2.])
    """
    flat = labels.squeeze(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    return flat.to(torch.promote_types(flat.dtype, torch.float32))
