"""Runs work in worker processes, and scripts that start some."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from skin_pipeline.data.workers import each


def run(script: Any) -> Any:
    """What a script says that runs as a file of its own."""
    root = Path(__file__).parents[2]
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(script)
        file.flush()
        ended = subprocess.run(
            [sys.executable, file.name],
            env={
                "PYTHONPATH": f"{root / 'tests/support/may_write'}:{root}:{root / 'tests/support'}"
            },
            capture_output=True,
            text=True,
            check=True,
        )
    return ended.stdout


def dead(number: Any, why: Any) -> tuple[Any, Any]:
    return number, why


def done(work: Any, items: Any, processes: int = 2) -> list[Any]:
    """What comes of each item; of one that its process died on, its number and why."""
    return list(each(work, items, processes, dead, str))
