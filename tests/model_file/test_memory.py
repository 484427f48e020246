"""A process that gets only so much more memory than it has, for a while."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from skin_pipeline.model_file import memory
from skin_pipeline.model_file.memory import at_most

MIB = 2**20


def bound() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_DATA)


def test_more_memory_than_allowed_is_not_given() -> None:
    with at_most(64 * MIB):
        assert len(bytearray(16 * MIB))
        with pytest.raises(MemoryError):
            bytearray(128 * MIB)
    assert len(bytearray(128 * MIB))


def test_the_bound_of_before_is_there_again_whatever_happens() -> None:
    before = bound()
    with pytest.raises(ValueError, match="broken off"), at_most(MIB):
        raise ValueError("broken off")
    assert bound() == before


def test_a_tighter_bound_stays() -> None:
    with at_most(64 * MIB):
        tight = bound()
        with at_most(1024 * MIB):
            assert bound() == tight
        assert bound() == tight


def test_nothing_is_bounded_where_the_system_tells_no_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    before = bound()
    with at_most(MIB):
        assert bound() == before
