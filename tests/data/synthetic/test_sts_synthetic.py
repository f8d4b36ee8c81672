from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from dir.data.synthetic.histograms import STSB_DIR_SCORES
from dir.data.synthetic.sentences import WEIGHTS, _families, similarity, vocabulary, write_pair
from dir.data.synthetic.sts_synthetic import STSSyntheticData

SIZES = {"train": 5249, "val": 1000, "test": 1000}


@pytest.fixture(scope="module")
def data() -> STSSyntheticData:
    module = STSSyntheticData()
    module.setup()
    return module


def test_the_histograms_are_those_of_stsb_dir(shared):
    edges = np.linspace(0, 5, 51).astype(np.float32)
    for split, name in (("train", "train"), ("val", "dev"), ("test", "test")):
        path = shared / "data" / "sts-b-dir" / f"{name}_new.tsv"
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            scores = np.array([row["score"] for row in rows], dtype=np.float32)
        assert np.histogram(scores, edges)[0].tolist() == list(STSB_DIR_SCORES[split])


def test_every_split_has_its_size_and_histogram(data):
    for split, size in SIZES.items():
        labels = data.labels(split)
        assert len(labels) == size
        assert np.histogram(labels, np.linspace(0, 5, 51))[0].tolist() == list(STSB_DIR_SCORES[split])


def test_batches_are_padded_word_numbers(data):
    (a, b), scores = next(iter(data.train_dataloader()))
    size = data.encoder_args()["vocab_size"]
    for ids in (a, b):
        assert ids.dtype == torch.int64
        assert 0 < ids.max() < size
        padding = ids == 0
        assert (padding[:, :-1] <= padding[:, 1:]).all()  # nothing after the padding begins
    assert scores.shape == (128,)
    assert scores.min() >= 0
    assert scores.max() <= 5


def test_the_pairs_do_not_depend_on_the_seed_nor_on_the_limit(data):
    other = STSSyntheticData(limit=30, seed=7)
    other.setup()
    for split in SIZES:
        assert torch.equal(other.labels(split), data.labels(split)[:30])
        for side in (0, 1):
            few, all_ = other.dataset(split).inputs[side], data.dataset(split).inputs[side]
            assert torch.equal(few, all_[:30, : few.shape[1]])


def test_the_true_similarity_is_near_the_score():
    rng = np.random.default_rng(0)
    wanted = rng.uniform(0, 5, 500)
    truth = np.array([write_pair(score, rng)[2] for score in wanted])
    assert np.abs(truth - wanted).mean() < 0.3
    exact = np.array([write_pair(score, rng, disagreement=0.0)[2] for score in wanted])
    assert np.abs(exact - wanted).max() < 0.25


def test_a_pair_of_score_five_says_the_same_in_other_words():
    rng = np.random.default_rng(3)
    pairs = [write_pair(5.0, rng, disagreement=0.0) for _ in range(50)]
    assert all(truth == 5.0 for _, _, truth in pairs)
    assert sum(a == b for a, b, _ in pairs) < 10


def test_shared_words_alone_do_not_give_the_score(data):
    (a, b), scores = data.dataset("train").__getitems__(list(range(2000)))
    overlap = [len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert 0.3 < np.corrcoef(overlap, scores)[0, 1] < 0.9


def test_similarity_is_symmetric_and_weighs_each_part():
    a = dict.fromkeys(WEIGHTS, (1, 2))
    assert similarity(a, a) == 5.0
    assert similarity(a, dict.fromkeys(WEIGHTS, (0, 2))) == 0.0
    for part, weight in WEIGHTS.items():
        related, other = {**a, part: (1, 0)}, {**a, part: (2, 2)}
        assert similarity(a, related) == pytest.approx(5 - 2.5 * weight)
        assert similarity(a, other) == similarity(other, a) == pytest.approx(5 - 5 * weight)


def test_no_word_of_one_part_means_two_concepts():
    for part in WEIGHTS:
        phrases = [phrase for family in _families(part) for concept in family for phrase in concept]
        assert len(phrases) == len(set(phrases)), part
    words = vocabulary()
    assert sorted(words.values()) == list(range(1, len(words) + 1))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="limit"):
        STSSyntheticData(limit=1)
    with pytest.raises(ValueError, match="score"):
        write_pair(5.5, np.random.default_rng(0))
