"""A process that tries a model, and is taken over by a stranger's code while it loads it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from surroundings import ROOT, SECRET

from skin_pipeline.model_file import trial
from skin_pipeline.sandbox import Cell

SUPPORT = Path(__file__).parent
PATIENCE = 60.0  # seconds until a test that waits gives up
MIB = 2**20


@contextmanager
def taken_over(place: Path, **facts: Any) -> Generator[None, None, None]:
    """Whoever loads a model in a process of its own during the block is taken over."""
    hook = place / "compromised"
    shutil.copytree(SUPPORT / "compromised", hook)
    for name in ("attacks.py", "hostile.py"):
        shutil.copy(SUPPORT / name, hook)
    (hook / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(hook), str(ROOT)]))
        patch.setenv("SKIN_SIGNING_PASSWORD", SECRET)
        yield


def ask(place: Path, **how: Any) -> dict[str, float]:
    model = place / "model.keras"
    model.write_bytes(b"a stranger's")
    return trial.ask(
        model, {"dark": b"", "bright": b""}, **{"threads": 1, "seconds": PATIENCE, **how}
    )


def cell(place: Path, **how: Any) -> Cell:
    folder = place / "work"
    folder.mkdir()
    given = {"readable": (), "memory": 2**31, "file_bytes": MIB, "seconds": PATIENCE, **how}
    return Cell(folder=str(folder), **given)
