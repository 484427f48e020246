"""Decisions joined with labels."""

from __future__ import annotations

import pandas as pd
import score_rows

from skin_pipeline.contracts import ReturnedLabel, ReturnedLabels
from skin_pipeline.data import returned
from skin_pipeline.monitoring.decisions import joined, span, windows
from skin_pipeline.storage import FolderStore

MODEL = "skin"


def label(store: FolderStore, at: str, **labels: str) -> None:
    """Labels came back, by the name of the image."""
    rows = tuple(
        ReturnedLabel(
            image=name, line=2, value=what, label=what, at=at, digest=score_rows.digest_of(name)
        )
        for name, what in labels.items()
    )
    said = ReturnedLabels(
        model=MODEL,
        file=at,
        sha256="0" * 64,
        labelling="",
        at=at,
        run=at,
        taken=rows,
        pending=(),
        refused=(),
    )
    returned.keep(store, said)


def test_the_newest_label_joins_each_decision(store: FolderStore) -> None:
    score_rows.write(store, MODEL, {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.4})
    label(store, "2026-10-01", a="malignant", b="benign", c="neither")
    label(store, "2026-10-02", b="malignant")
    rows = joined(store, MODEL)
    assert rows["truth"].tolist() == [1, 1, -1, -1]
    assert rows["positive"].tolist() == [True, False, True, False]


def test_an_image_counts_once_a_version_and_without_a_decision_not_at_all(
    store: FolderStore,
) -> None:
    table = score_rows.rows({"a": 0.9, "b": 0.1, "c": 0.2}, MODEL)
    table.loc[1, "probability"] = None
    table.loc[2, "abstained"] = True
    score_rows.keep(store, MODEL, table)
    later = score_rows.rows({"a": 0.3}, MODEL, at="2026-09-05T00:00:00+00:00")
    score_rows.keep(store, MODEL, later)
    score_rows.keep(store, MODEL, later.assign(version="77c0"))
    rows = joined(store, MODEL)
    assert rows["version"].tolist() == [score_rows.VERSION, "77c0"]
    assert rows["positive"].tolist() == [True, False]


def test_windows_are_months_or_numbers_of_images_of_a_version(store: FolderStore) -> None:
    score_rows.write(store, MODEL, {"a": 0.9, "b": 0.1})
    score_rows.keep(
        store, MODEL, score_rows.rows({"c": 0.2}, MODEL, at="2026-10-01T00:00:00+00:00")
    )
    last = score_rows.rows({"d": 0.2}, MODEL, version="77c0", at="2026-10-02T00:00:00+00:00")
    score_rows.keep(store, MODEL, last)
    rows = joined(store, MODEL)
    assert [len(part) for part in windows(rows, "month")] == [2, 1, 1]
    assert [len(part) for part in windows(rows, 1)] == [1, 1, 1, 1]
    first = next(windows(rows, 3))
    assert span(first) == {
        "version": score_rows.VERSION,
        "start": "2026-09-01T08:00:00+00:00",
        "end": "2026-10-01T00:00:00+00:00",
    }
    assert list(windows(joined(store, "other"), "month")) == []
    assert isinstance(joined(store, "other"), pd.DataFrame)
