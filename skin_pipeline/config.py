"""Every knob once: its type, bounds, default and description.

`Settings` are the knobs of one run: the trigger form in Airflow, the flags of the command line
and the table in the README are all made from it. `Deployment` is where and how the pipeline is
installed. Both read `SKIN_<NAME>` from the environment where nothing else gives a value, so that
a scheduled run can have defaults of its own.

A value is stripped of blanks. An empty one (`null` of a form, an empty flag or variable) means
"none" where a knob may be empty, and the default where it needs a value.
"""

from __future__ import annotations

import difflib
import functools
import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import hide, hide_environment, holds_secret, shown
from skin_pipeline.storage import S3Writing

log = logging.getLogger(__name__)

DEMO = "demo"
SYNTHETIC = "-synthetic"  # how the names of models made of generated images end
ENV_PREFIX = "SKIN_"
# Variables that begin like settings and are none: for tests, and for a server in Kaggle's place.
OTHER_VARIABLES = ("SKIN_TEST_", "SKIN_KAGGLE_ENDPOINT")
FIRST = ""  # the section of the trigger form that is open: what most runs need
FROZEN_CLASSES = ("GLACIER", "DEEP_ARCHIVE")  # S3 gives their objects back after hours only
S = TypeVar("S", bound="Environment")


def knob(
    default: Any,
    section: str,
    description: str,
    labels: dict[str, str] | None = None,
    **bounds: Any,
) -> Any:
    """A pydantic field that also knows its section of the trigger form.

    Args:
        default: Its default.
        section: Its section; `FIRST` for what most runs need.
        description: What it does.
        labels: How the form shows the values to choose from, where not as they are.
        bounds: Its bounds, and its `title` for people, which is made from its name otherwise.
    """
    extra: dict[str, Any] = {"section": section, **({"values_display": labels} if labels else {})}
    return Field(default, description=description, json_schema_extra=extra, **bounds)


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Bound = float | None  # of the gate; None asks for nothing


def _least(figure: str, default: float | None = None, **more: Any) -> Any:
    description = f"The gate's bound on {figure}; empty for none."
    more = {"section": "Judging", "title": f"Smallest {figure}", **more}
    return knob(default, description=description, ge=0.0, le=1.0, **more)


def _gain(figure: str, default: float | None = None) -> Any:
    description = (
        f"The {figure} must exceed the champion's on the same test images by more than this; "
        "empty for none."
    )
    title = f"Smallest change of {figure}"
    return knob(default, "Judging", description, ge=-1.0, le=1.0, title=title)


def parts(text: str) -> list[str]:
    """The parts of a list of a setting, without the blanks around them.

    A part with a comma in it stands in quotes, as in CSV: `"Melanoma, NOS", nevus`. So does what
    follows an equals sign: `label="Diagnosis, final"`. A quote within quotes is doubled.

    Raises:
        ValueError: a quote is never closed.
    """
    # The odd pieces stand within quotes; a doubled quote ends a piece and begins the next.
    pieces = text.split('"')
    if len(pieces) % 2 == 0:
        raise ValueError(f"a quote is never closed. Received: {text!r}")
    pieces[::2] = [re.sub(r"[,\n]", "\0", piece) for piece in pieces[::2]]
    found = (_unquoted(part.strip()) for part in '"'.join(pieces).split("\0"))
    return [part for part in found if part]


def _unquoted(part: str) -> str:
    """`kind="a, b"` and `"kind=a, b"` are both `kind=a, b`."""
    return re.sub(r'"((?:[^"]|"")*)"', lambda found: found[1].replace('""', '"'), part).strip()


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _title(name: str, _field: object) -> str:
    return name.replace("_", " ").capitalize()


