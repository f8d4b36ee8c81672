"""MkDocs hook: adapt links that leave docs/, because the site holds the pages of docs/ alone, and links of notebooks.

A link to README points to the home page. A link to another file of the repository becomes the file's name as code.
MkDocs turns the links to pages into addresses in Markdown alone. A notebook comes as HTML: its links are turned here,
and a link to a page that does not exist is a warning, which ``--strict`` refuses.
"""

from __future__ import annotations

import logging
import posixpath
import re

from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

_log = logging.getLogger("mkdocs.hooks.links")
_PAGE = re.compile(r'(?<=href=")([^":#]+\.(?:md|ipynb))(?=[#"])')
_UPWARDS = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Replace the links of a page that leave docs/ in its Markdown."""
    folder = posixpath.dirname(page.file.src_uri)

    def inside(found: re.Match[str]) -> str:
        text, link, _ = found.groups()
        target = posixpath.normpath(posixpath.join(folder, link))
        if not target.startswith("../"):
            return found[0]  # from a folder of docs/ to another page
        path = target.removeprefix("../")
        if path == "README.md":
            return f"[{text}]({posixpath.relpath('index.md', folder or '.')})"
        return f"`{path}`" if text == path else f"{text} (`{path}`)"

    return _UPWARDS.sub(inside, markdown)


def on_page_content(content: str, page: Page, files: Files, **_: object) -> str:
    """Turn the links of a notebook to other pages into addresses."""
    if not page.file.src_uri.endswith(".ipynb"):
        return content

    def address(found: re.Match[str]) -> str:
        if found[0] == posixpath.basename(page.file.src_uri):
            return found[0]  # a download of the notebook itself, which lies beside its page
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), found[0]))
        file = files.get_file_from_path(target)
        if file is None:
            _log.warning("%s links to %s, which does not exist.", page.file.src_uri, target)
            return found[0]
        return file.url_relative_to(page.file)

    return _PAGE.sub(address, content)
