"""The browser looks at the same running Airflow as the tests of the plugins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from models_server import ROOT, AirflowUi
from pictures import PATIENCE, open_browser
from playwright.sync_api import Browser, expect

from skin_pipeline.errors import BadInput


def pytest_configure(config: pytest.Config) -> None:
    """Offer the fixture `airflow_ui`, one server for all folders that ask for it."""
    config.pluginmanager.import_plugin("models_server")
    expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window. Who has none skips these tests, but CI must not."""
    try:
        with open_browser() as opened:
            yield opened
    except BadInput as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def ui_with_dags(airflow_ui: AirflowUi) -> AirflowUi:
    """The session's Airflow when it has read our DAGs; nothing runs them."""
    dags = Path(airflow_ui.env["AIRFLOW__CORE__DAGS_FOLDER"])
    shutil.copytree(ROOT / "dags", dags, dirs_exist_ok=True)
    reading = [sys.executable, "-m", "airflow", "dags", "reserialize"]
    subprocess.run(reading, env=airflow_ui.env, check=True, capture_output=True)
    return airflow_ui
