"""Files that appear whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from skin_pipeline.data.disk import appearing, refuse_full, refuse_taken
from skin_pipeline.errors import BadInput, Unavailable


def test_a_file_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    with appearing(target) as part:
        part.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_nothing_is_left_of_a_block_that_raises(tmp_path: Path) -> None:
    def interrupted() -> None:
        with appearing(tmp_path / "folder") as part:
            part.mkdir()
            (part / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_only_an_empty_folder_may_be_at_a_target(tmp_path: Path) -> None:
    refuse_taken(tmp_path / "new")
    refuse_taken(tmp_path)
    (tmp_path / "file").touch()
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(BadInput, match="is taken"):
            refuse_taken(taken)


def test_a_full_disk_is_reported_before_writing(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    refuse_full(tmp_path, 0)
    with pytest.raises(Unavailable, match="not enough disk space"):
        refuse_full(tmp_path, 2 * free)
