"""The code of docs/adapters.md runs, gives the numbers of the code by hand, and has the lines that the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = (Path(__file__).resolve().parents[2] / "docs/adapters.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- block: (.*?) -->\n```python\n(.*?)```", PAGE, flags=re.DOTALL))
ROWS = re.findall(r"^\| (.*?) \| (\d+) \| (\d+) \|$", PAGE, flags=re.MULTILINE)


def run(*names: str, **known: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "__page__", **known}
    for name in names:
        exec(compile(BLOCKS[name], f"docs/adapters.md, block {name!r}", "exec"), found)
    return found


def lines(block: str) -> int:
    """Return the number of lines that are neither blank, comments nor imports."""
    return sum(bool(re.match(r"\s*(?!import |from |#)\S", line)) for line in BLOCKS[block].splitlines())


def test_the_page_counts_the_lines_of_its_blocks() -> None:
    errands = [name.removesuffix(", now") for name in BLOCKS if name.endswith(", now")]
    counted = [(str(lines(f"{errand}, by hand")), str(lines(f"{errand}, now"))) for errand in errands]
    assert [row[1:] for row in ROWS] == counted
    assert PAGE.count("```python") == len(BLOCKS), "every block has a name"


@pytest.mark.filterwarnings("ignore:FDS. most")
def test_any_model() -> None:
    pytest.importorskip("torchvision", reason="needs the extra 'recipes'")
    now, by_hand = run("model, data", "model, now"), run("model, data", "model, by hand")
    assert torch.equal(now["prediction"], by_hand["prediction"])
    assert int(now["fds"].epoch) == 2
    assert not hasattr(now["model"].fc, "fds")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_lightning_module_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning", reason="needs the extra 'recipes'")
    monkeypatch.chdir(tmp_path)
    found = run("lightning, code")
    logged = found["trainer"].callback_metrics
    assert {"few/mae", "many/mae", "all/n", "fds/bins_seen"} <= set(logged)
    module = found["trainer"].lightning_module
    with torch.no_grad():
        inputs, labels = found["data"].dataset.tensors
        errors = (module.head(module.encoder(inputs)).squeeze(1) - labels).abs()
    torch.testing.assert_close(logged["all/mae"].float(), errors.mean())
    assert float(logged["all/n"]) == 256


def test_the_module_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning", reason="needs the extra 'recipes'")
    from hydra import compose, initialize_config_dir

    from dir.recipe.build import build
    from dir.recipe.cli import config_dir, register_configs
    from dir.recipe.run_folder import RunFolder
    from dir.recipe.train import train

    monkeypatch.chdir(tmp_path)
    x, noise = torch.rand(200), torch.randn(200)
    rows = "\n".join(f"{a:.4f},{b:.4f}" for a, b in zip(x, 100 * x**3 + noise, strict=True))
    Path("table.csv").write_text(f"x,y\n{rows}\n")
    register_configs()
    table = ["+experiment=tabular", "data.path=table.csv", "data.target=y", "method=lds_fds"]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", [*table, "trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=none"])
    path = re.search(r'path = "(.*?)"', BLOCKS["run, data"])[1]
    train(cfg, RunFolder(Path(path).parents[1]), {"method": "lds_fds"})
    loader = build(cfg).data.test_dataloader()
    now, by_hand = (run("run, data", f"run, {way}", loader=loader) for way in ("now", "by hand"))
    torch.testing.assert_close(torch.cat(now["predictions"]), torch.cat(by_hand["predictions"]))


@pytest.mark.filterwarnings("ignore:FDS. most", "ignore:.*pin_memory")
def test_the_trainer_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate", reason="needs the extra 'huggingface'")
    monkeypatch.chdir(tmp_path)
    now, by_hand = (run("trainer, data", f"trainer, {way}") for way in ("now", "by hand"))
    torch.testing.assert_close(dict(now["model"].state_dict()), dict(by_hand["model"].state_dict()), rtol=0, atol=0)
    assert int(now["trainer"].fds.epoch) == 2
    assert (tmp_path / "out/checkpoint-16/dir_state_0.pt").is_file()
