"""Airflow is imported into the test process here: with a home of its own, and our plugins."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"

# Airflow reads these at its first import, so they are set before any test module is.
_home = tempfile.mkdtemp(prefix="airflow-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ.setdefault("AIRFLOW_HOME", _home)
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
sys.path.insert(0, str(PLUGINS))


def pytest_configure(config: pytest.Config) -> None:
    """Offer the fixture `airflow_ui`, one server for all folders that ask for it."""
    config.pluginmanager.import_plugin("models_server")


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the machine's own environment says about the pipeline and its connections."""
    for name in list(os.environ):
        if name.startswith(("SKIN_", "AIRFLOW_CONN_")) and name != "SKIN_TEST_DATA":
            monkeypatch.delenv(name)
