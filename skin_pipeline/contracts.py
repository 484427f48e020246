"""What passes between steps: small, frozen, versioned JSON documents in the store.

A step returns the key of its result (`split/4f1a…`), never the data. The document lies under
`<key>/result.json`, written after the files that it names, so a document that exists is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import line, masked, shown
from skin_pipeline.storage import Store

RESULT = "result.json"
COST = "cost.json"
LABELS = ("benign", "malignant")
CHAMPION = "champion"
SHA256 = r"^(?:[0-9a-f]{64})?$"
C = TypeVar("C", bound="Contract")

# Text in which words of others stand, and an address that others gave.
Told = Annotated[str, AfterValidator(line)]
Address = Annotated[str, AfterValidator(masked)]


def _like(pattern: str) -> Any:
    return Field(pattern=rf"^(?:{pattern})$")


Key = Annotated[str, _like(r"[0-9A-Za-z][0-9A-Za-z_./-]{0,500}")]
ModelName = Annotated[str, _like(r"[a-z0-9][a-z0-9-]{0,99}")]
Version = Annotated[str, _like(r"[0-9a-f]{0,64}")]  # empty until it is known
Hex = Annotated[str, _like(r"[0-9a-f]{1,64}")]
FileName = Annotated[str, _like(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,99}")]
Moment = Annotated[str, _like(r"[0-9TZ:.+-]{0,40}")]


class Contract(BaseModel):
    """Base of the documents. A reader refuses a schema that it does not know."""

    # A figure that is not defined stays NaN in JSON, where pydantic would write null.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
    schema_version: Literal[1] = 1


class Cost(Contract):
    """What a result took, beside it under `cost.json`: wall time of the try that made it."""

    seconds: float
    cores: int
    finished_at: str


class Proof(Contract):
    """What a result is made of: beside it, under `proofs/`.

    `key` is that of the result, and `inputs` what its address is made from (None where a person
    vouches for a result from before there were proofs). `result` is the SHA-256 of its document,
    `files` that of each file that the step wrote, by key; `made_from` that of the proof of each
    result that the step read, by key, and empty where that one has no proof.
    """

    key: str
    inputs: dict[str, Any] | None
    result: str
    files: dict[str, str]
    made_from: dict[str, str]


class Notice(Contract):
    """Something that was found beside the images and not used, and what to do if it should be.

    `kind` is a short name such as `table_not_used`, `files_skipped` or `images_left_out`; `subject`
    what it is about (a file, a suffix, a value); `count` how many files or images it stands for.
    """

    kind: str
    subject: Told
    reason: Told
    count: int = 1

    def __str__(self) -> str:
        """For people: `METADATA.xlsx: found, not used, because it names no image`."""
        many = f" ({self.count})" if self.count > 1 else ""
        return f"{self.subject}{many}: {self.reason}"


class Dataset(Contract):
    """Result of `ingest`: the images as one table and packed shards.

    `table` is a CSV with a row an image; `shards` are `.npy` arrays (n, size, size, 3) of uint8,
    in the order of the table's readable rows, and `thumbnails` the whole images beside them, (n,
    64, 64) of uint8 luminance, by which near-duplicates are verified. `golden` maps a few images
    to copies of their files, on which a saved model is tried.
    """

    source: Address
    synthetic: bool
    content_digest: str
    table: str
    shards: tuple[str, ...]
    thumbnails: tuple[str, ...]
    golden: dict[str, str]
    image_size: int
    field_of_view: float
    classes: dict[str, int]
    unreadable: int
    notices: tuple[Notice, ...] = ()


class Check(Contract):
    """One line of the validation: what was checked, what was seen, what was asked for.

    A failed `critical` check ends the run; a failed `warning` is only told.
    """

    name: str
    severity: Literal["critical", "warning"]
    observed: str
    bound: str
    passed: bool

    def described(self) -> str:
        """Returns the check in words: its name, what was observed, and what is required."""
        return f"{self.name}: {self.observed}, required {self.bound}"


def stopping(checks: Iterable[Check]) -> str:
    """Returns the failed critical checks in words, which end a run; "" for none."""
    failed = (check for check in checks if not check.passed and check.severity == "critical")
    return "; ".join(check.described() for check in failed)


class Interval(Contract):
    """A figure and the ends of its 95 % interval. NaN where it is not defined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For people: `0.812 [0.757, 0.857]`."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Shortcut(Contract):
    """One line of the shortcut audit: how well a trivial feature alone predicts the label."""

    name: str
    images: int
    auc: Interval
    bound: float
    passed: bool


class Changes(Contract):
    """What is new in a data set against the one that was accepted before it, if any.

    Images are known by their pixels, so a renamed file is no change. `examples` names a few.
    """

    previous: str | None
    added: int
    removed: int
    relabelled: int
    examples: tuple[str, ...]


