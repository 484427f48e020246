"""Labels that came back for images that were scored: what one file said, row by row."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from skin_pipeline.contracts.document import Contract, SafeText

Meaning = Literal["benign", "malignant", "neither"]


class ReturnedLabel(Contract):
    """One row of a file: an image and its label.

    - `image` and `value` are the cells as they were written, and `line` is where.
    - `digest` is the SHA-256 of the image file, and empty while it is not known which image is
      meant; `name` is the image's name in the log of scores.
    - `facts` are the patient, lesion, age … of the row, as `metadata` names them.
    - `at` is when the file was read first: of two labels of an image, the newer one holds.
    """

    image: SafeText
    line: int
    value: SafeText
    label: Meaning
    at: str
    digest: str = Field("", pattern=r"^(?:[0-9a-f]{64})?$")
    name: SafeText = ""
    facts: dict[str, SafeText] = Field(default_factory=dict)


class RefusedLabel(Contract):
    """A row that was not taken, and why."""

    image: SafeText
    line: int
    value: SafeText
    reason: SafeText


class ReturnedLabels(Contract):
    """What one file of labels said: `labels/<model>/read/….json`, written once.

    - `at` is when this document was written, which may be later than when the file was first read.
    - `sha256` is the file's, and `labelling` the digest of the settings that it was read by: a file
      that was read by the same settings is not read again.
    - `taken` are labels of known images, and `pending` those of images that were not scored yet.
      When they are, a further document of the same file takes them, with an empty `pending`.
    - `blank` counts rows without a label.
    """

    model: str
    file: SafeText
    sha256: str
    labelling: str
    at: str
    run: SafeText
    taken: tuple[ReturnedLabel, ...]
    pending: tuple[ReturnedLabel, ...]
    refused: tuple[RefusedLabel, ...]
    blank: int = Field(0, ge=0)
