"""The browser looks at the same running Airflow as the tests of the plugins."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

PATIENCE = 180_000  # ms until a page must show what is expected: other tests share the cores


def pytest_configure(config: pytest.Config) -> None:
    """Offer the fixture `airflow_ui`, one server for all folders that ask for it."""
    config.pluginmanager.import_plugin("models_server")
    expect.set_options(timeout=PATIENCE)
