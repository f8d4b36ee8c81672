"""MLflow: the logger of a run, and what the run writes beside the metrics of its epochs."""

from __future__ import annotations

import json
import os
import re
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from dir._atomic import write_atomic
from dir._checks import message
from dir.recipe.tracking.facts import RunFacts
from dir.recipe.tracking.run_log import FILES, RunLog

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

# File of the run folder that names the run in MLflow, so that a resumed run continues it.
TRACKING = "tracking.json"
DEFAULT_STORE = "sqlite:///mlflow.db"
# MLflow refuses longer values, and more of them in one request.
_LONGEST, _MOST = 6000, 100


class MLflowLogger(Logger):
    """Logger of Lightning that writes to one run in MLflow. The first process connects when the run starts.

    Args:
        experiment_name: experiment in MLflow; made if it is missing.
        tracking_uri: store or server. None (default): the variable MLFLOW_TRACKING_URI, else ``sqlite:///mlflow.db``
            in the working directory.
        register: name of the registered model of which the bundle of the run becomes a version; None registers none.
        save_dir: run folder; nothing is written to it here.

    Raises:
        ModuleNotFoundError: MLflow is not installed.
    """

    def __init__(
        self,
        experiment_name: str,
        tracking_uri: str | None = None,
        register: str | None = None,
        save_dir: str = ".",
    ) -> None:
        super().__init__()
        if find_spec("mlflow") is None:
            advice = 'Run: pip install "deep-imbalanced-regression[mlflow]"'
            raise ModuleNotFoundError(message("logger", "MLflow is not installed", "mlflow", advice))
        self.experiment_name = experiment_name
        self.tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE
        self.register = register
        self.run_id: str | None = None
        self._client: MlflowClient | None = None

    @property
    def name(self) -> str:
        return self.experiment_name

    @property
    def version(self) -> str | None:
        return self.run_id

    @property
    def client(self) -> MlflowClient:
        """Client of the store; connects on first use."""
        if self._client is None:
            from mlflow import MlflowClient

            with store_errors(self.tracking_uri):
                self._client = MlflowClient(self.tracking_uri)
        return self._client

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [Metric(name, float(value), now, step or 0) for name, value in metrics.items()]
        with store_errors(self.tracking_uri):
            for start in range(0, len(batch), _MOST):
                self.client.log_batch(self._run(), metrics=batch[start : start + _MOST])

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Write settings. A value of more than 6,000 characters ends in "..."; the file config.yaml has all of it."""
        from mlflow.entities import Param

        given: Mapping[str, Any] = params if isinstance(params, dict) else vars(params)
        with store_errors(self.tracking_uri):
            # MLflow refuses to change a value: those of a resumed run, and of an entry point of MLproject, stay.
            known = self.client.get_run(self._run()).data.params
            texts = {name: str(value) for name, value in given.items() if name not in known}
            batch = [
                Param(name, text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}...")
                for name, text in texts.items()
            ]
            for start in range(0, len(batch), _MOST):
                self.client.log_batch(self._run(), params=batch[start : start + _MOST])

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Note a failure. Lightning also reports success, when the results of the run are still missing."""
        if status == "failed" and self.run_id is not None:
            with store_errors(self.tracking_uri):
                self.client.set_terminated(self.run_id, "FAILED")

    def _run(self) -> str:
        assert self.run_id is not None, "MLflowLog.start() makes the run"
        return self.run_id


