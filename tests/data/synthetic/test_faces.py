from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from dir.data.synthetic.appearance import _uniform, appearance
from dir.data.synthetic.faces import FACE_SIZE, draw_faces


def test_a_face_is_a_function_of_its_age_and_index_alone():
    ages, indices = torch.arange(1.0, 78.0), torch.arange(500, 577)
    together = draw_faces(ages, indices)
    order = torch.randperm(77, generator=torch.Generator().manual_seed(1))
    assert torch.equal(draw_faces(ages[order], indices[order]), together[order])
    assert torch.equal(draw_faces(ages[40:41], indices[40:41]), together[40:41])


def test_drawing_leaves_the_global_generators_alone():
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    draw_faces(torch.tensor([30.0]), torch.tensor([3]))
    assert (torch.rand(1), np.random.rand()) == expected


def test_faces_are_pictures_that_differ_by_index_and_by_age():
    faces = draw_faces(torch.tensor([30.0, 30.0, 75.0]), torch.tensor([1, 2, 1]))
    assert faces.shape == (3, 3, FACE_SIZE, FACE_SIZE)
    assert faces.dtype == torch.uint8
    values = faces.float()
    assert (values.flatten(1).std(1) > 15).all()
    by_index = (values[0] - values[1]).abs().mean()
    by_age = (values[0] - values[2]).abs().mean()
    # Another person in another light is a larger change than 45 years: the nuisances are what makes it hard.
    assert by_index > by_age > 2


def test_the_age_can_be_read_from_the_pixels_but_not_easily():
    rng = np.random.default_rng(0)
    ages = torch.from_numpy(rng.uniform(1, 100, 1200)).float()
    faces = draw_faces(ages, torch.arange(1200)).float()
    coarse = torch.nn.functional.avg_pool2d(faces, 4).flatten(1).double().numpy() / 255
    x, y = coarse - coarse[:800].mean(0), ages.double().numpy()
    kernel = x[:800].T @ x[:800] + 5.0 * np.eye(x.shape[1])
    guess = x[800:] @ np.linalg.solve(kernel, x[:800].T @ (y[:800] - y[:800].mean()))
    correlation = np.corrcoef(guess, y[800:])[0, 1]
    assert 0.5 < correlation < 0.97


def test_traits_go_the_way_that_people_age():
    indices = torch.arange(400)
    mean = {
        age: {k: v.mean().item() for k, v in appearance(torch.full((400,), float(age)), indices).items()}
        for age in (2, 6, 12, 20, 35, 50, 65, 80, 95)
    }
    children, adults = (2, 6, 12, 20), (20, 35, 50, 65, 80, 95)
    for trait in ("eye", "eye_y", "width", "blush"):
        values = [mean[age][trait] for age in children]
        assert values == sorted(values, reverse=True), trait
    for trait in ("lines", "sag", "grey", "mottle"):
        values = [mean[age][trait] for age in adults]
        assert values == sorted(values), trait
    assert mean[95]["lips"] < mean[50]["lips"] < mean[20]["lips"]


def test_people_of_one_age_differ_in_how_old_they_look():
    traits = appearance(torch.full((500,), 60.0), torch.arange(500))
    assert traits["grey"].std() > 0.2
    assert abs(np.corrcoef(traits["lines"], traits["grey"])[0, 1]) < 0.6


def test_nuisances_do_not_know_the_age():
    indices = torch.arange(50)
    young, old = appearance(torch.full((50,), 10.0), indices), appearance(torch.full((50,), 90.0), indices)
    for trait in ("wall", "clothes", "hair", "iris", "gain", "noise", "glasses", "cover", "cos", "zoom", "shift_x"):
        assert torch.equal(young[trait], old[trait]), trait


def test_hashed_numbers_are_uniform_and_independent():
    keys = np.arange(20_000, dtype=np.uint64)
    a, b = _uniform(keys, "one trait").numpy(), _uniform(keys, "another").numpy()
    assert stats.kstest(a, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
    assert abs(np.corrcoef(a[1:], a[:-1])[0, 1]) < 0.03
    assert 0 < a.min() < a.max() < 1


@pytest.mark.parametrize("age", [-1.0, float("nan"), float("inf")])
def test_impossible_ages_are_refused(age):
    with pytest.raises(ValueError, match=r"^ages: expected finite numbers >= 0"):
        draw_faces(torch.tensor([age]), torch.tensor([0]))


def test_ages_and_indices_must_match():
    with pytest.raises(ValueError, match=r"^ages: .*\[1\], got \[2\]"):
        draw_faces(torch.tensor([1.0, 2.0]), torch.tensor([0]))
