"""Griffe extension: read the reStructuredText roles of our docstrings as Markdown.

Docstrings write formulas and links as Sphinx does (``.. math::``, ``:class:`dir.LDS` ``), because editors know this
form. mkdocstrings renders Markdown.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

from griffe import Extension, Object

_BLOCK = re.compile(
    r"^(?P<indent> *)\.\. math::(?P<first>.*)\n(?P<rest>(?:(?P=indent) +\S.*\n?|\n(?=(?P=indent)   +\S))*)", re.M
)
# Griffe knows the plural, and draws the doctests below it as code.
_EXAMPLE = re.compile(r"^Example:$", re.M)
_INLINE = re.compile(r":math:`([^`]+)`")
_ROLE = re.compile(r":(class|func|meth|attr|data|mod|obj|exc):`([^`]+)`")


class SphinxRoles(Extension):
    """Translate the docstring of every object when Griffe has read it."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring in place."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text: str) -> str:
    """Return the docstring with formulas between dollar signs and roles as links or code."""
    text = _EXAMPLE.sub("Examples:", text)
    text = _BLOCK.sub(_block, text)
    text = _INLINE.sub(r"$\1$", text)
    return _ROLE.sub(_link, text)


def _block(found: re.Match[str]) -> str:
    indent = found["indent"]
    lines = [found["first"].strip(), *textwrap.dedent(found["rest"]).strip().splitlines()]
    body = " ".join(line.strip() for line in lines if line.strip())
    return f"{indent}$$\n{indent}{body}\n{indent}$$\n\n"


def _link(found: re.Match[str]) -> str:
    kind, target = found[1], found[2].lstrip("~")
    # The reference has no entry for a module, a constant, a private name and the parts that make runs.
    parts = target.split(".")
    inside = parts[0] == "dir" and parts[1] not in {"data", "recipe", "compare", "commands"}
    if kind in {"mod", "data"} or not inside or "._" in target:
        return f"`{target}`"
    return f"[`{target}`][{target}]"
