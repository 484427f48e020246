"""What changed since the data set that was accepted before."""

from __future__ import annotations

from typing import Any

import pandas as pd

from skin_pipeline import tables
from skin_pipeline.contracts import Changes, Validation, dump
from skin_pipeline.data import changes
from skin_pipeline.storage import FolderStore


def table(**labels: Any) -> pd.DataFrame:
    return pd.DataFrame({
        "key": [f"{label}/{name}.jpg" for name, label in labels.items()],
        "sha256": list(labels),
        "label": list(labels.values()),
    })


def validated(store: FolderStore, rows: Any, key: str = "validate/a") -> str:
    """The key of a validation with these rows."""
    validation = Validation(
        dataset="ingest/a",
        external={},
        overlaps={},
        table=tables.put(store, rows),
        quarantine="",
        anchors="",
        checks=(),
        shortcuts=(),
        changes=Changes(previous=None, added=0, removed=0, relabelled=0, examples=()),
        docs="",
    )
    store.put(f"{key}/result.json", dump(validation))
    return key


def test_the_first_data_set_is_all_new(store: FolderStore) -> None:
    seen = changes.against(store, table(a="benign", b="malignant"), None)
    assert (seen.previous, seen.added, seen.removed, seen.relabelled) == (None, 2, 0, 0)


def test_added_removed_and_relabelled_images_are_counted_and_named(store: FolderStore) -> None:
    previous = validated(store, table(a="benign", b="malignant", c="benign", d="benign"))
    now = table(a="benign", b="benign", d="benign", e="malignant", f="benign")
    seen = changes.against(store, now, previous)
    assert (seen.added, seen.removed, seen.relabelled) == (2, 1, 1)
    assert seen.examples == (
        "added: malignant/e.jpg",
        "added: benign/f.jpg",
        "removed: benign/c.jpg",
        "relabelled: benign/b.jpg",
    )


def test_a_renamed_file_is_no_change(store: FolderStore) -> None:
    rows = table(a="benign", b="malignant")
    previous = validated(store, rows)
    seen = changes.against(store, rows.assign(key=["benign/x.jpg", "malignant/y.jpg"]), previous)
    assert (seen.added, seen.removed, seen.relabelled, seen.examples) == (0, 0, 0, ())


def test_many_changes_are_counted_in_full_and_named_in_part(store: FolderStore) -> None:
    previous = validated(store, table(a="benign"))
    seen = changes.against(store, table(**{f"n{i}": "benign" for i in range(50)}), previous)
    assert (seen.added, seen.removed, len(seen.examples)) == (50, 1, changes.EXAMPLES + 1)


def test_a_file_that_could_not_be_read_is_known_by_its_name(store: FolderStore) -> None:
    """It has no digest, and is not the same as another such file."""
    rows = table(a="benign", b="benign", c="malignant").assign(sha256=["a", "", ""])
    previous = validated(store, rows)
    assert changes.against(store, rows, previous).examples == ()
    seen = changes.against(store, rows.tail(2).head(1), previous)
    assert (seen.removed, seen.examples) == (
        2,
        ("removed: benign/a.jpg", "removed: malignant/c.jpg"),
    )
    first = changes.against(store, rows[:2], validated(store, rows[:1], "validate/b"))
    assert (first.added, first.examples) == (1, ("added: benign/b.jpg",))
