"""What our pages share: the words for values."""

from __future__ import annotations

import pytest
import skin_web


@pytest.mark.parametrize(
    ("value", "shown", "wide"),
    [
        (0.8314, "0.831", "83.1%"),
        (0.0, "0.000", "0.0%"),
        (1.2, "1.200", "100.0%"),
        (-0.1, "-0.100", "0.0%"),
        (float("nan"), skin_web.DASH, "0%"),
    ],
)
def test_a_figure_is_shown_with_three_digits_and_as_wide_as_it_can_be(
    value: float, shown: str, wide: str
) -> None:
    assert (skin_web.figure(value), skin_web.share(value)) == (shown, wide)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-06-15T03:12:40Z", "2026-06-15 03:12 UTC"),
        ("2026-06-15T03:12:40.123+00:00", "2026-06-15 03:12 UTC"),
        ("2026-06-15T03:12:40", "2026-06-15 03:12"),
        ("unknown", "unknown"),
    ],
)
def test_a_moment_is_shown_to_the_minute_and_as_it_is_if_it_is_none(text: str, shown: str) -> None:
    assert skin_web.moment(text) == shown