class Environment(BaseSettings):
    """Base of what is read from the environment: blanks and empty values mean what they say."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        field_title_generator=_title,
        hide_input_in_errors=True,  # of all values, whichever is wrong
    )

    def __init__(self, **values: Any) -> None:
        # What was left empty is left out, so that the environment can fill it.
        super().__init__(**_given(type(self), values))

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _given(cls, values)  # the environment's own, too


class Settings(Environment):
    """The knobs of one run. Frozen: a run never changes its own settings."""

    model_config = SettingsConfigDict(extra="forbid")

    data: str = knob(
        "kaggle://amirmohammadparvizi/skin-canser-b584m584",
        FIRST,
        "Where the images come from: `kaggle://OWNER/NAME`, a folder, a zip file, "
        "`s3://BUCKET/PREFIX`, or `demo` for synthetic lesions.",
        min_length=1,
        title="Images",
    )
    external: str = knob(
        "",
        "Data",
        "Sets of another origin that nothing is ever trained on, as `NAME=WHERE, NAME=WHERE`. "
        "Images that they share with `data` are found.",
        title="Sets of another origin",
    )
    columns: str = knob(
        "",
        "Data",
        "Which column of the tables holds what, as `patient_id=Patient No, label=dx`, where the "
        "usual names do not fit. Known: image_id, patient_id, lesion_id, sex, age, site, label. "
        "Labels with a column a class are named one by one: `label=MEL, label=NV`. A name with a "
        'comma stands in quotes: `label="Diagnosis, final"`.',
        title="Columns of the tables",
    )
    malignant_values: str = knob(
        "malignant, melanoma, 1, 1.0, true, yes",
        "Data",
        "What stands for malignant in the tables' label column, or the columns that do where each "
        'class has one. A value with a comma stands in quotes: `"Melanoma, NOS", bcc`. Values that '
        "you give also name folders, where none is called benign/ or malignant/.",
        title="What stands for malignant",
        min_length=1,
    )
    benign_values: str = knob(
        "benign, nevus, 0, 0.0, false, no",
        "Data",
        "What stands for benign, in the same places.",
        title="What stands for benign",
        min_length=1,
    )
    neither_values: str = knob(
        "indeterminate, indeterminate/benign, indeterminate/malignant, indeterminable, uncertain, "
        "undetermined, equivocal",
        "Data",
        "What stands for neither class there: such images are left out, and counted.",
        title="What stands for neither class",
    )
    model_name: str = knob(
        "skin-resnet50",
        "Data",
        "Name under which the model is released. Synthetic data adds `-synthetic`.",
        pattern=r"^[a-z0-9][a-z0-9-]{0,48}$",
        title="Name of the model",
    )
    image_size: int = knob(
        224,
        "Data",
        "Side of the square that the network sees, in pixels.",
        ge=64,
        le=512,
        title="Image size (pixels)",
    )
    field_of_view: float = knob(
        0.8,
        "Data",
        "Share of the image's short side that is kept, around the centre. The aspect ratio is "
        "never changed; less than 1 cuts away dark borders and rulers.",
        ge=0.5,
        le=1.0,
        title="Field of view (share of the short side)",
    )
    min_per_class: int = knob(
        50,
        "Data",
        "Fewest readable images of each class.",
        ge=10,
        le=1_000_000,
        title="Fewest images of each class",
    )
    max_unreadable: float = knob(
        0.01,
        "Data",
        "Largest share of images that may be quarantined.",
        ge=0.0,
        le=0.5,
        title="Largest share of unreadable images",
    )
    masks: Literal["warn", "leave_out"] = knob(
        "warn",
        "Data",
        "What becomes of images that look like a mask or an overlay of a lesion (by their name, or "
        "because they have two greys only): a warning that names them, or they are left out.",
    )
    max_group_share: float = knob(
        0.1,
        "Data",
        "Largest share of the images that may belong together, as of one patient. With fewer than "
        "20 groups it is twice the mean group's, and never more than half.",
        gt=0.0,
        le=1.0,
        title="Largest share of one group",
    )
    max_shortcut_auc: float = knob(
        0.65,
        "Data",
        "AUC above which a trivial feature (border colour, file size, …) that predicts the label "
        "is a warning.",
        ge=0.5,
        le=1.0,
        title="Largest AUC of a shortcut",
    )
    test_fraction: float = knob(
        0.2,
        "Split",
        "Share of the groups (patients) in the fixed test set.",
        ge=0.05,
        le=0.5,
        title="Test set (share of the patients)",
    )
    validation_fraction: float = knob(
        0.2,
        "Split",
        "Share of the remaining groups that each run validates on.",
        ge=0.05,
        le=0.5,
        title="Validation sets (share of the remaining patients)",
    )
    balance: Literal["undersample", "class_weights", "oversample", "smote", "none"] = knob(
        "undersample",
        "Split",
        "How training sets are balanced: drop images of the larger class, weigh the classes, "
        "repeat images of the smaller class, SMOTE on its features, or not at all.",
        title="Balance of the training sets",
    )
    runs: int = knob(
        6,
        "Split",
        "Training runs, each on its own train/validation resample.",
        ge=1,
        le=20,
        title="Training runs",
    )
    seed: int = knob(
        0,
        "Split",
        "Seed of everything random; each run derives its own from it.",
        ge=0,
        le=2**31 - 1,
    )
    backbone: Literal["ResNet50", "ResNet50V2", "EfficientNetV2B0", "ConvNeXtTiny"] = knob(
        "ResNet50",
        "Training",
        "The network, of keras.applications.",
        title="Network",
    )
    weights: str = knob(
        "imagenet",
        "Training",
        "The network's weights: `imagenet` (downloaded by Keras), a `.weights.h5` file, or `none` "
        "(random; synthetic data only).",
        min_length=1,
        title="Weights of the network",
    )
    strategy: Literal["head", "fine_tune", "full"] = knob(
        "fine_tune",
        FIRST,
        "What each run trains: a `head` on cached features (seconds), the last stage and the head "
        "on cached maps (`fine_tune`), or the whole network (`full`, for a GPU).",
        title="Strategy",
        labels={
            "head": "head: a quick check, in minutes",
            "fine_tune": "fine_tune: the standard",
            "full": "full: the whole network, for a GPU",
        },
    )
    views: Annotated[Literal[1, 2, 4, 8], BeforeValidator(_number)] = knob(
        4,
        "Training",
        "Dihedral views (flips and quarter turns) of each image to train on.",
        title="Views of each image to train on",
    )
    shard_size: int = knob(
        256,
        "Training",
        "Images that are packed and worked on together. A features task takes one such shard, or "
        "several where a data set has more than 512.",
        ge=16,
        le=4096,
        title="Images in a shard",
    )
    epochs: int = knob(
        60,
        "Training",
        "Most epochs of a head.",
        ge=1,
        le=1000,
        title="Most epochs of a head",
    )
    patience: int = knob(
        8,
        "Training",
        "Epochs without a better validation AUC before a run stops.",
        ge=1,
        le=1000,
        title="Patience (epochs)",
    )
    batch_size: int = knob(
        64,
        "Training",
        "Images in a batch of a head.",
        ge=1,
        le=4096,
        title="Batch of a head (images)",
    )
    learning_rate: float = knob(
        3e-4,
        "Training",
        "Adam's learning rate for a head.",
        gt=0.0,
        le=1.0,
        title="Learning rate of a head",
    )
    l2: float = knob(
        3e-3,
        "Training",
        "L2 penalty on the head's weights.",
        ge=0.0,
        le=10.0,
        title="L2 penalty of a head",
    )
    tune_epochs: int = knob(
        3,
        "Training",
        "Most epochs of `fine_tune` and `full`, after the head's.",
        ge=1,
        le=1000,
        title="Most epochs of fine tuning",
    )
    tune_batch_size: int = knob(
        32,
        "Training",
        "Images in a batch of `fine_tune` and `full`.",
        ge=1,
        le=4096,
        title="Batch of fine tuning (images)",
    )
    tune_learning_rate: float = knob(
        1e-4,
        "Training",
        "Adam's learning rate for `fine_tune` and `full`; it falls to 0 along a cosine.",
        gt=0.0,
        le=1.0,
        title="Learning rate of fine tuning",
    )
    jitter: float = knob(
        0.1,
        "Training",
        "Strength of the colour and crop augmentation of `full`; 0 for none.",
        ge=0.0,
        le=0.5,
        title="Strength of the colour and crop augmentation",
    )
    target_sensitivity: float = knob(
        0.9,
        "Judging",
        "Sensitivity on validation images at which the decision threshold is set.",
        ge=0.5,
        le=0.999,
        title="Sensitivity to aim at",
    )
    threshold_by: Literal["point", "lower_bound"] = knob(
        "point",
        "Judging",
        "What must reach `target_sensitivity`: the share that is found, or the lower end of its "
        "95 % interval.",
        title="What must reach the sensitivity to aim at",
    )
    test_views: Annotated[Literal[0, 1, 2, 4, 8], BeforeValidator(_number)] = knob(
        0,
        "Judging",
        "Dihedral views over which a score is averaged; at most `views`, and 0 for as many.",
        title="Views of each image to judge on",
    )
    prevalences: str = knob(
        "0.02, 0.1, 0.5",
        "Judging",
        "Shares of malignant images, each between 0 and 1, for which PPV and NPV are told.",
        title="Shares of malignant images to tell PPV and NPV for",
    )
    min_accuracy: Bound = _least("test accuracy", 0.75, section=FIRST)
    min_balanced_accuracy: Bound = _least("balanced test accuracy")
    min_sensitivity: Bound = _least("test sensitivity", 0.80, section=FIRST)
    min_specificity: Bound = _least("test specificity")
    min_precision: Bound = _least("test precision")
    min_auc: Bound = _least("test AUC")
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
    min_auc_change: Bound = _gain("AUC", 0.0)
    min_accuracy_change: Bound = _gain("accuracy")
    min_sensitivity_change: Bound = _gain("sensitivity")
    min_specificity_change: Bound = _gain("specificity")
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
    min_slice_sensitivity: Bound = _least(
        "sensitivity in each slice of `gated_slices`",
        title="Smallest sensitivity in each slice to judge",
    )
    min_slice_auc: Bound = _least(
        "AUC in each slice of `gated_slices`", title="Smallest AUC in each slice to judge"
    )
    min_external_sensitivity: Bound = _least(
        "sensitivity on each set in `external`",
        title="Smallest sensitivity on each set of another origin",
    )
    min_external_auc: Bound = _least(
        "AUC on each set in `external`", title="Smallest AUC on each set of another origin"
    )
    min_runs: int = knob(
        6,
        "Judging",
        "Fewest successful runs that the gate accepts.",
        ge=1,
        le=20,
        title="Fewest successful runs",
    )

    @field_validator(
        "external", "columns", "malignant_values", "benign_values", "neither_values", "gated_slices"
    )
    @classmethod
    def _is_a_list(cls, text: str) -> str:
        parts(text)
        return text

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _refuse_secrets(
            values,
            "Settings are kept with the results and shown to everybody who may see a run. Store "
            "the login in the Airflow connection of Kaggle (SKIN_KAGGLE_CONNECTION) or of S3 "
            "(SKIN_DATA_CONNECTION), outside Airflow in KAGGLE_USERNAME and KAGGLE_KEY or where "
            "boto3 looks, and give kaggle://OWNER/NAME or s3://BUCKET/PREFIX. What was given is "
            "known to whoever could read it: make a new key",
        )

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        for name, where in self.external_sets.items():
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,48}", name) or not where:
                raise ValueError(
                    "external must be NAME=WHERE, NAME=WHERE with names of a-z, 0-9, - and _. "
                    f"Received: {self.external!r}"
                )
        if self.min_runs > self.runs:
            raise ValueError(f"min_runs ({self.min_runs}) is more than runs ({self.runs})")
        if self.balance == "smote" and self.strategy != "head":
            raise ValueError(
                "balance=smote makes features, which only strategy=head trains on. "
                f"Received: strategy={self.strategy}; choose strategy=head or another balance"
            )
        if self.weights == "none" and not self.synthetic:
            raise ValueError(
                "weights=none (a random trunk) is for synthetic data only; "
                "give weights=imagenet or weights=FILE"
            )
        return self

    @model_validator(mode="after")
    def _can_be_judged(self) -> Settings:
        if self.scored_views > self.views:
            raise ValueError(f"test_views ({self.test_views}) is more than views ({self.views})")
        if not all(0 < share < 1 for share in self.prevalence_list):
            raise ValueError(
                "prevalences must be numbers between 0 and 1, as 0.02, 0.1. "
                f"Received: {self.prevalences!r}"
            )
        bounds = (self.min_slice_sensitivity, self.min_slice_auc)
        if bool(self.gated_features) != any(bound is not None for bound in bounds):
            raise ValueError(
                "gated_slices needs a bound (min_slice_sensitivity, min_slice_auc), and such a "
                f"bound needs gated_slices. Received: gated_slices={self.gated_slices!r}"
            )
        return self

    @property
    def scored_views(self) -> int:
        """How many dihedral views a score is averaged over."""
        return self.test_views or self.views

    @property
    def prevalence_list(self) -> tuple[float, ...]:
        """Shares of malignant images for PPV and NPV; NaN for what is no number."""
        return tuple(_share(part) for part in parts(self.prevalences))

    @property
    def gated_features(self) -> tuple[str, ...]:
        """Features whose slices the gate judges."""
        return tuple(parts(self.gated_slices))

    @property
    def external_sets(self) -> dict[str, str]:
        """Where the external sets lie, by name."""
        pairs = (part.partition("=") for part in parts(self.external))
        return {name.strip(): where.strip() for name, _, where in pairs}

    @property
    def synthetic(self) -> bool:
        """Whether the images are generated."""
        return self.data == DEMO

    @property
    def names_values(self) -> bool:
        """Whether somebody said what stands for malignant or benign, other than the usual."""
        fields = type(self).model_fields
        given = {"malignant_values": self.malignant_values, "benign_values": self.benign_values}
        return any(value != fields[name].default for name, value in given.items())

    @property
    def released_as(self) -> str:
        """The model name that a release goes to; synthetic models never share a real one."""
        return f"{self.model_name}{SYNTHETIC}" if self.synthetic else self.model_name

    def subset(self, *names: str) -> dict[str, Any]:
        """The named knobs, as a part of a result's address."""
        return {name: getattr(self, name) for name in names}


