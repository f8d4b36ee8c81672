"""The model registry of MLflow: each bundle is a version, and the alias "champion" follows the validation metric."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dir.bundle.pyfunc import save_pyfunc

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"


def register(client: MlflowClient, run_id: str, folder: Path, name: str) -> None:
    """Write the bundle of a finished run to MLflow, register it, and make it champion where it beats the present one.

    The registered value is the monitored metric of the validation rows. Test metrics are never read. Both models must
    have been validated under the same metric and cost on the same data, and neither may have a correction that was
    fitted on the validation rows; otherwise the champion stays. The output says what was compared.

    Args:
        client: client of the store.
        run_id: run in MLflow.
        folder: finished run folder.
        name: name of the registered model.
    """
    if not (folder / "model").is_dir():
        print(f"no version of {name} in MLflow: the run has no model bundle", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as temporary:
        try:
            save_pyfunc(folder / "model", Path(temporary) / "model")
        except ValueError as error:
            print(f"no version of {name} in MLflow: {error}", file=sys.stderr)
            return
        client.log_artifacts(run_id, str(Path(temporary) / "model"), "model")
    if not any(model.name == name for model in client.search_registered_models(f"name = '{name}'")):
        client.create_registered_model(name)
    tags = version_tags(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    version = str(client.create_model_version(name, source, run_id, tags=tags).version)
    before = client.get_registered_model(name).aliases.get(CHAMPION)
    held = None if before is None else dict(client.get_model_version(name, str(before)).tags)
    wins, reason = beats(tags, held)
    if wins:
        client.set_registered_model_alias(name, CHAMPION, version)
    present = f"version {version} is the champion" if wins else f"version {before or 'none'} stays the champion"
    print(f"MLflow model {name}, version {version}: {reason}; {present}")


def version_tags(metrics: dict[str, Any]) -> dict[str, str]:
    """Return the tags of a model version: the monitored value on val, and what a comparison depends on."""
    run = metrics["run"]
    split, group, name = run["monitor"].split("/")
    value = metrics[split][group][name]
    return {
        "dir.monitor": run["monitor"],
        "dir.value": "" if value is None else repr(value),
        "dir.data_hash": (run["data"] or {}).get("hash", ""),
        "dir.cost": json.dumps(run.get("cost"), sort_keys=True, default=str),
        "dir.correction": (run["correction"] or {}).get("kind", ""),
        "dir.method": str(run.get("method")),
    }


def beats(challenger: dict[str, str], champion: dict[str, str] | None) -> tuple[bool, str]:
    """Return whether a version becomes champion, and the reason in words.

    Args:
        challenger: tags of the new version, see :func:`version_tags`.
        champion: tags of the present champion; None without one.

    Example:
        >>> new = {"dir.monitor": "val/all/mae", "dir.value": "2.0", "dir.data_hash": "a"}
        >>> beats(new, {**new, "dir.value": "3.0"})
        (True, 'val/all/mae is 2 here and 3 of the champion')
    """
    if not challenger.get("dir.value"):
        return False, f"{challenger['dir.monitor']} is undefined"
    if challenger.get("dir.correction"):
        return False, "its validation metrics are too good, as its correction was fitted on the same rows"
    shown = f"{challenger['dir.monitor']} is {float(challenger['dir.value']):.6g}"
    if champion is None:
        return True, f"{shown}, and there is no champion"
    for tag, words in (("monitor", "metric"), ("data_hash", "data"), ("cost", "cost")):
        mine, theirs = challenger.get(f"dir.{tag}", ""), champion.get(f"dir.{tag}", "")
        if mine != theirs or (tag == "data_hash" and not mine):
            return False, f"the champion was validated under another {words} ({theirs or 'unknown'}, here {mine})"
    if not champion.get("dir.value"):
        return False, "the value of the champion is unknown"
    wins = float(challenger["dir.value"]) < float(champion["dir.value"])
    return wins, f"{shown} here and {float(champion['dir.value']):.6g} of the champion"
