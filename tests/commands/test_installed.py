"""The commands of an installed wheel, in an empty folder, without the checkout on the path."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dir.commands.names import COMMANDS

pytest.importorskip("hatchling", reason="needs the extra `dev`")
ROOT = Path(__file__).parents[2]

# Run console commands in one process, which imports PyTorch once.
WORKER = """
import sys
from importlib.metadata import distribution
points = {point.name: point for point in distribution("deep-imbalanced-regression").entry_points}
for line in sys.argv[1:]:
    name, *arguments = line.split()
    sys.argv = [name, *arguments]
    points[name].load()()
import dir
print("package", dir.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package installed from its wheel, without its dependencies."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    # Hatchling alone, because pip would first download it into an environment of its own.
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(target), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True)
    return target


def run(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_alone_brings_the_four_packages_of_the_core(installed: Path) -> None:
    (wheel,) = distributions(name="deep-imbalanced-regression", path=[str(installed)])
    brought = [line for line in wheel.requires or [] if "extra ==" not in line]
    assert sorted(re.split(r"[^\w-]", line)[0] for line in brought) == ["numpy", "scipy", "torch", "torchmetrics"]
    assert {"recipes", "docs", "dev"} <= set(wheel.metadata.get_all("Provides-Extra") or [])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_console_command_answers_help(installed: Path, tmp_path: Path, name: str) -> None:
    done = run(installed, tmp_path, str(installed / "bin" / f"dir-{name}"), "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: dir-{name} ")
    if name == "train":  # the configs are in the wheel
        assert "age_synthetic" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_python_m_dir_lists_and_runs_the_commands(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, sys.executable, "-m", "dir", "--help")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    done = run(installed, tmp_path, sys.executable, "-m", "dir", "predict", "modell=x")
    assert done.returncode == 1
    assert done.stderr.startswith("modell: no such argument.\nusage: dir-predict ")


@pytest.mark.slow
def test_train_evaluate_predict_and_compare_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=120)
    pd.DataFrame({"x": x, "price": np.exp(x) + random.normal(size=120)}).to_csv(tmp_path / "houses.csv", index=False)
    trained = "outputs/tabular/houses-price/lds/seed_0,trainer.max_epochs=1"
    lines = [
        "dir-train +experiment=tabular data.path=houses.csv data.target=price method=lds trainer.max_epochs=1",
        f"dir-evaluate ckpt={trained}",
        f"dir-predict model={trained} input=houses.csv output=out.csv",
        "dir-compare outputs/tabular/houses-price",
    ]
    done = run(installed, tmp_path, sys.executable, "-c", WORKER, *lines)
    assert done.returncode == 0, done.stderr
    assert f"package {installed}" in done.stdout
    assert done.stdout.count("test (label unit: price)") == 2
    assert "120 predictions in price" in done.stdout
    assert "houses-price (trainer.max_epochs=1), test: mae" in done.stdout
