"""The part of a run folder's name that lists the overridden settings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from dir.recipe.resume import MAY_CHANGE

# The folder's path names these settings already, or they do not change any result.
UNNAMED = MAY_CHANGE | {"experiment", "method", "seed", "name", "data.label", "data.target"}
MAX_SUFFIX = 200


def suffix(overrides: Iterable[str]) -> str:
    """Return ``,key=value`` for each override that changes results, sorted by key.

    Characters that file systems or shells treat specially are replaced by ``_``. A suffix of more than 200
    characters is replaced by a hash.

    Example:
        >>> suffix(["+experiment=agedb", "seed=3", "method=lds", "method.lds.sigma=1", "optimizer.lr=0.01"])
        ',method.lds.sigma=1,optimizer.lr=0.01'
        >>> suffix(["model=a/b"])
        ',model=a_b'
    """
    kept = sorted(line.lstrip("+") for line in overrides if line.lstrip("+~").split("=")[0] not in UNNAMED)
    text = "".join(f",{re.sub(r'[^A-Za-z0-9_.=~+@-]', '_', line)}" for line in kept)
    if len(text) > MAX_SUFFIX:
        text = "," + hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16]
    return text
