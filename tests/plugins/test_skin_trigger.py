"""Runs that our pages start; `test_skin_page_acting.py` starts them in a real Airflow."""

from __future__ import annotations

import pytest
from skin_trigger import RunState


@pytest.mark.parametrize(
    ("state", "ended"), [("queued", False), ("running", False), ("success", True), ("failed", True)]
)
def test_a_run_has_ended_when_nothing_more_will_happen(state: str, ended: bool) -> None:
    assert RunState(state, "eve", "", "", is_paused=False).has_ended is ended
