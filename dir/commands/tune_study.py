"""The trials of ``dir-tune``: an Optuna study in a folder, on which several processes may work at once.

A worker holds a lock on a folder of its own as long as it lives, and writes its name into each trial that it begins.
A trial whose worker is gone is taken over: its training goes on from the last checkpoint. Trials are begun under a
lock of the whole search, so that workers neither draw the same settings nor exceed the number of trials.

Needs the extra ``tune`` (Optuna).
"""

from __future__ import annotations

import contextlib
import gc
import json
import multiprocessing
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from dir._checks import message
from dir.commands.closed_runs import differences, train_closed
from dir.commands.sources import compose_config
from dir.commands.tune_plan import Plan, composed, start_of
from dir.commands.tune_space import Dimension, override_of
from dir.recipe.cli import is_user_error
from dir.recipe.diverged import DivergedError
from dir.recipe.folder_lock import FolderLock
from dir.recipe.run_folder import RunFolder

_NAME = "tune"
# A trial whose worker died so often is marked as failed: its settings may be what kills the worker.
MAX_ATTEMPTS = 3


def storage_of(folder: Path) -> optuna.storages.BaseStorage:
    """Return the storage of a search, which waits a minute where another process writes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{folder / 'study.db'}"
    return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})


def open_study(plan: Plan, worker: int = 0) -> optuna.Study:
    """Return the study of a search that :func:`begin_search` has begun."""
    storage = storage_of(plan.folder)
    number = len(optuna.load_study(study_name=_NAME, storage=storage).trials)
    # A search that goes on, or another worker, must not draw the settings of the first trials again.
    seed = int(np.random.SeedSequence([plan.seed, worker, number]).generate_state(1)[0])
    epochs = composed(tuple(plan.settings(start_of))).trainer
    by_epochs = epochs.get("check_val_every_n_epoch") is not None and epochs.get("val_check_interval", 1.0) == 1.0
    return optuna.load_study(
        study_name=_NAME,
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_warmup_steps=max(epochs.max_epochs // 4, 1) if by_epochs else 0),
    )


def begin_search(plan: Plan) -> optuna.Study:
    """Check the plan, make its folder with an empty study, or open a search of the same settings and data.

    Raises:
        ValueError, FileNotFoundError: the plan cannot be searched, or the folder holds another search. Nothing is
            written then.
    """
    facts = plan.check()
    plan.folder.mkdir(parents=True, exist_ok=True)
    with turn(plan.folder):
        kept = plan.folder / "search.json"
        if kept.is_file():
            changed = differences(json.loads(kept.read_text(encoding="utf-8")), facts)
            if changed:
                advice = "Choose another --folder, or remove this one."
                raise ValueError(message("--folder", f"{plan.folder} holds another search: {changed}", advice=advice))
        study = optuna.create_study(
            storage=storage_of(plan.folder), study_name=_NAME, direction=plan.target.direction, load_if_exists=True
        )
        if not kept.is_file():
            # The first trial has the settings of the config, so that the best is never worse.
            study.enqueue_trial({one.key: one.start for one in plan.space() if one.start is not None})
            kept.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return study


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Wait until no other process begins a trial of the search, and keep others from it."""
    lock = FolderLock(folder / "turn")
    while not lock.acquire():
        time.sleep(0.02)
    try:
        yield
    finally:
        lock.release()


