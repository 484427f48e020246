"""A suite is run over a table, and logged."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sound_tables import BOUNDS, divided, table

from skin_pipeline.data import validation


def test_the_log_has_a_line_a_check_and_a_sum(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checks = validation.check_manifest(table(sharpness=1.0), tmp_path, **BOUNDS)
    with caplog.at_level(logging.INFO, logger="skin_pipeline"):
        validation.log_checks(checks)
    *lines, total = caplog.messages
    assert len(lines) == len(checks)
    assert all(
        re.fullmatch(r'check name=".*" observed=".*" bound=".*" verdict=".*"', s) for s in lines
    )
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert 'bound="2.5 to 60 for 98 %" verdict="failed (warning)"' in warning.getMessage()
    assert total == f"checked checks={len(checks)} passed={len(checks) - 1} warnings=1 critical=0"


def test_great_expectations_is_imported_only_for_work_and_says_nothing(tmp_path: Path) -> None:
    code = (
        "import logging, sys, pandas\n"
        "from skin_pipeline.data import validation\n"
        "from pathlib import Path\n"
        "assert 'great_expectations' not in sys.modules\n"
        "logging.basicConfig(level=logging.INFO)\n"
        f"validation.check_split(pandas.read_pickle({str(tmp_path / 'table')!r}), Path.cwd())\n"
    )
    divided().to_pickle(tmp_path / "table")
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(validation.__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (run.stdout, run.stderr) == ("", "")
    assert (tmp_path / "index.html").is_file()