class Deployment(Environment):
    """Where the pipeline is installed: read from the environment only, the same for all runs."""

    model_config = SettingsConfigDict(extra="ignore")

    store: str = Field(
        "file://var/store",
        description="Object storage: `file:///FOLDER` or `s3://BUCKET/PREFIX`.",
    )
    paths: str = Field(
        "",
        description="Folders below which the paths in a run's settings (`data`, `external`, "
        "`weights`) must lie, links followed, as `/srv/skin, /mnt/clinic`; `/` for anywhere. "
        "Empty: in Airflow no path may be given, on the command line any.",
    )
    store_connection: str = Field(
        "",
        description="Airflow connection (type `aws`) with the S3 credentials. Empty: boto3's "
        "own search (environment, profile, instance role).",
    )
    s3_endpoint: str = Field("", description="URL of an S3 server other than AWS.")
    s3_encryption: Literal["", "AES256", "aws:kms"] = Field(
        "",
        description="How the S3 server encrypts what is written: `AES256`, or `aws:kms` with a key "
        "service. Empty: as the bucket does by default.",
    )
    s3_kms_key: str = Field(
        "",
        pattern=r"^[!-~]*$",
        description="Id of the key for `aws:kms`. Empty: the server's own.",
    )
    s3_storage_class: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]*$",
        description="Storage class of what is written, such as `INTELLIGENT_TIERING`; not one "
        "whose objects must be thawed before they can be read. Empty: the server's default.",
    )
    s3_versioning: bool = Field(
        False,
        description="Whether to refuse to write to a bucket that does not keep old versions of its "
        "objects.",
    )
    data_connection: str = Field(
        "",
        description="Airflow connection (type `aws`) for images that lie in S3. Empty: that of "
        "the store.",
    )
    data_endpoint: str = Field(
        "",
        description="URL of the S3 server with the images. Empty: that of the store.",
    )
    data_anonymous: bool = Field(
        False,
        description="Whether images in S3 are asked for without credentials, as public buckets "
        "allow.",
    )
    kaggle_connection: str = Field(
        "kaggle",
        description="Airflow connection with the Kaggle user name (login) and key "
        "(password). Outside Airflow: `KAGGLE_USERNAME` and `KAGGLE_KEY`.",
    )
    notify_connection: str = Field(
        "",
        description="Airflow connection that alerts go through (webhook, Slack or e-mail). "
        "Empty: alerts go to the log.",
    )
    schedule: str = Field(
        "@weekly",
        description="When Airflow starts `skin_training`: a cron expression, a preset, "
        "or empty for never.",
    )
    pool: str = Field("training", description="Airflow pool of the tasks that compute.")
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads of one computing task, which takes as many slots of the pool; 0 for "
        "one in Airflow, and for all cores on the command line.",
    )
    memory_gib: float = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Most memory of one computing task, in GiB; 0 for what the machine has. A task "
        "that needs more says so before it begins.",
    )
    features_gib: float = Field(
        50,
        gt=0,
        le=1_000_000,
        description="Most that the cached activations of one data set may take of the store, in "
        "GiB.",
    )
    retries: int = Field(
        3,
        ge=0,
        le=20,
        description="How often Airflow tries a task again that could not reach something.",
    )
    time_factor: float = Field(
        1,
        gt=0,
        le=1000,
        description="Stretches the time that each task may take, which Airflow ends then. It is "
        "ten to twenty times what two cores need; raise it for slower machines.",
    )
    cache: str = Field(
        "",
        description="Folder of this user's alone for local copies of what lies in S3. Empty: a "
        "folder in the system's temporary directory.",
    )
    cache_gib: float = Field(
        20,
        gt=0,
        le=1_000_000,
        description="Largest size of these local copies, in GiB: the least recently used go first.",
    )
    signing_key: str = Field(
        "",
        description="PEM file with the private EC key that versions and the results of steps are "
        "signed with; every process that runs steps needs it. Empty: they are not signed.",
    )
    signing_password: SecretStr | None = Field(
        None, description="Password of that key, if it is encrypted."
    )
    public_key: str = Field(
        "",
        description="PEM file with the public key that a version must be signed with to be "
        "promoted, rolled back to or loaded, and so must the pointers be that name it. Empty: "
        "signatures are not asked for.",
    )
    state: str = Field(
        "",
        description="Folder in which the moves of aliases that were seen here are remembered, so "
        "that an old pointer that was put back is noticed. Empty: `skin-pipeline` below "
        "`XDG_STATE_HOME` or `~/.local/state`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _refuse_secrets(
            values,
            "Store the login in the Airflow connection that SKIN_STORE_CONNECTION or "
            "SKIN_DATA_CONNECTION names, outside Airflow where boto3 looks for it, and give "
            "s3://BUCKET/PREFIX and http(s)://HOST:PORT",
        )

    @field_validator("paths")
    @classmethod
    def _are_folders(cls, text: str) -> str:
        if relative := [part for part in parts(text) if not part.startswith("/")]:
            raise ValueError(f"each must be an absolute path, which {relative[0]!r} is not")
        return text

    @model_validator(mode="after")
    def _can_be_written(self) -> Deployment:
        if self.s3_kms_key and self.s3_encryption != "aws:kms":
            raise ValueError(
                "s3_kms_key is only for s3_encryption=aws:kms. "
                f"Received: s3_encryption={self.s3_encryption!r}; choose aws:kms, or leave "
                "s3_kms_key empty"
            )
        if self.s3_storage_class.upper() in FROZEN_CLASSES:
            raise ValueError(
                f"s3_storage_class must be one whose objects can be read at once, not one of "
                f"{', '.join(FROZEN_CLASSES)}. Received: {self.s3_storage_class!r}; choose another "
                "such as GLACIER_IR, or leave it empty"
            )
        return self

    @property
    def state_folder(self) -> str:
        """The folder in which moves that were seen are remembered; "" if this user has none."""
        if self.state:
            return str(Path(self.state).absolute())
        given = Path(os.environ.get("XDG_STATE_HOME", ""))
        if given.is_absolute():
            return str(given / "skin-pipeline")
        try:
            return str(Path.home() / ".local/state/skin-pipeline")
        except RuntimeError:  # a container may run under a number without a name
            return ""

    @property
    def s3_writing(self) -> S3Writing:
        """How objects are written to S3."""
        return S3Writing(
            self.s3_encryption, self.s3_kms_key, self.s3_storage_class, self.s3_versioning
        )

    @property
    def cache_bytes(self) -> int:
        return int(self.cache_gib * 2**30)


