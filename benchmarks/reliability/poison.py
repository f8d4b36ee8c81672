"""Rows: files from strangers that try to run code are refused, and the code never runs."""

from __future__ import annotations

import functools
import json
import operator
import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.reliability import commands, fixtures
from benchmarks.reliability.payloads import FORMS, PLACES, bombs, calls, check_armed, put, sealed, yaml_tags
from benchmarks.reliability.rows import Case, Row, listing, some


def _judge(ended: commands.Ended, marker: Path, named: str, before: dict[str, Any], folder: Path) -> tuple[str, str]:
    """Return outcome and detail of a command on a poisoned file, from the marker, the folder and the message."""
    if os.path.lexists(marker):
        return "code ran", ended.output
    if ended.code == 0:
        return "accepted", ended.output
    if not ended.refused or named not in ended.output:
        return "refused without a clear message", ended.output
    changed = [name for name, content in listing(folder).items() if before.get(name, b"") != content]
    return ("files changed", ", ".join(changed)) if changed else ("refused", "")


def _configs(folder: Path, short: bool) -> Iterator[Case]:
    check_armed(folder, short)
    run, marker = fixtures.table_run(folder), folder / "marker"
    config, log = run / "config.yaml", folder / "command.log"
    whole = config.read_text()
    content = yaml.safe_load(whole)
    checkpoint = run / "checkpoints/best.ckpt"
    nodes = calls(marker, folder)
    cases = [(name, place) for name in nodes for place in PLACES]
    for name, place in some(cases, short, 6):
        config.write_text(yaml.safe_dump(put(content, place, nodes[name]) | {"trust": True}))
        before = listing(run)
        ended = commands.evaluate(folder, log, f"ckpt={checkpoint}")
        yield Case(f"evaluate: {name} at {place}", *_judge(ended, marker, "config.yaml", before, run))
        marker.unlink(missing_ok=True)
    for text in some(yaml_tags(marker), short, 1):
        config.write_text(text)
        before = listing(run)
        ended = commands.evaluate(folder, log, f"ckpt={checkpoint}")
        yield Case(f"evaluate: {text}", *_judge(ended, marker, "config.yaml", before, run))
    # A run that resumes compares the file with the command line.
    for name in ("metrics.json", "predictions.npz"):
        (run / name).unlink()
    settings = (*fixtures.TABLE, f"data.path={folder / 'houses.csv'}", f"hydra.run.dir={run}", "resume=true")
    for name, place in some(cases[::3], short):
        config.write_text(yaml.safe_dump(put(content, place, nodes[name])))
        before = listing(run)
        ended = commands.train(folder, log, *settings)
        yield Case(f"resume: {name} at {place}", *_judge(ended, marker, "resume", before, run))


def _checkpoints(folder: Path, short: bool) -> Iterator[Case]:
    run, marker, log = fixtures.table_run(folder), folder / "marker", folder / "command.log"
    best, last = (run / f"checkpoints/{name}.ckpt" for name in ("best", "last"))
    good = torch.load(last, weights_only=True)
    (run / "metrics.json").unlink()
    table = (*fixtures.TABLE, f"data.path={folder / 'houses.csv'}")
    resume = (*table, f"hydra.run.dir={run}", "resume=true")
    encoder = (*table, "method=rrt", f"method.retrain.checkpoint={best}", f"hydra.run.dir={folder / 'second'}")

    def evaluated() -> commands.Ended:
        return commands.evaluate(folder, log, f"ckpt={best}")

    readers: list[tuple[str, Path, Callable[[], commands.Ended]]] = [
        ("evaluate", best, evaluated),
        ("resume", last, lambda: commands.train(folder, log, *resume)),
        ("retrain", best, lambda: commands.train(folder, log, *encoder)),
    ]
    cases = [(*reader, bomb, form) for reader in readers for bomb in bombs(marker) for form in FORMS]
    for name, path, read, bomb, form in some(cases, short, 3):
        whole = path.read_bytes()
        path.write_bytes(FORMS[form](good, bombs(marker)[bomb], folder))
        before = listing(run)
        yield Case(f"{name}: {bomb} in {form}", *_judge(read(), marker, path.name, before, run))
        marker.unlink(missing_ok=True)
        path.write_bytes(whole)


