"""MkDocs hook: say below each block of commands when it was run, or why not, from the comment above the block.

    <!-- run: 2026-11-26 -->              ran on this day, as it stands
    <!-- output: 2026-11-26 -->           its output or its results were committed on this day
    <!-- run by: tests/test_x.py -->      a test or a check runs it; further words may follow a comma
    <!-- not run: REASON -->              nobody has run it as it stands
    <!-- all run by: tests/test_x.py -->  once in a page: a test runs all of its commands

tests/docs/test_marks_of_commands.py asks for a comment above each block.
"""

from __future__ import annotations

import re

MARK = re.compile(
    r"^<!-- (?P<kind>run|output|run by|not run): (?P<value>[^>]+?) -->\n(?P<block>```bash\n.*?^```\n)",
    re.DOTALL | re.MULTILINE,
)
ALL = re.compile(r"^<!-- all run by: (?P<value>[^>]+?) -->\n", re.MULTILINE)
_WORDS = {
    "run": "Run on {}.",
    "output": "Output of {}.",
    "run by": "Run by {}.",
    "not run": "Not run in this form: {}.",
}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace the comments of a page by lines that readers see."""
    markdown = ALL.sub(lambda found: _line(f"All commands of this page are run by `{found['value']}`."), markdown)
    return MARK.sub(lambda found: f"{found['block']}\n{_line(_shown(found))}", markdown)


def _shown(found: re.Match[str]) -> str:
    value = found["value"]
    if found["kind"] == "run by":
        file, comma, rest = value.partition(",")
        value = f"`{file}`{comma}{rest}"
    return _WORDS[found["kind"]].format(value)


def _line(text: str) -> str:
    return f"{text}\n{{: .run }}\n"
