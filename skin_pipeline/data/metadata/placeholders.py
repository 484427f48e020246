"""Recognises placeholders: predictions, or zeros instead of labels that are kept secret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from skin_pipeline.data.metadata.labelling import NEITHER, Labelling, Labels
from skin_pipeline.data.metadata.sheets import Sheet
from skin_pipeline.data.metadata.values import listed, quoted, short

# Names of files with predictions, or with zeros in their place: `sample_submission.csv`.
PLACEHOLDER = re.compile(
    r"submi(t|ssion)|(^|[^a-z])(sample|predict(ed|ions?)?|preds?|placeholders?|dummy|template)"
    r"([^a-z]|$)"
)
# Names of files with the labels of a test set.
TRUTH = re.compile(r"truth|label|solution|answer|(^|[^a-z])gt([^a-z]|$)")


def placeholders_among(sheets: Sequence[Sheet], labelling: Labelling) -> dict[int, str]:
    """Returns why a sheet's labels are not used, by the number of the sheet.

    If the settings name the label column and only such sheets have it, their labels are used after
    all. Of these, a file with a name such as `submission` is still left out if there are others.
    """
    found = {
        number: reason
        for number, sheet in enumerate(sheets)
        if isinstance(sheet.labels, Labels) and (reason := _placeholder(sheet, sheets))
    }
    sources = [n for n, sheet in enumerate(sheets) if isinstance(sheet.labels, Labels)]
    if "label" not in labelling.columns or len(sources) > len(found):
        return found
    named = {n: reason for n, reason in found.items() if _named_placeholder(sheets[n])}
    return named if len(named) < len(found) else {}


def _named_placeholder(sheet: Sheet) -> bool:
    stem = Path(sheet.table.name.rpartition(" [")[0] or sheet.table.name).stem
    return bool(PLACEHOLDER.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", stem).lower()))


def _placeholder(sheet: Sheet, sheets: Sequence[Sheet]) -> str:
    """Returns why a sheet's labels may be placeholders; "" if they look real."""
    assert isinstance(sheet.labels, Labels)
    column, values = sheet.labels.column, {v for v in sheet.labels.values if v}
    if _named_placeholder(sheet):
        return (
            f"its name says placeholders or predictions (column {column!r}); if these are "
            "the labels, rename the file"
        )
    if len(sheet.labels.classes) < 2 and NEITHER not in sheet.labels.meanings:
        return (
            f"column {column!r} has one class only ({listed(sorted(map(short, values)))}), as "
            f"placeholders have; if these are the labels, give label={quoted(column)} in "
            "`columns`, or move the rows into the table that has both classes"
        )
    for other in sheets:
        if other.labels is None and _lists_without_label(other, sheet, sheets):
            return (
                f"column {column!r} is about images that {other.table.name} lists without a label: "
                "these are predictions or placeholders; if they are the labels, put `labels` "
                "into the file's name"
            )
    return ""


def _lists_without_label(other: Sheet, sheet: Sheet, sheets: Sequence[Sheet]) -> bool:
    """Returns whether `other` lists a test set and `sheet` has labels of no other images.

    A test set has the columns of the training set without the labels, so labels of its images in a
    table of their own are most often predictions.
    """
    if sheet.positions or TRUTH.search(sheet.table.name.lower()):
        return False
    return sheet.known <= other.known and any(
        isinstance(train.labels, Labels)
        and len(set(train.positions) & set(other.positions)) >= 2
        and not train.known & sheet.known
        for train in sheets
    )
