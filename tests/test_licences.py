"""docs/licences.md names every kind of file that a wheel carries."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def carried() -> set[str]:
    """Return the files that a wheel carries beside code and configs, relative to the repository."""
    files = [path for folder in ("dir", "configs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    code = {name for name in names if name.startswith("dir/") and name.endswith(".py")}
    return names - code - {name for name in names if name.startswith("configs/") and name.endswith(".yaml")}


def test_the_page_names_every_other_file_of_a_wheel() -> None:
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    assert carried() == {"dir/py.typed", "dir/compare/html/page.html.j2"}
    assert all(f"`{name}`" in page for name in carried())


def test_the_template_asks_for_nothing_from_the_network() -> None:
    template = (ROOT / "dir" / "compare" / "html" / "page.html.j2").read_text(encoding="utf-8")
    assert "src=" not in template
    assert '<link rel="stylesheet"' not in template
