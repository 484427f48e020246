"""Runs a suite of expectations over a table."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from skin_pipeline.contracts import LABELS, Check
from skin_pipeline.data.validation import docs as pages
from skin_pipeline.data.validation.findings import EXAMPLES, finding
from skin_pipeline.imports import quick_import

log = logging.getLogger(__name__)

RESULT_FORMAT = {
    "result_format": "SUMMARY",
    "unexpected_index_column_names": ["key"],
    "partial_unexpected_count": EXAMPLES,
}
# By these images are named, and conditions are made.
ALWAYS_READ = ("key", "label", "readable")


def check_manifest(
    table: pd.DataFrame,
    docs: Path,
    *,
    min_per_class: int,
    max_unreadable: float,
    max_group_share: float,
) -> tuple[Check, ...]:
    """Checks the manifest, widened by duplicates and groups, and writes its Data Docs.

    Args:
        table: The manifest with the columns `duplicates`, `external`, `group` and `anchor`.
        docs: An existing folder for the Data Docs; `index.html` is their first page.
        min_per_class: Fewest readable images of a class.
        max_unreadable: Largest share of quarantined images, 0…1.
        max_group_share: Largest share of the images in one group, 0…1.

    Returns:
        A check for each expectation, in the order of the suite. Where columns are missing, that is
        the only check, as the others would have nothing to look at.
    """
    _calm()
    from skin_pipeline.data.validation import manifest_suite
    from skin_pipeline.data.validation.wording import prepared

    suite = manifest_suite.suite(min_per_class, max_unreadable, max_group_share)
    if not set(manifest_suite.COLUMNS) <= set(table.columns):
        return _run("The images", suite[:1], table, {"Images": str(len(table))}, docs)
    return _run("The images", suite, prepared(table), _facts(table), docs)


def check_split(table: pd.DataFrame, docs: Path) -> tuple[Check, ...]:
    """Checks that nothing leaks between the sides of any run, and writes the Data Docs.

    Args:
        table: The widened manifest with the columns `run_0`, `run_1`, ….
        docs: As in `check_manifest`.
    """
    _calm()
    from skin_pipeline.data.validation import split_suite
    from skin_pipeline.data.validation.wording import prepared

    runs = [column for column in table.columns if column.startswith("run_")]
    facts = {**_facts(table), "Runs": str(len(runs))}
    return _run("The split", split_suite.suite(runs), prepared(table), facts, docs)


def log_checks(checks: tuple[Check, ...]) -> None:
    """Logs a line for each check, and one for all; a failure has the level of a warning."""
    for item in checks:
        level = logging.INFO if item.passed else logging.WARNING
        verdict = "passed" if item.passed else f"failed ({item.severity})"
        log.log(
            level,
            'check name="%s" observed="%s" bound="%s" verdict="%s"',
            item.name,
            item.observed,
            item.bound,
            verdict,
        )
    failed = [item.severity for item in checks if not item.passed]
    log.info(
        "checked checks=%d passed=%d warnings=%d critical=%d",
        len(checks),
        len(checks) - len(failed),
        failed.count("warning"),
        failed.count("critical"),
    )


def _calm() -> None:
    """Imports Great Expectations so that it sends nothing to its makers and logs nothing itself."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    with quick_import("great_expectations"):
        from great_expectations.data_context.types import base

    logging.getLogger(base.__name__).setLevel(logging.WARNING)  # it has set a level of its own


def _facts(table: pd.DataFrame) -> dict[str, str]:
    readable = table[table["readable"].astype(bool)]
    classes = {f"Readable, {label}": int((readable["label"] == label).sum()) for label in LABELS}
    counts = {"Images": len(table), **classes, "Quarantined": len(table) - len(readable)}
    return {name: str(count) for name, count in counts.items()}


def _run(
    title: str,
    expectations: list[Any],
    table: pd.DataFrame,
    facts: Mapping[str, str],
    docs: Path,
) -> tuple[Check, ...]:
    """Runs the expectations over the table, and writes the pages about them."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")  # else it would write its settings to the disk
    context.variables.progress_bars = {"globally": False}
    found = [finding(_result(context, item, table)) for item in expectations]
    pages.write(docs, title, facts, found, f"Great Expectations {gx.__version__}")
    return tuple(item.check for item in found)


def _result(context: Any, expectation: Any, table: pd.DataFrame) -> Any:
    """Returns what Great Expectations finds in the columns that an expectation reads.

    Of the rows that meet a condition it copies all columns, and a data source keeps every copy. So
    each expectation has a source of its own.
    """
    source = context.data_sources.add_or_update_pandas("skin_pipeline")
    whole = source.add_dataframe_asset("table").add_batch_definition_whole_dataframe("all")
    batch = whole.get_batch({"dataframe": table[_read_by(expectation, table)]})
    return batch.validate(expectation, result_format=RESULT_FORMAT)


def _read_by(expectation: Any, table: pd.DataFrame) -> list[str]:
    """Returns the columns that an expectation names, and those of its examples and conditions."""
    if hasattr(expectation, "column_set"):  # it is about the columns, also those that none names
        return list(table.columns)
    named = [*ALWAYS_READ, *getattr(expectation, "reads", ())]
    for value in vars(expectation).values():
        named += [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [column for column in table.columns if column in named]
