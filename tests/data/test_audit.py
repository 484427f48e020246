"""Shortcuts: what is found where one was planted, and what is not where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from skin_pipeline import intervals
from skin_pipeline.contracts import Interval
from skin_pipeline.data import audit, images

COUNT = 400


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer trees and resamples than in earnest."""
    monkeypatch.setattr(audit, "TREES", 20)
    monkeypatch.setattr(intervals, "RESAMPLES", 200)


def table(count: int = COUNT, **planted: Any) -> Any:
    """Images of 1 to 2 a patient with features that tell nothing, but for those planted."""
    random = np.random.RandomState(0)
    label = random.choice(["benign", "malignant"], count)
    malignant = label == "malignant"
    frame = pd.DataFrame({
        "label": label,
        "group": [f"patient_id:{i}" for i in random.randint(0, count * 3 // 4, count)],
        "readable": True,
        "width": 600,
        "height": 450,
        "bytes": random.randint(20_000, 90_000, count),
        **{name: random.uniform(0, 255, count) for name in images.STATISTICS},
        "age": random.randint(20, 90, count).astype(str),
        "sex": random.choice(["male", "female", ""], count),
        "site": random.choice(["torso", "head/neck"], count),
    })
    return frame.assign(**{name: make(malignant, random) for name, make in planted.items()})


def shifted(malignant: Any, random: Any) -> Any:
    return random.normal(size=len(malignant)) + 2 * malignant


PLANTED = [
    ({"ring_blue": shifted}, "border ring colour"),
    ({"width": lambda m, r: np.where(m, 600, 1024)}, "original size"),
    ({"bytes": lambda m, r: r.randint(1_000, 2_000, len(m)) + 700 * m}, "file size"),
    ({"brightness": shifted}, "mean colour"),
    ({"age": lambda m, r: np.where(m, "70", "30")}, "metadata"),
    ({"sex": lambda m, r: np.where(m & (r.rand(len(m)) < 0.8), "", "Male")}, "metadata"),
    ({"age": lambda m, r: np.where(m, "", r.randint(40, 45, len(m)).astype(str))}, "metadata"),
]


@pytest.mark.parametrize(("planted", "name"), PLANTED, ids=[n for _, n in PLANTED])
def test_a_planted_shortcut_is_found_and_only_that(planted: Any, name: str) -> None:
    seen = audit.audit(table(**planted), 0.65, seed=0)
    assert [item.name for item in seen if not item.passed] == [name]
    (found,) = [item for item in seen if item.name == name]
    assert 0.7 < found.auc.low <= found.auc.value <= found.auc.high
    assert (found.images, found.bound) == (COUNT, 0.65)


def test_features_that_tell_nothing_pass_with_an_interval_around_a_half() -> None:
    seen = audit.audit(table(), 0.65, seed=0)
    assert [item.name for item in seen] == [
        *("border ring colour", "file size", "mean colour", "metadata"),
    ]
    for item in seen:
        assert item.passed
        assert item.auc.low < 0.5 < item.auc.high + 0.05


def test_what_is_the_same_for_all_is_left_out() -> None:
    seen = audit.audit(
        table(sex=lambda m, r: "", age=lambda m, r: "", site=lambda m, r: ""), 0.65, 0
    )
    assert [item.name for item in seen] == ["border ring colour", "file size", "mean colour"]


def test_the_label_of_a_patient_is_no_shortcut() -> None:
    """What only tells patients apart cannot tell anything of patients that were not seen."""
    frame = table()
    frame["label"] = frame.groupby("group")["label"].transform("first")
    codes = frame["group"].factorize()[0]
    frame["ring_red"] = np.random.RandomState(1).permutation(codes.max() + 1)[codes]
    ring = audit.audit(frame, 0.65, seed=0)[0]
    assert ring.passed


def test_quarantined_images_are_left_out() -> None:
    frame = table()
    frame.loc[:99, "readable"] = False
    frame.loc[:99, "ring_red"] = np.nan
    assert audit.audit(frame, 0.65, 0)[0].images == COUNT - 100


def test_too_few_groups_are_told_and_nothing_is_judged(caplog: pytest.LogCaptureFixture) -> None:
    assert audit.audit(table(12), 0.65, 0) == ()
    assert "audit_left_out" in caplog.text


def test_a_large_set_is_sampled_by_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST_IMAGES", 150)
    frame = table()
    rows = audit._sample(frame, 0)
    assert 130 < len(rows) <= 150
    assert not set(rows["group"]) & set(frame["group"][~frame.index.isin(rows.index)])


def test_the_audit_repeats_itself() -> None:
    assert audit.audit(table(), 0.65, 3) == audit.audit(table(), 0.65, 3)


def test_another_seed_draws_other_samples_folds_forests_and_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = table(ring_blue=shifted)
    labels, groups = (frame["label"] == "malignant").to_numpy(int), frame["group"].to_numpy(object)
    folds = [audit._folds(labels, groups, seed) for seed in (0, 1)]
    assert not np.array_equal(folds[0][0][1], folds[1][0][1])
    values = frame[["ring_blue", "ring_red"]].to_numpy()
    said = [audit._out_of_fold(values, labels, folds[0], seed) for seed in (0, 1)]
    assert (said[0] != said[1]).any()
    is_test = np.arange(COUNT) % 3 == 0
    said = [audit.scores(frame, is_test, RING, seed)[RING[0]] for seed in (0, 1)]
    assert (said[0] != said[1]).any()
    monkeypatch.setattr(audit, "MOST_IMAGES", 150)
    samples = [set(audit._sample(frame, seed).index) for seed in (0, 1)]
    assert samples[0] != samples[1]
    monkeypatch.undo()
    monkeypatch.setattr(audit, "features", lambda rows: {"any": values})
    monkeypatch.setattr(audit, "_out_of_fold", lambda *_: values[:, 0])
    ends = {audit.audit(frame, 0.65, seed)[0].auc.low for seed in (0, 1)}
    assert len(ends) == 2


def test_no_image_is_scored_by_a_forest_that_learned_from_its_group() -> None:
    frame = table()
    labels, groups = (frame["label"] == "malignant").to_numpy(int), frame["group"].to_numpy(object)
    scored = []
    for learned, held_out in audit._folds(labels, groups, 0):
        assert not set(groups[learned]) & set(groups[held_out])
        scored += list(held_out)
    assert sorted(scored) == list(range(COUNT))


# --- what forests say of test images -------------------------------------------------------------

RING = ("border ring colour",)


def test_forests_learn_nothing_of_the_labels_of_test_images() -> None:
    frame = table(ring_blue=shifted)
    is_test = (frame["group"].str[-1] < "4").to_numpy()
    turned = frame.copy()
    turned.loc[is_test, "label"] = np.where(
        frame["label"][is_test] == "malignant", "benign", "malignant"
    )
    assert 50 < is_test.sum() < 300
    one, other = (audit.scores(rows, is_test, RING, 0)[RING[0]] for rows in (frame, turned))
    assert (one == other).all()
    malignant = (frame["label"] == "malignant")[is_test].to_numpy(int)
    assert intervals.auc(one, malignant) > 0.8


def test_what_forests_say_follows_from_the_labels_of_the_other_images() -> None:
    frame = table(ring_blue=shifted)
    is_test = np.arange(COUNT) % 3 == 0
    turned = frame.copy()
    turned["label"] = np.where(frame["label"] == "malignant", "benign", "malignant")
    malignant = (frame["label"] == "malignant")[is_test].to_numpy(int)
    scores = audit.scores(turned, is_test, RING, 0)[RING[0]]
    assert intervals.auc(scores, malignant) < 0.2


def test_the_scores_are_those_of_the_test_images_in_their_order() -> None:
    frame = table(ring_blue=shifted)
    is_test = np.arange(COUNT) % 3 == 0
    (scores,) = audit.scores(frame, is_test, RING, 0).values()
    assert scores.shape == (is_test.sum(),)
    assert ((scores >= 0) & (scores <= 1)).all()
    order = np.argsort(frame["ring_blue"][is_test].to_numpy())
    assert scores[order][-20:].mean() > scores[order][:20].mean() + 0.3


def test_each_name_has_a_forest_that_sees_its_feature_alone() -> None:
    frame = table(ring_blue=shifted)
    is_test = np.arange(COUNT) % 3 == 0
    malignant = (frame["label"] == "malignant")[is_test].to_numpy(int)
    scores = audit.scores(frame, is_test, ("file size", *RING), 0)
    assert list(scores) == ["file size", *RING]
    assert intervals.auc(scores[RING[0]], malignant) > 0.8
    assert 0.35 < intervals.auc(scores["file size"], malignant) < 0.65


def test_a_large_set_is_learned_from_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table(ring_blue=shifted)
    is_test = np.arange(COUNT) % 3 == 0
    learned = []

    class Forest:
        def fit(self, values: Any, labels: Any) -> Any:
            learned.append((values, labels))
            return self

        def predict_proba(self, values: Any) -> Any:
            return np.zeros((len(values), 2))

    monkeypatch.setattr(audit, "_forest", lambda seed: Forest())
    monkeypatch.setattr(audit, "MOST_IMAGES", 100)
    audit.scores(frame, is_test, RING, 0)
    ((values, labels),) = learned
    assert 80 < len(values) == len(labels) <= 100
    outside = frame[~is_test]
    assert set(values[:, 2]) <= set(outside["ring_blue"])


# --- what the audit is made from -----------------------------------------------------------------


@pytest.mark.parametrize(("bound", "passed"), [(0.69, False), (0.7, True), (0.71, True)])
def test_the_figure_is_compared_with_the_bound_and_not_an_end_of_its_interval(
    bound: float, passed: bool
) -> None:
    seen = audit._judged("size", 400, Interval(value=0.7, low=0.6, high=0.8), bound)
    assert (seen.passed, seen.name, seen.images, seen.bound) == (passed, "size", 400, bound)


def test_more_images_of_the_same_patients_make_no_shortcut_more_certain() -> None:
    frame = table(ring_blue=shifted)
    frame["group"] = [f"g{i // 8}" for i in range(COUNT)]
    alone = frame.assign(group=[f"g{i}" for i in range(COUNT)])
    for rows in (frame, alone):
        rows["label"] = np.where(np.arange(COUNT) // 8 % 2, "malignant", "benign")
        rows["ring_blue"] = np.repeat(np.random.RandomState(0).normal(size=COUNT // 8), 8) + (
            rows["label"] == "malignant"
        )
    few, many = (audit.audit(rows, 0.65, 0)[0].auc for rows in (frame, alone))
    assert few.high - few.low > many.high - many.low


@pytest.mark.parametrize(("few", "judged"), [(9, False), (10, True)])
def test_ten_groups_of_the_rarer_class_are_enough(few: int, judged: bool) -> None:
    frame = table()
    frame["group"] = [f"g{i}" for i in range(COUNT)]
    frame["label"] = np.where(np.arange(COUNT) < few, "malignant", "benign")
    assert bool(audit.audit(frame, 0.65, 0)) == judged


def test_an_age_that_is_not_known_is_none_of_those_that_are() -> None:
    frame = table(age=lambda m, r: np.where(np.arange(len(m)) < 30, "", r.randint(20, 90, len(m))))
    ages = audit._metadata(frame)["age"]
    assert ages[:30].nunique() == 1
    assert ages[0] < ages[30:].min() == 20
