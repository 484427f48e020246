"""What identifies the content of a data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from image_folders import lay_out

from skin_pipeline.data import sources
from skin_pipeline.errors import Unavailable


def test_the_digest_is_of_the_content_wherever_it_lies(tmp_path: Path) -> None:
    lay_out(tmp_path / "one", "benign/a.jpg", "malignant/b.jpg")
    shutil.copytree(tmp_path / "one", tmp_path / "two" / "inner")
    digest = sources.find(tmp_path / "one").digest
    assert sources.find(tmp_path / "two").digest == digest
    (tmp_path / "two/inner/benign/a.jpg").write_bytes(b"changed")
    assert sources.find(tmp_path / "two").digest != digest


def test_a_table_beside_the_images_is_part_of_the_content(tmp_path: Path) -> None:
    lay_out(tmp_path, "benign/a.jpg", "malignant/b.jpg")
    before = sources.find(tmp_path).digest
    (tmp_path / "patients.csv").write_text("image_name,patient_id\na,P1\n")
    assert sources.find(tmp_path).digest != before


def test_a_file_that_goes_away_while_it_is_read_is_no_fault_of_the_data(tmp_path: Path) -> None:
    found = sources.find(lay_out(tmp_path, "benign/a.jpg", "malignant/b.jpg"))
    (tmp_path / "benign/a.jpg").unlink()
    with pytest.raises(Unavailable, match=r"a\.jpg' was found, but cannot be read any more"):
        _ = found.digest


def test_the_keys_of_data_sets_that_are_in_stores_stay(tmp_path: Path) -> None:
    """A data set is found again by its content and its labelling."""
    for name in ("benign/a.jpg", "malignant/b.jpg", "labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = sources.find(tmp_path)
    assert found.digest == "57d90d62cb2545e59a6268f8a8655d33ece57caf872c560f500d226d61fc6a70"
