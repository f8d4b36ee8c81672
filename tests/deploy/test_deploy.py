"""The files for containers and clusters name files, extras, commands and settings that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir

from dir.commands.names import COMMANDS
from dir.recipe.cli import config_dir
from dir.recipe.schema import register_configs

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
JOB = yaml.safe_load((ROOT / "deploy" / "pytorchjob.yaml").read_text(encoding="utf-8"))

# The fields of kubeflow.org/v1 PyTorchJob that a job may have (training operator 1.9): (type, whether required).
OPTIONAL, REQUIRED = False, True
REPLICA = {"replicas": (int, REQUIRED), "restartPolicy": (str, OPTIONAL), "template": (dict, REQUIRED)}
SPEC = {
    "nprocPerNode": (str, OPTIONAL),
    "runPolicy": (dict, OPTIONAL),
    "elasticPolicy": (dict, OPTIONAL),
    "pytorchReplicaSpecs": (dict, REQUIRED),
}
RUN_POLICY = {
    "cleanPodPolicy": (str, OPTIONAL),
    "ttlSecondsAfterFinished": (int, OPTIONAL),
    "activeDeadlineSeconds": (int, OPTIONAL),
    "backoffLimit": (int, OPTIONAL),
    "schedulingPolicy": (dict, OPTIONAL),
    "suspend": (bool, OPTIONAL),
}
CONTAINER = {
    "name": (str, REQUIRED),
    "image": (str, REQUIRED),
    "command": (list, OPTIONAL),
    "args": (list, OPTIONAL),
    "workingDir": (str, OPTIONAL),
    "resources": (dict, OPTIONAL),
    "volumeMounts": (list, OPTIONAL),
}


def check_fields(found: dict[str, Any], fields: dict[str, tuple[type, bool]], where: str) -> None:
    unknown = set(found) - set(fields)
    assert not unknown, f"{where}: unknown fields {unknown}"
    for name, (kind, required) in fields.items():
        assert name in found or not required, f"{where}: lacks {name}"
        assert name not in found or type(found[name]) is kind, f"{where}.{name}: {found[name]!r}"


def composed(overrides: list[str]) -> Any:
    register_configs()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose("train", overrides)


def test_the_job_has_the_fields_of_the_operator() -> None:
    assert (JOB["apiVersion"], JOB["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", JOB["metadata"]["name"])
    spec = JOB["spec"]
    check_fields(spec, SPEC, "spec")
    check_fields(spec["runPolicy"], RUN_POLICY, "spec.runPolicy")
    assert spec["runPolicy"]["cleanPodPolicy"] in ("None", "Running", "All")
    assert set(spec["pytorchReplicaSpecs"]) == {"Master", "Worker"}
    for name, replica in spec["pytorchReplicaSpecs"].items():
        check_fields(replica, REPLICA, name)
        assert replica["restartPolicy"] in ("Always", "OnFailure", "Never", "ExitCode")
        pod = replica["template"]["spec"]
        (container,) = pod["containers"]
        check_fields(container, CONTAINER, f"{name}.container")
        assert container["name"] == "pytorch"
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert container["workingDir"] in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_job_starts_as_many_processes_as_it_has_gpus_and_its_settings_compose() -> None:
    replicas = JOB["spec"]["pytorchReplicaSpecs"]
    container = replicas["Master"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["torchrun", "-m", "dir", "train"]
    cfg = composed(container["args"])
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert cfg.trainer.devices == gpus == int(JOB["spec"]["nprocPerNode"])
    assert cfg.trainer.num_nodes == sum(replica["replicas"] for replica in replicas.values())
    assert cfg.resume is True


def test_the_image_copies_what_exists_and_what_the_build_needs() -> None:
    copied = [part for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for part in line.split()]
    assert all((ROOT / part).exists() for part in copied)
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert {"pyproject.toml", "README.md", "LICENSE", "dir", "configs"} <= set(copied)
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{part}" for part in copied} <= set(kept)
    (extras,) = re.findall(r"/src\[([\w,]+)\]", DOCKERFILE)
    assert all(f"\n{extra} = [" in pyproject for extra in extras.split(","))


def test_the_image_runs_as_a_user_and_starts_a_command_of_the_package() -> None:
    lines = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
    assert lines[0].startswith("ARG BASE=")
    assert lines[1] == "FROM ${BASE}"
    (user,) = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert user != "root"
    assert f" {user}\n" in DOCKERFILE.split("USER ")[0]
    (entry,) = re.findall(r'^ENTRYPOINT \["dir-([\w-]+)"\]$', DOCKERFILE, re.MULTILINE)
    assert entry in COMMANDS


def test_every_entry_point_of_mlproject_is_a_command_that_composes() -> None:
    project = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
    values = {"path": "houses.csv", "target": "price"}
    for entry in project["entry_points"].values():
        given = {name: (p["default"] if "default" in p else values[name]) if isinstance(p, dict) else values[name]
                 for name, p in entry["parameters"].items()}  # fmt: skip
        program, script, *overrides = shlex.split(entry["command"].format(**given))
        assert program == "python"
        assert (ROOT / script).is_file()
        assert composed(overrides).method is not None


def test_mlflow_reads_mlproject() -> None:
    projects = pytest.importorskip("mlflow.projects._project_spec", reason="needs mlflow")
    project = projects.load_project(str(ROOT))
    command = project.get_entry_point("table").compute_command({"path": "x.csv", "target": "y"}, None)
    assert "data.path=x.csv" in command or "x.csv" in command
    with pytest.raises(Exception, match="target"):
        project.get_entry_point("table").compute_command({"path": "x.csv"}, None)