class Worker:
    """A process that works on a search.

    Args:
        plan: the search, which :func:`begin_search` has begun.
        number: number of the worker, for its sampler.
        say: called with a line about each trial.
    """

    def __init__(self, plan: Plan, number: int = 0, say: Callable[[str], None] = print) -> None:
        self.plan, self.say = plan, say
        self.study = open_study(plan, number)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.trials = plan.folder / "trials"

    def work(self) -> None:
        """Run trials until the budget is spent.

        Raises:
            ValueError, RuntimeError: no trial has ended, and a trial fails for another reason than its settings.
            SystemExit: after Ctrl-C; the trial goes on when the search does.
        """
        began = time.monotonic()
        alive = FolderLock(self._place(self.name))
        alive.acquire()
        try:
            while True:
                parent = multiprocessing.parent_process()
                if parent is not None and not parent.is_alive():
                    return  # the command was killed
                spent = time.monotonic() - began
                with turn(self.plan.folder):
                    late = self.plan.minutes is not None and spent >= 60 * self.plan.minutes
                    found = None if late and self._finished() else self._next()
                if found is None:
                    return
                self._run(*found)
        finally:
            alive.release()
            shutil.rmtree(self._place(self.name), ignore_errors=True)

    def _place(self, name: str) -> Path:
        return self.plan.folder / "workers" / name

    def _finished(self) -> bool:
        return any(trial.state == TrialState.COMPLETE for trial in self.study.get_trials(deepcopy=False))

    def _next(self) -> tuple[Trial, list[str]] | None:
        """Return a trial with its overrides: one whose worker is gone, or a new one; None if all have begun."""
        trials = self.study.get_trials(deepcopy=False)
        for one in trials:
            if one.state == TrialState.RUNNING and not self._is_alive(one.user_attrs.get("worker")):
                attempts = one.user_attrs.get("attempts", 0)
                if attempts >= MAX_ATTEMPTS:
                    self._end(Trial(self.study, one._trial_id), TrialState.FAIL, failure="its worker was killed")
                    continue
                return self._claim(Trial(self.study, one._trial_id), attempts + 1)
        begun = sum(trial.state != TrialState.WAITING for trial in trials)
        return self._claim(self.study.ask(), 1) if begun < self.plan.trials else None

    def _claim(self, trial: Trial, attempts: int) -> tuple[Trial, list[str]]:
        trial.set_user_attr("worker", self.name)
        trial.set_user_attr("attempts", attempts)
        return trial, self.plan.settings(lambda one: suggest(trial, one))

    def _is_alive(self, name: str | None) -> bool:
        """Return whether the worker of a trial still runs. It names itself in the turn that begins the trial."""
        if name is None:
            return False
        if name == self.name:
            return True
        lock = FolderLock(self._place(name))
        if not lock.acquire():
            return True
        lock.release()
        shutil.rmtree(self._place(name), ignore_errors=True)
        return False

    def _run(self, trial: Trial, lines: list[str]) -> None:
        """Train, and tell the study the result."""
        folder, began = RunFolder(self.trials / str(trial.number)), time.monotonic()
        trial.set_user_attr("overrides", lines)
        try:
            self._train(trial, lines, folder)
        except optuna.TrialPruned as pruned:
            self._end(trial, TrialState.PRUNED, failure=str(pruned))
        except DivergedError:
            # Optuna takes a pruned trial without values for the worst.
            self._end(trial, TrialState.PRUNED, failure="diverged")
        except (KeyboardInterrupt, SystemExit):
            # Only the death of a worker counts as an attempt.
            trial.set_user_attr("attempts", trial.user_attrs["attempts"] - 1)
            raise
        except Exception as error:
            if not is_user_error(error):
                raise
            self._end(trial, TrialState.FAIL, failure=str(error))
            if not self._finished():
                raise
        else:
            found = json.loads(folder.metrics.read_text(encoding="utf-8"))
            value = self.plan.target.read(found["val"])
            trial.set_user_attr("val", found["val"])
            trial.set_user_attr("run", {key: found["run"].get(key) for key in ("epochs", "best_epoch", "seconds")})
            if value is None:
                self._end(trial, TrialState.FAIL, failure=f"{self.plan.target} is undefined")
            else:
                self._end(trial, TrialState.COMPLETE, value)
        finally:
            gc.collect()
        shutil.rmtree(folder.path, ignore_errors=True)
        ended = next(one for one in self.study.get_trials(deepcopy=False) if one.number == trial.number)
        self.say(f"{describe_trial(ended)} ({time.monotonic() - began:.1f} s): {varied(ended)}")

    def _train(self, trial: Trial, lines: list[str], folder: RunFolder) -> None:
        from dir.recipe.callbacks import Watch

        cfg = compose_config([*lines, "logger=none"])
        cfg.trainer.enable_progress_bar = False
        known = set(self.study._storage.get_trial(trial._trial_id).intermediate_values)
        name = f"val/{self.plan.target.group}/{self.plan.target.metric}"

        def see(step: int, values: dict[str, float]) -> None:
            if name not in values or values[name] != values[name]:
                return
            if step not in known:
                trial.report(values[name], step)
            if trial.should_prune():
                raise optuna.TrialPruned(f"worse than the median after epoch {step + 1}")

        watched = [] if self.plan.why_not_pruned(cfg) else [Watch(see)]
        train_closed(cfg, folder, {"trial": trial.number}, self.plan.folder / "search.log", watched)

    def _end(self, trial: Trial, state: TrialState, value: float | None = None, failure: str = "") -> None:
        if failure:
            trial.set_user_attr("failure", failure)
        self.study.tell(trial, value, state)


def suggest(trial: Trial, one: Dimension) -> Any:
    """Return the value that a trial has for a dimension, drawn by the sampler when it is asked first."""
    found = one.distribution
    if isinstance(found, CategoricalDistribution):
        return trial.suggest_categorical(one.key, found.choices)
    if isinstance(found, IntDistribution):
        return trial.suggest_int(one.key, found.low, found.high, step=found.step, log=found.log)
    assert isinstance(found, FloatDistribution)
    return trial.suggest_float(one.key, found.low, found.high, log=found.log)


def describe_trial(trial: FrozenTrial) -> str:
    """Return number and result of a trial that has ended."""
    if trial.state == TrialState.COMPLETE:
        return f"trial {trial.number}: {trial.value:.4g}"
    state = "pruned" if trial.state == TrialState.PRUNED else "failed"
    return f"trial {trial.number}: {state}, {trial.user_attrs.get('failure', '')}"


def varied(trial: FrozenTrial) -> str:
    """Return the varied settings of a trial, without the first part of their keys: ``lds.sigma=2``."""
    return ", ".join(override_of(short_key(key), value) for key, value in trial.params.items())


def short_key(key: str) -> str:
    """Return a key without its first part, for tables."""
    return key.partition(".")[2] or key
