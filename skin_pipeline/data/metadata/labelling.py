"""The settings about tables: names of columns, and the class that each label means.

labelling = Labelling.of(settings)
labelling.meaning("Melanoma")  # "malignant"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from skin_pipeline.config import Settings, parts
from skin_pipeline.data.metadata.columns import COLUMNS, mapping_of
from skin_pipeline.data.metadata.values import UNKNOWN, plain_value
from skin_pipeline.errors import BadInput

NEITHER = "neither"
NONE_OF_THEM = "none of them"  # the label of an image for which no column of a one-hot table is set


@dataclass(frozen=True)
class Labelling:
    """How tables are read: the columns with unusual names, and what labels mean.

    Its fields are a part of the key of a data set, so they must keep their names and order.
    """

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    malignant: tuple[str, ...] = field(default_factory=lambda: _default("malignant_values"))
    benign: tuple[str, ...] = field(default_factory=lambda: _default("benign_values"))
    neither: tuple[str, ...] = field(default_factory=lambda: _default("neither_values"))

    @classmethod
    def of(cls, settings: Settings) -> Labelling:
        """Returns the labelling that the settings describe.

        Raises:
            BadInput: `columns` is malformed, or a value means two classes.
        """
        names = ("malignant_values", "benign_values", "neither_values")
        words = {name: _words(getattr(settings, name)) for name in names}
        malignant, benign, neither = (words[name] for name in names)
        if settings.neither_values == Settings.model_fields["neither_values"].default:
            # The default contains words that a person may give a class. The class then counts.
            words["neither_values"] = neither = neither - malignant - benign
        for one, other in ((names[0], names[1]), (names[0], names[2]), (names[1], names[2])):
            if both := sorted(words[one] & words[other]):
                raise BadInput(
                    f"{one} and {other} both have {', '.join(both)}. Name it in one of them; a "
                    'value with a comma is put in quotes: "Melanoma, NOS"'
                )
        return cls(
            mapping_of(settings.columns), *(tuple(sorted(w)) for w in (malignant, benign, neither))
        )

    @cached_property
    def meanings(self) -> dict[str, str]:
        """The meaning of each value, by its plain form; "" for values that mean nothing."""
        words = ((UNKNOWN, ""), (self.neither, NEITHER), (self.benign, "benign"))
        found = {plain_value(word): meaning for group, meaning in words for word in group}
        return found | {plain_value(word): "malignant" for word in self.malignant}

    def meaning(self, value: str) -> str | None:
        """Returns `benign`, `malignant` or `neither`.

        It is "" if the value means nothing, and None if its meaning is not known.
        """
        return self.meanings.get(plain_value(value))

    def names(self, kind: str) -> tuple[str, ...]:
        """Returns the names that a column may have: those in the settings, or the usual ones."""
        return self.columns.get(kind, COLUMNS[kind])


def _words(text: str) -> set[str]:
    return {plain_value(word) for word in parts(text)}


def _default(name: str) -> tuple[str, ...]:
    return tuple(sorted(_words(Settings.model_fields[name].default)))


@dataclass(frozen=True)
class Labels:
    """The labels of a table's rows: the values as written, and their meanings."""

    column: str
    values: Sequence[str]
    meanings: Sequence[str]

    @property
    def classes(self) -> frozenset[str]:
        """The classes of the rows: benign, malignant, or both."""
        return frozenset(self.meanings) - {"", NEITHER}


@dataclass(frozen=True)
class NoLabels:
    """Why a table's labels cannot be used. With `ask`, a setting can make them usable."""

    reason: str
    ask: bool = False
