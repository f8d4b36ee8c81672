"""The name of a run folder: the name of the run, and the overridden settings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import PurePath

from dir.recipe.same_settings import MAY_CHANGE

# Value of ``name`` in configs/train.yaml, which stands for no name.
UNNAMED = "unnamed"
# The folder's path lists these settings already, or they do not change any result.
OMITTED = MAY_CHANGE | {"experiment", "method", "seed", "name", "data.label", "data.target"}
MAX_SUFFIX = 200


def run_name(name: str, data: str, model: str) -> str:
    """Return the name of a run: the configured name, or ``DATA-MODEL`` where the config gives none.

    Example:
        >>> run_name("agedb", "agedb", "resnet"), run_name("unnamed", "tabular", "mlp")
        ('agedb', 'tabular-mlp')
    """
    return f"{data}-{model}" if name == UNNAMED else name


def suffix(overrides: Iterable[str]) -> str:
    """Return ``,key=value`` for each override that changes results, sorted by key.

    Without an experiment and without ``name=``, the name of the run is ``DATA-MODEL``. The suffix then leaves out
    ``data`` and ``model``, and names the input file (without its folder) and the target.

    Characters that file systems or shells treat specially are replaced by ``_``. A suffix of more than 200
    characters is replaced by a hash.

    Example:
        >>> suffix(["+experiment=agedb", "seed=3", "method=lds", "method.lds.sigma=1", "optimizer.lr=0.01"])
        ',method.lds.sigma=1,optimizer.lr=0.01'
        >>> suffix(["+experiment=agedb", "model=a/b"])
        ',model=a_b'
        >>> suffix(["+experiment=agedb", "logger=mlflow", "logger.register=ages"])
        ''
        >>> suffix(["data=tabular", "model=mlp", "data.path=/tmp/houses.csv", "data.target=price"])
        ',data.path=houses,data.target=price'
    """
    lines = [line.lstrip("+") for line in overrides]
    omitted = OMITTED
    if not any(_key(line) in ("experiment", "name") for line in lines):
        omitted = (OMITTED | {"data", "model"}) - {"data.path", "data.csv", "data.label", "data.target"}
        lines = [_without_folder(line) if _key(line) in ("data.path", "data.csv") else line for line in lines]
    lines = [_without_folder(line) if _key(line) == "noise.audit" else line for line in lines]
    kept = sorted(line for line in lines if _key(line) not in omitted and not _key(line).startswith("logger."))
    text = "".join(f",{re.sub(r'[^A-Za-z0-9_.=~+@-]', '_', line)}" for line in kept)
    if len(text) > MAX_SUFFIX:
        text = "," + hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16]
    return text


def _key(line: str) -> str:
    return line.lstrip("~").partition("=")[0]


def _without_folder(line: str) -> str:
    key, _, path = line.partition("=")
    return f"{key}={PurePath(path).stem}"
