"""The columns that are searched for in tables, and the usual names of each.

Each entry of `COLUMNS` is a *kind* of column. A new kind is found in tables, written into the
manifest, and named in the model card where it is unknown. CONTRIBUTING.md says what else to change.
"""

from __future__ import annotations

from skin_pipeline.config import parts
from skin_pipeline.errors import BadInput

# Names in the tables of ISIC, HAM10000, PAD-UFES and Kaggle, without case and separators. The first
# match is used, except for images, where it is the column that names most of them.
COLUMNS: dict[str, tuple[str, ...]] = {
    "image_id": (
        *("imagename", "imageid", "isicid", "imgid", "image", "img", "filename", "file"),
        *("imagepath", "filepath", "path", "name", "id"),
    ),
    "patient_id": ("patientid", "patient", "patientno", "patientnumber", "subjectid", "subject"),
    "lesion_id": ("lesionid", "lesion", "lesionno", "lesionnumber"),
    "sex": ("sex", "gender"),
    "age": ("ageapprox", "ageapproximate", "age", "patientage"),
    "site": (
        *("anatomsitegeneralchallenge", "anatomsitegeneral", "anatomsite", "localization"),
        *("localisation", "anatomicalsite", "bodysite", "site", "region", "location"),
    ),
    "label": (
        *("benignmalignant", "label", "target", "class", "malignant", "malignancy", "groundtruth"),
        *("diagnosis1", "diagnosis", "diagnostic", "dx"),
    ),
}
# Columns that have nothing but the two classes; the others have many diagnoses.
OF_TWO_CLASSES = COLUMNS["label"][: COLUMNS["label"].index("diagnosis")]
SEVERAL = frozenset({"label", "image_id"})  # kinds for which the settings may name several columns
# The kinds that become columns of the manifest, in this order.
METADATA = tuple(kind for kind in COLUMNS if kind not in {"image_id", "label"})
IDS = ("patient_id", "lesion_id")  # by which images are grouped
TRAITS = tuple(kind for kind in METADATA if kind not in IDS)  # by which figures may differ


def mapping_of(text: str) -> dict[str, tuple[str, ...]]:
    """Returns the setting `columns`, such as `patient_id=Patient No, label=MEL`, as a dict.

    A kind without a column (`label=`) means that no column is of this kind.

    Raises:
        BadInput: A part is no `KIND=COLUMN`, a kind is unknown, or a kind that only one column can
            have is named twice.
    """
    mapping: dict[str, tuple[str, ...]] = {}
    for part in parts(text):
        kind, equals, column = (piece.strip() for piece in part.partition("="))
        twice = kind in mapping and (kind not in SEVERAL or not column or not mapping[kind])
        if not equals or kind not in COLUMNS or twice:
            reason = "names a kind twice" if kind in mapping else "is no KIND=COLUMN"
            raise BadInput(
                f"columns: {part!r} {reason}. Give for instance `patient_id=Patient No, label=dx`; "
                f"the kinds are {', '.join(COLUMNS)}. Received: {text!r}"
            )
        mapping[kind] = (*mapping.get(kind, ()), *filter(None, [column]))
    return mapping
