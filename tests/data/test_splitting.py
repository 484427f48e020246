from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skin_pipeline.data import splitting
from skin_pipeline.errors import BadInput

KNOBS = {
    "runs": 6,
    "test_fraction": 0.2,
    "validation_fraction": 0.2,
    "balance": "undersample",
    "seed": 0,
}


def images(count, per_group=2, malignant=3):
    """A table of readable images, every third of them malignant."""
    return pd.DataFrame({
        "label": ["malignant" if i % malignant == 0 else "benign" for i in range(count)],
        "group": [f"patient_id:P{i // per_group}" for i in range(count)],
        "readable": True,
    })


TABLE = splitting.split(images(400), **KNOBS)
RUNS = [f"run_{i}" for i in range(6)]


@pytest.mark.parametrize("run", RUNS)
def test_no_group_is_on_two_sides(run):
    used = TABLE[TABLE[run] != "unused"]
    assert (used.groupby("group")[run].nunique() == 1).all()


def test_all_runs_have_the_same_test_set_and_different_resamples():
    tests = [set(TABLE.index[TABLE[run] == "test"]) for run in RUNS]
    assert all(test == tests[0] for test in tests)
    trains = {tuple(TABLE.index[TABLE[run] == "train"]) for run in RUNS}
    assert len(trains) == 6


@pytest.mark.parametrize("run", RUNS)
def test_training_sets_are_balanced_and_the_others_are_left_alone(run):
    counts = TABLE.groupby([run, "label"]).size()
    assert counts["train", "benign"] == counts["train", "malignant"]
    assert counts["test", "benign"] > counts["test", "malignant"]
    assert counts["validation", "benign"] > counts["validation", "malignant"]


def test_without_balancing_every_image_is_used():
    table = splitting.split(images(400), **{**KNOBS, "balance": "none"})
    assert not (table[RUNS] == "unused").any(axis=None)


def test_the_seed_moves_the_resamples_and_never_the_test_set():
    other = splitting.split(images(400), **{**KNOBS, "seed": 1})
    assert ((other["run_0"] == "test") == (TABLE["run_0"] == "test")).all()
    assert (other["run_0"] != TABLE["run_0"]).any()
    assert splitting.split(images(400), **KNOBS).equals(TABLE)


@settings(max_examples=30, deadline=None)
@given(st.integers(200, 400), st.integers(0, 5))
def test_new_images_never_move_an_old_one_between_test_and_the_rest(count, seed):
    before = splitting.split(images(count), **{**KNOBS, "seed": seed})
    after = splitting.split(images(count + 60), **{**KNOBS, "seed": seed})
    was, now = before["run_0"] == "test", after["run_0"][: len(before)] == "test"
    assert (was == now).all()


def test_unreadable_images_are_on_no_side():
    table = images(400)
    table.loc[:9, "readable"] = False
    assert (splitting.split(table, **KNOBS).loc[:9, RUNS] == "unused").all(axis=None)


def test_the_share_of_groups_in_the_test_set_is_near_the_fraction():
    share = sum(splitting.in_test(f"patient_id:{i}", 0.2) for i in range(20_000)) / 20_000
    assert 0.19 < share < 0.21


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (images(400).assign(label="benign"), "0 malignant"),
        (images(400).assign(group="one"), "the test set has 0 benign and 0 malignant"),
        (images(4, per_group=1), "more images"),
    ],
)
def test_too_little_data_is_told_with_the_counts(table, message):
    with pytest.raises(BadInput, match=message):
        splitting.split(table, **KNOBS)


def test_each_run_has_a_seed_of_its_own():
    seeds = {splitting.run_seed(seed, run) for seed in range(5) for run in range(20)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_counts_of_a_run_add_up():
    for sides in splitting.counts(TABLE).values():
        assert sum(sides.values()) == 400
