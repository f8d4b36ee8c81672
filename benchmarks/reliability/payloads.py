"""Payloads that run code when a careless program reads them: pickles, config targets, forged bundles."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reliability import commands
from benchmarks.reliability.rows import some

# Keys of config.yaml at which a forged target is placed.
PLACES = ("model.encoder", "model.head", "data", "task.loss", "task.bins", "method.loss", "optimizer", "trainer")


class Bomb:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def bombs(marker: Path) -> dict[str, Bomb]:
    """Return objects whose pickles create the marker file."""
    return {
        "Path.touch": Bomb(Path.touch, marker),
        "os.system": Bomb(os.system, f"touch {marker}"),
        "os.mkdir": Bomb(os.mkdir, str(marker)),
        "exec": Bomb(exec, f"open({str(marker)!r}, 'w')"),
        "eval": Bomb(eval, f"open({str(marker)!r}, 'w')"),
        "shutil.copy": Bomb(shutil.copy, sys.executable, str(marker)),
    }


def calls(marker: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Return nodes of a config, each of which creates the marker when its target is called."""
    with (folder / "x.pkl").open("wb") as stream:
        pickle.dump(Bomb(Path.touch, marker), stream)
    torch.save(Bomb(Path.touch, marker), folder / "x.pt")
    np.save(folder / "x.npy", np.array([Bomb(Path.touch, marker)], dtype=object), allow_pickle=True)
    (folder / "x.py").write_text(f"open({str(marker)!r}, 'w')\n")
    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    return {
        "torch.load": {"_target_": "torch.load", "f": str(folder / "x.pt"), "weights_only": False},
        "pandas.read_pickle": {"_target_": "pandas.read_pickle", "filepath_or_buffer": str(folder / "x.pkl")},
        "numpy.load": {"_target_": "numpy.load", "file": str(folder / "x.npy"), "allow_pickle": True},
        "joblib.load": {"_target_": "joblib.load", "filename": str(folder / "x.pkl")},
        "os.system": {"_target_": "os.system", "command": touch},
        "os.mkdir": {"_target_": "os.mkdir", "path": str(marker)},
        "os.popen": {"_target_": "os.popen", "cmd": touch},
        "subprocess.run": {"_target_": "subprocess.run", "args": ["touch", str(marker)]},
        "subprocess.Popen": {"_target_": "subprocess.Popen", "args": ["touch", str(marker)]},
        "runpy.run_path": {"_target_": "runpy.run_path", "path_name": str(folder / "x.py")},
        "pathlib.Path.touch": {"_target_": "pathlib.Path.touch", "self": str(marker)},
        "exec by _args_": {"_target_": "builtins.exec", "_args_": [code]},
        "eval by _args_": {"_target_": "builtins.eval", "_args_": [code]},
        "nested instantiate": {
            "_target_": "hydra.utils.instantiate",
            "config": {"_target_": "os.system", "command": touch},
        },
        "argument of a listed target": {
            "_target_": "dir.losses.WeightedL1",
            "reduction": {"_target_": "os.system", "command": touch},
        },
        "argument of the trainer": {
            "_target_": "lightning.Trainer",
            "callbacks": [{"_target_": "subprocess.run", "args": ["touch", str(marker)]}],
        },
        "attribute of a listed target": {"_target_": "dir.LDS.__init__.__globals__", "command": touch},
        "interpolation": {"_target_": "${oc.env:HOME}", "command": touch},
    }


def put(content: dict[str, Any], place: str, node: Any) -> dict[str, Any]:
    """Return a copy of a config with a node at a dotted place."""
    copied: dict[str, Any] = json.loads(json.dumps(content))
    *parents, last = place.split(".")
    inner = copied
    for name in parents:
        if not isinstance(inner.get(name), dict):
            inner[name] = {}
        inner = inner[name]
    inner[last] = node
    return copied


def yaml_tags(marker: Path) -> list[str]:
    return [
        f"!!python/object/apply:os.system ['touch {marker}']",
        f"model: !!python/object/apply:os.system ['touch {marker}']",
        f"model: !!python/object/new:os.system ['touch {marker}']",
        f"model: !!python/object/apply:pathlib.Path.touch [{marker}]",
    ]


def _torch(content: Any, folder: Path, zipped: bool = True) -> bytes:
    torch.save(content, folder / "x.ckpt", _use_new_zipfile_serialization=zipped)
    return (folder / "x.ckpt").read_bytes()


# Ways to hide an object in a checkpoint; each takes the checkpoint, the object and a folder for temporary files.
FORMS: dict[str, Callable[[Any, Any, Path], bytes]] = {
    "another entry": lambda good, bomb, folder: _torch(good | {"more": bomb}, folder),
    "the weights": lambda good, bomb, folder: _torch(good | {"state_dict": good["state_dict"] | {"w": bomb}}, folder),
    "the optimizer": lambda good, bomb, folder: _torch(good | {"optimizer_states": [bomb]}, folder),
    "the callbacks": lambda good, bomb, folder: _torch(good | {"callbacks": {"RunCheckpoint": bomb}}, folder),
    "the old format": lambda good, bomb, folder: _torch(good | {"more": bomb}, folder, zipped=False),
    "a plain pickle": lambda good, bomb, folder: pickle.dumps(good | {"more": bomb}, protocol=2),
    "a pickle of protocol 0": lambda good, bomb, folder: pickle.dumps(bomb, protocol=0),
}


def sealed(bundle: Path, name: str, content: bytes, **about: Any) -> None:
    """Replace a file of a bundle and write the matching hashes, as a forger would."""
    (bundle / name).write_bytes(content)
    path = bundle / "model.json"
    description = json.loads(path.read_text())
    description["files"][name] = description["files"].get(name, {}) | {
        "sha256": hashlib.sha256(content).hexdigest(),
        **about,
    }
    description["sha256"] = "0" * 64
    text = json.dumps(description, indent=1) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(text.replace('"sha256": "' + "0" * 64, f'"sha256": "{digest}'))


def check_armed(folder: Path, short: bool = False) -> None:
    """Raise a RuntimeError if a payload does nothing when it is run without protection."""
    marker, log = folder / "marker", folder / "command.log"
    actions: dict[str, Callable[[], object]] = {
        name: lambda bomb=bomb: pickle.loads(pickle.dumps(bomb))  # type: ignore[misc]
        for name, bomb in bombs(marker).items()
    }
    # A node in an argument needs Hydra, which blocks the target; its kind is in the list by itself.
    direct = {name: node for name, node in calls(marker, folder).items() if " of " not in name}
    for name in ("nested instantiate", "interpolation"):
        del direct[name]
    actions |= {f"config {name}": lambda node=node: _call(node) for name, node in direct.items()}  # type: ignore[misc]
    for name, action in some(actions.items(), short, 4):
        ended = commands.forked(action, folder, log)
        if not os.path.lexists(marker):
            raise RuntimeError(f"the payload {name} does nothing: {ended.output}")
        shutil.rmtree(marker) if marker.is_dir() else marker.unlink()


def _call(node: dict[str, Any]) -> None:
    *module, name = node["_target_"].split(".")
    if module[-1][0].isupper():  # a method of a class
        owner = getattr(importlib.import_module(".".join(module[:-1])), module[-1])
        getattr(owner, name)(owner(node["self"]))
        return
    result = getattr(importlib.import_module(".".join(module)), name)(
        *node.get("_args_", ()), **{key: value for key, value in node.items() if not key.startswith("_")}
    )
    if hasattr(result, "read"):
        result.read()
    if hasattr(result, "wait"):
        result.wait()
