"""Progress in the log: at least every half minute, with the time that is left."""

from __future__ import annotations

import logging

import pytest

from skin_pipeline import progress
from skin_pipeline.progress import Progress, reported


def logged(caplog: pytest.LogCaptureFixture, seconds: list[float], first: int = 0) -> list[str]:
    """The lines of work on 100 items, one after each of these times since its begin."""
    caplog.set_level(logging.INFO)
    times = iter([0.0, *seconds])
    work = Progress("images decoded", 100, first, clock=lambda: next(times))
    for number in range(len(seconds)):
        work.reached(first + 10 * (number + 1))
    return [record.getMessage() for record in caplog.records]


def test_quick_work_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert logged(caplog, [10, 20, 29.9]) == []


def test_long_work_is_reported_once_in_half_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    assert logged(caplog, [20, 40, 60, 80]) == [
        'progress 20 % seconds_left=160 what="images decoded" done=20 of=100',
        'progress 40 % seconds_left=120 what="images decoded" done=40 of=100',
    ]


def test_what_was_done_before_says_nothing_about_the_speed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (line,) = logged(caplog, [30], first=50)
    assert line == 'progress 60 % seconds_left=120 what="images decoded" done=60 of=100'


def test_reported_items_are_the_items(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    assert list(reported("abc", "letters read", 3)) == ["a", "b", "c"]
    assert [record.getMessage().split()[-2:] for record in caplog.records] == [
        ["done=1", "of=3"],
        ["done=2", "of=3"],
        ["done=3", "of=3"],
    ]
