"""MkDocs hook: write the pages of the API reference and of the settings from the package itself.

A new module of the package appears in the reference without an edit here.
"""

from __future__ import annotations

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]

# Page -> title, and the modules or folders of dir/ that it shows.
PAGES = {
    "core": (
        "Bins, weights and priors",
        "bins lds denseweight reweighter kernels prior cells distribution costs relevance mixup posthoc",
    ),
    "fds": ("Feature distribution smoothing", "fds"),
    "losses": ("Losses and regularisers", "losses"),
    "metrics": ("Metrics", "metrics"),
    "functional": ("Metrics as functions", "metrics.functional"),
    "resampling": ("Resampling", "resampling"),
    "models": ("Models and heads", "models"),
    "bundle": ("Model bundles", "bundle"),
    "figures": ("Figures", "figures"),
    "monitor": ("Monitoring", "monitor"),
    "callbacks": ("Adapters", "callbacks"),
    "sklearn": ("scikit-learn", "sklearn"),
}

# Packages of which only the exported names are of use to a caller.
EXPORTED_ONLY = {"dir.monitor", "dir.sklearn"}

# The modules in which users find nothing to call.
INTERNAL = {"dir.bundle.cli", "dir.bundle.fields", "dir.bundle.files", "dir.bundle.arguments"}


def api_page(title: str, names: str) -> str:
    """Return the Markdown of a page of the API reference: first the public names, each under its public path."""
    paths = [path for name in names.split() for path in public_paths(f"dir.{name}")]
    return "\n\n".join([f"# {title}", *(f"::: {path}" for path in paths)]) + "\n"


def public_paths(module: str) -> list[str]:
    """Return the import path of each public class and function of a module, or of the modules of a folder."""
    path = ROOT / module.replace(".", "/")
    if not path.is_dir():
        faces = exported("dir", ROOT / "dir/__init__.py")
        return [faces.get(target, target) for target in defined(module, path.with_suffix(".py"))]
    faces = exported(module, path / "__init__.py")
    targets = [
        target
        for file in sorted(path.glob("*.py"))
        if not file.stem.startswith("_") and f"{module}.{file.stem}" not in INTERNAL
        for target in defined(f"{module}.{file.stem}", file)
    ]
    first = [face for target, face in faces.items() if is_callable(target)]
    return first + [target for target in targets if target not in faces and module not in EXPORTED_ONLY]


def is_callable(target: str) -> bool:
    """Say whether an import path names a class or a function of the package, and no constant."""
    module, _, name = target.rpartition(".")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    return any(isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name for node in tree.body)


def exported(package: str, init: Path) -> dict[str, str]:
    """Return the public path of each name that a package imports from its modules: ``dir.lds.LDS`` -> ``dir.LDS``."""
    return {
        f"{node.module}.{name.name}": f"{package}.{name.asname or name.name}"
        for node in ast.walk(ast.parse(init.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("dir.")
        for name in node.names
        if not name.name.startswith("_")
    }


def defined(module: str, file: Path) -> list[str]:
    """Return the paths of the public classes and functions that a module defines with a docstring."""
    return [
        f"{module}.{node.name}"
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name[0] != "_" and ast.get_docstring(node)
    ]


def settings_page() -> str:
    """Return the Markdown of the page with every config file, and with the defaults of the schema."""
    parts = [
        "# Settings of the recipes",
        "Each file below is an entry of a group: `method=lds` selects `configs/method/lds.yaml`. Override a key on "
        "the command line, such as `method.lds.sigma=1`. `python scripts/train.py +experiment=NAME --cfg job` "
        "prints the settings of a run without training.",
        "## train.yaml",
        _yaml(ROOT / "configs/train.yaml"),
    ]
    for group in sorted(path for path in (ROOT / "configs").iterdir() if path.is_dir()):
        parts.append(f"## {group.name}")
        for file in sorted(group.glob("*.yaml")):
            parts += [f"### {group.name}/{file.name}", _yaml(file)]
    parts += ["## Defaults of the task and of the model", _schema()]
    return "\n\n".join(parts) + "\n"


def _yaml(path: Path) -> str:
    return f"```yaml\n{path.read_text(encoding='utf-8').rstrip()}\n```"


def _schema() -> str:
    """Return the data classes of the schema as tables of key, type and default."""
    tree = ast.parse((ROOT / "dir/recipe/schema.py").read_text(encoding="utf-8"))
    tables = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
        rows = [
            f"| `{ast.unparse(item.target)}` | `{_cell(item.annotation)}` | {_default(item.value)} |"
            for item in fields
        ]
        summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
        head = "| key | type | default |\n|---|---|---|"
        tables.append(f"**{node.name}**: {summary}\n\n{head}\n" + "\n".join(rows))
    return "\n\n".join(tables)


def _cell(node: ast.expr) -> str:
    return ast.unparse(node).replace("|", "\\|")


def _default(node: ast.expr | None) -> str:
    return "" if node is None else f"`{_cell(node)}`"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site."""
    for name, (title, names) in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=api_page(title, names)))
    files.append(File.generated(config, "reference/settings.md", content=settings_page()))
    return files
