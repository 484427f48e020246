"""Joins what all tables of a data set say about its images, and finds contradictions.

Only labels can contradict each other: several ids of an image are links, and of several ages the
first is used (`facts`). If there are no class folders, the labels alone decide the classes
(`labels_alone`). If there are, the labels are compared with them (`compare_with_folders`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skin_pipeline.contracts import LABELS, Notice
from skin_pipeline.data.metadata.columns import IDS, METADATA
from skin_pipeline.data.metadata.facts import first_values, linked_ids
from skin_pipeline.data.metadata.labelling import NEITHER, Labelling, Labels, NoLabels
from skin_pipeline.data.metadata.placeholders import placeholders_among
from skin_pipeline.data.metadata.sheets import (
    NOT_USED,
    Fact,
    Sheet,
    columns_of,
    label_hint,
    notice,
    sheets_of,
)
from skin_pipeline.data.metadata.values import listed
from skin_pipeline.data.sources.found import Found
from skin_pipeline.errors import BadInput

LABELS_NOT_USED = "labels_not_used"
LEFT_OUT = "images_left_out"
NOT_CLEAR = "the labels of the images are not clear"


@dataclass
class Statements:
    """What all tables together say about the images.

    Args:
        files: The images. Elsewhere an image is referred to by its position in them.
        sheets: The tables that are about them.
        facts: For each image, the value of each kind of `METADATA` that is known.
        labels: The label of each image that a table gives one.
        notices: What was found and is not used.
        labelling: The settings about labels and columns.
        placeholders: By the number of a sheet, why its labels are only placeholders.
    """

    files: Sequence[Found]
    sheets: Sequence[Sheet]
    facts: list[dict[str, str]]
    labels: dict[int, Fact]
    notices: list[Notice]
    labelling: Labelling
    placeholders: dict[int, str]

    @classmethod
    def of(cls, paths: Sequence[Path], files: Sequence[Found], labelling: Labelling) -> Statements:
        """Reads tables.

        Raises:
            BadInput: A table about the images is broken or contradicts another, or no table has a
                column that the settings name.
        """
        sheets, notices = sheets_of(paths, [item.key for item in files], labelling)
        facts: list[dict[str, str]] = [{} for _ in files]
        for kind in METADATA:
            gather = linked_ids if kind in IDS else first_values
            values, further = gather(kind, sheets, files)
            notices += further
            for image, value in values.items():
                facts[image][kind] = value
        found = cls(
            files, sheets, facts, {}, notices, labelling, placeholders_among(sheets, labelling)
        )
        found._join_labels()
        return found

    def _join_labels(self) -> None:
        """Joins the labels of all sheets, except placeholders.

        Raises:
            BadInput: Two rows give an image different classes.
        """
        clashes = []
        for number, sheet in enumerate(self.sheets):
            for image, fact in sheet.label_facts() if number not in self.placeholders else ():
                earlier = self.labels.setdefault(image, fact)
                both = {earlier.meaning, fact.meaning}
                if both == set(LABELS):
                    clashes.append(f"{self.files[image].key}: label is {earlier} and {fact}")
                elif NEITHER in both or not earlier.meaning:
                    # If one table says that an image is of neither class, no other changes that.
                    self.labels[image] = earlier if earlier.meaning == NEITHER else fact
        if clashes:
            raise BadInput(
                f"the tables say different things of the same image, {len(clashes)} times: "
                f"{listed(clashes)}. Correct the rows, or remove those that are wrong"
            )

    @property
    def left_out(self) -> set[int]:
        """The images of neither class."""
        return {image for image, fact in self.labels.items() if fact.meaning == NEITHER}

    def labels_alone(self) -> list[str]:
        """Returns the class of each image, "" for none, where there are no class folders.

        Raises:
            BadInput: The labels are not clear, or there are none of a class.
        """
        doubts = self._doubts()
        sources = any(fact.meaning in LABELS for fact in self.labels.values())
        if doubts or (not sources and (self.sheets or self.notices)):
            raise BadInput(self._no_labels(doubts))
        self._note_labels_not_used()
        found = [
            fact.meaning if (fact := self.labels.get(image)) and fact.meaning in LABELS else ""
            for image in range(len(self.files))
        ]
        missing = [label for label in LABELS if label not in found]
        if sources and missing:
            raise BadInput(
                f"no images of class {' and '.join(missing)}: the tables give "
                f"{len(found) - found.count('')} of {len(found)} images a label, all of the other "
                f"class. {self._also_found()}"
            )
        self.notices += self._without_label(found)
        return found

    def _doubts(self) -> list[str]:
        """Returns why labels that are needed cannot be used without a further setting."""
        named = "label" in self.labelling.columns
        sure = [s for i, s in enumerate(self.sheets) if self._is_source(i)]
        return [
            f"{sheet.table.name}: {sheet.labels.reason}"
            for sheet in self.sheets
            if isinstance(sheet.labels, NoLabels)
            and sheet.labels.ask
            and (named or not any(sheet.known <= other.known for other in sure))
        ]

    def _is_source(self, number: int) -> bool:
        return isinstance(self.sheets[number].labels, Labels) and number not in self.placeholders

    def _no_labels(self, doubts: Sequence[str]) -> str:
        if doubts:
            return f"{NOT_CLEAR}. {listed(doubts)}"
        reasons = [
            f"{sheet.table.name}: {self._why_no_labels(number)}"
            for number, sheet in enumerate(self.sheets)
        ]
        reasons += [str(notice) for notice in self.notices if notice.kind == NOT_USED]
        return (
            "there are no class folders, and no column is known to have the label. Name it in "
            "`columns` (label=COLUMN), and what its values mean in `malignant_values`, "
            f"`benign_values` and `neither_values`. {listed(reasons)}"
        )

    def _why_no_labels(self, number: int) -> str:
        sheet = self.sheets[number]
        if number in self.placeholders:
            return self.placeholders[number]
        hint = label_hint(sheet.table, self.labelling)
        if isinstance(sheet.labels, NoLabels):
            return f"{sheet.labels.reason}{'. ' * bool(hint)}{hint}"
        if isinstance(sheet.labels, Labels):
            return f"column {sheet.labels.column!r} has no label of an image"
        return hint or f"no column looks like labels: {columns_of(sheet.table)}"

    def _also_found(self) -> str:
        found = [str(notice) for notice in (*self.notices, *self.left_out_notices())]
        return f"Also found: {listed(found)}" if found else ""

    def _note_labels_not_used(self) -> None:
        for number, sheet in enumerate(self.sheets):
            if number in self.placeholders or isinstance(sheet.labels, NoLabels):
                reason = f"found, not used as labels, because {self._why_no_labels(number)}"
                self.notices.append(notice(LABELS_NOT_USED, sheet.table.name, reason))

    def _without_label(self, found: Sequence[str]) -> list[Notice]:
        """Returns notices of the images without a label, by what the tables have instead."""
        values = Counter(
            fact.value or "(empty)" if (fact := self.labels.get(image)) else "(no row)"
            for image, label in enumerate(found)
            if not label and image not in self.left_out
        )
        reason = "left out, because no table says which class these images have"
        return [notice(LEFT_OUT, value, reason, count) for value, count in values.items()]

    def compare_with_folders(self) -> None:
        """Compares the labels with the class folders.

        Raises:
            BadInput: A table gives an image another class than its folder, or the column that the
                settings name cannot be read.
        """
        # What looked like placeholders but agrees with all folders are labels after all.
        for number, sheet in enumerate(self.sheets):
            facts = list(sheet.label_facts())
            differ = [i for i, fact in facts if fact.meaning not in {"", self.files[i].label}]
            if number in self.placeholders and not differ:
                self.placeholders.pop(number)
        self._note_labels_not_used()
        wrong = [
            f"{self.files[image].key} is in {self.files[image].label}/, but the table says {fact}"
            for image, fact in sorted(self.labels.items())
            if fact.meaning in LABELS and fact.meaning != self.files[image].label
        ]
        if wrong:
            raise BadInput(
                f"{len(wrong)} images have another label in the table than their folder says: "
                f"{listed(wrong)}. Correct the table or move the images. If the column's values "
                "mean something else, change `malignant_values` and `benign_values`; if another "
                "column has the label, name it in `columns` (label=COLUMN), or none (label=)"
            )
        doubts = [
            f"{sheet.table.name}: {sheet.labels.reason}"
            for sheet in self.sheets
            if isinstance(sheet.labels, NoLabels) and "label" in self.labelling.columns
        ]
        if doubts and not any(map(self._is_source, range(len(self.sheets)))):
            raise BadInput(f"{NOT_CLEAR}. {listed(doubts)}")

    def left_out_notices(self) -> list[Notice]:
        """Returns notices of the images of neither class."""
        values = Counter(self.labels[image].value for image in self.left_out)
        reason = "left out, because this means neither class (`neither_values`)"
        return [notice(LEFT_OUT, value, reason, count) for value, count in sorted(values.items())]
