"""Every setting that docs/migrate.md names exists."""

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from dir.recipe.cli import config_dir, register_configs

PAGE = Path(__file__).resolve().parents[2] / "docs/migrate.md"
_GROUPS = "method|task|data|trainer|optimizer|scheduler|regularizer"
_SETTING = re.compile(rf"^\+?(?:{_GROUPS}|name|resume)(?:\.[\w.]+)?=?[^`|]*$")
# Choices that hold the parts which settings of the page belong to.
CHOICES = [*(f"method={name}" for name in ("vanilla", "lds_fds", "bmc", "ranksim", "conr", "rrt")), "optimizer=sgd"]


def settings() -> list[str]:
    rows = [
        line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `--") or line[:4] == "| `-"
    ]
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row[1])]
    return sorted({text.replace("'", "") for text in quoted if _SETTING.match(text)})


@pytest.fixture(scope="module")
def configs() -> list[DictConfig]:
    register_configs()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return [compose("train", ["+experiment=agedb", choice]) for choice in CHOICES]


def test_the_page_names_settings():
    assert len(settings()) > 30


@pytest.mark.parametrize("setting", settings())
def test_a_setting_of_the_page_exists(setting, configs):
    key, _, value = setting.lstrip("+").partition("=")
    if "." not in key and value and key not in {"resume", "name"}:
        assert (Path(config_dir()) / key / f"{value}.yaml").is_file()
        return
    missing = object()
    assert any(OmegaConf.select(cfg, key, default=missing) is not missing or _is_null(cfg, key) for cfg in configs)


def _is_null(cfg: DictConfig, key: str) -> bool:
    """Say whether the key exists with the value null, for which OmegaConf.select returns its default."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    return isinstance(node, DictConfig) and name in node
