"""Further attempts where a server may be busy."""

from __future__ import annotations

import pytest

from skin_pipeline.data.sources.patience import PAUSES, patiently
from skin_pipeline.errors import BadInput, Unavailable


@pytest.mark.parametrize("failures", range(len(PAUSES) + 1))
def test_an_attempt_may_fail_as_often_as_there_are_pauses(failures: int) -> None:
    waited: list[float] = []
    answers = iter([Unavailable("busy")] * failures)

    def attempt() -> str:
        for problem in answers:
            raise problem
        return "answer"

    assert patiently(attempt, waited.append) == "answer"
    assert waited == list(PAUSES[:failures])


def test_the_last_failure_is_raised() -> None:
    def attempt() -> None:
        raise Unavailable("busy")

    with pytest.raises(Unavailable, match="busy"):
        patiently(attempt, lambda _: None)


def test_what_a_person_must_put_right_is_raised_at_once() -> None:
    def attempt() -> None:
        raise BadInput("no such bucket")

    with pytest.raises(BadInput):
        patiently(attempt, lambda _: pytest.fail("it waits"))
