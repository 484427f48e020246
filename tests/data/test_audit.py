"""Shortcuts: what is found where one was planted, and what is not where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from skin_pipeline import intervals
from skin_pipeline.data import audit, images

COUNT = 400


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer trees and resamples than in earnest."""
    monkeypatch.setattr(audit, "TREES", 20)
    monkeypatch.setattr(intervals, "RESAMPLES", 200)


def table(count=COUNT, **planted):
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


def shifted(malignant, random):
    return random.normal(size=len(malignant)) + 2 * malignant


PLANTED = [
    ({"ring_blue": shifted}, "border ring colour"),
    ({"width": lambda m, r: np.where(m, 600, 1024)}, "original size"),
    ({"bytes": lambda m, r: r.randint(1_000, 2_000, len(m)) + 700 * m}, "file size"),
    ({"brightness": shifted}, "mean colour"),
    ({"age": lambda m, r: np.where(m, "70", "30")}, "metadata"),
    ({"sex": lambda m, r: np.where(m & (r.rand(len(m)) < 0.8), "", "Male")}, "metadata"),
]


@pytest.mark.parametrize(("planted", "name"), PLANTED, ids=[n for _, n in PLANTED])
def test_a_planted_shortcut_is_found_and_only_that(planted, name):
    seen = audit.audit(table(**planted), 0.65, seed=0)
    assert [item.name for item in seen if not item.passed] == [name]
    (found,) = [item for item in seen if item.name == name]
    assert 0.7 < found.auc.low <= found.auc.value <= found.auc.high
    assert (found.images, found.bound) == (COUNT, 0.65)


def test_features_that_tell_nothing_pass_with_an_interval_around_a_half():
    for item in audit.audit(table(), 0.65, seed=0):
        assert item.passed
        assert item.auc.low < 0.5 < item.auc.high + 0.05


def test_what_is_the_same_for_all_is_left_out():
    seen = audit.audit(
        table(sex=lambda m, r: "", age=lambda m, r: "", site=lambda m, r: ""), 0.65, 0
    )
    assert [item.name for item in seen] == ["border ring colour", "file size", "mean colour"]


def test_the_label_of_a_patient_is_no_shortcut():
    """What only tells patients apart cannot tell anything of patients that were not seen."""
    frame = table()
    frame["label"] = frame.groupby("group")["label"].transform("first")
    codes = frame["group"].factorize()[0]
    frame["ring_red"] = np.random.RandomState(1).permutation(codes.max() + 1)[codes]
    ring = audit.audit(frame, 0.65, seed=0)[0]
    assert ring.passed


def test_quarantined_images_are_left_out():
    frame = table()
    frame.loc[:99, "readable"] = False
    frame.loc[:99, "ring_red"] = np.nan
    assert audit.audit(frame, 0.65, 0)[0].images == COUNT - 100


def test_too_few_groups_are_told_and_nothing_is_judged(caplog):
    assert audit.audit(table(12), 0.65, 0) == ()
    assert "audit_left_out" in caplog.text


def test_a_large_set_is_sampled_by_whole_groups(monkeypatch):
    monkeypatch.setattr(audit, "MOST_IMAGES", 150)
    frame = table()
    rows = audit._sample(frame, 0)
    assert 130 < len(rows) <= 150
    assert not set(rows["group"]) & set(frame["group"][~frame.index.isin(rows.index)])


def test_the_audit_repeats_itself():
    assert audit.audit(table(), 0.65, 3) == audit.audit(table(), 0.65, 3)