class Validation(Contract):
    """Result of `validate`: the checks, and where the Data Docs lie.

    `external` are the data sets of another origin, by name.
    `table` is the manifest with the columns `duplicates`, `external`, `group` and `anchor`;
    `quarantine` is a CSV of the images that no later step uses, with the reasons; `anchors` a CSV
    of the group names under which images were first seen, in this data set or an earlier one.
    `overlaps` are for each external set a CSV with the keys of its images that this data set holds.
    """

    dataset: str
    external: dict[str, str]
    overlaps: dict[str, str]
    table: str
    quarantine: str
    anchors: str
    checks: tuple[Check, ...]
    shortcuts: tuple[Shortcut, ...]
    changes: Changes
    docs: str


class Split(Contract):
    """Result of `split`: the table with a column `run_0`, `run_1`, … for each run.

    A cell says what an image is to a run: `train`, `validation`, `test` or `unused`.
    `stratification` is, for each run and side, by how much its share of malignant images differs
    from that of all.
    """

    dataset: str
    table: str
    runs: int
    counts: dict[str, dict[str, int]]
    stratification: dict[str, dict[str, float]]
    checks: tuple[Check, ...]
    docs: str


class Trunk(Contract):
    """Which network of keras.applications, with which weights: `source` is `imagenet`, `none`, or a
    file in the store under `weights/`; `digest` names them."""

    backbone: str
    source: str
    digest: str


class Features(Contract):
    """Result of `features` for one shard: where its images' activations lie in the feature cache.

    Kinds are `pooled`, (n, channels) of float32, and `maps`, (n, height, width, channels) of
    float16. `blocks` are keys of such arrays; `places` is the key of an array (views, n, 2): number
    of the block and row in it, of each view of each image of the shard.
    """

    shard: str
    trunk: Trunk
    views: int
    blocks: dict[str, tuple[str, ...]]
    places: dict[str, str]


class Predictive(Contract):
    """What a call is worth where a share `prevalence` of the images is malignant.

    `ppv` is the share of malignant images among those called malignant, `npv` that of benign ones
    among those called benign.
    """

    prevalence: float
    ppv: Interval
    npv: Interval


class Figures(Contract):
    """Metrics of probabilities and of the calls at one threshold, with 95 % intervals.

    All lie in 0…1. `brier` is the mean squared error of the probabilities, `calibration_error` the
    mean distance between probability and share of malignant images over bins of equal count.
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
    """Images of like probability: how many, their mean probability, the share that is malignant."""

    images: int
    probability: float
    malignant: Interval


class Calibration(Contract):
    """How well the ensemble's probabilities are shares.

    Logits are divided by `temperature`, fitted on `images` validation images (Guo et al. 2017).
    `bins` are of the test set; `brier` and `calibration_error` are those of the test set without
    it, to be compared with the figures.
    """

    temperature: float
    images: int
    bins: tuple[Bin, ...]
    brier: Interval
    calibration_error: Interval


class Slice(Contract):
    """The ensemble on the test images whose `feature` has a `value`; `small` ones say little."""

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
    """AUC over pairs of a malignant and a benign test image that agree in a shortcut: the shortcut
    cannot help there. `pairs` is the share of all pairs that agree in it."""

    shortcut: str
    strata: int
    pairs: float
    auc: Interval


class Mistake(Contract):
    """A test image that the ensemble called wrongly, and with confidence.

    `square` is the key of what the network saw, `saliency` of the same with what spoke for the call
    laid over it; both JPEG.
    """

    key: str
    label: str
    probability: float
    square: str
    saliency: str


class Epoch(Contract):
    """One line of a run's training history. Sensitivity and specificity are those at .5."""

    stage: str
    epoch: int
    loss: float
    validation_loss: float
    validation_auc: float
    validation_sensitivity: float
    validation_specificity: float
    images_per_second: float
    seconds: float


class TrainedRun(Contract):
    """Result of `train`: what one run learned.

    `weights` is an `.npz` with the model's weights (`w0`, `w1`, …, in the order of the strategy's
    model), `held_out` a `.npy` of logits (n,) of the run's validation images in the table's order,
    `table` the history as CSV. `best` is the epoch whose weights were kept.
    """

    run: int
    seed: int
    split: str
    strategy: str
    features: tuple[str, ...]
    weights: str
    held_out: str
    table: str
    best: Epoch
    history: tuple[Epoch, ...]


