"""Test the package with the lowest version of each core dependency that pyproject.toml allows.

    python benchmarks/lowest_versions.py --venv FOLDER [--out benchmarks/results/lowest_versions.json]

The script makes a virtual environment (or uses the one in FOLDER), installs ``name==bound`` for each core dependency,
the package without extras, and pytest and hypothesis. It then runs the core's tests and docstring examples there. A
test that needs a package of an extra is counted under that package. A test that fails otherwise runs once more, since
processes of several ranks sometimes hang at their end with torch 2.7; the results list such tests.
The script itself needs Python 3.11 or newer (tomllib); ``--python`` chooses the interpreter of the environment.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import tomllib

ROOT = Path(__file__).resolve().parents[1]
BOUND = re.compile(r"^([A-Za-z0-9_.-]+)>=([0-9.]+)$")
# Names under which the packages of the extras are imported.
EXTRAS = {
    *("hydra", "lightning", "matplotlib", "omegaconf", "pandas", "PIL", "rich", "safetensors", "sklearn", "skops"),
    *("tensorboard", "torchvision", "transformers", "onnx", "onnxruntime", "catboost", "lightgbm"),
}
# The tests of the core: the other folders of tests/ are about recipes, data, bundles and comparisons.
TESTS = ("tests/fds", "tests/losses", "tests/metrics", "tests/models")
LEFT_OUT = {
    "tests/test_extending.py": "runs the recipes and ruff",
    "tests/test_readme.py": "runs the recipes",
    "tests/test_properties.py": "reads tables with pandas",
    "tests/losses/test_gradients.py": "lists all models, some of which need scikit-learn",
    "tests/losses/test_labels_and_holes.py": "lists all models, some of which need scikit-learn",
    "tests/losses/test_no_sync.py": "lists all models, some of which need scikit-learn",
}
DESELECTED = {
    "tests/test_face.py::test_lazy_names_and_type_checking_names_agree[dir.models]": "some models need scikit-learn",
}
_IMPORT_ALL = """
import importlib, json, sys
missing = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ImportError as error:
        missing[name] = str(error)
print(json.dumps(missing))
"""


def lowest(pyproject: Path = ROOT / "pyproject.toml") -> dict[str, str]:
    """Return the lowest allowed version of each core dependency.

    Raises:
        ValueError: a dependency without a lower bound.
    """
    found = {}
    for line in tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]:
        match = BOUND.match(line)
        if match is None:
            raise ValueError(f"{pyproject}: expected NAME>=VERSION, got {line!r}.")
        found[match[1]] = match[2]
    return found


def install(venv: Path, bounds: dict[str, str], python: str) -> Path:
    """Make the environment if it is missing, install everything, and return its interpreter."""
    interpreter = venv / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", str(venv)], check=True)
    pins = [f"{name}=={bound}" for name, bound in bounds.items()]
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--progress-bar", "off"]
    subprocess.run([*pip, *pins, str(ROOT), "pytest>=8", "hypothesis>=6.100"], check=True)
    # The tests run on the checkout, not on a copy that a later call would leave behind.
    subprocess.run([*pip[:3], "uninstall", "--quiet", "--yes", "deep-imbalanced-regression"], check=True)
    return interpreter


def environment() -> dict[str, str]:
    """Return the variables of the test process: the checkout is imported, and no cache is written."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def modules_that_need_extras(interpreter: Path) -> dict[str, str]:
    """Return the modules of the package that cannot be imported in the environment, each with the reason."""
    files = sorted((ROOT / "dir").rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    done = subprocess.run(
        [str(interpreter), "-c", _IMPORT_ALL, json.dumps(names)],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=ROOT,
        check=True,
    )
    missing: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    wrong = {name: reason for name, reason in missing.items() if needed(reason) is None}
    if wrong:
        raise RuntimeError(f"modules that cannot be imported: {wrong}. Only packages of extras may be missing.")
    return missing


def needed(text: str) -> str | None:
    """Return the package of an extra that a failure is about, or None."""
    match = re.search(r"No module named '([A-Za-z0-9_]+)", text)
    if match is not None and match[1] in EXTRAS:
        return match[1]
    return "sklearn" if "scikit-learn is not installed" in text else None


def run_tests(interpreter: Path, missing: dict[str, str], only: str = "") -> list[ElementTree.Element]:
    """Run the tests and the examples of the docstrings, and return the elements of the report.

    Args:
        interpreter: of the environment.
        missing: modules that cannot be imported, see :func:`modules_that_need_extras`.
        only: name of a test as in the report, ``tests.test_x::test_y``; empty for all tests.
    """
    files = [str(file.relative_to(ROOT)) for file in sorted((ROOT / "tests").glob("test_*.py"))]
    paths = [file for file in files if file not in LEFT_OUT] + [*TESTS, "dir"]
    if only:
        module, _, name = only.partition("::")
        paths = [f"{module.replace('.', '/')}.py::{name}"]
    ignored = [*LEFT_OUT]
    for name in missing:
        file = ROOT / Path(*name.split("."))
        ignored.append(str((file / "__init__.py" if file.is_dir() else file.with_suffix(".py")).relative_to(ROOT)))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [str(interpreter), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        command += ["--continue-on-collection-errors", *(f"--ignore={path}" for path in ignored)]
        command += [f"--deselect={test}" for test in DESELECTED]
        subprocess.run([*command, *paths], env=environment(), cwd=ROOT, check=False)
        return list(ElementTree.parse(report).iter("testcase"))


def judge(cases: list[ElementTree.Element]) -> tuple[int, dict[str, int], dict[str, int], list[str]]:
    """Return the number that passed, the skips by reason, the tests that need a package of an extra, the failures."""
    passed, skipped, needs, failed = 0, Counter[str](), Counter[str](), []
    for case in cases:
        results = {child.tag: f"{child.get('message')}\n{child.text}" for child in case}
        text = results.get("failure") or results.get("error")
        if text is not None:
            package = needed(text)
            if package is None:
                failed.append(f"{case.get('classname')}::{case.get('name')}")
            else:
                needs[package] += 1
        elif "skipped" in results:
            reason = results["skipped"].splitlines()[0]
            skipped[reason.partition(" at /")[0]] += 1
        else:
            passed += 1
    return passed, dict(sorted(skipped.items())), dict(sorted(needs.items())), failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, required=True, help="folder of the environment; made if it is missing")
    parser.add_argument("--python", default=sys.executable, help="interpreter of a new environment")
    parser.add_argument("--out", type=Path, help="json file of the results, written if nothing failed")
    args = parser.parse_args()
    bounds = lowest()
    interpreter = install(args.venv, bounds, args.python)
    missing = modules_that_need_extras(interpreter)
    passed, skipped, needs, failed_once = judge(run_tests(interpreter, missing))
    failed = [test for test in failed_once if judge(run_tests(interpreter, missing, test))[0] != 1]
    passed += len(failed_once) - len(failed)
    version = subprocess.run([str(interpreter), "--version"], capture_output=True, text=True, check=True)
    results = {
        "date": datetime.date.today().isoformat(),
        "python": version.stdout.split()[1],
        "versions": bounds,
        "passed": passed,
        "passed at the second try": [test for test in failed_once if test not in failed],
        "skipped": skipped,
        "needs a package of an extra": needs,
        "left out": LEFT_OUT | DESELECTED | {"examples of modules that need an extra": len(missing)},
    }
    print(json.dumps(results, indent=2))
    if failed:
        sys.exit("failed with the lowest versions:\n  " + "\n  ".join(failed))
    if args.out is not None:
        args.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
