"""The plan and the queue of the table over many data sets."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from benchmarks.settle import queue
from benchmarks.settle.plan import DATA, NUM_TRIALS, TRAININGS, overrides_of, trainings_of, trials
from benchmarks.settle.queue import Item, add_result, next_item, read_results
from benchmarks.settle.training import chosen_trial
from dir.recipe.cli import config_dir
from dir.recipe.schema import register_configs


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "RESULTS", tmp_path / "results")
    return tmp_path / "claims"


def finish(item: Item, **more: object) -> None:
    add_result({"data": item.data, "training": item.training, "role": item.role, "number": item.number} | more)


def test_every_training_has_the_same_number_of_trials_on_every_data_set():
    for name in DATA:
        for key in trainings_of(name):
            found = trials(name, key, 1e-3)
            assert len(set(found)) == NUM_TRIALS, (name, key)


@pytest.mark.parametrize("name", ["concrete", "faces"])
def test_every_training_composes(name):
    register_configs()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        for key in trainings_of(name):
            cfg = compose("train", [*overrides_of(name, key), *trials(name, key, 1e-3)[-1]])
            assert cfg.method is not None


def test_trials_come_first_and_no_item_is_given_twice(results):
    first = next_item(results, [])
    second = next_item(results, [])
    assert (first, second) == (Item("concrete", "vanilla", "trial", 0), Item("concrete", "vanilla", "trial", 1))


def test_a_test_run_waits_for_the_trials_of_its_training(results):
    for key in trainings_of("blood_cells"):
        for number in range(NUM_TRIALS - (key == "lds")):
            finish(Item("blood_cells", key, "trial", number))
    given = set()
    while (item := next_item(results, ["blood_cells"])) is not None:
        given.add(item)
    assert Item("blood_cells", "lds", "trial", NUM_TRIALS - 1) in given
    assert {item.training for item in given if item.role == "test"} == set(trainings_of("blood_cells")) - {"lds"}
    assert {item.number for item in given if item.role == "test"} == set(range(DATA["blood_cells"].max_seeds))


def test_finished_items_are_left_out(results):
    done = Item("concrete", "vanilla", "trial", 0)
    finish(done, objective=1.0)
    assert next_item(results, []) == Item("concrete", "vanilla", "trial", 1)
    lines = (results.parent / "results/concrete.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["objective"] == 1.0


def test_the_trial_with_the_lowest_objective_is_chosen(results):
    from benchmarks.settle.training import chosen_trial

    for number, value in enumerate([3.0, None, 1.0, 1.0, 2.0, 4.0]):
        finish(Item("abalone", "lds", "trial", number), objective=value, choice=[f"n={number}"])
    assert chosen_trial(Item("abalone", "lds", "test", 0))["choice"] == ["n=2"]
    with pytest.raises(RuntimeError, match="none of the 6 trials"):
        chosen_trial(Item("abalone", "sqinv", "test", 0))


def test_only_tables_have_trees_and_resamplers():
    assert "hist_gbdt" not in trainings_of("digits")
    assert {"hist_gbdt", "resampler", "tabm_prior"} <= set(trainings_of("abalone"))
    assert set(trainings_of("abalone")) == set(TRAININGS)


def test_result_lines_name_the_commit_of_the_code_whatever_results_were_added(monkeypatch):
    from benchmarks.settle import training

    asked = []
    monkeypatch.setattr(training, "commit", lambda **more: asked.append(more) or "abc")
    training.code_commit.cache_clear()
    try:
        assert (training.code_commit(), training.code_commit()) == ("abc", "abc")
    finally:
        training.code_commit.cache_clear()
    # Once for each worker: the code that trains is that of its start.
    (more,) = asked
    assert [Path(queue.__file__).parents[2] / path for path in more["ignored"]] == [queue.RESULTS]


@pytest.mark.parametrize("name", list(DATA))
def test_the_committed_test_runs_have_the_settings_of_the_best_trial(name):
    # After a change of the plan an old test run would stand for settings that validation did not choose.
    tests = [line for line in read_results(name) if line["role"] == "test"]
    assert tests
    chosen = {key: chosen_trial(Item(name, key, "test", 0))["choice"] for key in {line["training"] for line in tests}}
    for line in tests:
        assert line["choice"] == chosen[line["training"]], (line["training"], line["number"])
