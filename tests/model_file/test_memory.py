"""A process that gets only so much more memory than it has, for a while."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from skin_pipeline.model_file import memory
from skin_pipeline.model_file.memory import at_most

MIB = 2**20
ROOT = Path(__file__).parents[2]


def bound() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_DATA)


BOUNDED = """
from skin_pipeline.model_file.memory import at_most
with at_most(64 << 20):
    assert len(bytearray(16 << 20))
    try:
        bytearray(128 << 20)
    except MemoryError:
        print("refused")
assert len(bytearray(128 << 20))
"""


def test_more_memory_than_allowed_is_not_given() -> None:
    """In a process of its own: this one may have freed as much, and use it again."""
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "refused\n"


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
