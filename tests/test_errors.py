"""Errors of ours: what each kind means, and what their text can contain."""

from __future__ import annotations

import pytest

from skin_pipeline.errors import BadInput, PipelineError, Rejected, Unavailable, UnavailableHere

KINDS = [BadInput, Unavailable, Rejected]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_an_error_of_the_pipeline_and_no_other_kind(kind: type[PipelineError]) -> None:
    assert issubclass(kind, PipelineError)
    assert not any(issubclass(kind, other) for other in KINDS if other is not kind)


def test_what_this_machine_cannot_do_is_tried_again() -> None:
    assert issubclass(UnavailableHere, Unavailable)


def test_each_argument_is_one_line() -> None:
    error = BadInput("the first\n  and its end", "the second")
    assert str(error) == "the first and its end\nthe second"
    assert error.args == ("the first and its end", "the second")


def test_text_of_others_cannot_hide_or_reveal_anything() -> None:
    told = str(Unavailable("no answer from https://ada:hunter2@host \x1b[2J\u202e"))
    assert told.isprintable()
    assert "hunter2" not in told
