"""Tests of DIRTrainer on a tiny random BERT: a training by hand, checkpoints, resuming, two processes, refusals."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler

pytest.importorskip("transformers", reason="needs the extra 'huggingface'")
pytest.importorskip("accelerate", reason="needs the extra 'huggingface'")
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    TrainingArguments,
)

from dir.bins import LabelBins
from dir.callbacks.huggingface import DIRTrainer
from dir.fds import FDS
from dir.lds import LDS
from dir.losses import WeightedL1, weighted_l1

pytestmark = pytest.mark.filterwarnings("ignore:FDS. most", "ignore:.*pin_memory")

N, D, BATCH = 32, 8, 8
BINS = LabelBins.uniform(0.0, 5.0, 5)
LABELS = 5 * torch.rand(N, generator=torch.Generator().manual_seed(1)) ** 2
WORDS = torch.randint(4, 30, (N, 6), generator=torch.Generator().manual_seed(2))


class Sentences(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": WORDS[index], "labels": LABELS[index]}


class InOrder(DIRTrainer):
    def _get_train_sampler(self, *args: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def bert(dropout: float) -> BertForSequenceClassification:
    torch.manual_seed(0)
    sizes = {"hidden_size": D, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = BertConfig(vocab_size=30, num_labels=1, max_position_embeddings=8, **sizes, **dropouts)
    return BertForSequenceClassification(config)


def lds() -> LDS:
    return LDS(BINS, reweight="sqrt_inverse").fit(LABELS)


def arguments(folder: Path, **more: Any) -> TrainingArguments:
    fixed = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "logging_strategy": "no", "seed": 3}
    default = {"per_device_train_batch_size": BATCH, "num_train_epochs": 3, "learning_rate": 1e-2}
    return TrainingArguments(str(folder), **{**fixed, **default, "save_strategy": "no", **more})


def trainer(folder: Path, cls: type = DIRTrainer, dropout: float = 0.1, **more: Any) -> Any:
    own = ("lds", "fds", "fds_before", "criterion", "model", "optimizers", "model_init", "compute_loss_func")
    parts = {"lds": lds(), "fds": FDS(D, BINS), "criterion": WeightedL1()}
    parts |= {name: more.pop(name) for name in own if name in more}
    parts.setdefault("model", bert(dropout))
    return cls(args=arguments(folder, **more), train_dataset=Sentences(), eval_dataset=Sentences(), **parts)


def sgd(model: nn.Module) -> tuple[Any, Any]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)


def by_hand(batch: int, accumulate: int = 1) -> tuple[nn.Module, FDS]:
    """Train the same model in a plain loop that calls FDS and LDS itself."""
    model, fds, weights = bert(dropout=0.0).train(), FDS(D, BINS), lds()
    optimizer, _ = sgd(model)
    for _ in range(3):
        for index, rows in enumerate(torch.arange(N).split(batch)):
            pooled = model.bert(WORDS[rows])[1]
            prediction = model.classifier(fds(pooled, LABELS[rows])).squeeze(1)
            loss = weighted_l1(prediction, LABELS[rows], weight=weights(LABELS[rows]))
            (loss / accumulate).backward()
            if (index + 1) % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
        fds.end_epoch()
    return model, fds


def assert_same(found: nn.Module, wanted: nn.Module, **tolerance: float) -> None:
    tolerance = tolerance or {"rtol": 0.0, "atol": 0.0}
    torch.testing.assert_close(dict(found.state_dict()), dict(wanted.state_dict()), **tolerance)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_equals_a_plain_loop(tmp_path: Path, accumulate: int) -> None:
    model = bert(dropout=0.0)
    run = trainer(
        tmp_path,
        InOrder,
        model=model,
        optimizers=sgd(model),
        gradient_accumulation_steps=accumulate,
        max_grad_norm=0.0,
    )
    run.train()
    wanted, fds = by_hand(BATCH, accumulate)
    assert_same(run.fds, fds, rtol=1e-5, atol=1e-5)
    assert_same(model, wanted, rtol=1e-5, atol=1e-6)
    assert float((run.fds.scale - 1).abs().max()) > 0.05
    logged = [entry for entry in run.state.log_history if "fds/bins_seen" in entry]
    assert [entry["epoch"] for entry in logged] == [1, 2, 3]


def test_without_fds_and_lds_the_loss_is_the_mean_squared_error(tmp_path: Path) -> None:
    run = trainer(tmp_path, fds=None, lds=None, criterion=None)
    wanted = (run.model.eval()(WORDS).logits.squeeze(1) - LABELS).square().mean()
    assert run.evaluate()["eval_loss"] == pytest.approx(wanted.item(), rel=1e-5)


def test_a_saved_model_is_a_plain_one_and_evaluation_leaves_fds_alone(tmp_path: Path) -> None:
    run = trainer(tmp_path, num_train_epochs=2)
    run.train()
    before = {name: value.clone() for name, value in run.fds.state_dict().items()}
    predicted = run.predict(Sentences())
    weighted = weighted_l1(torch.from_numpy(predicted.predictions[:, 0]), LABELS, weight=run.lds(LABELS))
    # The Trainer averages over batches of equal size.
    assert predicted.metrics["test_loss"] == pytest.approx(weighted.item(), rel=1e-4)
    torch.testing.assert_close(dict(run.fds.state_dict()), before, rtol=0, atol=0)
    run.save_model(str(tmp_path / "saved"))
    loaded, report = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert list(loaded.state_dict()) == list(bert(0.1).state_dict())
    assert torch.equal(loaded.eval()(WORDS).logits, run.model.eval()(WORDS).logits)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A training of 3 epochs of 4 steps that saves every 2 steps, with dropout and random batches."""
    run = trainer(tmp_path_factory.mktemp("whole"), save_strategy="steps", save_steps=2)
    run.train()
    return run


