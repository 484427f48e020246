"""Expectations that Great Expectations does not have: they look at the table as a whole.

Each finds faults and names the images; it is met if there are none.
"""

# ruff: file-ignore[banned-module-level-imports] it is imported only where there is work for it
from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.expectations.row_conditions import RowConditionType
from great_expectations.render.renderer_configuration import RendererValueType

from skin_pipeline.contracts import LABELS

TABLE = "manifest.table"
HALF = 0.5
HANDFUL = 10  # images
# What to do about a giant group, by the column that holds it together.
REMEDIES = {
    "patient_id": "empty the cell if this stands for no patient in particular",
    "lesion_id": "empty the cell if this stands for no lesion in particular",
    "duplicates": "keep one of these copies and remove the others",
}
NAMED = 3  # images that a fault names at most
KEPT = 20  # faults that a result keeps at most


class ManifestTable(TableMetricProvider):  # type: ignore[misc]
    """The rows themselves, as the metric that the expectations below are computed from.

    Great Expectations computes metrics first and hands them to expectations. Its own metrics are of
    one column each, so this one gives the whole table.
    """

    metric_name = TABLE

    @metric_value(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(
        cls,  # ruff: ignore[invalid-first-argument-name-for-method] the decorator makes it one of the class
        execution_engine: Any,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any],
    ) -> pd.DataFrame:
        domain = MetricDomainTypes.TABLE
        rows: pd.DataFrame
        rows, *_ = execution_engine.get_compute_domain(metric_domain_kwargs, domain)
        return rows


class Faultless(BatchExpectation):  # type: ignore[misc]
    """The base class: a subclass says in `sentence` what it expects, and finds the `faults`.

    Great Expectations reads the class attributes: `success_keys` are the arguments of a subclass
    that its sentence may show as `$name`. Of the table it gets the columns that its arguments name,
    and those that `reads` lists.
    """

    row_condition: RowConditionType = None

    sentence: ClassVar[str] = ""
    reads: ClassVar[tuple[str, ...]] = ()
    metric_dependencies = (TABLE,)
    domain_keys = ("row_condition", "condition_parser")
    success_keys: ClassVar[tuple[str, ...]] = ()

    def faults(self, table: pd.DataFrame) -> list[str]:
        """Returns a line for each fault in the rows that meet the condition."""
        raise NotImplementedError

    def observed(self, table: pd.DataFrame, faults: list[str]) -> str:
        """Returns what was seen, in a few words."""
        return f"{len(faults)} found" if faults else "none found"

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: Any = None,
        execution_engine: Any = None,
    ) -> dict[str, Any]:
        table = metrics[TABLE]
        faults = self.faults(table)
        result = {
            "observed_value": self.observed(table, faults),
            "details": {"faults": faults[:KEPT], "count": len(faults)},
        }
        return {"success": not faults, "result": result}

    @classmethod
    def _prescriptive_template(cls, renderer_configuration: Any) -> Any:
        for name in cls.success_keys:
            value = renderer_configuration.kwargs.get(name, "")
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            renderer_configuration.add_param(name, RendererValueType.STRING, text)
        renderer_configuration.template_str = cls.sentence
        return renderer_configuration


class ExpectNoneTwice(Faultless):
    """No two rows share a value of `column`; rows without one do not count.

    With `differing`, rows that share the value of that column too do not count either.
    """

    column: str
    differing: str = ""
    sentence = "no two images may have the same $column."
    success_keys = ("column", "differing")

    def faults(self, table: pd.DataFrame) -> list[str]:
        return [" = ".join(_some(keys)) for keys in self._clusters(table)]

    def observed(self, table: pd.DataFrame, faults: list[str]) -> str:
        images = sum(map(len, self._clusters(table)))
        groups = "group" if len(faults) == 1 else "groups"
        return f"{images} images in {len(faults)} {groups}" if faults else "none found"

    def _clusters(self, table: pd.DataFrame) -> list[pd.Series[str]]:
        known = table[table[self.column] != ""]
        if self.differing:
            known = known.drop_duplicates([self.column, self.differing])
        shared = known[known.duplicated(self.column, keep=False)]
        return [keys for _, keys in shared.groupby(self.column)["key"]]


