"""Presses a button of Airflow's pages, and once more when Airflow was busy."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, Response

TRIES = 3
BUSY = "Database error"  # SQLite has one writer at a time: see `local_airflow.Api`


def pressed(page: Page, button: Locator, sends: Callable[[Response], bool]) -> Response:
    """Airflow's answer to what a button sends, which `sends` tells from others."""
    for _ in range(TRIES):
        with page.expect_response(sends) as answered:
            button.click()
        if answered.value.ok or BUSY not in answered.value.text():
            break
    return answered.value