@pytest.mark.parametrize("step", [2, 4, 10])
def test_a_training_resumes_exactly_within_an_epoch_and_at_its_end(
    uninterrupted: Any, tmp_path: Path, step: int
) -> None:
    run = trainer(tmp_path, save_strategy="steps", save_steps=2)
    shutil.copytree(f"{uninterrupted.args.output_dir}/checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    run.train(resume_from_checkpoint=True)
    assert_same(run.fds, uninterrupted.fds)
    assert_same(run.lds, uninterrupted.lds)
    assert_same(run.model, uninterrupted.model)
    assert int(run.fds.epoch) == 3
    assert run.fds.last_count.sum() == N


def test_a_training_that_saves_by_epochs_resumes_exactly(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", save_strategy="epoch")
    whole.train()
    state = torch.load(tmp_path / "whole/checkpoint-4/dir_state_0.pt", weights_only=True)
    assert float(state["parts"]["fds"]["epoch"]) == 1
    run = trainer(tmp_path / "resumed", save_strategy="epoch")
    run.train(resume_from_checkpoint=str(tmp_path / "whole/checkpoint-4"))
    assert_same(run.fds, whole.fds)
    assert_same(run.model, whole.model)


def test_a_skipped_epoch_is_collected_again_from_its_start(uninterrupted: Any, tmp_path: Path) -> None:
    run = trainer(tmp_path, ignore_data_skip=True)
    run.train(resume_from_checkpoint=f"{uninterrupted.args.output_dir}/checkpoint-2")
    # Ten steps are left: two epochs of four steps, and two steps. The two steps before the checkpoint do not count.
    assert int(run.fds.num_samples.sum()) == 10 * BATCH


def test_a_checkpoint_that_does_not_fit_is_refused(uninterrupted: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(f"{uninterrupted.args.output_dir}/checkpoint-2", tmp_path / "checkpoint-2")
    with pytest.raises(ValueError, match=r"holds the state of \['criterion', 'fds', 'lds'\], and the trainer has"):
        trainer(tmp_path, fds=None).train(resume_from_checkpoint=str(folder))
    with pytest.warns(UserWarning, match="lds: its weights differ"):
        trainer(tmp_path, lds=LDS(BINS).fit(LABELS)).train(resume_from_checkpoint=str(folder))
    path = folder / "dir_state_0.pt"
    torch.save({**torch.load(path, weights_only=True), "world_size": 4}, path)
    with pytest.raises(ValueError, match=r"it was written by 4 processes.*got 1"):
        trainer(tmp_path).train(resume_from_checkpoint=str(folder))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"dir_state_0\.pt: the state of FDS and LDS is missing"):
        trainer(tmp_path).train(resume_from_checkpoint=str(folder))


def test_settings_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="lds: LDS is not fitted"):
        trainer(tmp_path, lds=LDS(BINS))
    with pytest.raises(ValueError, match="compute_loss_func: DIRTrainer computes the loss"):
        trainer(tmp_path, compute_loss_func=lambda *args, **kwargs: None)
    with pytest.raises(ValueError, match="model_init: it would make models without FDS"):
        trainer(tmp_path, model=None, model_init=lambda: bert(0.1))
    with pytest.raises(ValueError, match="label_smoothing_factor: expected 0"):
        trainer(tmp_path, label_smoothing_factor=0.1)
    with pytest.raises(ValueError, match=r"before: .*'head'\. Its linear layers are: .*classifier \(8 -> 1\)"):
        trainer(tmp_path, fds_before="head")
    run = trainer(tmp_path)
    with pytest.raises(ValueError, match=r"inputs: expected 'labels' .*got \['input_ids'\]"):
        run.compute_loss(run.model, {"input_ids": WORDS})


def two_processes(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    """Train on two ranks with accelerate, resume within an epoch, and return all states."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    out: dict[str, Any] = {}
    for name, checkpoint in (("whole", None), ("resumed", f"{folder}/checkpoint-3")):
        model = bert(dropout=0.0)
        settings = {"save_strategy": "steps", "save_steps": 1, "max_grad_norm": 0.0, "ddp_backend": "gloo"}
        run = trainer(Path(folder), InOrder, model=model, optimizers=sgd(model), **settings)
        run.train(resume_from_checkpoint=checkpoint)
        out[name] = {"fds": dict(run.fds.state_dict()), "model": dict(model.state_dict())}
        out["world_size"], out["wrapper"] = run.args.world_size, type(run.model_wrapped).__name__
    return out


@pytest.mark.slow
def test_two_processes_equal_one_and_resume_exactly(spawn_ranks: Any, tmp_path: Path) -> None:
    model, fds = by_hand(2 * BATCH)
    wanted = {"fds": dict(fds.state_dict()), "model": dict(model.state_dict())}
    for result in spawn_ranks(two_processes, 2, str(tmp_path)):
        assert (result["world_size"], result["wrapper"]) == (2, "DistributedDataParallel")
        torch.testing.assert_close(result["whole"], wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(result["resumed"], result["whole"], rtol=0, atol=0)
    assert {path.name for path in (tmp_path / "checkpoint-3").glob("dir_state*")} == {
        "dir_state_0.pt",
        "dir_state_1.pt",
    }
    assert json.loads((tmp_path / "checkpoint-3/trainer_state.json").read_text())["global_step"] == 3
