"""A zip file from a stranger, opened with suspicion."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from skin_pipeline.data.sources.zip_archive import Limits, name_of, opened
from skin_pipeline.errors import BadInput


def packed(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in names:
            bundle.writestr(name, f"content of {name}")
    return path


def test_entries_are_listed_looked_into_and_written(tmp_path: Path) -> None:
    with opened(packed(tmp_path / "a.zip", "a.jpg", "b/c.jpg"), Limits()) as archive:
        first, second = archive.entries()
        archive.write(second, tmp_path / "new" / "file")
        assert [name_of(first), name_of(second)] == ["a.jpg", "b/c.jpg"]
        assert archive.start(first, 7) == b"content"
    assert (tmp_path / "new" / "file").read_text() == "content of b/c.jpg"


def test_more_entries_than_allowed_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", "a.jpg", "b.jpg")
    with (
        opened(path, Limits(entries=1)) as archive,
        pytest.raises(BadInput, match="2 entries; 1 are allowed"),
    ):
        archive.entries()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jpg", b"\xff\xd8\xff", "is a single image"),
        ("a.rar", b"Rar!\x1a\x07", "is an archive of the kind RAR"),
        ("a.z01", b"", "is a part of a split archive"),
        ("a.zip", b"<!DOCTYPE html>", "is a web page"),
        ("a.zip", b"nothing", "is not a zip file"),
    ],
)
def test_a_file_of_another_kind_is_named(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        opened(tmp_path / name, Limits()).__enter__()


def test_an_archive_that_does_not_exist_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        opened(tmp_path / "a.zip", Limits()).__enter__()
