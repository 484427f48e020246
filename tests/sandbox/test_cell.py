"""The report of a confined process: what it gave up, and what is not guaranteed."""

from __future__ import annotations

import pytest

from skin_pipeline.sandbox.cell import Report

WHOLE = Report(
    landlock=6, filter="x86_64", namespaces=("user", "network"), user="1000", capabilities="none"
)


def test_a_process_that_gave_up_everything_misses_nothing() -> None:
    assert WHOLE.missing() == []
    assert WHOLE.line() == (
        "landlock=6 filter=x86_64 namespaces=user,network user=1000 capabilities=none network=none"
    )


def test_a_process_that_gave_up_nothing_says_so() -> None:
    nothing = Report(user="0")
    assert len(nothing.missing()) == 5
    assert nothing.line() == (
        "landlock=none filter=none namespaces=none user=0 capabilities=kept network=open"
    )


@pytest.mark.parametrize(
    ("report", "missing"),
    [
        (WHOLE._replace(filter=""), ["it can start processes"]),
        (
            WHOLE._replace(filter="", namespaces=(), landlock=4),
            [
                "it can use the network",
                "it can start processes",
                "it can send signals to processes of its user",
            ],
        ),
        (WHOLE._replace(landlock=0), ["it can read the files that its user may read"]),
        (
            WHOLE._replace(landlock=0, namespaces=()),
            [
                "it can read the files that its user may read",
                "it can look into processes of its user that are not hidden",
            ],
        ),
    ],
)
def test_what_is_missing_follows_from_what_was_given_up(report: Report, missing: list[str]) -> None:
    assert report.missing() == missing


def test_an_old_landlock_keeps_a_process_from_tcp_only() -> None:
    assert "network=no-tcp" in WHOLE._replace(filter="", namespaces=(), landlock=4).line()
    assert "network=open" in WHOLE._replace(filter="", namespaces=(), landlock=3).line()
