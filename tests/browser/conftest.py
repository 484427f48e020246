"""The browser looks at the same running Airflow as the tests of the plugins."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
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
