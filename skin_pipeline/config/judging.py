"""The knobs of the judging: the decision threshold, and the bounds of the gate."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, field_validator

from skin_pipeline.config.environment import Environment, parts
from skin_pipeline.config.knobs import FIRST, Bound, gain, knob, least, number

ThresholdBy = Literal["point", "lower_bound", "guaranteed"]


class JudgingKnobs(Environment):
    """How the decision threshold is set, what is reported, and what the gate requires."""

    target_sensitivity: float = knob(
        0.9,
        "Judging",
        "Sensitivity on validation images at which the decision threshold is set.",
        ge=0.5,
        le=0.999,
        title="Sensitivity to aim at",
    )
    threshold_by: ThresholdBy = knob(
        "point",
        "Judging",
        "What must reach `target_sensitivity`: the share that is found (`point`), the lower end of "
        "its 95 % interval, or the sensitivity on new patients of the same origin with 95 % "
        "confidence, counting one image of each patient (`guaranteed`; for 0.9 it takes at least "
        "29 patients with a malignant validation image).",
        title="What must reach the sensitivity to aim at",
    )
    abstain_near: float = knob(
        0.0,
        "Judging",
        "The share of validation images that get no decision (`unsure`), as their probability is "
        "nearest to the threshold, where most mistakes are; 0 decides on all. The gate's figures "
        "count every image.",
        ge=0.0,
        le=0.5,
        title="Share without a decision near the threshold",
    )
    abstain_unusual: float = knob(
        0.0,
        "Judging",
        "The share of validation images that get no decision (`unsure`), as they look least like "
        "the images that the model knows; of images from elsewhere more are. 0 decides on all. Not "
        "with strategy=full.",
        ge=0.0,
        le=0.5,
        title="Share without a decision among unusual images",
    )
    test_views: Annotated[Literal[0, 1, 2, 4, 8], BeforeValidator(number)] = knob(
        1,
        "Judging",
        "Dihedral views over which a score is averaged; at most `views`, and 0 for as many. More "
        "cost more in every scoring of images.",
        title="Views of each image to judge on",
    )
    prevalences: str = knob(
        "0.02, 0.1, 0.5",
        "Judging",
        "Shares of malignant images, each between 0 and 1, for which PPV and NPV are reported.",
        title="Shares of malignant images to report PPV and NPV for",
    )
    min_accuracy: Bound = least("test accuracy", 0.75, section=FIRST)
    min_balanced_accuracy: Bound = least("balanced test accuracy")
    min_sensitivity: Bound = least("test sensitivity", 0.80, section=FIRST)
    min_specificity: Bound = least("test specificity")
    min_precision: Bound = least("test precision")
    min_auc: Bound = least("test AUC")
    max_calibration_error: Bound = knob(
        None,
        "Judging",
        "The gate's upper bound on the calibration error; empty for none.",
        ge=0.0,
        le=1.0,
        title="Largest calibration error",
    )
    judged_on: Literal["lower_bound", "point"] = knob(
        "lower_bound",
        "Judging",
        "What must reach the bounds: the lower end of the 95 % interval (for the calibration "
        "error the upper end), or the figure itself.",
        title="What must reach the bounds",
    )
    min_auc_change: Bound = gain("AUC", 0.0)
    min_accuracy_change: Bound = gain("accuracy")
    min_sensitivity_change: Bound = gain("sensitivity")
    min_specificity_change: Bound = gain("specificity")
    changes_judged_on: Literal["lower_bound", "point"] = knob(
        "point",
        "Judging",
        "What must be more than the bounds on changes: the lower end of the 95 % interval, or the "
        "change itself.",
        title="What must exceed the bounds on changes",
    )
    gated_slices: str = knob(
        "",
        "Judging",
        "Features, such as `sex, age`, each of whose slices must reach `min_slice_sensitivity` "
        "and `min_slice_auc`; small slices are not judged.",
        title="Slices to judge",
    )
    min_slice_sensitivity: Bound = least(
        "sensitivity in each slice of `gated_slices`",
        title="Smallest sensitivity in each slice to judge",
    )
    min_slice_auc: Bound = least(
        "AUC in each slice of `gated_slices`", title="Smallest AUC in each slice to judge"
    )
    min_external_sensitivity: Bound = least(
        "sensitivity on each set in `external`",
        title="Smallest sensitivity on each set of another origin",
    )
    min_external_auc: Bound = least(
        "AUC on each set in `external`", title="Smallest AUC on each set of another origin"
    )
    min_source_auc: Bound = least(
        "AUC on each source in `data`, of a head that has learned from the other sources only",
        title="Smallest AUC on each source that was left out",
    )
    min_runs: int = knob(
        6,
        "Judging",
        "Fewest successful runs that the gate accepts.",
        ge=1,
        le=20,
        title="Fewest successful runs",
    )

    @field_validator("gated_slices")
    @classmethod
    def _slices_are_a_list(cls, text: str) -> str:
        # Its name must differ from those of the other parts' validators: of two with one name,
        # `Settings` would inherit only one.
        parts(text)
        return text

    @property
    def prevalence_list(self) -> tuple[float, ...]:
        """The shares of malignant images for PPV and NPV; NaN for what is no number."""
        return tuple(_share(part) for part in parts(self.prevalences))

    @property
    def gated_features(self) -> tuple[str, ...]:
        """The features whose slices the gate judges."""
        return tuple(parts(self.gated_slices))


def _share(text: str) -> float:
    # NaN is between no two numbers, so that the check of `prevalences` refuses it by itself.
    try:
        return float(text)
    except ValueError:
        return math.nan
