"""Every expectation has a name, a bound and a reason."""

from __future__ import annotations

from skin_pipeline.data.validation import manifest_suite, split_suite


def test_names_are_unique_and_say_more_than_the_type() -> None:
    for suite in (manifest_suite.suite(10, 0.01, 0.1), split_suite.suite(["run_0"])):
        names = [item.description for item in suite]
        assert len(set(names)) == len(names)
        assert all(item.notes and item.meta["bound"] for item in suite)
