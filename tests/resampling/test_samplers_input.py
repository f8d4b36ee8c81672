"""Tests of the inputs that the resamplers refuse or warn of, and of missing packages."""

# ruff: noqa: N803, N806  (X is what scikit-learn calls it)

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks

from dir.relevance import Relevance
from dir.resampling import SMOGN, SMOTER, WERCS, GaussianNoise, RandomOverSampler, RandomUnderSampler

ALL = [SMOTER, SMOGN, GaussianNoise, RandomUnderSampler, RandomOverSampler, WERCS]
BUMPY = ALL[:-1]


def test_one_rare_row_is_copied(skewed):
    X, y = skewed(50)
    y = np.concatenate([np.linspace(0, 1, 49), [30.0]])
    phi = Relevance.from_points([[1, 0], [30, 1]])
    for sampler in (SMOTER(phi, random_state=0), SMOGN(phi, random_state=0)):
        X_new, y_new = sampler.fit_resample(X, y)
        rare = y_new > 2
        assert rare.sum() == 25
        assert (y_new[rare] == 30).all()
        np.testing.assert_array_equal(X_new[rare], np.repeat(X[-1:], 25, axis=0))


def test_constant_columns_and_two_equal_column_names_survive(skewed):
    X, y = skewed()
    frame = pd.DataFrame(np.column_stack([X, np.full(len(y), 3.0)]), columns=["a", "a", "b", "c"])
    X_new, _ = SMOGN(random_state=0).fit_resample(frame, y)
    assert list(X_new.columns) == ["a", "a", "b", "c"]
    assert (X_new["c"] == 3).all()


def test_categorical_by_mask_position_or_name(mixed):
    X, y = mixed()
    X["word"] = X["word"].astype(object)
    named = SMOTER(categorical=["kind", "flag", "word"], random_state=0).fit_resample(X, y)[0]
    placed = SMOTER(categorical=[0, 3, -2], random_state=0).fit_resample(X, y)[0]
    masked = SMOTER(categorical=[True, False, False, True, True, False], random_state=0).fit_resample(X, y)[0]
    pd.testing.assert_frame_equal(named, placed)
    pd.testing.assert_frame_equal(named, masked)
    objects = X.to_numpy(dtype=object)
    assert SMOTER(categorical=[0, 3, 4], random_state=0).fit_resample(objects, y.to_numpy())[0].dtype == object


@pytest.mark.parametrize("sampler", ALL)
def test_scikit_learn_s_checks_of_parameters(sampler):
    name = sampler.__name__
    estimator_checks.check_parameters_default_constructible(name, sampler())
    estimator_checks.check_no_attributes_set_in_init(name, sampler())
    estimator_checks.check_get_params_invariance(name, sampler())
    estimator_checks.check_set_params(name, sampler())
    estimator_checks.check_estimator_repr(name, sampler())
    copy = clone(sampler(relevance=Relevance("adjbox"), random_state=3))
    assert copy.random_state == 3
    assert copy.relevance.method == "adjbox"


@pytest.mark.parametrize("sampler", ALL)
def test_missing_values_are_refused_with_the_column(sampler, mixed):
    X, y = mixed()
    with pytest.raises(ValueError, match=r"^X\['x'\]: 1 missing"):
        sampler().fit_resample(X.assign(x=X["x"].where(X["x"] != X["x"].iloc[3])), y)
    with pytest.raises(ValueError, match=r"^X\['kind'\]: missing values"):
        sampler().fit_resample(X.assign(kind=X["kind"].where(X.index != 5)), y)
    with pytest.raises(ValueError, match=r"^X\['missable'\]: 1 missing"):
        sampler().fit_resample(X.assign(missable=X["missable"].where(X.index != 5)), y)
    with pytest.raises(ValueError, match=r"^y: 1 missing"):
        sampler().fit_resample(X, y.where(y.index != 5))


@pytest.mark.parametrize("sampler", BUMPY)
def test_no_rare_label_is_an_error_that_names_relevance_and_threshold(sampler, skewed):
    X, _ = skewed()
    with pytest.raises(ValueError, match=r"^threshold: no label is rare.* 0, got 0\.8\."):
        sampler().fit_resample(X, np.linspace(0, 1, 300))
    with pytest.raises(ValueError, match=r"^threshold: every label is rare.* 1, got 0\.8\."):
        sampler(Relevance.from_points([[-2, 0], [-1, 1]])).fit_resample(X, np.linspace(0, 1, 300))
    with pytest.raises(ValueError, match=r"^relevance: the relevance of every label is 0"):
        WERCS().fit_resample(X, np.linspace(0, 1, 300))


def test_the_points_that_the_error_proposes_work_for_zero_inflated_labels(skewed):
    X, _ = skewed()
    y = np.where(np.arange(300) % 5 == 0, np.arange(300) / 10.0, 0.0)
    with pytest.raises(ValueError, match=r"^threshold: no label is rare") as caught:
        SMOTER(Relevance.from_points([[-2, 0], [-1, 0]])).fit_resample(X, y)
    proposed = re.search(r"Relevance\.from_points\(\[\(0, 0\), \(([\d.]+), 1\)\]\)", str(caught.value))
    assert 24 < float(proposed[1]) < 29.5
    y_new = SMOTER(Relevance.from_points([(0, 0), (float(proposed[1]), 1)]), random_state=0).fit_resample(X, y)[1]
    assert (y_new > 20).mean() > 2 * (y > 20).mean()


