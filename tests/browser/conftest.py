"""The browser looks at the same running Airflow as the tests of the plugins."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Offer the fixture `airflow_ui`, one server for all folders that ask for it."""
    config.pluginmanager.import_plugin("models_server")
