"""MkDocs hook: adapt links that leave docs/, because the site holds the pages of docs/ alone.

A link to README points to the home page. A link to another file of the repository becomes the file's name as code.
"""

from __future__ import annotations

import re

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace the links of a page in its Markdown."""
    return _OUTSIDE.sub(_inside, markdown)


def _inside(found: re.Match[str]) -> str:
    text, path = found.groups()
    if path == "README.md":
        return f"[{text}](index.md)"
    return f"`{path}`" if text == path else f"{text} (`{path}`)"