class ExpectOneValueEach(Faultless):
    """Rows that share `key` also share the value of each of `columns`.

    Rows without a key do not count, nor do cells with the value `ignored`.
    """

    key: str
    columns: list[str]
    ignored: str = ""
    sentence = "images with the same $key must have the same $columns."
    success_keys = ("key", "columns", "ignored")

    def faults(self, table: pd.DataFrame) -> list[str]:
        known = table[table[self.key] != ""]
        return [line for column in self.columns for line in self._parted(known, column)]

    def _parted(self, known: pd.DataFrame, column: str) -> list[str]:
        rows = known.loc[
            known[column] != self.ignored, list(dict.fromkeys(["key", self.key, column]))
        ]
        names, values = pd.factorize(rows[self.key])[0], pd.factorize(rows[column])[0]
        first = values[np.unique(names, return_index=True)[1]]
        parted = np.isin(names, names[values != first[names]])
        return [
            f"{name}: " + ", ".join(self._examples(part, column))
            for name, part in rows[parted].groupby(self.key)
        ]

    def _examples(self, part: pd.DataFrame, column: str) -> list[str]:
        # Some rows of each value, as the first rows may all have the same.
        where = f"{column} " if len(self.columns) > 1 else ""
        first = part.groupby(column).head(NAMED)
        return [
            f"{key} ({where}{value})"
            for key, value in zip(first["key"], first[column], strict=True)
        ]


class ExpectNoGiantGroup(Faultless):
    """No group has more than `share` of the rows.

    Where there are few groups, each has a large share: one may have twice the mean share, but no
    more than half. A group of a handful of images is never too large.
    """

    share: float
    sentence = "no group may have more than $share of the images."
    reads = ("group", *REMEDIES)
    success_keys = ("share",)

    def faults(self, table: pd.DataFrame) -> list[str]:
        sizes = table.loc[table["group"] != "", "group"].value_counts()
        most = max(self.share, min(2 / max(len(sizes), 1), HALF)) * len(table)
        return [
            _giant(table[table["group"] == group], len(table))
            for group in sizes[(sizes > most) & (sizes > HANDFUL)].index
        ]


def _giant(group: pd.DataFrame, images: int) -> str:
    """Returns how large a group is, the value that most of its images share, and what to do."""
    shared = {link: group.loc[group[link] != "", link].value_counts() for link in REMEDIES}
    link = max(shared, key=lambda name: shared[name].max() if len(shared[name]) else 0)
    value, count = next(iter(shared[link].items()), ("", 0))
    return (
        f"{group['group'].iloc[0]}: {len(group)} of {images} images "
        f"({len(group) / images:.0%}), {count} of them with {link} {value!r}; "
        f"{REMEDIES[link]}, or raise max_group_share if they belong together"
    )


class ExpectKnownSides(Faultless):
    """Every cell of the runs' columns is one of `sides`."""

    columns: list[str]
    sides: list[str]
    sentence = "$columns must be one of $sides."
    success_keys = ("columns", "sides")

    def faults(self, table: pd.DataFrame) -> list[str]:
        return [
            f"{key}: {column} is {value!r}"
            for column in self.columns
            for key, value in table.loc[~table[column].isin(self.sides), ["key", column]].values
        ]


class ExpectSameTestSet(Faultless):
    """An image is in the test set of all runs or of none."""

    columns: list[str]
    test: str
    sentence = "$columns must agree on which images are the $test set."
    success_keys = ("columns", "test")

    def faults(self, table: pd.DataFrame) -> list[str]:
        inside = (table[self.columns] == self.test).sum(axis=1)
        mixed = ~inside.isin([0, len(self.columns)])
        pairs = zip(table.loc[mixed, "key"], inside[mixed], strict=True)
        return [f"{key}: in the test set of {count} runs" for key, count in pairs]


class ExpectBothClasses(Faultless):
    """Every side of every run has images of both classes."""

    columns: list[str]
    sides: list[str]
    sentence = "each of $sides must have images of both classes in each of $columns."
    success_keys = ("columns", "sides")

    def faults(self, table: pd.DataFrame) -> list[str]:
        return [
            f"{column}: no {label} image in {side}"
            for column in self.columns
            for side in self.sides
            for label in LABELS
            if not ((table[column] == side) & (table["label"] == label)).any()
        ]


class ExpectEvenSides(Faultless):
    """The share of malignant images on a side is within `bound` of that of all rows."""

    columns: list[str]
    sides: list[str]
    bound: float
    sentence = "the share of malignant images in $sides may differ by $bound from that of all."
    success_keys = ("columns", "sides", "bound")

    def faults(self, table: pd.DataFrame) -> list[str]:
        return [
            f"{column}: {side} differs by {error:.3f}"
            for column, side, error in self._errors(table)
            if not error <= self.bound  # also where a side is empty, and the error is not a number
        ]

    def observed(self, table: pd.DataFrame, faults: list[str]) -> str:
        column, side, worst = max(self._errors(table), key=lambda item: item[2])
        return f"at most {worst:.3f} ({side} of {column})"

    def _errors(self, table: pd.DataFrame) -> list[tuple[str, str, float]]:
        malignant = table["label"] == LABELS[1]
        return [
            (column, side, abs(float(malignant[table[column] == side].mean() - malignant.mean())))
            for column in self.columns
            for side in self.sides
        ]


def _some(keys: pd.Series[str]) -> list[str]:
    """Returns the first keys, with an ellipsis for further ones."""
    return [*keys.head(NAMED), *(["…"] if len(keys) > NAMED else [])]
