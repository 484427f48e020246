from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skin_pipeline.data import splitting
from skin_pipeline.errors import BadInput
from skin_pipeline.seeds import run_seed

KNOBS: dict[str, Any] = {
    "runs": 6,
    "test_fraction": 0.2,
    "validation_fraction": 0.2,
    "balance": "undersample",
    "seed": 0,
}


def images(count: int, per_group: int = 2, malignant: int = 3) -> pd.DataFrame:
    """A table of readable images, every third of them malignant."""
    return pd.DataFrame({
        "label": ["malignant" if i % malignant == 0 else "benign" for i in range(count)],
        "group": [f"patient_id:P{i // per_group}" for i in range(count)],
        "anchor": [f"patient_id:P{i // per_group}" for i in range(count)],
        "readable": True,
    })


TABLE = splitting.split(images(400), **KNOBS)
RUNS = [f"run_{i}" for i in range(6)]


@pytest.mark.parametrize("run", RUNS)
def test_no_group_is_on_two_sides(run: Any) -> None:
    used = TABLE[TABLE[run] != "unused"]
    assert (used.groupby("group")[run].nunique() == 1).all()


def test_all_runs_have_the_same_test_set_and_different_resamples() -> None:
    tests = [set(TABLE.index[TABLE[run] == "test"]) for run in RUNS]
    assert all(test == tests[0] for test in tests)
    trains = {tuple(TABLE.index[TABLE[run] == "train"]) for run in RUNS}
    assert len(trains) == 6


@pytest.mark.parametrize("run", RUNS)
def test_training_sets_are_balanced_and_the_others_are_left_alone(run: Any) -> None:
    counts = TABLE.groupby([run, "label"]).size()
    assert counts["train", "benign"] == counts["train", "malignant"]
    assert counts["test", "benign"] > counts["test", "malignant"]
    assert counts["validation", "benign"] > counts["validation", "malignant"]


def test_the_seed_moves_the_resamples_and_never_the_test_set() -> None:
    other = splitting.split(images(400), **{**KNOBS, "seed": 1})
    assert ((other["run_0"] == "test") == (TABLE["run_0"] == "test")).all()
    assert (other["run_0"] != TABLE["run_0"]).any()
    assert splitting.split(images(400), **KNOBS).equals(TABLE)


@settings(max_examples=30, deadline=None)
@given(st.integers(200, 400), st.integers(0, 5))
def test_new_images_never_move_an_old_one_between_test_and_the_rest(count: int, seed: int) -> None:
    before = splitting.split(images(count), **{**KNOBS, "seed": seed})
    after = splitting.split(images(count + 60), **{**KNOBS, "seed": seed})
    was, now = before["run_0"] == "test", after["run_0"][: len(before)] == "test"
    assert (was == now).all()


GROUPS = st.lists(st.integers(0, 60), min_size=150, max_size=250)


def linked(numbers: Any, merged: Any = ()) -> Any:
    """Images whose patients have these numbers; pairs of patients that are merged into a group."""
    table = pd.DataFrame({
        "label": ["malignant" if i % 2 else "benign" for i in range(len(numbers))],
        "anchor": [f"patient_id:{number}" for number in numbers],
        "readable": True,
    })
    names = {f"patient_id:{b}": f"patient_id:{a}" for a, b in merged}
    return table.assign(group=table["anchor"].replace(names))


def sides(table: Any) -> Any:
    """For each image whether it is in the test set, outside of it, or set aside."""
    test, rest = splitting._sides(table, 0.2)
    return pd.Series("aside", table.index).mask(test, "test").mask(rest, "rest")


@settings(max_examples=60, deadline=None)
@given(
    numbers=GROUPS,
    more=GROUPS,
    merged=st.lists(st.tuples(st.integers(0, 30), st.integers(31, 60)), max_size=8),
)
def test_nothing_ever_moves_between_test_and_the_rest(numbers: Any, more: Any, merged: Any) -> None:
    """Whatever is added, removed, or merged by a new near-duplicate."""
    before = sides(linked(numbers))
    versions = [
        sides(linked([*numbers, *more]))[: len(numbers)],
        sides(linked(numbers)[::2]),
        sides(linked([*numbers, *more], merged))[: len(numbers)],
    ]
    for now in versions:
        moved = {*zip(before[now.index], now, strict=True)}
        assert moved <= {("test", "test"), ("rest", "rest"), ("rest", "aside")}