class MLflowLog(RunLog):
    """A run in MLflow: parameters, tags, data set, metrics, figures and the files of the run folder."""

    takes_figures = True
    logger: MLflowLogger
    # The first of two stages has no use of its own, and its bundle is not registered.
    _first_stage = False

    def connect(self) -> None:
        """Ask the store for one experiment.

        Raises:
            ValueError: the store or server cannot be used.
        """
        with store_errors(self.logger.tracking_uri):
            self.logger.client.search_experiments(max_results=1)

    def start(self, facts: RunFacts) -> None:
        logger, client = self.logger, self.logger.client
        self._first_stage = facts.first_stage
        file = facts.folder / TRACKING
        with store_errors(logger.tracking_uri):
            before = _read_run_id(file, public_uri(logger.tracking_uri))
            given = os.environ.get("MLFLOW_RUN_ID")
            if before is not None:
                logger.run_id = before
                client.update_run(before, status="RUNNING")
            elif given is not None and not facts.first_stage and _is_new(client, given):
                # `mlflow run` has made the run for this process.
                logger.run_id = given
            else:
                logger.run_id = self._create_run(facts, given)
            for name, value in facts.tags.items():
                client.set_tag(logger.run_id, name, value)
            self._log_data(facts)
        kept = {"tracking_uri": public_uri(logger.tracking_uri), "run_id": logger.run_id}
        write_atomic(file, (json.dumps({"mlflow": kept}, indent=2) + "\n").encode())
        logger.log_hyperparams(facts.parameters)
        print(f"MLflow run {logger.run_id} of the experiment {logger.experiment_name}, {kept['tracking_uri']}")

    def _create_run(self, facts: RunFacts, parent: str | None) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        logger, client = self.logger, self.logger.client
        experiment = client.get_experiment_by_name(logger.experiment_name)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            advice = "Restore the experiment with `mlflow experiments restore`, or set logger.experiment_name."
            raise ValueError(message("logger", "the experiment was deleted", logger.experiment_name, advice))
        number = client.create_experiment(logger.experiment_name) if experiment is None else experiment.experiment_id
        tags = {} if parent is None else {"mlflow.parentRunId": parent}
        commit = facts.tags.get("dir.commit")
        if commit is not None:
            tags["mlflow.source.git.commit"] = commit.removesuffix("-dirty")
        run = client.create_run(number, tags=resolve_tags(tags), run_name=facts.name)
        return str(run.info.run_id)

    def _log_data(self, facts: RunFacts) -> None:
        """Name the data of the run, with its hash, as the data set of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        if facts.record is None:
            return
        files = facts.record.fingerprint.get("files", {})
        names = [str(part["name"]) for part in files.values() if isinstance(part, dict) and "name" in part]
        data = Dataset(
            name=names[0] if names else str(facts.config["name"]),
            digest=facts.record.hash,
            source_type="local",
            source=json.dumps({"files": names}),
        )
        inputs = [DatasetInput(data, [InputTag("mlflow.data.context", "training")])]
        self.logger.client.log_inputs(self.logger._run(), inputs)

    def figures(self, figures: Mapping[str, Figure], step: int) -> None:
        """Write figures as pictures; a later one of the same name replaces the earlier one."""
        with store_errors(self.logger.tracking_uri):
            for name, figure in figures.items():
                file = f"figures/{re.sub(r'[^0-9A-Za-z/_-]+', '_', name)}.png"
                self.logger.client.log_figure(self.logger._run(), figure, file)

    def finish(self, folder: Path) -> None:
        """Write the files of the run folder, without its checkpoints, and register its bundle."""
        with store_errors(self.logger.tracking_uri):
            for name in FILES:
                if (folder / name).is_file():
                    self.logger.client.log_artifact(self.logger._run(), str(folder / name))
            if self.logger.register is not None and not self._first_stage:
                from dir.recipe.tracking.mlflow_registry import register

                register(self.logger.client, self.logger._run(), folder, self.logger.register)

    def close(self, failed: bool) -> None:
        if failed:
            self.logger.finalize("failed")
        elif self.logger.run_id is not None:
            with store_errors(self.logger.tracking_uri):
                self.logger.client.set_terminated(self.logger.run_id)


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn an error of MLflow into a RuntimeError that names the store."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        problem = f"the MLflow store cannot be used ({str(error).splitlines()[0]})"
        advice = "Check the server, MLFLOW_TRACKING_URI and logger.tracking_uri; or set logger=csv."
        raise RuntimeError(message("logger", problem, public_uri(uri), advice)) from error


def public_uri(uri: str) -> str:
    """Return an address without the user and the password that it may hold.

    Example:
        >>> public_uri("https://ann:secret@mlflow.example.org:5000/x")
        'https://mlflow.example.org:5000/x'
    """
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _is_new(client: MlflowClient, run_id: str) -> bool:
    return "dir.folder" not in client.get_run(run_id).data.tags


def _read_run_id(file: Path, uri: str) -> str | None:
    """Return the run in MLflow of an interrupted run in the same folder; None for a new run or another store."""
    if not file.is_file():
        return None
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))["mlflow"]
        return str(kept["run_id"]) if kept["tracking_uri"] == uri else None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(message(str(file), "the file cannot be read", advice="Remove the file.")) from error
