"""Lists what is expected of the split: that nothing leaks, and that each side can be judged on."""

from __future__ import annotations

from typing import Any

from skin_pipeline.data.validation import expectations as own
from skin_pipeline.data.validation.wording import READABLE, UNITS, about

SIDES = ("train", "validation", "test")
UNUSED = "unused"

UNEVEN = 0.1  # difference of a side's share of malignant images from that of all


def suite(runs: list[str]) -> list[Any]:
    """Returns what is expected of the columns `runs`, in which a cell is the side of an image."""
    return [
        own.ExpectKnownSides(
            columns=runs,
            sides=[*SIDES, UNUSED],
            **about("every image has a side", "one of the four", "A run reads nothing else."),
        ),
        *(_parted(key, what, runs) for key, what in UNITS.items()),
        own.ExpectSameTestSet(
            columns=runs,
            test="test",
            **about(
                "the test set is the same in all runs",
                "the same",
                "The runs are judged together, on images that none of them has seen.",
            ),
        ),
        own.ExpectBothClasses(
            columns=runs,
            sides=list(SIDES),
            **about("each side has both classes", "both", "No figure is defined on one class."),
        ),
        own.ExpectEvenSides(
            columns=runs,
            sides=["validation", "test"],  # training sets are balanced on purpose
            bound=UNEVEN,
            row_condition=READABLE,
            severity="warning",
            **about(
                "share of malignant images on each side",
                f"within {UNEVEN:g} of the share of all",
                "Precision and the decision threshold depend on it.",
            ),
        ),
    ]


def _parted(key: str, what: str, runs: list[str]) -> Any:
    """Returns the expectation that nothing of one kind is on two sides of a run.

    Unused images count on no side, since no model ever sees them.
    """
    why = "What is seen in training must not come back in the test: it leaks the answer."
    return own.ExpectOneValueEach(
        key=key,
        columns=runs,
        ignored=UNUSED,
        **about(f"no {what} on two sides of a run", "none", why),
    )
