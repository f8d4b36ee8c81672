"""Picture of the imports between the folders of the package, read from the code alone.

    python benchmarks/layout.py             # of the working tree
    python benchmarks/layout.py 65f1e47     # of a revision

The picture is a mermaid flowchart. Each box is a folder of ``dir/``; the modules directly in ``dir/`` share one box.
The number at an arrow counts the pairs of modules of which one imports the other. Imports inside functions and for
type checkers count, too. ``tests/test_layers.py`` checks the floors with the same functions.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "dir"
TOP = f"{PACKAGE}/*.py"

Imports = dict[str, set[str]]


def read_sources(revision: str | None = None, root: Path = ROOT) -> dict[str, str]:
    """Return the text of each module of the package by its dotted name.

    Args:
        revision: git revision. Default: the working tree.
        root: folder of the repository.
    """
    if revision is None:
        files = {path.relative_to(root): path.read_text(encoding="utf-8") for path in root.glob(f"{PACKAGE}/**/*.py")}
    else:
        archive = subprocess.run(["git", "archive", revision, PACKAGE], cwd=root, capture_output=True, check=True)
        files = {}
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            for member in tar.getmembers():
                stream = tar.extractfile(member) if member.name.endswith(".py") else None
                if stream is not None:
                    files[Path(member.name)] = stream.read().decode("utf-8")
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): files[path] for path in sorted(files)}


def read_imports(sources: Mapping[str, str]) -> Imports:
    """Return the modules of the package that each module imports.

    ``from dir.losses import GAI`` is an import of ``dir.losses``, and ``from dir.losses import base`` of
    ``dir.losses.base``.
    """
    imports: Imports = {}
    for module, text in sources.items():
        found = set()
        for node in ast.walk(ast.parse(text)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                if node.level:
                    raise ValueError(f"{module}: relative import in line {node.lineno}. Import by the full name.")
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                while name and name not in sources:
                    name = name.rpartition(".")[0]
                if name and name != module:
                    found.add(name)
        imports[module] = found
    return imports


def box_of(module: str, sources: Mapping[str, str]) -> str:
    """Return the folder of a module below the package, or TOP for a module directly in the package."""
    parts = module.split(".")
    is_folder = len(parts) > 2 or any(name.startswith(f"{module}.") for name in sources)
    return parts[1] if len(parts) > 1 and is_folder else TOP


def count_arrows(imports: Imports, sources: Mapping[str, str]) -> Counter[tuple[str, str]]:
    """Return the number of imports between each two boxes.

    The lazy face of the package and its door ``python -m dir`` do not count: both only name what lies above them.
    """
    arrows: Counter[tuple[str, str]] = Counter()
    for module, targets in imports.items():
        if module in (PACKAGE, f"{PACKAGE}.__main__"):
            continue
        start = box_of(module, sources)
        arrows.update((start, end) for target in targets if (end := box_of(target, sources)) != start)
    return arrows


def circles(imports: Imports) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle (strongly connected components)."""
    reach = {module: _reachable(module, imports) for module in imports}
    found: dict[tuple[str, ...], None] = {}
    for module in sorted(imports):
        group = sorted(other for other in reach[module] if module in reach.get(other, ()))
        if group:
            found[tuple(group)] = None
    return [list(group) for group in found]


def _reachable(start: str, imports: Imports) -> set[str]:
    seen: set[str] = set()
    waiting = list(imports[start])
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(imports.get(module, ()))
    return seen


def picture(sources: Mapping[str, str]) -> str:
    """Return the mermaid flowchart, with one line about its size and circles."""
    imports = read_imports(sources)
    arrows = count_arrows(imports, sources)
    members: dict[str, list[str]] = {}
    for module in sources:
        if module != PACKAGE:
            members.setdefault(box_of(module, sources), []).append(module)
    names = {box: f"box{number}" for number, box in enumerate(sorted(members))}
    lines = ["```mermaid", "flowchart TD"]
    for box, modules in sorted(members.items()):
        title = box if box == TOP else f"{box}/"
        files = f"{len(modules)} file{'s' if len(modules) > 1 else ''}"
        lines.append(f'    {names[box]}["{title}<br/>{files}"]')
    for (start, end), number in sorted(arrows.items()):
        lines.append(f"    {names[start]} -->|{number}| {names[end]}")
    lines.append("```")
    both_ways = sorted({tuple(sorted(pair)) for pair in arrows if (pair[1], pair[0]) in arrows})
    groups = "; ".join(" - ".join(group) for group in circles(imports)) or "none"
    mutual = ", ".join(" and ".join(pair) for pair in both_ways) or "none"
    top = ", ".join(module.removeprefix(f"{PACKAGE}.") for module in members.get(TOP, []))
    lines += [
        "",
        f"- {len(sources)} modules, {sum(len(text.splitlines()) for text in sources.values()):,} lines, "
        f"{sum(arrows.values())} imports between boxes.",
        f"- Modules that import each other in a circle: {groups}.",
        f"- Boxes that import each other: {mutual}.",
        f"- Modules in {TOP}: {top}.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the picture of the working tree or of a revision."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) > 1 or any(argument.startswith("-") for argument in given):
        sys.exit("usage: python benchmarks/layout.py [REVISION]")
    print(picture(read_sources(given[0] if given else None)))


if __name__ == "__main__":
    main()
