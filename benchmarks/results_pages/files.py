"""The files that follow from the results: the pages, the overview of docs/results.md, and the menu of the site."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results_pages.content import COMMAND, ROOT, Page, overview_text, pages, text_of

_BLOCK = re.compile(rf"(<!-- {re.escape(COMMAND)} -->\n).*?(\n<!-- end -->)", re.DOTALL)
_MENU = re.compile(rf"( *)# {re.escape(COMMAND)}\n(?:.*\n)*? *# end")


def files(found: Sequence[Page]) -> dict[Path, str]:
    """Return the content of each file by its path in the repository.

    Raises:
        ValueError: docs/results.md or mkdocs.yml has no place for the results.
    """
    written = {Path("docs/results") / f"{page.name}.md": text_of(page) for page in found}
    written[Path("docs/results.md")] = _put(
        "docs/results.md", _BLOCK, lambda block: f"{block[1]}\n{overview_text(found)}\n{block[2]}"
    )
    entries = [f"- {page.about.title}: results/{page.name}.md" for page in found]
    written[Path("mkdocs.yml")] = _put(
        "mkdocs.yml",
        _MENU,
        lambda block: "\n".join(f"{block[1]}{line}" for line in (f"# {COMMAND}", *entries, "# end")),
    )
    return written


def _put(path: str, place: re.Pattern[str], text: object) -> str:
    content = (ROOT / path).read_text(encoding="utf-8")
    if len(place.findall(content)) != 1:
        raise ValueError(f"{path}: expected one place for the results, marked by '{COMMAND}' and 'end'")
    return place.sub(text, content)  # type: ignore[arg-type]


def write() -> None:
    """Write the files, and delete the pages of data sets that have no results any more."""
    found = pages()
    content = files(found)
    for path in (ROOT / "docs/results").glob("*.md"):
        if path.relative_to(ROOT) not in content:
            path.unlink()
    for path, text in content.items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
    print(f"docs/results: {len(found)} data sets")
