"""The days after a training, in the demo; tests/scripts/test_demo.py runs them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import daily


def test_lesions_of_both_classes_are_drawn_and_some_have_labels(tmp_path: Path) -> None:
    images, labels = daily.draw(tmp_path / "demo")
    names = {path.name for path in images.iterdir()}
    with labels.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(names) == 2 * daily.PER_CLASS
    assert {row["image"] for row in rows} < names
    counted = Counter(row["label"] for row in rows)
    assert set(counted) == {"benign", "malignant"}
    assert min(counted.values()) >= 10


def test_what_was_drawn_before_is_replaced(tmp_path: Path) -> None:
    first = sorted(path.read_bytes() for path in daily.draw(tmp_path / "demo")[0].iterdir())
    again = sorted(path.read_bytes() for path in daily.draw(tmp_path / "demo")[0].iterdir())
    assert first == again


def test_the_runs_follow_each_other_and_name_the_model() -> None:
    given = dict(daily.runs("skin", Path("/new"), Path("/labels.csv")))
    assert list(given) == ["skin_scoring", "skin_labels", "skin_monitoring", "skin_watch"]
    assert given["skin_scoring"] == {"model": "skin", "source": "/new"}