def read_settings(values: dict[str, Any]) -> Settings:
    """Settings from a trigger form or a command line.

    Raises:
        BadInput: names every value that does not fit, what was received and what is allowed.
    """
    return _read(Settings, values)


def read_deployment() -> Deployment:
    """The deployment that the environment describes. Raises `BadInput` like `settings_from`.

    Variables that begin like a setting and are none are warned of, once a process.
    """
    _warn_of(frozenset(name.upper() for name in os.environ))
    hide_environment()
    place = _read(Deployment, {})
    if place.signing_password:
        hide(place.signing_password.get_secret_value())
    return place


@functools.cache
def _warn_of(variables: frozenset[str]) -> None:
    fields = (*Settings.model_fields, *Deployment.model_fields)
    known = {f"{ENV_PREFIX}{name.upper()}" for name in fields}
    begun = {name for name in variables if name.startswith(ENV_PREFIX)}
    for name in sorted(begun - known):
        if not name.startswith(OTHER_VARIABLES):
            log.warning('unknown_variable name=%s problem="%s"', name, no_setting(name, known))


def no_setting(name: str, known: Iterable[str]) -> str:
    """Says that a name is no setting, and which one is nearest to it."""
    like = {item.lower().replace("-", "_"): item for item in known}
    near = difflib.get_close_matches(name.lower().replace("-", "_"), like, n=1, cutoff=0.65)
    return f"{name} is no setting" + (f"; the nearest is {like[near[0]]}" if near else "")


