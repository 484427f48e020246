"""Documents of operations: the words of others in them are made safe."""

from __future__ import annotations

import pytest

from skin_pipeline.contracts import Action, Incident, dump, parse
from skin_pipeline.errors import BadInput

ACTION = {
    "kind": "rollback",
    "model": "skin",
    "subject": "champion",
    "plan": "champion: 1 to 2",
    "by": "alice",
    "reason": "",
    "dag": "skin_rollback",
    "run": "manual__1",
    "at": "2026-11-26T08:00:00+00:00",
}


def test_a_reason_cannot_draw_a_second_line_in_a_log_or_table() -> None:
    made = Action(**{**ACTION, "reason": "first\nsecond\u202e"})
    assert made.reason.isprintable()
    assert parse(dump(made), Action, "intent.json") == made


def test_an_incident_has_an_id_that_is_a_part_of_a_key() -> None:
    given = {"kind": "late", "subject": "x", "model": "", "state": "open", "headline": "x"}
    times = {"opened_at": "", "seen_at": ""}
    with pytest.raises(ValueError, match="id"):
        Incident(**given, **times, text=(), id="../../x")


def test_an_unknown_kind_of_action_is_refused() -> None:
    with pytest.raises(BadInput, match="kind"):
        parse(b'{"kind": "destroy"}', Action, "intent.json")
