"""The yardstick gives the published programs' numbers: otherwise a ratio to it would mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.naive import NaiveFDS, lds_weights, second_pass, shot_metrics, weighted_loss
from dir import FDS, LDS, LabelBins

CONFIG = "gaussian_ks5_s2_m0.9"


@pytest.mark.parametrize(
    ("folder", "dtype", "tolerance"), [("f64", torch.float64, 1e-6), ("f32", torch.float32, 1e-4)]
)
def test_fds_loop_is_the_published_one_as_it_is(golden, folder, dtype, tolerance):
    arrays = golden("fds_agedb.npz", key=f"{folder}/{CONFIG}/as_is/epoch4/probe_A_out")
    fds = NaiveFDS(6, num_labels=100, start=3, dtype=dtype)

    def tensor(key):
        return torch.from_numpy(arrays[key].copy())  # the loop edits in place

    def check(key, value):
        expected = arrays[f"{folder}/{CONFIG}/{key}"]
        np.testing.assert_allclose(value.numpy(), expected, rtol=tolerance, atol=tolerance, err_msg=key)

    for epoch in range(5):
        for probe in "AB":
            features = tensor(f"inputs/probe_{probe}_features").to(dtype)
            check(
                f"as_is/epoch{epoch}/probe_{probe}_out",
                fds.smooth(features, tensor(f"inputs/probe_{probe}_labels"), epoch),
            )
        if epoch == 4:
            return
        features, labels = tensor(f"inputs/epoch{epoch}/features").to(dtype), tensor(f"inputs/epoch{epoch}/labels")
        second_pass(fds, zip(features.split(100), labels.split(100), strict=True), epoch)
        for name, value in {
            "common/{}/running_mean": fds.running_mean,
            "common/{}/running_var": fds.running_var,
            "common/{}/num_samples_tracked": fds.num_samples,
            "common/{}/smoothed_mean_last_epoch": fds.smoothed_mean,
            "common/{}/smoothed_var_last_epoch": fds.smoothed_var,
            "as_is/{}/running_mean_last_epoch": fds.last_mean,
            "as_is/{}/running_var_last_epoch": fds.last_var,
        }.items():
            check(name.format(f"epoch{epoch}"), value)


def test_fds_loop_passes_the_published_gradient(golden):
    arrays = golden("fds_agedb.npz", key=f"f64/{CONFIG}/as_is/epoch2/probe_A_grad")
    fds = NaiveFDS(6, num_labels=100, start=3, dtype=torch.float64)
    for epoch in range(2):
        features, labels = (
            torch.from_numpy(arrays[f"inputs/epoch{epoch}/{part}"]) for part in ("features", "labels")
        )
        second_pass(fds, [(features, labels)], epoch)
    features = torch.from_numpy(arrays["inputs/probe_A_features"]).requires_grad_()
    out = fds.smooth(features.clone(), torch.from_numpy(arrays["inputs/probe_A_labels"]), 2)
    out.backward(torch.from_numpy(arrays["inputs/probe_A_cotangent"]))
    np.testing.assert_allclose(features.grad.numpy(), arrays[f"f64/{CONFIG}/as_is/epoch2/probe_A_grad"], rtol=1e-6)


@pytest.mark.parametrize(("reweight", "name"), [("inverse", "inverse"), ("sqrt_inverse", "sqrt_inv")])
@pytest.mark.parametrize(("size", "sigma"), [(5, 2), (9, 1)])
def test_lds_loop_gives_the_published_weights(golden, reweight, name, size, sigma):
    key = f"agedb/{name}/gaussian/ks{size}_s{sigma}/weights"
    arrays = golden("lds_weights.npz", key=key)
    weights = lds_weights(arrays["agedb/labels"], 121, reweight, size, sigma)
    np.testing.assert_allclose(weights, arrays[key], rtol=1e-5)


def test_lds_loop_and_ours_agree_on_the_benchmark_labels():
    labels = (30 + 12 * torch.randn(5000, generator=torch.Generator().manual_seed(0))).clamp(0, 120)
    bins = LabelBins.uniform(0, 121, 121)
    ours = LDS(bins, reweight="sqrt_inverse").fit(labels)(labels)
    np.testing.assert_allclose(ours.numpy(), lds_weights(labels.numpy(), 121), rtol=1e-5)


@pytest.mark.parametrize("by_sample", [True, False])
@pytest.mark.parametrize("case", ["random", "constant", "with_exact_hits"])
def test_shot_loop_gives_the_published_numbers(golden, shared: Path, case, by_sample: bool):
    arrays = golden("shot_metrics.npz", key=f"agedb/{case}/preds")
    text = (shared / "data/golden/shot_metrics.json").read_text(encoding="utf-8")
    expected = json.loads(text)["agedb"][f"{case}/float64"]
    found = shot_metrics(
        arrays[f"agedb/{case}/preds"].astype(np.float64),
        arrays["agedb/labels"].astype(np.float64),
        arrays["agedb/train_labels"],
        by_sample=by_sample,
    )
    assert set(found) == set(expected)
    for group, values in expected.items():
        for metric, value in values.items():
            assert found[group][metric] == pytest.approx(value, rel=1e-6), (group, metric)


@pytest.mark.parametrize(
    ("name", "case"),
    [("mse", "mse"), ("l1", "l1"), ("huber", "huber_beta1.0"), ("focal_l1", "focal_l1_sigmoid_beta0.2_gamma1")],
)
def test_losses_give_the_published_values(golden, name, case):
    arrays = golden("losses.npz", key=f"agedb/{case}/w/value")
    pred, target, weight = (torch.from_numpy(arrays[f"agedb/{part}"]) for part in ("inputs", "targets", "weights"))
    assert weighted_loss(name, pred, target, weight).item() == pytest.approx(float(arrays[f"agedb/{case}/w/value"]))


def test_epoch_statistics_of_the_loop_and_ours_agree():
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(600, 8, generator=generator), torch.randint(0, 20, (600,), generator=generator)
    naive, ours = NaiveFDS(8, num_labels=20), FDS(8, LabelBins.integers(0, 19))
    second_pass(naive, zip(features.split(100), labels.split(100), strict=True), 0)
    for batch, batch_labels in zip(features.split(100), labels.split(100), strict=True):
        ours(batch, batch_labels)
    ours.end_epoch()
    torch.testing.assert_close(naive.running_mean.double(), ours.running_mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(naive.running_var.double(), ours.running_var, rtol=1e-4, atol=1e-5)