@settings(max_examples=25, deadline=None)
@given(
    numbers=GROUPS,
    merged=st.lists(st.tuples(st.integers(0, 30), st.integers(31, 60)), max_size=8),
    seed=st.integers(0, 3),
)
def test_no_group_is_ever_on_two_sides_of_a_run(numbers: Any, merged: Any, seed: int) -> None:
    # Each patient has both classes, so that no split may be refused.
    table = linked([*range(61), *range(61), *numbers], merged)
    made = splitting.split(table, **{**KNOBS, "seed": seed, "runs": 2})
    for run in ("run_0", "run_1"):
        used = made[made[run] != "unused"]
        assert set(used[run]) == {"train", "validation", "test"}
        assert (used.groupby("group")[run].nunique() == 1).all()


def test_groups_of_test_and_rest_that_became_one_are_told(caplog: pytest.LogCaptureFixture) -> None:
    test = next(i for i in range(60) if splitting.in_test(f"patient_id:{i}", 0.2))
    rest = next(i for i in range(60) if not splitting.in_test(f"patient_id:{i}", 0.2))
    table = linked([test, rest, rest, 70], [(test, rest)])
    assert list(sides(table)) == ["test", "aside", "aside", sides(linked([70]))[0]]
    assert f'group_on_both_sides group="patient_id:{test}" test=1 set_aside=2' in caplog.text


def test_resamples_are_stratified_better_than_a_random_parting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = images(300, per_group=3, malignant=5)
    ours = splitting.stratification(splitting.split(table, **KNOBS))
    monkeypatch.setattr(splitting, "PARTINGS", 1)
    random = splitting.stratification(splitting.split(table, **KNOBS))
    assert sum(run["validation"] for run in ours.values()) < sum(
        run["validation"] for run in random.values()
    )


def test_stratification_is_the_distance_from_the_share_of_all() -> None:
    table = pd.DataFrame({
        "label": ["malignant", "benign"] * 4,
        "readable": True,
        "run_0": ["train"] * 4 + ["validation"] * 2 + ["test", "unused"],
    })
    assert splitting.stratification(table) == {
        "run_0": {"train": 0.0, "validation": 0.0, "test": 0.5}
    }


@pytest.mark.parametrize("balance", ["class_weights", "oversample", "smote", "none"])
def test_only_undersampling_leaves_images_out(balance: str) -> None:
    table = splitting.split(images(400), **{**KNOBS, "balance": balance})
    assert not (table[RUNS] == "unused").any(axis=None)


def test_unreadable_images_are_on_no_side() -> None:
    table = images(400)
    table.loc[:9, "readable"] = False
    assert (splitting.split(table, **KNOBS).loc[:9, RUNS] == "unused").all(axis=None)


