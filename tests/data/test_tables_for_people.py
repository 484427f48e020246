"""The manifest and what else steps write for a spreadsheet: no formula, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image
from spreadsheets import TABLE, cells

from skin_pipeline import steps, tables
from skin_pipeline.contracts import Dataset, Validation, load
from skin_pipeline.data import demo, exporting, manifest
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.storage import FolderStore, digest


def test_what_was_written_is_read_back(store: FolderStore) -> None:
    read = manifest.read(store, tables.write(store, "x/quarantine.csv", TABLE))
    pd.testing.assert_frame_equal(read, TABLE, check_dtype=False)


@given(some.lists(some.text(max_size=8), min_size=1, max_size=5))
def test_any_texts_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    store = FolderStore(tmp_path_factory.getbasetemp() / "texts")
    table = pd.DataFrame({"image_id": texts, "row": range(len(texts))})
    key = f"{digest(repr(texts).encode())}/quarantine.csv"
    read = manifest.read(store, tables.write(store, key, table))
    assert read["image_id"].tolist() == texts


@given(some.lists(some.text("=+-@;,'\" \t\r\nab\0", max_size=8), min_size=1, max_size=5))
def test_any_formulas_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    store = FolderStore(tmp_path_factory.getbasetemp() / "formulas")
    table = pd.DataFrame({"patient_id": texts, "row": range(len(texts))})
    key = f"{digest(repr(texts).encode())}/quarantine.csv"
    read = manifest.read(store, tables.write(store, key, table))
    assert read["patient_id"].tolist() == texts


def test_a_table_from_before_is_read_as_it_was_written(store: FolderStore) -> None:
    usual = TABLE[["image_id", "row"]][~TABLE["image_id"].str.contains(r"\r|\n|'=|\0", regex=True)]
    store.put("x/old.csv", usual.to_csv(index=False, lineterminator="\n").encode())
    read = manifest.read(store, "x/old.csv")
    assert read["image_id"].tolist() == usual["image_id"].tolist()


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
    for number, name in enumerate(written):
        exporting.export(job.store, name, tmp_path / f"{number}.csv")
        for row in cells((tmp_path / f"{number}.csv").read_bytes()):
            assert not [cell for cell in row if cell and cell[0] in "=@\t\r"]
            assert not [cell for cell in row if cell[:1] == "+"]
    ids = manifest.read(job.store, dataset.table)
    assert "=cmd (1)" in ids["image_id"].tolist()
    assert '=HYPERLINK("http://evil.example")' in ids["patient_id"].tolist()
    assert Image.open(images[5]).size  # the images themselves were left alone
