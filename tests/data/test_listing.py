"""The tables that say which images each range has."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from skin_pipeline.contracts import Notice
from skin_pipeline.data import listing, manifest
from skin_pipeline.data.layout import Layout
from skin_pipeline.data.metadata import METADATA
from skin_pipeline.data.metadata.reader import Known
from skin_pipeline.data.sources import Found, Images, Listed, Survey
from skin_pipeline.data.sources.contents import Contents, SourceFile
from skin_pipeline.errors import Unavailable
from skin_pipeline.storage import FolderStore

NAMES = ("007", "=1+1", "null", "a, b")  # what a careless reader of tables would change


def survey(names: tuple[str, ...] = NAMES) -> Survey:
    """A source with images of these names."""
    images = tuple(SourceFile(name, Path("/far") / name) for name in NAMES)
    listed = tuple(Listed(name, f"at%20{name}", f"1-{name}") for name in names)
    return Survey(Contents("far", images), listed)


def known() -> Known:
    """The same images, whose keys lack the folder above, with the patient of each."""
    files = tuple(Found("benign", f"key of {name}", Path("/far") / name) for name in NAMES)
    facts = pd.DataFrame("", index=range(len(NAMES)), columns=list(METADATA)).assign(
        patient_id=[f"00{n}" for n in range(len(NAMES))]
    )
    return Known(Images(files, (), (Notice(kind="k", subject="s", reason="r"),)), facts)


def test_each_range_has_its_own_images_and_facts(store: FolderStore) -> None:
    files, facts = listing.put(store, survey(), known(), Layout(3, 3))
    first, second = (listing.read(store, key) for key in files)
    assert [item.name for item in first.wanted + second.wanted] == list(NAMES)
    assert second.wanted == (Listed("a, b", "at%20a, b", "1-a, b"),)
    assert first.named[1] == ("benign", "key of =1+1")
    found = second.found({"a, b": Path("/near/0")})
    assert found.files == (Found("benign", "key of a, b", Path("/near/0")),)
    tables = [manifest.read(store, key) for key in facts]
    assert [list(table["patient_id"]) for table in tables] == [["000", "001", "002"], ["003"]]


def test_the_same_images_have_the_same_tables(store: FolderStore) -> None:
    assert listing.put(store, survey(), known(), Layout(3, 3)) == listing.put(
        store, survey(), known(), Layout(3, 3)
    )


def test_an_image_that_went_away_while_the_source_was_listed_is_no_part_of_it(
    store: FolderStore,
) -> None:
    with pytest.raises(Unavailable, match="was removed meanwhile"):
        listing.put(store, survey(NAMES[:-1]), known(), Layout(3, 3))
