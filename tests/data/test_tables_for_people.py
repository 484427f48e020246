"""Tables that people open in a spreadsheet: no formula, and nothing lost."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from skin_pipeline import steps, tables
from skin_pipeline.contracts import Dataset, Validation, load
from skin_pipeline.data import demo, manifest
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.storage import FolderStore

HOSTILE = (
    *("=cmd|'/c calc'!A1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", '"=1', "'=1", " =1"),
    *("\uff1d1", "\u200b=1", "a;=1", "a\n=1", "a\rb", "", "O'Brien", "\0", '"', "a,b", "\\"),
)
TABLE = pd.DataFrame({
    "image_id": HOSTILE,
    "key": [f"benign/{cell}.jpg" for cell in HOSTILE],
    "patient_id": HOSTILE[::-1],
    "brightness": np.linspace(-1, 1, len(HOSTILE)),
    "row": np.arange(len(HOSTILE)) - 1,
    "readable": [True] * len(HOSTILE),
})


def cells(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_texts_become_no_formula_and_numbers_stay_numbers(store: FolderStore) -> None:
    data = store.read(tables.write(store, "x/manifest.csv", TABLE))
    for row, written in zip(TABLE.itertuples(), cells(data)[1:], strict=True):
        for cell in written[:3]:
            assert not cell or cell[0] not in "=+-@\t\r\n\uff1d"
        assert written[4] == str(row.row)
        assert float(written[3]) == pytest.approx(row.brightness)


def test_what_was_written_is_read_back(store: FolderStore) -> None:
    read = manifest.read(store, tables.write(store, "x/manifest.csv", TABLE))
    pd.testing.assert_frame_equal(read, TABLE, check_dtype=False)
    scores = TABLE.rename(columns={"patient_id": "group"})[["key", "group", "brightness"]]
    read = tables.read_scores(store, tables.write(store, "x/scores.csv", scores))
    assert read["key"].tolist() == scores["key"].tolist()
    assert read["group"].fillna("").tolist() == scores["group"].tolist()
    assert read["brightness"].tolist() == scores["brightness"].tolist()


@given(some.lists(some.text(max_size=8), min_size=1, max_size=5))
def test_any_texts_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    store = FolderStore(tmp_path_factory.getbasetemp() / "texts")
    table = pd.DataFrame({"image_id": texts, "row": range(len(texts))})
    read = manifest.read(store, tables.put(store, table))
    assert read["image_id"].tolist() == texts


@given(some.lists(some.text("=+-@;,'\" \t\r\nab\0", max_size=8), min_size=1, max_size=5))
def test_any_formulas_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    store = FolderStore(tmp_path_factory.getbasetemp() / "formulas")
    table = pd.DataFrame({"patient_id": texts, "row": range(len(texts))})
    read = manifest.read(store, tables.put(store, table))
    assert read["patient_id"].tolist() == texts


def test_a_table_from_before_is_read_as_it_was_written(store: FolderStore) -> None:
    usual = TABLE[["image_id", "row"]][~TABLE["image_id"].str.contains(r"\r|\n|'=|\0", regex=True)]
    store.put("x/old.csv", usual.to_csv(index=False, lineterminator="\n").encode())
    read = manifest.read(store, "x/old.csv")
    assert read["image_id"].tolist() == usual["image_id"].tolist()


def test_a_table_without_formulas_keeps_its_bytes(store: FolderStore) -> None:
    usual = pd.DataFrame({"key": ["a/1.jpg", "b-2, c.jpg"], "x": [-0.5, np.nan], "n": [-1, 2]})
    assert tables.to_csv(usual) == usual.to_csv(index=False, lineterminator="\n").encode()


def test_names_and_patients_of_a_stranger_are_no_formulas_in_what_ingest_and_validate_write(
    make_job: Callable[..., Job], store: FolderStore, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    demo.generate(root, 0, 12)
    images = sorted(path for path in root.rglob("benign/*") if path.is_file())
    images[0].rename(images[0].with_name(f"=cmd (1){images[0].suffix}"))
    images[1].rename(images[1].with_name("+broken.jpg")).write_bytes(b"\xff\xd8\xff broken")
    table = next(root.rglob("*.csv"))
    known = pd.read_csv(table, dtype=str)
    known.loc[5, "patient_id"] = '=HYPERLINK("http://evil.example")'
    known.to_csv(table, index=False)
    job = make_job(
        data=str(root),
        weights="imagenet",
        min_per_class=10,
        max_unreadable=0.5,
        max_group_share=1.0,
    )
    key = steps.ingest(job).dataset
    with suppress(BadInput):  # so few images may not be fit for training
        steps.validate(job, key)
    dataset = load(job.store, key, Dataset)
    written = [dataset.table]
    for path in (store.root / "validate").rglob("result.json"):
        made = load(job.store, f"validate/{path.parent.name}", Validation)
        written += [made.table, made.quarantine]
    assert len(written) == 3
    for name in written:
        for row in cells(job.store.read(name)):
            assert not [cell for cell in row if cell and cell[0] in "=@\t\r"]
            assert not [cell for cell in row if cell[:1] == "+"]
    ids = manifest.read(job.store, dataset.table)
    assert "=cmd (1)" in ids["image_id"].tolist()
    assert '=HYPERLINK("http://evil.example")' in ids["patient_id"].tolist()
    assert Image.open(images[5]).size  # the images themselves were left alone