def test_the_share_of_groups_in_the_test_set_is_near_the_fraction() -> None:
    share = sum(splitting.in_test(f"patient_id:{i}", 0.2) for i in range(20_000)) / 20_000
    assert 0.19 < share < 0.21


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (images(400).assign(label="benign"), "0 malignant"),
        (
            images(400).assign(group="one", anchor="one"),
            "test set has 0 benign and 0 malignant",
        ),
        (images(4, per_group=1), "more images"),
    ],
)
def test_too_little_data_is_told_with_the_counts(table: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        splitting.split(table, **KNOBS)


def test_each_run_has_a_seed_of_its_own() -> None:
    seeds = {run_seed(seed, run) for seed in range(5) for run in range(20)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_counts_of_a_run_are_those_of_its_column() -> None:
    assert splitting.counts(TABLE) == {
        run: {
            side: sum(cell == side for cell in TABLE[run])
            for side in ("train", "validation", "test", "unused")
        }
        for run in RUNS
    }
    few = pd.DataFrame({"key": ["a", "b"], "run_0": ["test", "train"], "run_1": ["test", "test"]})
    assert splitting.counts(few) == {"run_0": {"test": 1, "train": 1}, "run_1": {"test": 2}}


# --- the settings of the resamples ---------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.35, 0.5])
def test_each_run_validates_on_its_share_of_the_groups_that_are_left(fraction: float) -> None:
    table = splitting.split(
        images(600), **{**KNOBS, "balance": "none", "validation_fraction": fraction}
    )
    left = table[table["run_0"] != "test"]["group"].nunique()
    for run in RUNS:
        groups = table[table[run] == "validation"]["group"].nunique()
        assert groups == pytest.approx(fraction * left, abs=1)
        assert table[table[run] == "train"]["group"].nunique() == left - groups


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.4])
def test_the_test_set_is_its_share_of_the_groups(fraction: float) -> None:
    table = splitting.split(images(2000), **{**KNOBS, "runs": 1, "test_fraction": fraction})
    share = table[table["run_0"] == "test"]["group"].nunique() / table["group"].nunique()
    assert share == pytest.approx(fraction, abs=0.04)


def test_a_larger_test_set_holds_the_smaller_one() -> None:
    small, large = (
        splitting.split(images(400), **{**KNOBS, "test_fraction": share})["run_0"] == "test"
        for share in (0.15, 0.3)
    )
    assert (small <= large).all()
    assert small.sum() < large.sum()


def unused(table: Any, run: Any) -> Any:
    return frozenset(table.index[table[run] == "unused"])


def test_each_run_and_each_seed_leaves_out_other_images_of_the_larger_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the sides are the same, so that the runs differ in more than their sides."""
    parted = splitting._stratified
    monkeypatch.setattr(
        splitting,
        "_stratified",
        lambda rest, fraction, random: parted(rest, fraction, np.random.RandomState(0)),
    )
    tables = [splitting.split(images(400), **{**KNOBS, "seed": seed}) for seed in (0, 1)]
    assert len({unused(table, run) for table in tables for run in RUNS}) == 2 * len(RUNS)
    for table in tables:
        for run in RUNS:
            assert (table.loc[list(unused(table, run)), "label"] == "benign").all()


def test_every_run_has_sides_of_its_own_and_every_seed_too() -> None:
    tables = [splitting.split(images(400), **{**KNOBS, "seed": seed}) for seed in (0, 1)]
    validated = {
        frozenset(table.index[table[run] == "validation"]) for table in tables for run in RUNS
    }
    assert len(validated) == 2 * len(RUNS)


def test_the_training_set_keeps_all_of_the_rarer_class() -> None:
    table = images(400)
    whole = splitting.split(table, **{**KNOBS, "balance": "none"})
    made = splitting.split(table, **KNOBS)
    for run in RUNS:
        rare = (whole[run] == "train") & (table["label"] == "malignant")
        assert (made.loc[rare, run] == "train").all()


def test_a_quarantined_image_decides_nothing_about_its_group() -> None:
    """One that would be a test image is not, and takes no other out of training."""
    table = linked([next(i for i in range(60) if splitting.in_test(f"patient_id:{i}", 0.2))] * 2)
    table["anchor"] = ["patient_id:outside", table["anchor"][1]]
    assert not splitting.in_test("patient_id:outside", 0.2)
    assert list(sides(table)) == ["aside", "test"]
    assert list(sides(table.assign(readable=[True, False]))) == ["rest", "aside"]


def test_the_share_of_malignant_images_of_readable_ones_is_what_sides_are_held_against() -> None:
    table = pd.DataFrame({
        "label": ["malignant", "benign", "malignant", "malignant"],
        "readable": [True, True, False, False],
        "run_0": ["train", "validation", "unused", "unused"],
    })
    errors = splitting.stratification(table)["run_0"]
    assert (errors["train"], errors["validation"]) == (0.5, 0.5)
