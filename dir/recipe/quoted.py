"""Values of the command line that the grammar of Hydra refuses, such as the separator ``;``, as quoted texts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

# Keys that hold a text. A comma in such a value is a character of the text: outside of a sweep, and before a blank.
_TEXTS = frozenset(f"data.{name}" for name in ("path", "test_path", "csv", "target", "decimal", "sep", "thousands"))


def quote_values(arguments: Iterable[str], sweep: bool = False) -> list[str]:
    """Return arguments of a command line in the grammar of Hydra.

    A shell takes away the quotation marks of ``data.sep=';'``, and Hydra refuses ``data.sep=;``.

    Args:
        arguments: ``key=value``, and options that start with ``-``, which stay as they are.
        sweep: whether a value may be a list of values to run one after another. ``data.target=a,b`` is then such a
            list, and ``data.target=a, b`` the name of a column.

    Example:
        >>> quote_values(["data.sep=;", "data.target=price, EUR", "data.drop=[a,b]", "-m"])
        ['data.sep=";"', 'data.target="price, EUR"', 'data.drop=[a,b]', '-m']
    """
    parser = OverridesParser.create()

    def quoted(line: str) -> str:
        key, equals, value = line.partition("=")
        if not equals or not value or line.startswith("-"):
            return line
        try:
            listed = parser.parse_override(line).is_sweep_override()
        except HydraException:
            listed = True
        else:
            listed = listed and key.lstrip("+") in _TEXTS and (not sweep or (", " in value and "(" not in value))
        # Hydra reads a backslash as one only before a quotation mark.
        text = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + ('\\"' if found[2] else ""), value)
        return f'{key}="{text}"' if listed else line

    return [quoted(line) for line in arguments]


def config_of(arguments: Iterable[str]) -> DictConfig:
    """Return the config that ``key=value`` arguments make, with the values that Hydra reads from them.

    Example:
        >>> config_of(["data.decimal=,", "data.drop=[a, b]", "seed=1"])
        {'data': {'decimal': ',', 'drop': ['a', 'b']}, 'seed': 1}
    """
    found = OmegaConf.create({})
    for line in quote_values(arguments):
        override = OverridesParser.create().parse_override(line)
        OmegaConf.update(found, override.key_or_group, override.value(), force_add=True)
    return found
