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
SIZES = {
    "ResNet50": 1.0,
    "ResNet101": 2.0,
    "ResNet152": 2.9,
    "ResNet50V2": 0.9,
    "ResNet101V2": 1.9,
    "ResNet152V2": 2.8,
    "Xception": 1.2,
    "InceptionV3": 0.74,
    "InceptionResNetV2": 1.7,
    "DenseNet121": 0.73,
    "DenseNet169": 0.87,
    "DenseNet201": 1.1,
    "EfficientNetB0": 0.098,
    "EfficientNetB1": 0.15,
    "EfficientNetB2": 0.17,
    "EfficientNetB3": 0.25,
    "EfficientNetB4": 0.39,
    "EfficientNetB5": 0.61,
    "EfficientNetB6": 0.87,
    "EfficientNetB7": 1.3,
    "EfficientNetV2B0": 0.2,
    "EfficientNetV2B1": 0.26,
    "EfficientNetV2B2": 0.3,
    "EfficientNetV2B3": 0.42,
    "EfficientNetV2S": 0.74,
    "EfficientNetV2M": 1.4,
    "EfficientNetV2L": 3.2,
    "MobileNet": 0.15,
    "MobileNetV2": 0.078,
    "MobileNetV3Small": 0.013,
    "MobileNetV3Large": 0.054,
    "VGG16": 4.0,
    "VGG19": 5.1,
    "ConvNeXtTiny": 1.15,
    "ConvNeXtSmall": 2.2,
    "ConvNeXtBase": 4.0,
    "ConvNeXtLarge": 8.9,
}
