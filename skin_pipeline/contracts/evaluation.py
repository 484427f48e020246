"""The results of `evaluate`, `champion`, `external` and `gate`."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from skin_pipeline.contracts.document import Contract, Interval, described
from skin_pipeline.contracts.training import Trunk


class Predictive(Contract):
    """What a prediction is worth where a share `prevalence` of the images is malignant.

    `ppv` is the share of malignant images among those predicted malignant, `npv` that of benign
    images among those predicted benign.
    """

    prevalence: float
    ppv: Interval
    npv: Interval


class Figures(Contract):
    """Metrics of probabilities and of the predictions at one threshold, with 95 % intervals.

    All are in 0…1. `brier` is the mean squared error of the probabilities. `calibration_error` is
    the mean difference between the probability and the share of malignant images, over bins of
    equal count.
    """

    images: int
    threshold: float
    confusion: dict[Literal["tp", "fn", "fp", "tn"], int]
    accuracy: Interval
    balanced_accuracy: Interval
    sensitivity: Interval
    specificity: Interval
    precision: Interval
    f1: Interval
    auc: Interval
    brier: Interval
    calibration_error: Interval
    predictive: tuple[Predictive, ...]


class Bin(Contract):
    """Images of similar probability: their number, mean probability and share of malignant ones."""

    images: int
    probability: float
    malignant: Interval


class Calibration(Contract):
    """How well the ensemble's probabilities agree with the shares of malignant images.

    Logits are divided by `temperature`, which is fitted on `images` validation images (Guo et al.
    2017). `bins` are of the test set. `brier` and `calibration_error` are those of the test set
    without the temperature, to be compared with the figures with it.
    """

    temperature: float
    images: int
    bins: tuple[Bin, ...]
    brier: Interval
    calibration_error: Interval


class Slice(Contract):
    """The ensemble on the test images whose `feature` has a `value`; if `small`, it says little."""

    feature: str
    value: str
    images: int
    malignant: int
    accuracy: Interval
    sensitivity: Interval
    specificity: Interval
    auc: Interval
    small: bool


class Within(Contract):
    """AUC over the pairs of a malignant and a benign test image that are alike in a shortcut.

    The shortcut cannot help there. `strata` is the number of its values or ranges, and `pairs` the
    share of all pairs that are alike in it.
    """

    shortcut: str
    strata: int
    pairs: float
    auc: Interval


class Abstention(Contract):
    """When a model gives a probability and no decision.

    - `margin`: the probability is nearer to the threshold than this, in logits; a share `near` of
      validation images is.
    - `familiarity`: fewer than this share of validation images are as unusual as the image.
    """

    margin: float = Field(0.0, ge=0, allow_inf_nan=False)
    near: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    familiarity: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)

    @property
    def never(self) -> bool:
        """Whether every readable image gets a decision."""
        return not (self.margin or self.familiarity)

    def between(self, threshold: float) -> tuple[float, float]:
        """Returns the probabilities around a threshold between which there is no decision."""
        odds = threshold / (1 - threshold) if threshold < 1 else math.inf
        low, high = odds * math.exp(-self.margin), odds * math.exp(self.margin)
        return 1 - 1 / (1 + low), 1 - 1 / (1 + high)


class Answered(Contract):
    """What a model reaches on the images that it decides on, if it abstains from the others.

    - `way` says from which: those whose probability is nearest to the threshold (`near`), those
      that are least familiar (`unusual`), or those that the model's own settings say (`set`).
    - `share` of the images get a decision; they are `images`.
    """

    way: Literal["near", "unusual", "set"]
    share: float
    images: int
    sensitivity: Interval
    specificity: Interval


class Mistake(Contract):
    """A test image that the ensemble classified wrongly, and with confidence.

    `square` is the key of what the network saw, as JPEG. `saliency` is the key of the same image
    with the regions marked that spoke for the prediction.
    """

    key: str
    label: str
    probability: float
    square: str
    saliency: str


class LeftOut(Contract):
    """How well heads do on a source of the images when they have learned from the others only.

    - `images` are those of the source outside of the test set, of which `malignant` are malignant.
    - `problem` is the reason why there is no figure, and empty if there is one.
    """

    source: str
    images: int
    malignant: int
    auc: Interval
    problem: str = ""


class Evaluation(Contract):
    """Result of `evaluate`: the ensemble and each run on the test set, which is read once.

    - `predictions` is the key of a CSV with a row for each readable image: `key`, `label`, `group`,
      `test`, `held_out_probability` (by the runs that validate on it), `probability`, and `run_0`,
      `run_1`, …. Probabilities are calibrated. They are NaN where they would say nothing, as for
      images that a run was trained on.
    - `views` is the number of dihedral views of each image that a probability is the mean of.
    - `seeds`, `per_run` are by the number of the run; `runs` are the keys of the trained runs.
    - `logits` are the keys of what the runs said of the images, for consecutive shards.
    - `left_out` is how well each source is told by what was learned from the others, where there
      are several.
    - `abstention` says when the model gives no decision; `answered` what it reaches on test images
      if it abstains more or less. All other figures count every image, as if it never did.
    - `familiarity` is the key of what is familiar to the model; empty for a model without a trunk.
    - `model` is the key of the model file, and `smoke_difference` the largest difference between
      its probabilities and the ensemble's on the golden images.
    """

    dataset: str
    split: str
    synthetic: bool
    trunk: Trunk
    strategy: str
    views: int
    runs: tuple[str, ...]
    seeds: dict[int, int]
    threshold: float
    ensemble: Figures
    per_run: dict[int, Figures]
    calibration: Calibration
    slices: tuple[Slice, ...]
    within: tuple[Within, ...]
    mistakes: tuple[Mistake, ...]
    predictions: str
    model: str
    smoke_difference: float
    logits: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    abstention: Abstention = Abstention()
    answered: tuple[Answered, ...] = ()
    familiarity: str = ""


class Scored(Contract):
    """Result of `champion` and of `external`: a model on images that it was not made with.

    - `name` is the champion's version, or the external set's name.
    - `excluded` images were left out: the champion was trained on them, or the model's own data
      contains them, too.
    - `problem` is the reason why there are no figures, and empty if there are.
    - `predictions` is the key of a CSV: `key`, `label`, `group`, `probability`; for an external set
      also `familiarity`.
    - `logits` are the keys of what its runs said of the images, for consecutive shards.
    - `answered` is what the model reaches on an external set if it abstains. All other figures
      count every image.
    """

    name: str
    dataset: str
    evaluation: str
    images: int
    excluded: int
    figures: Figures | None = None
    predictions: str = ""
    problem: str = ""
    logits: tuple[str, ...] = ()
    answered: tuple[Answered, ...] = ()


class Comparison(Contract):
    """Challenger against champion on the same test images.

    Differences are the challenger's figure less the champion's. `only_challenger` and
    `only_champion` count the images that one alone classified correctly; `p_value` is of McNemar's
    exact test (1947) on them.
    """

    champion: str
    images: int
    excluded: int
    champion_figures: Figures
    accuracy: Interval
    sensitivity: Interval
    specificity: Interval
    auc: Interval
    only_challenger: int
    only_champion: int
    p_value: float


class GateCheck(Contract):
    """One line of the verdict. `advice` is what would help, where something is known."""

    name: str
    value: str
    bound: str
    passed: bool
    advice: str = ""

    def described(self) -> str:
        """Returns it for people: `accuracy: 0.700 [0.650, 0.750], required at least 0.750`."""
        return described(self.name, self.value, self.bound)


class StepCost(Contract):
    """What the tasks of a step took in the workflow run of a verdict; see `Cost`.

    Of `results`, `found` were there from earlier runs, and count nothing here. Of the activations
    that were needed, `cached` were in the feature cache and `computed` were not.
    """

    results: int = 0
    found: int = 0
    seconds: float = 0
    core_seconds: float = 0
    bytes_read: int = 0
    bytes_written: int = 0
    peak_mib: float = 0
    cached: int = 0
    computed: int = 0


class Verdict(Contract):
    """Result of `gate`: approved or not, with every check that was made.

    - `champion` is the key of the champion's scores on the same test set, and empty if there is no
      champion. `external` are the keys of the scores on sets of another origin.
    - `reasons` are the failed checks in words.
    - `settings` are all knobs of the run, `versions` those of Python and the packages, and
      `seconds` the time that each step took, in whichever run that was. `costs` are those of this
      run alone, by step; there are none in documents of earlier versions.
    - `report`, `card` and `card_data` are keys: of a page, and of the model card as Markdown and as
      JSON.
    """

    evaluation: str
    validation: str
    champion: str
    external: tuple[str, ...]
    released_as: str
    approved: bool
    checks: tuple[GateCheck, ...]
    reasons: tuple[str, ...]
    comparison: Comparison | None
    settings: dict[str, Any]
    versions: dict[str, str]
    seconds: dict[str, float]
    judged_at: str
    report: str
    card: str
    card_data: str
    costs: dict[str, StepCost] = Field(default_factory=dict)
