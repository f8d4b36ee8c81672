"""Usage and wrong settings: the scripts answer before they import PyTorch, which takes seconds.

One separate process runs all the commands, because this process has imported PyTorch already.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "lightning", "torchvision", "torchmetrics", "transformers", "sklearn", "pandas", "matplotlib")
RUN = "+experiment=age_synthetic"
TREES = ("+experiment=tabular", "data.path=x.csv", "data.target=y")
NPZ = "+experiment=images_npz"

# Script, arguments, and texts that the answer contains.
CASES: list[tuple[str, list[str], list[str]]] = [
    ("train", [], ["usage: train.py", "age_synthetic"]),
    ("train", ["--help"], ["usage: train.py", "age_synthetic"]),
    ("train", ["--cfg", "job", RUN], ["max_epochs"]),
    ("train", ["+experiment=age_sinthetic"], ["age_sinthetic", "age_synthetic"]),
    ("train", [RUN, "method=ldss"], ["ldss", "lds_fds"]),
    ("train", [RUN, "data=agedbb"], ["agedbb", "agedb"]),
    ("train", [RUN, "model=resnett"], ["resnett", "resnet"]),
    ("train", [RUN, "optimizer.lrr=1"], ["optimizer.lrr"]),
    ("train", [RUN, "data.pth=x"], ["data.pth"]),
    ("train", [RUN, "method=lds", "method.lds.sigmaa=1"], ["method.lds.sigmaa"]),
    ("train", [RUN, "+methd=lds"], ["methd: unknown key. Did you mean method?"]),
    ("train", [RUN, "++task.monitr=mse"], ["task.monitr: unknown key. Did you mean monitor?"]),
    ("train", [RUN, "seed=first"], ["seed", "first"]),
    ("train", [RUN, "method.views=two"], ["method.views", "two"]),
    ("train", [RUN, "task.lds.kernel_size=2.5"], ["task.lds.kernel_size", "2.5"]),
    ("train", [RUN, "early_stopping.patience=often"], ["early_stopping.patience", "often"]),
    ("train", [RUN, "early_stopping.patience=0"], ["early_stopping.patience", "got 0"]),
    ("train", [RUN, "task.family=l3"], ["task.family", "'l3'"]),
    ("train", [RUN, "task.monitor=maee"], ["task.monitor", "'maee'"]),
    ("train", [RUN, "task.unit=???"], ["task.unit: missing value"]),
    ("train", [RUN, "resume=maybe"], ["resume", "'maybe'"]),
    ("train", [RUN, "best=maybe"], ["best", "'maybe'"]),
    ("train", [RUN, "trainer.max_epochs=0"], ["trainer.max_epochs", "got 0"]),
    ("train", [RUN, "+trainer.limit_val_batches=0"], ["trainer.limit_val_batches"]),
    ("train", [RUN, "+trainer.fast_dev_run=true"], ["trainer.fast_dev_run"]),
    ("train", [RUN, "method=c_mixup", "method.views=2"], ["method.views", "got 2"]),
    ("train", [RUN, "+method.lds.sigma=1"], ["method.lds.sigma: this method has no LDS"]),
    ("train", [RUN, "+protocol.gaps=1"], ["protocol.gaps: this run has no protocol"]),
    ("train", [RUN, "method=ranksim", "+regularizer=ranksim"], ["regularizer: the method already has it"]),
    ("train", [RUN, "method=rrt", "method.retrain.epochs=0"], ["method.retrain.epochs", "got 0"]),
    ("train", [*TREES, "method=hist_gbdt", "model=tabm"], ["model: HistGBDT trains no network", "'tabm'"]),
    ("train", [*TREES, "method=bagging", "model.encoder.dropout=0.2"], ["model.encoder.dropout", "'0.2'"]),
    (
        "train",
        [*TREES, "data.split_column=fold", "data.share=0.2"],
        ["data.share: only applies", "Remove data.share="],
    ),
    (
        "train",
        [*TREES, "data.group=site", "data.split_bins=9"],
        ["data.split_bins: not possible together with data."],
    ),
    (
        "train",
        [*TREES, "data.split=random", "data.split_bins=9"],
        ["data.split_bins: only applies to data.split=bal"],
    ),
    (
        "train",
        [*TREES, "data.split=time", "data.time=t", "data.val_from=3", "data.test_from=4", "data.share=0.2"],
        ["data.share: data.val_from=3 gives the borders"],
    ),
    ("compare", ["outputs", "--forest", "mae", "x.gif"], ["--forest: expected a file that ends in", "'x.gif'"]),
    (
        "train",
        [NPZ, "data.path=x.npz", "data.label=y", "data.share=0.2"],
        ["data.share: only applies with data.group"],
    ),
    ("train", [RUN, "name=finished"], ["finished", "never overwritten"]),
    ("train", [RUN, "name=unfinished"], ["unfinished", "resume=true"]),
    ("train", [RUN, "name=other", "resume=true"], ["resume: ", "other settings"]),
    ("evaluate", [], ["usage: evaluate.py"]),
    ("evaluate", ["--help"], ["usage: evaluate.py"]),
    ("evaluate", ["ckptt=best.ckpt"], ["usage: evaluate.py"]),
    ("evaluate", ["ckpt=none.ckpt"], ["ckpt", "none.ckpt"]),
    ("evaluate", ["ckpt=none.ckpt", "trust=maybe"], ["trust", "'maybe'"]),
    ("evaluate", ["ckpt=outputs/other/vanilla/seed_0/checkpoints/best.ckpt", "sed=1"], ["sed"]),
    ("predict", [], ["usage: predict.py"]),
    ("predict", ["--help"], ["usage: predict.py"]),
    ("predict", ["modell=x", "input=a.csv", "output=b.csv"], ["modell: no such argument", "usage: predict.py"]),
    ("predict", ["model=x", "input=a.csv", "output=a.csv"], ["output", "other than the input"]),
    ("predict", ["model=x", "input=a.csv", "output=b.csv", "on_error=skp"], ["on_error", "'skp'"]),
    ("predict", ["model=x", "input=a.csv", "output=b.csv", "batch_size=-1"], ["batch_size", "'-1'"]),
    ("predict", ["model=x", "input=a.csv", "output=b.csv"], ["x: no model bundle"]),
    ("export", [], ["usage: export.py"]),
    ("export", ["--help"], ["usage: export.py"]),
    ("export", ["model=x", "format=onyx", "output=y"], ["format", "'onyx'"]),
    ("export", ["model=x", "format=onnx", "output=y"], ["x: no model bundle"]),
    ("compare", [], ["usage: compare.py"]),
    ("compare", ["--help"], ["--baseline"]),
    ("compare", ["--bsaeline", "x", "outputs"], ["--bsaeline"]),
    ("compare", ["outputs", "--force"], ["--force: only applies to --collect"]),
    ("compare", ["outputs", "--ranks", "mae", "--readme", "mae"], ["--ranks", "--readme"]),
    ("compare", ["no_such_folder"], ["no_such_folder"]),
    ("compare", ["outputs", "--all", "--metrics", "mae"], ["--all"]),
    ("ensemble", ["--help"], ["--metric"]),
    ("ensemble", ["outputs", "--metric", "maee"], ["--metric", "'maee'"]),
    ("ensemble", ["no_such_folder"], ["no_such_folder"]),
    ("tradeoff", [], ["usage: tradeoff.py"]),
    ("tradeoff", ["--help"], ["usage: tradeoff.py"]),
    ("tradeoff", ["run=x"], ["run: no such argument. Did you mean runs?"]),
    ("tradeoff", ["runs=x", "metric=maee"], ["metric", "'maee'"]),
    ("tradeoff", ["runs=no_such_folder"], ["no_such_folder"]),
    ("audit", ["--help"], ["--folds"]),
    ("describe", [], ["data.path: no data given"]),
    ("describe", ["--help"], ["--picture"]),
    ("describe", ["data.path=no_such.csv"], ["no_such.csv"]),
    ("describe", [RUN, "--picture", "x.gif"], ["--picture", "'x.gif'"]),
    ("recommend", ["data.path=no_such.csv"], ["--objective"]),
    ("recommend", ["--help"], ["--minutes", "crowd"]),
    ("recommend", ["data.path=no_such.csv", "--objective", "tail"], ["no_such.csv"]),
    ("recommend", [RUN, "--objective", "mae"], ["--objective", "'mae'"]),
    ("recommend", [RUN, "--objective", "tail", "method=lds"], ["chooses the method"]),
    ("recommend", [RUN, "--objective", "tail", "--seeds", "0"], ["--seeds", "got 0"]),
    ("leakage", ["--help"], ["--group"]),
    ("leakage", ["no_such.csv"], ["no_such.csv: no such file"]),
    ("prepare_data", ["--help"], ["--images"]),
    ("prepare_data", ["adience"], ["adience", "agedb"]),
]

WORKER = """
import contextlib, io, json, runpy, sys
answers = []
for script, arguments in json.loads(sys.argv[1]):
    sys.argv = [f"{script}.py", *arguments]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            runpy.run_path(f"ROOT/scripts/{script}.py", run_name="__main__")
        except SystemExit as ended:
            print(ended.code)
        except Exception as error:
            print("Traceback", error)
    answers.append([output.getvalue(), [name for name in HEAVY if name in sys.modules]])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, list[str]]]:
    """Return the output of every case, and the heavy modules that the process has imported after the case."""
    folder = tmp_path_factory.mktemp("early")
    runs = {name: folder / f"outputs/{name}/vanilla/seed_0" for name in ("finished", "unfinished", "other")}
    for run in runs.values():
        (run / "checkpoints").mkdir(parents=True)
        (run / "config.yaml").write_text("seed: 7\n")
        (run / "checkpoints/best.ckpt").write_bytes(b"")
    (runs["finished"] / "metrics.json").write_text("{}")
    worker = WORKER.replace("ROOT", str(ROOT)).replace("HEAVY", repr(HEAVY))
    jobs = json.dumps([[script, arguments] for script, arguments, _ in CASES])
    done = subprocess.run(
        [sys.executable, "-c", worker, jobs], cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found: list[tuple[str, list[str]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("number", range(len(CASES)), ids=[" ".join((case[0], *case[1])) for case in CASES])
def test_the_answer_names_the_problem_and_pytorch_is_not_imported(
    answers: list[tuple[str, list[str]]], number: int
) -> None:
    output, heavy = answers[number]
    for text in CASES[number][2]:
        assert text in output
    assert "Traceback" not in output
    assert heavy == []


def test_the_list_of_heavy_modules_would_show_an_import() -> None:
    worker = WORKER.replace("ROOT", str(ROOT)).replace("HEAVY", repr(HEAVY))
    jobs = json.dumps([["export", ["model=x", "format=onnx", "output=y"]]])
    done = subprocess.run(
        [sys.executable, "-c", "import torch\n" + worker, jobs], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)[0][1] == ["torch"]
