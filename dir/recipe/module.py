"""The LightningModule of every recipe: it calls the parts of a method by name, whichever are set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dir._checks import check_positive, message
from dir.bins import LabelBins
from dir.costs import Cost
from dir.fds.output import OutputFDS
from dir.losses.base import Criterion, Regularizer
from dir.metrics import MeanCost, ShotMetrics, TargetMetrics
from dir.mixup import CMixup
from dir.models.decision import decide_raw
from dir.models.heads_distribution import DistributionHead
from dir.models.regressor import Regressor
from dir.models.target_units import TargetUnits
from dir.recipe.checkpoints import read_checkpoint
from dir.recipe.diverged import DivergedError
from dir.recipe.light_steps import LightModule
from dir.recipe.restored import restored
from dir.recipe.row_weights import mix
from dir.reweighter import Reweighter, TargetWeights

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

MakeOptimizer = Callable[[Iterator[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


class RegressionModule(LightModule):
    r"""``loss = criterion(model(x, y), t, weight=lds(y)) + sum(regularizer(features, t, prediction))``.

    ``t = (y - offset) / scale`` is the target, the label in the criterion's units, with ``log(1 + y)`` in place of
    ``y`` if ``log1p`` is true. Metrics are in raw units.

    Args:
        model: encoder, FDS and head.
        criterion: called as ``criterion(output, target, weight=weight_or_None)``. Where it has a method ``fit``,
            :meth:`fit_targets` calls that method with the training targets and their bins. The optimizer trains its
            parameters.
        metrics: shot metrics of the validation labels, in raw units.
        optimizer: makes the optimizer from the trainable parameters.
        scheduler: makes the learning-rate scheduler from the optimizer, stepped every epoch; None for none.
        lds: fitted reweighter, labels -> weights (LDS, DenseWeight), or None for unweighted losses.
        regularizers: further terms of the loss, on the raw features.
        output_fds: shifts the training predictions, or None.
        mixup: mixes the samples of a training batch, its bandwidth in the criterion's units; or None.
        target_offset, target_scale: the criterion sees ``(label - offset) / scale``, and predictions are
            transformed back before metrics. scale > 0. Lists for labels [N, K] of K targets.
        log1p: whether the criterion sees ``(log(1 + label) - offset) / scale``. Default: False.
        label_dtype: type of raw labels and predictions, float32 (default) or float64.
        cost: cost of raw predictions and labels: the validation logs its mean, and a head with a predicted
            distribution predicts the decision of lowest expected cost. None (default): no cost.
        importance_scale: factor of the weights of a batch with importance. Default 1.

    State:
        - ``target_offset``, ``target_scale``: buffers, 0-dim or [K], so that a checkpoint contains its units.

    Raises:
        ValueError: if ``target_scale`` is not positive.
    """

    target_offset: Tensor
    target_scale: Tensor

    def __init__(
        self,
        model: Regressor,
        criterion: Criterion,
        metrics: ShotMetrics | TargetMetrics,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler | None = None,
        lds: Reweighter | TargetWeights | None = None,
        regularizers: Sequence[Regularizer] = (),
        output_fds: OutputFDS | None = None,
        mixup: CMixup | None = None,
        target_offset: float | Sequence[float] = 0.0,
        target_scale: float | Sequence[float] = 1.0,
        log1p: bool = False,
        label_dtype: torch.dtype = torch.float32,
        importance_scale: float = 1.0,
        cost: Cost | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion
        self.metrics = metrics
        self.lds = lds
        self.regularizers = nn.ModuleList(regularizers)
        self.output_fds = output_fds
        self.mixup = mixup
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self.log1p = log1p
        self.label_dtype = label_dtype
        self.importance_scale = importance_scale
        self.cost = cost
        self.mean_cost = None if cost is None else MeanCost(cost)
        self.register_buffer("target_offset", torch.tensor(target_offset, dtype=label_dtype))
        self.register_buffer("target_scale", torch.tensor(target_scale, dtype=label_dtype))
        check_positive("target_scale", self.target_scale.min().item())

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = "cpu",
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        *,
        trust: bool = False,
        **arguments: Any,
    ) -> Self:
        """Return a trained module in training mode, as Lightning does, to train on or to predict.

        A checkpoint of a finished run needs no arguments: the run folder has all parts, and neither the data of the
        run nor code in its files is needed. ``arguments`` replace arguments of the module, such as
        ``optimizer=partial(AdamW, lr=1e-4)``. With ``model=`` nothing but the checkpoint is read, which may then be
        any checkpoint of this module, and all arguments are those given.

        Args:
            checkpoint_path: such as ``outputs/NAME/METHOD/seed_0/checkpoints/best.ckpt``.
            map_location: device of the module.
            hparams_file: must be None, since the module has no hyper-parameters.
            strict: must be None or True.
            weights_only: must be None or True. Code in a file is never run.
            trust: whether the config.yaml of the run may build any class. Such a file runs code of its author's
                choice. Default: only the classes in ``dir/recipe/targets.py``.
            arguments: of the module.

        Raises:
            FileNotFoundError: the checkpoint, or config.yaml or the model bundle of its run, is missing.
            ValueError: a damaged file, a class that a run folder may not build, weights that do not fit, an argument
                with another value than described, or a run with ``data.importance`` without ``importance_scale``.
        """
        for name, value, allowed in (
            ("hparams_file", hparams_file, (None,)),
            ("strict", strict, (None, True)),
            ("weights_only", weights_only, (None, True)),
        ):
            if not any(value is one for one in allowed):
                raise ValueError(message(name, f"expected {' or '.join(map(str, allowed))}", value))
        path = Path(checkpoint_path)
        run = None if "model" in arguments else restored(path, trust, arguments)
        module = cls(**arguments) if run is None else cls(**(run.arguments | arguments))
        if run is not None:
            # Of the fitted parts, only the bins are used. The state in the checkpoint replaces the rest.
            module._fit_parts(run.targets, run.target_bins)
        try:
            module.load_state_dict(read_checkpoint(path)["state_dict"] if run is None else run.state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(message(str(path), f"the weights do not fit the module ({reason})")) from error
        if run is not None and run.frozen:
            module.model.freeze_encoder()
        return module.to(map_location)

    @property
    def units(self) -> TargetUnits:
        """The map between raw labels and the criterion's targets."""
        return TargetUnits(self.target_offset, self.target_scale, self.log1p, self.label_dtype)

    def to_target(self, labels: Tensor) -> Tensor:
        """Return labels in the criterion's units."""
        return self.units.to_target(labels)

    def fit_targets(self, labels: Tensor, target_bins: LabelBins | Sequence[LabelBins]) -> None:
        """Fit criterion, head and regularisers to the training labels [N], or [N, K] with bins for each target."""
        self._fit_parts(self.to_target(labels), target_bins)

    @property
    def fitted_parts(self) -> list[Any]:
        """Criterion, head and regularisers that learn from the training labels."""
        return [part for part in (self.criterion, self.model.head, *self.regularizers) if hasattr(part, "fit")]

    def _fit_parts(self, targets: Tensor, target_bins: LabelBins | Sequence[LabelBins]) -> None:
        for part in self.fitted_parts:
            part.fit(targets, target_bins)

    def forward(self, inputs: Any) -> Tensor:
        """Return predictions in raw units, [N], or [N, K] of several targets."""
        return self.decide(self.model(inputs))

    def predict_variance(self, inputs: Any) -> tuple[Tensor, Tensor | None]:
        """Return predictions [N] in raw units and variances [N] in squared raw units, None if the head gives none."""
        return self.read_output(self.model(inputs))

    def read_output(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the same as :meth:`predict_variance` from the output of the model."""
        prediction, variance = self.model.predict(output), self.model.variance(output)
        scaled = None if variance is None else self.units.raw_variance(prediction, variance)
        return (self.decide(output) if self.decides else self.to_raw(prediction)), scaled

    @property
    def decides(self) -> bool:
        """Whether predictions are decisions of lowest expected cost rather than the point of the head."""
        return self.cost is not None and isinstance(self.model.head, DistributionHead)

    def decide(self, output: Tensor, power: float | None = None) -> Tensor:
        """Return raw predictions [N] from the output of the model: decisions under the cost, where the head can.

        Args:
            output: output of the model.
            power: power of the label prior for decisions. Default: that of the head.
        """
        head = self.model.head
        if self.cost is not None and isinstance(head, DistributionHead):
            return decide_raw(head, output, self.units, self.cost, power)
        return self.to_raw(self.model.predict(output))

    def to_raw(self, prediction: Tensor) -> Tensor:
        """Return predictions in raw units, in the type of the labels."""
        return self.units.to_raw(prediction)

    def training_step(self, batch: tuple[Any, ...], batch_idx: int) -> Tensor:
        inputs, labels, *third = batch
        importance: Tensor | None = third[0] if third else None
        target = self.to_target(labels)
        if self.mixup is not None:
            inputs, target, importance = mix(self.mixup, inputs, target, importance)
            labels = self.to_raw(target)
        features, output = self.model.step(inputs, labels)
        if self.output_fds is not None:
            output = self._shifted(self.output_fds, output, target, labels)
        weight = self.weight(labels, importance)
        loss: Tensor = self.criterion(output, target, weight=weight)
        for regularizer in self.regularizers:
            loss = loss + regularizer(features, target, self.model.predict(output))
        return loss

    def weight(self, labels: Tensor, importance: Tensor | None) -> Tensor | None:
        """Return weights by the label density times importance, [N]; None without both.

        The importance of the training rows is scaled so that their weights have mean one.
        """
        weight = None if self.lds is None else self.lds(labels)
        if importance is None:
            return weight
        scaled = importance * self.importance_scale
        return scaled if weight is None else weight * scaled

    @staticmethod
    def _shifted(output_fds: OutputFDS, output: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Return the shifted predictions [N], or [N, k] of k members, whose predictions share their statistics."""
        copies = output[0].numel() if output.ndim > 1 and len(output) else 1
        rows = (values.repeat_interleave(copies) for values in (target, labels))
        shifted: Tensor = output_fds(output.flatten(), *rows)
        return shifted.view_as(output)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the predictions [N] of a batch in raw units.

        A batch is ``(inputs, labels)``, as in training, also with an importance as third part. A tensor, or a list or
        tuple with one entry, has no labels. A correction after training (``method.posthoc``) belongs to the model
        bundle and is not applied.
        """
        predictions: Tensor = self(batch[0] if isinstance(batch, tuple | list) and len(batch) <= 3 else batch)
        return predictions

    def validation_step(self, batch: tuple[Any, Tensor], batch_idx: int) -> None:
        inputs, labels = batch
        predictions = self(inputs)
        self.metrics.update(predictions, labels)
        if self.mean_cost is not None:
            self.mean_cost.update(predictions, labels)

    def on_validation_epoch_end(self) -> None:
        groups = self.metrics.compute()
        self.metrics.reset()
        if not torch.isfinite(groups["all"]["mae"]):
            problem = f"training diverged: the predictions are not finite in epoch {self.current_epoch + 1}"
            advice = "Lower optimizer.lr, set trainer.gradient_clip_val, or look for extreme inputs."
            raise DivergedError(message("validation", problem, advice=advice))
        found = [(group, values) for group, values in groups.items() if values["n"] > 0]
        logged = {f"val/{group}/{name}": value.float() for group, of in found for name, value in of.items()}
        if self.mean_cost is not None:
            logged["val/all/cost"] = self.mean_cost.compute().float()
            self.mean_cost.reset()
        self.log_validation(logged)

    def on_train_epoch_end(self) -> None:
        optimizer = cast("Optimizer", self.optimizers())
        self.log_epoch({"lr": optimizer.param_groups[0]["lr"]})
        self.write_epoch()

    def configure_optimizers(self) -> Any:
        optimizer = self._make_optimizer(p for p in self.parameters() if p.requires_grad)
        if self._make_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self._make_scheduler(optimizer)}
