"""Lazy imports for the public names of the package and its subpackages.

The interface is that of the package ``lazy_loader``, which would be a fifth dependency of the core for a dozen lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package that imports its names on first use.

    Args:
        package: ``__name__`` of the package.
        homes: module of each public name, relative to the package.

    Example:
        >>> get, _, names = attach("dir", {"LDS": "lds"})
        >>> get("LDS").__name__, names
        ('LDS', ['LDS'])
    """
    names = sorted(homes)

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    def list_names() -> list[str]:
        return list(names)

    return get, list_names, names
