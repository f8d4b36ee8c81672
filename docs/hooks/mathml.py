"""MkDocs hook: turn the formulas of a page into MathML, which browsers draw without a script or a network."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">(?:\\\((.*?)\\\)|\\\[(.*?)\\\])</\1>', re.DOTALL)


def on_page_content(content: str, **_: object) -> str:
    """Replace each formula that pymdownx.arithmatex has marked."""
    return _FORMULA.sub(_to_mathml, content)


def _to_mathml(found: re.Match[str]) -> str:
    inline, block = found.group(2), found.group(3)
    if inline is not None:
        return convert(html.unescape(inline))
    return f'<div class="formula">{convert(html.unescape(block), display="block")}</div>'