def _bundles(folder: Path, short: bool) -> Iterator[Case]:
    import skops.io

    marker, log = folder / "marker", folder / "command.log"
    runs = {method: fixtures.table_run(folder, method) for method in ("vanilla", "bagging")}
    fixtures.houses(5).drop(columns="price").to_csv(folder / "new.csv", index=False)
    whole = {method: listing(run / "model") for method, run in runs.items()}
    forged: list[tuple[str, str, Callable[[Path], None]]] = []
    for name, node in calls(marker, folder).items():
        for part in ("encoder", "head"):
            change = {"architecture": {part: node}}
            forged.append((f"{name} as {part}", "vanilla", lambda bundle, change=change: _describe(bundle, change)))  # type: ignore[misc]
    for name, bomb in bombs(marker).items():
        for content in (pickle.dumps(bomb), FORMS["another entry"]({}, bomb, folder)):
            for method, file in (("vanilla", "weights.safetensors"), ("bagging", "estimator.skops")):
                forged.append((f"pickle of {name} as {file}", method, functools.partial(_swap, file, content)))
    harmful = (
        functools.partial(os.system, f"touch {marker}"),
        operator.methodcaller("touch"),
        [subprocess.Popen],
        os.system,
        bombs(marker)["Path.touch"],
    )
    for value in harmful:
        content = skops.io.dumps(value)
        forged.append((f"skops of {value!r}", "bagging", functools.partial(_swap, "estimator.skops", content)))
    for name, method, forge in some(forged, short, 8):
        bundle = runs[method] / "model"
        forge(bundle)
        before = listing(folder)
        arguments = (f"model={runs[method]}", f"input={folder / 'new.csv'}", f"output={folder / 'out.csv'}")
        ended = commands.predict(folder, log, *arguments)
        log.unlink()
        before.pop(log.name, None)
        yield Case(f"predict: {name}", *_judge(ended, marker, str(bundle), before, folder))
        marker.unlink(missing_ok=True)
        for file, content in whole[method].items():
            (bundle / file).write_bytes(content)


def _swap(name: str, content: bytes, bundle: Path) -> None:
    from skops.io import get_untrusted_types

    trusted = {}
    if name == "estimator.skops":
        try:
            trusted = {"trusted": get_untrusted_types(data=content)}
        except Exception:  # not a skops file
            trusted = {"trusted": ["os.system", "posix.system", "pathlib.Path"]}
    sealed(bundle, name, content, **trusted)


def _describe(bundle: Path, change: dict[str, Any]) -> None:
    path = bundle / "model.json"
    description = json.loads(path.read_text())
    for key, value in change.items():
        description[key] |= value
    path.write_text(json.dumps(description))
    sealed(bundle, "weights.safetensors", (bundle / "weights.safetensors").read_bytes())


def _arrays(folder: Path, short: bool) -> Iterator[Case]:
    marker, log = folder / "marker", folder / "command.log"
    arrays, path = fixtures.picture_arrays(), folder / "bars.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    run = folder / "run"
    images = ("+experiment=images_npz", f"data.path={path}", "data.label=angle", "trainer.max_epochs=1")
    done = commands.train(folder, log, *images, f"hydra.run.dir={run}")
    if done.code:
        raise RuntimeError(done.output)
    second = (*images, "method=rrt", f"hydra.run.dir={folder / 'second'}")

    def trained() -> commands.Ended:
        return commands.train(folder, log, *images, f"hydra.run.dir={folder / 'other'}")

    def predicted() -> commands.Ended:
        return commands.predict(folder, log, f"model={run}", f"input={path}", f"output={folder / 'out.csv'}")

    def retrained() -> commands.Ended:
        return commands.train(folder, log, *second, f"method.retrain.checkpoint={run / 'checkpoints/best.ckpt'}")

    predictions = run / "predictions.npz"
    readers = [("train", path, name, trained) for name in arrays]
    readers += [("predict", path, "images", predicted), ("retrain", predictions, "label", retrained)]
    cases = [(*reader, bomb) for reader in readers for bomb in bombs(marker)]
    for name, file, array, read, bomb in some(cases, short, 4):
        whole = file.read_bytes()
        with np.load(file) as content:
            values = dict(content)
        values[array] = np.array([bombs(marker)[bomb]] * len(values[array]), dtype=object)
        np.savez(file, **values)
        log.unlink(missing_ok=True)
        before = listing(folder)
        ended = read()
        log.unlink()
        yield Case(f"{name}: {bomb} in the array {array}", *_judge(ended, marker, file.name, before, folder))
        marker.unlink(missing_ok=True)
        file.write_bytes(whole)


_ORACLE = (
    "Without protection each payload creates a marker file. After the command there must be no marker, the folder "
    "must be unchanged, and the message must name the file."
)
ROWS = [
    Row(
        "poison_configs",
        "A run folder of somebody else is data: its `config.yaml` runs no code.",
        "Forged targets (torch.load, pandas.read_pickle, numpy.load, joblib.load, os, subprocess, exec, eval, nested "
        "targets, interpolations, YAML tags) at eight keys of config.yaml, read by evaluate.py and by a run that "
        f"resumes. {_ORACLE}",
        _configs,
    ),
    Row(
        "poison_checkpoints",
        "A checkpoint of somebody else runs no code.",
        "Pickles that call six functions, in four places of a checkpoint, in the old format and as plain pickles, "
        "read by evaluate.py, by a run that resumes, and as the encoder of a second stage.",
        _checkpoints,
    ),
    Row(
        "poison_arrays",
        "An npz file of somebody else runs no code.",
        "Arrays of pickled objects in the npz files that train.py, predict.py and a second stage read.",
        _arrays,
    ),
    Row(
        "poison_bundles",
        "A model bundle of somebody else runs no code, even with correct hashes.",
        "Forged targets in model.json, pickles in place of weights and estimators, and skops files with functions "
        "and foreign types, all with matching hashes and read by predict.py.",
        _bundles,
    ),
]
