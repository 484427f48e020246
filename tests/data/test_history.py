"""Which data set came before, and what changed since."""

from __future__ import annotations

import pandas as pd
import pytest

from skin_pipeline import tables
from skin_pipeline.contracts import Changes, Validation, dump
from skin_pipeline.data import changes, history
from skin_pipeline.errors import BadInput

NAME, WHEN = "skin", "2026-01-01T00:00:00Z"


def accept(store, dataset):
    history.accept(store, NAME, dataset, f"validate/{dataset}", WHEN)


def test_the_first_data_set_has_none_before_it(store):
    assert history.before(store, NAME, "a") is None
    accept(store, "a")
    assert history.before(store, NAME, "a") is None


def test_the_next_one_has_the_accepted_one_before_it_also_when_asked_again(store):
    accept(store, "a")
    assert history.before(store, NAME, "b") == "validate/a"
    accept(store, "b")
    accept(store, "b")
    assert history.before(store, NAME, "b") == "validate/a"
    assert history.before(store, NAME, "c") == "validate/b"


def test_a_data_set_that_was_not_accepted_leaves_no_trace(store):
    accept(store, "a")
    history.before(store, NAME, "refused")
    assert history.before(store, NAME, "b") == "validate/a"


def test_models_have_histories_of_their_own(store):
    accept(store, "a")
    assert history.before(store, "other", "b") is None


def test_a_run_that_was_slower_than_another_is_told_so(store, caplog, monkeypatch):
    monkeypatch.setattr(type(store), "swap", lambda *args: False)
    accept(store, "a")
    assert "data_pointer_moved_by_another_run name=skin" in caplog.text


def test_a_damaged_pointer_is_named(store):
    store.swap("datasets/skin/current.json", b"{}", None)
    with pytest.raises(
        BadInput, match=r"datasets/skin/current\.json is not a DataPointer document"
    ):
        history.before(store, NAME, "a")


# --- changes -------------------------------------------------------------------------------------


def table(**labels):
    return pd.DataFrame({
        "key": [f"{label}/{name}.jpg" for name, label in labels.items()],
        "sha256": list(labels),
        "label": list(labels.values()),
    })


def validated(store, rows, key="validate/a"):
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


def test_the_first_data_set_is_all_new(store):
    seen = changes.against(store, table(a="benign", b="malignant"), None)
    assert (seen.previous, seen.added, seen.removed, seen.relabelled) == (None, 2, 0, 0)


def test_added_removed_and_relabelled_images_are_counted_and_named(store):
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


def test_a_renamed_file_is_no_change(store):
    rows = table(a="benign", b="malignant")
    previous = validated(store, rows)
    seen = changes.against(store, rows.assign(key=["benign/x.jpg", "malignant/y.jpg"]), previous)
    assert (seen.added, seen.removed, seen.relabelled, seen.examples) == (0, 0, 0, ())


def test_many_changes_are_counted_in_full_and_named_in_part(store):
    previous = validated(store, table(a="benign"))
    seen = changes.against(store, table(**{f"n{i}": "benign" for i in range(50)}), previous)
    assert (seen.added, seen.removed, len(seen.examples)) == (50, 1, changes.EXAMPLES + 1)


def test_a_file_that_could_not_be_read_is_known_by_its_name(store):
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
