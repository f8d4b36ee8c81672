"""The hooks that make the site from docs/ and from the docstrings."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

HOOKS = Path(__file__).resolve().parents[2] / "docs/hooks"

# The packages that users import from. Each name in their __all__ stands in the reference.
FACES = [
    "dir",
    "dir.fds",
    "dir.losses",
    "dir.metrics",
    "dir.metrics.functional",
    "dir.resampling",
    "dir.models",
    "dir.bundle",
    "dir.sklearn",
]


def hook(name: str) -> ModuleType:
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location(f"docs_hook_{name}", HOOKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> str:
    module = hook("reference")
    return "\n".join(module.api_page(title, names) for title, names in module.PAGES.values())


@pytest.mark.parametrize("package", FACES)
def test_every_exported_class_and_function_stands_in_the_reference(package, reference):
    face = importlib.import_module(package)
    entries = set(reference.splitlines())
    missing = []
    for name in face.__all__:
        value = getattr(face, name)
        if not callable(value):
            continue
        homes = {f"::: {package}.{name}", f"::: {value.__module__}.{name}"}
        # A name that two faces export stands under the longer path.
        homes |= {f"::: {other}.{name}" for other in FACES}
        if not homes & entries:
            missing.append(name)
    assert not missing


def test_settings_page_holds_every_config_file_and_the_schema():
    page = hook("reference").settings_page()
    configs = HOOKS.parents[1] / "configs"
    for file in configs.glob("*/*.yaml"):
        assert f"### {file.parent.name}/{file.name}" in page
    assert "| `sigma` | `float` | `2.0` |" in page


def test_docstrings_become_markdown():
    pytest.importorskip("griffe")
    text = """Return x: :math:`a_i`.

    .. math:: y = \\sum_j a_j,
        \\qquad z

    See :class:`dir.LDS`, :meth:`torch.nn.Module.eval` and :mod:`dir.fds`.

Example:
    >>> 1
"""
    markdown = hook("docstrings").to_markdown(text)
    assert "$a_i$" in markdown
    assert "    $$\n    y = \\sum_j a_j, \\qquad z\n    $$\n" in markdown
    assert "[`dir.LDS`][dir.LDS], `torch.nn.Module.eval` and `dir.fds`" in markdown
    assert "\nExamples:\n    >>> 1" in markdown


def test_formulas_become_mathml():
    pytest.importorskip("latex2mathml")
    page = hook("mathml").on_page_content(
        '<p><span class="arithmatex">\\(a &lt; b\\)</span></p><div class="arithmatex">\\[\nc^2\n\\]</div>'
    )
    assert "arithmatex" not in page
    assert page.count("<math") == 2
    assert 'display="block"' in page


def test_links_that_leave_the_docs():
    links = hook("links")

    def shown(text: str, page: str) -> str:
        return links.on_page_markdown(text, page=SimpleNamespace(file=SimpleNamespace(src_uri=page)))

    text = "[README](../README.md#recipes), [a.py](../a.py), [raw](../b/c.json), [page](fds.md)"
    assert shown(text, "costs.md") == "[README](index.md), `a.py`, raw (`b/c.json`), [page](fds.md)"
    # A page in a folder of docs/ links to other pages with "../".
    text = "[README](../../README.md), [raw](../../b/c.json), [page](../fds.md#when), [near](own.md)"
    expected = "[README](../index.md), raw (`b/c.json`), [page](../fds.md#when), [near](own.md)"
    assert shown(text, "tutorials/first.md") == expected


def test_links_of_a_notebook_become_addresses_and_a_broken_one_is_a_warning(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    links = hook("links")
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import File, Files
    from mkdocs.structure.pages import Page

    def file(name: str) -> File:
        return File(name, str(tmp_path), str(tmp_path), use_directory_urls=True)

    files = Files([file("tutorials/notebook.ipynb"), file("tutorials/first_run.md"), file("choose.md")])
    files.get_file_from_path("tutorials/notebook.ipynb").url = "tutorials/notebook/"
    page = Page("", files.get_file_from_path("tutorials/notebook.ipynb"), MkDocsConfig())
    html = (
        '<a href="first_run.md"> <a href="../choose.md#trees"> <a href="notebook.ipynb"> <a href="https://a.b/c.md">'
    )
    assert links.on_page_content(html, page=page, files=files) == (
        '<a href="../first_run/"> <a href="../../choose/#trees"> <a href="notebook.ipynb"> <a href="https://a.b/c.md">'
    )
    assert caplog.records == []
    assert links.on_page_content('<a href="gone.md">', page=page, files=files) == '<a href="gone.md">'
    assert "notebook.ipynb links to tutorials/gone.md, which does not exist" in caplog.text
    page.file.src_uri = "tutorials/other.md"
    assert links.on_page_content('<a href="first_run.md">', page=page, files=files) == '<a href="first_run.md">'
