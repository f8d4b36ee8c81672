"""Plants wrong labels among pictures and measures how well rankings of the training rows find them.

python -m benchmarks.audit_pictures digits rotmnist_skew.npz --out benchmarks/results/audit_digits.json
python -m benchmarks.audit_pictures faces --out benchmarks/results/audit_faces.json
python -m benchmarks.audit_pictures --show benchmarks/results/audit_digits.json

Conditions and measure are those of benchmarks/audit.py. A label is replaced by a label of the training rows; for
"tail" by one that fewer than 20 training rows have. Digits have the settings of +experiment=images_npz with fewer
epochs. Drawn faces have the network, optimizer, scheduler and shifts of +experiment=age_synthetic with fewer epochs,
and without mirrored copies. Both have fewer pictures. The rankings by neighbours and by cleanlab use the features of
the network that trained on all training rows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from sklearn.decomposition import PCA

from benchmarks.audit import CONDITIONS, condition, plant, rankings_of, table
from dir._atomic import write_atomic
from dir.data.synthetic.age_synthetic import AgeSyntheticData
from dir.recipe.audit import audit_run
from dir.recipe.build import build
from dir.recipe.cli import config_dir
from dir.recipe.evaluate import load_weights
from dir.recipe.run_data import read_split
from dir.recipe.run_folder import RunFolder
from dir.recipe.run_info import commit
from dir.recipe.schema import register_configs
from dir.recipe.targets import load_config
from dir.recipe.train import train

PICTURES = {"digits": 3000, "faces": 2000}  # training pictures
COMPONENTS = 16
# Settings of the experiment, with fewer epochs.
SETTINGS = {
    "digits": ["trainer.max_epochs=8"],
    "faces": [
        *("model=conv", "scheduler=cosine", "optimizer=adam", "optimizer.lr=0.002", "trainer.max_epochs=6"),
        *("optimizer.weight_decay=0", "data.shift=4", "data.batch_size=128"),
    ],
}


def arrays(name: str, file: Path | None) -> dict[str, np.ndarray]:
    """Return images, labels and splits of the first pictures of the training split, and of as many others."""
    if name == "digits":
        with np.load(file, allow_pickle=False) as found:
            images, label, split = found["images"], found["angle"].astype(float), found["split"]
    else:
        data = AgeSyntheticData(limit=PICTURES[name])
        data.setup()
        parts = [data.dataset(split) for split in ("train", "val", "test")]
        images = np.concatenate([part.inputs.permute(0, 2, 3, 1).numpy() for part in parts])
        label = np.concatenate([part.labels.double().numpy() for part in parts])
        split = np.repeat([0, 1, 2], [len(part) for part in parts])
    train_rows = np.flatnonzero(split == 0)
    order = np.random.default_rng(0).permutation(len(train_rows))[: PICTURES[name]]
    kept = np.sort(
        np.concatenate([train_rows[order], np.flatnonzero(split == 1)[:500], np.flatnonzero(split == 2)[:500]])
    )
    return {"images": images[kept], "label": label[kept], "split": split[kept]}


def measure(name: str, clean: dict[str, np.ndarray], share: float, kind: str, seed: int) -> dict[str, Any]:
    """Return the average precision of each ranking for one condition."""
    rows = np.flatnonzero(clean["split"] == 0)
    noisy = clean["label"].copy()
    noisy[rows] = plant(noisy[rows], share, kind, seed)
    with tempfile.TemporaryDirectory() as folder:
        path, run = Path(folder) / "pictures.npz", Path(folder) / "run"
        np.savez(path, **clean | {"label": noisy})
        overrides = ["+experiment=images_npz", f"data.path={path}", "data.label=label", *SETTINGS[name]]
        with initialize_config_dir(config_dir(), version_base="1.3"):
            cfg = compose("train", [*overrides, "logger=none", f"seed={seed}", "trainer.accelerator=cpu"])
        with contextlib.redirect_stdout(io.StringIO()):
            train(cfg, RunFolder(run), {"method": "vanilla"})
            checkpoint = run / "checkpoints" / "best.ckpt"
            started = time.process_time()
            found = audit_run(checkpoint, folds=2, progress=False)
            seconds = time.process_time() - started
            parts = build(load_config(checkpoint, []), lambda data: data.restore_split(read_split(run)))
        load_weights(parts.module, checkpoint)
        features = _features(parts)
    if not np.allclose(noisy[rows], found.label):
        raise RuntimeError("The rows of the audit are not the rows of the file.")
    wrong = noisy[rows] != clean["label"][rows]
    counts = condition(wrong, found.shot == "few", rankings_of(found, features))
    return {"share": share, "kind": kind, "seed": seed, **counts, "seconds": round(seconds, 1)}


@torch.no_grad()
def _features(parts: Any) -> np.ndarray:
    """Return the standardised principal components of the features of the training pictures, not augmented."""
    model, pictures = parts.module.model.eval(), parts.data.dataset("train")
    batches = torch.from_numpy(np.arange(len(pictures))).split(256)
    features = torch.cat([model.encoder(parts.data._plain(pictures.inputs[rows])) for rows in batches]).numpy()
    components = PCA(COMPONENTS, random_state=0).fit_transform(features)
    return (components - components.mean(0)) / components.std(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=sorted(SETTINGS))
    parser.add_argument("file", type=Path, nargs="?", help="npz file of the digits")
    parser.add_argument("--seeds", type=int, default=2, help="number of seeds (default: 2)")
    parser.add_argument("--out", type=Path, help="result file (json)")
    parser.add_argument("--show", type=Path, help="print the table of a result file")
    args = parser.parse_args()
    if args.show:
        print(table(json.loads(args.show.read_text())))
        sys.exit()
    if not args.name or not args.out or (args.name == "digits") != (args.file is not None):
        parser.error("expected digits FILE --out RESULT, faces --out RESULT, or --show RESULT")
    register_configs()
    facts = {"commit": commit(), "torch": torch.__version__, "machine": platform.machine(), "device": "cpu"}
    facts |= {
        "data": args.name,
        "pictures": PICTURES[args.name],
        "folds": 2,
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    clean, runs = arrays(args.name, args.file), []
    for seed in range(args.seeds):
        for share, kind in CONDITIONS:
            runs.append(measure(args.name, clean, share, kind, seed))
            print(json.dumps(runs[-1]), flush=True)
            # After each condition, so that an interrupted benchmark keeps what it has measured.
            write_atomic(args.out, (json.dumps(facts | {"runs": runs}, indent=1) + "\n").encode())
    print(table({"runs": runs}))


if __name__ == "__main__":
    main()