def _given(kind: type[BaseSettings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the fields take them: text without blanks around it, empty ones as what they mean.

    An empty value of a field that needs one is left out, so that the default is taken.
    """
    taken = {}
    for name, value in values.items():
        field = kind.model_fields.get(name)
        text = value.strip() if isinstance(value, str) and not _is_secret(field) else value
        if field is None or (text is not None and text != ""):
            taken[name] = text
        elif _nullable(field):
            taken[name] = None
        elif may_be_empty(field):
            taken[name] = ""
    return taken


def _refuse_secrets(values: dict[str, Any], way_out: str) -> dict[str, Any]:
    """Values without a login among them. Raises ValueError, which does not repeat what was given.

    What is kept secret by its type may be one.
    """
    for name, value in values.items():
        if isinstance(value, str) and holds_secret(value) and name != "signing_password":
            raise ValueError(
                f"{name} holds a user name with a password, a key, a token or a signature, which "
                f"must not stand there. {way_out}"
            )
    return values


def _is_secret(field: FieldInfo | None) -> bool:
    return field is not None and SecretStr in get_args(field.annotation)


def _nullable(field: FieldInfo) -> bool:
    return NoneType in get_args(field.annotation)


def may_be_empty(field: FieldInfo) -> bool:
    """Whether a field can have no value. One that cannot takes its default when it is empty."""
    # Only text without any bound can be "", all the rest needs a value unless it may be None.
    return _nullable(field) or (field.annotation is str and not field.metadata)


def _read(kind: type[S], values: dict[str, Any]) -> S:
    try:
        return kind(**values)
    except ValidationError as error:
        raise BadInput(_explain(error)) from None


def threads(deployment: Deployment) -> int:
    """Threads that one computing task may use."""
    return deployment.threads or os.cpu_count() or 1


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{no_setting(name, Settings.model_fields)}. Received: {_given_as(item)}")
        elif name:
            lines.append(f"{name}: {item['msg']}. Received: {_given_as(item)}")
        else:
            lines.append(item["msg"].removeprefix("Value error, "))
    return "settings do not fit: " + "; ".join(lines)


def _given_as(item: Any) -> str:
    value = item["input"]
    return shown(value) if isinstance(value, str) else repr(value)


def form_schema() -> dict[str, dict[str, Any]]:
    """JSON schema of every knob, in the dialect of Airflow's trigger form.

    Returns:
        A dict from knob name to `type`, `title`, `description`, `section`, bounds and `default`.
        Every knob may be null, which `Settings` reads as empty: the form sends it for a field that
        was emptied, and asks for a value where a type has no null.
    """
    properties = Settings.model_json_schema()["properties"]
    defaults = read_settings({})
    return {
        name: {**_optional(schema), "default": getattr(defaults, name)}
        for name, schema in properties.items()
    }


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that also takes null, and blanks around text."""
    options = schema.pop("anyOf", [])
    schema |= next((option for option in options if option["type"] != "null"), {})
    schema["type"] = ["null", schema["type"]]
    schema.pop("minLength", None)
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if "pattern" in schema:
        schema["pattern"] = with_blanks(schema["pattern"])
    return schema


def with_blanks(pattern: str) -> str:
    """A pattern that also takes blanks around what it takes, and nothing at all."""
    return rf"^\s*(?:{pattern.removeprefix('^').removesuffix('$')})?\s*$"


def range_of(schema: dict[str, Any]) -> str:
    """What a knob takes, as Markdown for people; "" for any text."""
    if "enum" in schema:
        return " · ".join(f"`{item}`" for item in schema["enum"] if item is not None)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    if low is None:
        return ""
    return f"{'over ' if 'exclusiveMinimum' in schema else ''}{low:,} to {schema['maximum']:,}"
