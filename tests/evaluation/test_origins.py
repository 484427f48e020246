"""Each source is judged by what was learned from the others, and one that cannot be is told."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from skin_pipeline.config import Settings
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import origins
from skin_pipeline.training import left_out
from skin_pipeline.training.inputs import Source
from skin_pipeline.training.stages import Run

SETTINGS = Settings(data="demo", weights="none")


def runs_of(table: pd.DataFrame, count: int = 2) -> list[Run]:
    source = Source(cast(Any, None), table, (), ())
    return [Run(cast(Any, None), source, SETTINGS, number, number) for number in range(count)]


def table_of(**columns: Any) -> pd.DataFrame:
    labels = ["benign", "malignant"] * 20
    sides = ["train", "train", "validation", "validation", "test"] * 8
    groups = [f"patient-{n}" for n in range(40)]
    return pd.DataFrame({"label": labels, "run_0": sides, "group": groups, **columns})


def test_one_source_has_no_others_to_learn_from() -> None:
    assert origins.judged(runs_of(table_of()), views=1) == ()


def test_the_logits_of_several_heads_are_averaged_and_test_images_are_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = table_of(source=["b"] * 20 + ["a"] * 20)
    asked = []

    def scored(run: Run, source: str, views: int) -> tuple[Any, Any]:
        asked.append((run.number, source, views))
        here = (table["source"] == source) & (table["run_0"] != "test")
        rows = np.flatnonzero(here)
        signs = np.where(table["label"][rows] == "malignant", 1.0, -1.0)
        # Alone, the second head is always wrong; together they are always right, but on "b" never.
        return rows, signs * ((3.0, -1.0)[run.number] if source == "a" else -1.0)

    monkeypatch.setattr(left_out, "scored", scored)
    first, second = origins.judged(runs_of(table), views=4)
    assert (first.source, first.images, first.malignant, first.auc.value) == ("a", 16, 8, 1.0)
    assert (second.source, second.auc.value, second.problem) == ("b", 0.0, "")
    assert asked == [(0, "a", 4), (1, "a", 4), (0, "b", 4), (1, "b", 4)]


def test_no_more_heads_are_trained_than_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    table, asked = table_of(source="a"), []

    def scored(run: Run, *_: Any) -> tuple[Any, Any]:
        asked.append(run.number)
        return np.arange(32), np.arange(32)

    monkeypatch.setattr(left_out, "scored", scored)
    origins.judged(runs_of(table, count=9), views=1)
    assert asked == list(range(origins.RUNS))


def test_a_source_that_cannot_be_judged_is_told_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: Any) -> Any:
        raise BadInput("the train set has 0 benign and 0 malignant images")

    monkeypatch.setattr(left_out, "scored", refused)
    (one,) = origins.judged(runs_of(table_of(source="a")), views=1)
    assert np.isnan(one.auc.value)
    assert one.problem.startswith("the train set has 0")
