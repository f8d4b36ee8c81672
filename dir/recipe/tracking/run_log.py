"""What a run writes to its logger beside the metrics of its epochs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from dir.recipe.predictions import Results
from dir.recipe.same_settings import leaves
from dir.recipe.tracking.facts import RunFacts, flat_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Files of a run folder that are worth keeping elsewhere. Checkpoints are large, and only resuming needs them.
FILES = ("config.yaml", "data.json", "split.json.gz", "metrics.json", "predictions.npz")


class RunLog:
    """The log of one run: settings and final metrics, which every logger of Lightning takes.

    The first process calls :meth:`connect`, :meth:`start`, :meth:`figures`, :meth:`results` and :meth:`finish`, in
    this order. As a context manager, the log is closed after a failure too.

    Args:
        logger: logger that the trainer writes to as well.
    """

    takes_figures = False
    # Whether the log is worth keeping for a run without epochs, such as that of a scikit-learn regressor.
    takes_estimators = True

    def __init__(self, logger: Logger) -> None:
        self.logger = logger

    def connect(self) -> None:
        """Raise an error if the log cannot be written, before the run writes its first file."""

    def start(self, facts: RunFacts) -> None:
        """Write the settings of a run that is about to train."""
        self.logger.log_hyperparams(facts.parameters | facts.tags)

    def figures(self, figures: Mapping[str, Figure], step: int) -> None:
        """Write figures under their names, where the logger takes figures."""

    def results(self, results: Results, config: dict[str, Any], step: int) -> None:
        """Write the metrics of val and test of the evaluated epoch."""
        numbers = flat_numbers(results.metrics.get("test", {}), "test")
        numbers |= flat_numbers(results.metrics["val"], "best/val")
        self.logger.log_metrics(numbers, step=step)

    def finish(self, folder: Path) -> None:
        """Write the files of a finished run folder, where the logger takes files."""

    def close(self, failed: bool) -> None:
        """Close the log of a run that has ended."""
        self.logger.finalize("failed" if failed else "success")

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=kind is not None)


class TensorBoardLog(RunLog):
    """TensorBoard: figures, and settings beside a metric, without which TensorBoard does not show them."""

    takes_figures = True
    takes_estimators = False
    logger: TensorBoardLogger

    def start(self, facts: RunFacts) -> None:
        pass

    def figures(self, figures: Mapping[str, Figure], step: int) -> None:
        for name, figure in figures.items():
            self.logger.experiment.add_figure(name, figure, global_step=step)

    def results(self, results: Results, config: dict[str, Any], step: int) -> None:
        self.logger.log_metrics(flat_numbers(results.metrics.get("test", {}), "test"), step=step)
        errors = {f"hparams/{split}_mae": groups["all"]["mae"] for split, groups in results.metrics.items()}
        self.logger.log_hyperparams(
            leaves(config), {name: value for name, value in errors.items() if value is not None}
        )


class CSVLog(RunLog):
    """csv: metrics. config.yaml in the folder above holds the settings."""

    takes_estimators = False

    def start(self, facts: RunFacts) -> None:
        pass

    def results(self, results: Results, config: dict[str, Any], step: int) -> None:
        self.logger.log_metrics(flat_numbers(results.metrics.get("test", {}), "test"), step=step)


class WandbLog(RunLog):
    """W&B: figures, and the files and the bundle of the run as an artifact of type "model"."""

    takes_figures = True
    logger: WandbLogger

    def __init__(self, logger: WandbLogger) -> None:
        super().__init__(logger)
        self._run: Any = None

    def start(self, facts: RunFacts) -> None:
        import wandb

        # A sweep trains several runs in one process, and the logger would continue a run that is still open.
        if wandb.run is not None:
            wandb.finish()
        self._run = self.logger.experiment
        if facts.config["logger"].get("name") is None:
            self._run.name = facts.name
        super().start(facts)

    def figures(self, figures: Mapping[str, Figure], step: int) -> None:
        import wandb

        pictures = {f"figures/{name}": wandb.Image(figure) for name, figure in figures.items()}
        self._run.log(pictures | {"trainer/global_step": step})

    def finish(self, folder: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"run-{self._run.id}", type="model")
        for name in FILES:
            if (folder / name).is_file():
                artifact.add_file(str(folder / name))
        if (folder / "model").is_dir():
            artifact.add_dir(str(folder / "model"), name="model")
        self._run.log_artifact(artifact)

    def close(self, failed: bool) -> None:
        super().close(failed)
        if self._run is not None:
            self._run.finish(exit_code=int(failed))