class TooLarge:
    def fit(self, y):
        return self

    def __call__(self, y):
        return np.abs(y) + 2


@pytest.mark.parametrize(
    ("sampler", "X", "y", "error", "message"),
    [
        (SMOTER(k=0), None, None, ValueError, r"^k: .*got 0\."),
        (SMOTER(k=2.5), None, None, ValueError, r"^k: .*got 2\.5"),
        (SMOTER(k=True), None, None, ValueError, "^k: .*got True"),
        (SMOGN(k=0), None, None, ValueError, r"^k: .*got 0\."),
        (SMOGN(k=5.0), None, None, ValueError, r"^k: .*got 5\.0"),
        (SMOGN(pert=0), None, None, ValueError, r"^pert: .*got 0\."),
        (GaussianNoise(pert=-1), None, None, ValueError, "^pert: .*got -1"),
        (GaussianNoise(pert=np.inf), None, None, ValueError, "^pert: .*got inf"),
        (SMOTER(threshold=1.2), None, None, ValueError, r"^threshold: .*\(0, 1\], got 1\.2"),
        (SMOTER(strategy="auto"), None, None, ValueError, "^strategy: .*'balance', 'extreme', got 'auto'"),
        (WERCS(over=-1), None, None, ValueError, "^over: .*got -1"),
        (WERCS(under=1.5), None, None, ValueError, r"^under: .*\[0, 1\], got 1\.5"),
        (SMOTER(categorical=["colour"]), None, None, ValueError, "^categorical: .*got 'colour'"),
        (SMOTER(categorical=[True]), None, None, ValueError, "^categorical: .*mask of 3 columns, got 1"),
        (SMOTER(), np.zeros(5), np.zeros(5), ValueError, r"^X: .*got 1\."),
        (SMOTER(), np.zeros((5, 2)), np.zeros(4), ValueError, r"^y: .*shape \[5\], got \[4\]"),
        (SMOTER(), np.zeros((5, 2)), np.zeros((5, 1)), ValueError, r"^y: .*shape \[5\], got \[5, 1\]"),
        (SMOTER(), np.zeros((1, 2)), np.zeros(1), ValueError, "^X: .*n_samples = 1"),
        (SMOTER(), np.array([["a"], ["b"]]), np.zeros(2), ValueError, r"^X\[0\]: expected numbers"),
        (SMOTER(), np.zeros((2, 1), "M8[s]"), np.zeros(2), ValueError, r"^X\[0\]: .*dates or durations"),
        (SMOTER(relevance=TooLarge()), None, None, ValueError, r"^relevance: .*\[0, 1\]"),
    ],
)  # fmt: skip
def test_input_errors(sampler, X, y, error, message, skewed):
    if X is None:
        X, y = skewed()
    with pytest.raises(error, match=message):
        sampler.fit_resample(X, y)


def test_a_column_of_names_is_refused_where_neighbours_are_looked_for():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"size": rng.randn(1100), "id": [f"row {k}" for k in range(1100)]})
    y = rng.exponential(size=1100)
    with pytest.raises(ValueError, match=r"^X\['id'\]: .*1000 categories.*got 1100"):
        SMOTER(random_state=0).fit_resample(frame, y)
    few = frame.assign(id=[f"kind {k % 50}" for k in range(1100)])
    assert len(SMOTER(random_state=0).fit_resample(few, y)[1]) > 0
    assert len(GaussianNoise(random_state=0).fit_resample(frame, y)[1]) > 0


def test_a_sparse_matrix_is_refused():
    from scipy.sparse import csr_matrix

    with pytest.raises(TypeError, match=r"^X: .*sparse matrix"):
        SMOTER().fit_resample(csr_matrix(np.eye(3)), np.zeros(3))


def test_without_scikit_learn_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "try:\n    import dir.resampling\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dir.resampling: scikit-learn is not installed. Run pip install scikit")


def test_arrays_need_neither_pandas_nor_torch():
    # Refused by the importer, not by an entry None in sys.modules: some scikit-learn asks that for its classes.
    code = (
        "import sys, numpy as np\n"
        "class NoPandas:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'pandas':\n"
        "            raise ImportError('no pandas here')\n"
        "sys.meta_path.insert(0, NoPandas())\n"
        "from dir.resampling import SMOGN\n"
        "rng = np.random.RandomState(0)\nSMOGN().fit_resample(rng.randn(99, 2), np.exp(2 * rng.randn(99)))\n"
        "assert not {'torch', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("sampler", [*BUMPY, WERCS])
def test_zero_inflated_labels_are_resampled_with_the_automatic_relevance(sampler, skewed):
    X, _ = skewed()
    y = np.where(np.arange(300) % 5 == 0, np.arange(300) / 10.0, 0.0)
    with pytest.warns(UserWarning, match=r"relevance: .*0 at 0, 1 at 2"):
        y_new = sampler(Relevance("auto", "high"), random_state=0).fit_resample(X, y)[1]
    assert (y_new > 20).mean() > 1.2 * (y > 20).mean()