class Evaluation(Contract):
    """Result of `evaluate`: the ensemble and each run on the test set, read once.

    `predictions` is a CSV with a row a readable image: `key`, `label`, `group`, `test`,
    `held_out_probability` (by the runs that it validates), `probability`, and `run_0`, `run_1`, …;
    probabilities are calibrated and NaN where they would say nothing. The mean is taken over
    `views` dihedral views of each image.
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


class Scored(Contract):
    """Result of `champion` and of `external`: a model on images that it was not made with.

    `name` is the champion's version, or the external set's name. `excluded` images were left out:
    the champion was trained on them, or the model's own data holds them too. `problem` says why
    there are no figures, and is empty if there are. `predictions` is a CSV: `key`, `label`,
    `group`, `probability`.
    """

    name: str
    dataset: str
    evaluation: str
    images: int
    excluded: int
    figures: Figures | None = None
    predictions: str = ""
    problem: str = ""


class Comparison(Contract):
    """Challenger against champion on the same test images; differences are challenger's less
    champion's. `only_challenger` and `only_champion` count the images that one alone called
    rightly, `p_value` is McNemar's (1947), exact."""

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
    """One line of the verdict. `advice` says what would help, where something is known."""

    name: str
    value: str
    bound: str
    passed: bool
    advice: str = ""

    def described(self) -> str:
        """Returns the check in words: its name, the value, and what is required."""
        return f"{self.name}: {self.value}, required {self.bound}"


class Verdict(Contract):
    """Result of `gate`: approved or not, with every check that was made.

    `champion` is the key of the champion's scores on the same test set, empty if there is no
    champion; `external` are the keys of the scores on sets of another origin. `settings` are all
    knobs of the run, `versions` those of Python and the packages, `seconds` the time of each step.
    `card` and `card_data` are the model card, as Markdown and JSON.
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


class Release(Contract):
    """Result of `promote`: the manifest of an immutable version, which aliases may name.

    `files` maps each file to its sha256. An image is called `labels[1]` if the model gives it a
    probability of at least `threshold`. `published_at` is empty in versions from before it was
    recorded. A stranger may have written it, beside a model of theirs, so each part has a form.
    """

    model: ModelName
    version: Version
    verdict: Key
    synthetic: bool
    content_digest: Hex
    labels: tuple[Literal["benign"], Literal["malignant"]]  # which are `LABELS`
    threshold: float = Field(ge=0, le=1, allow_inf_nan=False)
    files: dict[FileName, Hex]
    published_at: Moment = ""


class Pointer(Contract):
    """What an alias names: `models/<name>/<alias>.json`, of which `champion.json` is one.

    It carries all about the move that made it. `number` counts the alias's moves from 1; it is 0
    where the move was made before they were counted. `rollback` is whether a person moved it back.

    `previous_sha256` is that of the document of the move before; it is empty in the first move, and
    in moves from before they were chained. `signature` is that of this document without it, in hex;
    `store` is then the name of the store that it is meant for. `history_sha256`, where it is not
    empty, is that of all moves before this one, which this one signs with itself.
    """

    model: str
    version: str
    previous: str | None
    moved_at: str
    by: str
    reason: str
    alias: str = CHAMPION
    number: int = Field(0, ge=0)
    rollback: bool = False
    previous_sha256: str = Field("", pattern=SHA256)
    history_sha256: str = Field("", pattern=SHA256)
    store: str = Field("", pattern=r"^[0-9a-f]{0,64}$")
    signature: str = Field("", pattern=r"^[0-9a-f]{0,512}$")


class Move(Pointer):
    """One line of an alias's history: the pointer as this move left it."""


class Judgement(Contract):
    """One line of a model's history: a run that ended with a verdict."""

    model: str
    run: str
    judged_at: str
    approved: bool
    version: str | None
    reasons: tuple[str, ...]
    accuracy: Interval
    sensitivity: Interval
    auc: Interval
    report: str
    docs: str = ""


class DataPointer(Contract):
    """`datasets/<name>/current.json`: which data set was accepted last for a model's name.

    `validation` is its result, `previous` the one before.
    """

    dataset: str
    validation: str
    previous: str | None
    moved_at: str


def address(inputs: dict[str, Any]) -> str:
    """A short digest of JSON-serialisable inputs: the same for the same inputs, anywhere."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def load(store: Store, key: str, kind: type[C]) -> C:
    """Read the contract of a step's result.

    Raises:
        BadInput: there is no such result, or it was written by a version that this one cannot
            read.
    """
    return parse(store.read(f"{key}/{RESULT}"), kind, key)


def parse(data: bytes, kind: type[C], where: str) -> C:
    """A contract from its JSON.

    Raises:
        BadInput: the document is damaged or of a schema that this version cannot read.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            f"{where} is not a {kind.__name__} document that this version reads: "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}. Received: {shown(first['input'])}"
        ) from None


def dump(contract: Contract) -> bytes:
    """The JSON of a contract, ending with a line feed."""
    return (contract.model_dump_json(indent=2) + "\n").encode()
