"""The knobs of the data: where it comes from, what it means, and how it is split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import field_validator

from skin_pipeline.config.environment import Environment, parts
from skin_pipeline.config.knobs import FIRST, knob

DEMO = "demo"
Regions = Literal["centre", "centre_and_lesion"]
REGIONS: tuple[Regions, ...] = get_args(Regions)  # from one square of an image to two
SYNTHETIC = "-synthetic"  # how the names of models made of generated images end


def _named(found: Sequence[str]) -> dict[str, str]:
    """Returns the addresses of a list of NAME=WHERE, by name."""
    pairs = (part.partition("=") for part in found)
    return {name.strip(): where.strip() for name, _, where in pairs}


class DataKnobs(Environment):
    """Where the images come from, what their tables mean, and what is required of them."""

    data: str = knob(
        "kaggle://amirmohammadparvizi/skin-canser-b584m584",
        FIRST,
        "Where the images come from: `kaggle://OWNER/NAME`, a folder, a zip file, "
        "`s3://BUCKET/PREFIX`, or `demo` for synthetic lesions. Or several of these, each with a "
        "name: `clinic=/lesions, isic=kaggle://OWNER/NAME`. A name with a comma is put in quotes.",
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
        'comma is put in quotes: `label="Diagnosis, final"`.',
        title="Columns of the tables",
    )
    malignant_values: str = knob(
        "malignant, melanoma, 1, 1.0, true, yes",
        "Data",
        "Values that mean malignant in the tables' label column, or the columns that do where each "
        'class has one. A value with a comma is put in quotes: `"Melanoma, NOS", bcc`. Values that '
        "you give are also names of folders, where none is called benign/ or malignant/.",
        title="Values that mean malignant",
        min_length=1,
    )
    benign_values: str = knob(
        "benign, nevus, 0, 0.0, false, no",
        "Data",
        "Values that mean benign, given in the same way.",
        title="Values that mean benign",
        min_length=1,
    )
    neither_values: str = knob(
        "indeterminate, indeterminate/benign, indeterminate/malignant, indeterminable, uncertain, "
        "undetermined, equivocal",
        "Data",
        "Values that mean neither class: such images are left out, and counted.",
        title="Values that mean neither class",
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
    regions: Regions = knob(
        "centre_and_lesion",
        "Data",
        "What the network is shown of each image: its `centre`, or also the square around the "
        "lesion, which is found by its darkness. A score is then the mean of both.",
        title="Parts of each image that the network is shown",
        labels={
            "centre": "centre: one square, twice as quick to score",
            "centre_and_lesion": "centre_and_lesion: also the square around the lesion",
        },
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
        "because they have two colours only): a warning that names them, or they are left out.",
    )
    returned_labels: Literal["leave_out", "use"] = knob(
        "leave_out",
        "Data",
        "Whether images that were scored and whose label came back (`skin_labels`) are added to "
        "`data`. `use` as the installation's default also makes `skin_labels` keep copies of these "
        "images in the store. Read about verification bias in docs/operating.md first.",
        title="Images whose label came back",
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

    @field_validator("external", "columns", "malignant_values", "benign_values", "neither_values")
    @classmethod
    def _are_lists(cls, text: str) -> str:
        parts(text)
        return text

    @property
    def external_sets(self) -> dict[str, str]:
        """The addresses of the external sets, by name."""
        return _named(parts(self.external))

    @property
    def data_sets(self) -> dict[str, str]:
        """The addresses of the sources of `data`, by name; that of a single one is empty."""
        found = self.places
        # A single address may contain an equals sign: s3://bucket/year=2026/
        return _named(found) if len(found) > 1 else {"": "".join(found)}

    @property
    def places(self) -> list[str]:
        """The parts of `data`, with their names if there are several."""
        # A list is divided at NUL, which is in no path; whoever reads such a place refuses it.
        return [self.data] if "\0" in self.data else parts(self.data)

    @property
    def synthetic(self) -> bool:
        """Whether the images are generated."""
        return self.data == DEMO

    @property
    def names_values(self) -> bool:
        """Whether other values than the usual were given for malignant or benign.

        Folders may then have these names, too.
        """
        fields = type(self).model_fields
        given = {"malignant_values": self.malignant_values, "benign_values": self.benign_values}
        return any(value != fields[name].default for name, value in given.items())

    @property
    def released_as(self) -> str:
        """The name to release the model under; a synthetic one never shares a real name."""
        return f"{self.model_name}{SYNTHETIC}" if self.synthetic else self.model_name


class SplitKnobs(Environment):
    """How the images are divided into test, validation and training sets, and how many runs."""

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
