"""What the steps took on one machine: used where no earlier run of a store says more."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """Core-seconds of a task: of its start, and of each unit of its work (`Cost.units`)."""

    start: float
    each: float = 0.0


# By strategy, for ResNet50 on squares of 224 pixels. `head` and `fine_tune` were measured in runs
# with 600 and 1,144 images on two cores; `full` is by its images per second (BENCH=six_runs).
BUILT_IN: dict[str, dict[str, Figure]] = {
    "head": {
        "train": Figure(6, 0.00004),
        "logits": Figure(7, 0.00001),
        "evaluate": Figure(7, 0.0002),
        "champion": Figure(3, 0.000006),
        "external": Figure(3, 0.00003),
    },
    "fine_tune": {
        "fine_tune": Figure(20, 0.025),
        "logits": Figure(9, 0.009),
        "evaluate": Figure(12, 0.0002),
        "champion": Figure(6, 0.005),
        "external": Figure(6, 0.025),
    },
    "full": {
        "full": Figure(30, 0.3),
        "logits": Figure(9, 0.07),
        "evaluate": Figure(12, 0.0002),
        "champion": Figure(6, 0.04),
        "external": Figure(6, 0.2),
    },
}
ANY = {"features": Figure(6), "gate": Figure(1), "promote": Figure(12)}  # of all strategies
FORWARD = 0.07  # core-seconds to compute the activations of a view of an image
# Multiplications of the networks, as shares of ResNet50's.
SIZES = {"ResNet50": 1.0, "ResNet50V2": 0.9, "EfficientNetV2B0": 0.2, "ConvNeXtTiny": 1.15}
