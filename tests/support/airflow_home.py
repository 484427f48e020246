"""Airflow's SQLite database, made once for all tests that start an Airflow of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import sharing


def put_database(home: Path) -> None:
    """Puts an empty database of this Airflow's schema into its home, as a first start would."""
    made, _ = sharing.made_once("airflow-database", _migrate)
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(made / "airflow.db", home)
    (home / "database-version").write_text(version("apache-airflow"))  # for scripts/local_airflow


def _migrate(home: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env={**kept, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        check=True,
        capture_output=True,
    )
