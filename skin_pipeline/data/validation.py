"""Great Expectations on the manifest: the only room that imports it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pandas as pd

from skin_pipeline.contracts import LABELS, Check
from skin_pipeline.data.manifest import METADATA

log = logging.getLogger(__name__)

COLUMNS = (
    "image_id",
    "key",
    "label",
    "sha256",
    "pixels_sha256",
    "width",
    "height",
    "bytes",
    "readable",
    "problem",
    "shard",
    "row",
    *METADATA,
    "group",
)
SMALLEST_SIDE, LARGEST_SIDE = 64, 20_000


def check(
    table: pd.DataFrame, docs: Path, *, min_per_class: int, max_unreadable: float
) -> tuple[Check, ...]:
    """Run the suite over the manifest and write its Data Docs.

    Args:
        table: The manifest.
        docs: An existing folder for the Data Docs; `index.html` is their first page.
        min_per_class: Fewest readable images of a class.
        max_unreadable: Largest share of unreadable images, 0…1.

    Returns:
        A check an expectation, in the order of the suite.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources
        .add_pandas("skin_pipeline")
        .add_dataframe_asset("manifest")
        .add_batch_definition_whole_dataframe("all")
    )
    suite = context.suites.add(
        gx.ExpectationSuite(
            name="manifest", expectations=_expectations(min_per_class, max_unreadable)
        )
    )
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="manifest", data=batch, suite=suite)
    )
    context.add_data_docs_site("docs", _site(docs))
    docs_action = gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["docs"])
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name="manifest", validation_definitions=[definition], actions=[docs_action])
    )
    frame = table.assign(readable=table["readable"].astype(int))
    outcome = checkpoint.run(batch_parameters={"dataframe": frame})
    (results,) = outcome.run_results.values()
    return tuple(_check(result) for result in results.results)


def _expectations(min_per_class: int, max_unreadable: float) -> list[Any]:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    readable = Column("readable") == 1
    sides = [
        gxe.ExpectColumnValuesToBeBetween(
            column=side,
            min_value=SMALLEST_SIDE,
            max_value=LARGEST_SIDE,
            row_condition=readable,
            description=f"{side} of readable images in pixels",
        )
        for side in ("width", "height")
    ]
    classes = [
        gxe.ExpectTableRowCountToBeBetween(
            min_value=min_per_class,
            description=f"readable {label} images",
            row_condition=(Column("label") == label) & readable,
        )
        for label in LABELS
    ]
    return [
        gxe.ExpectTableColumnsToMatchSet(
            column_set=list(COLUMNS), exact_match=False, description="columns of the manifest"
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="label", value_set=list(LABELS), description="labels"
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="readable",
            min_value=1 - max_unreadable,
            description="share of images that can be decoded",
        ),
        *sides,
        *classes,
        gxe.ExpectColumnValuesToBeUnique(column="key", description="each file stands once"),
        gxe.ExpectColumnValuesToBeUnique(
            column="pixels_sha256",
            severity="warning",
            row_condition=readable,
            description="no two images have the same pixels",
        ),
        gxe.ExpectColumnValuesToNotBeNull(column="group", description="each image has a group"),
        gxe.ExpectColumnValueLengthsToBeBetween(
            column="group", min_value=1, description="no group has an empty name"
        ),
    ]


def _site(docs: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(docs),
        },
    }


def _check(result: Any) -> Check:
    config = result.expectation_config
    return Check(
        name=config.description,
        severity="warning" if config.severity.value == "warning" else "critical",
        observed=_observed(result),
        bound=_bound(config.kwargs),
        passed=bool(result.success),
    )


def _observed(result: Any) -> str:
    if result.exception_info.get("raised_exception"):
        return str(result.exception_info.get("exception_message"))
    seen = result.result
    value = seen.get("observed_value")
    if isinstance(value, list):
        return f"{len(value)} columns"
    if value is not None:
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    examples = ", ".join(str(item) for item in seen.get("partial_unexpected_list", [])[:3])
    return f"{seen.get('unexpected_count', 0)} of {seen.get('element_count', 0)} off" + (
        f" ({examples})" if examples else ""
    )


def _bound(kwargs: dict[str, Any]) -> str:
    if "value_set" in kwargs:
        return "one of " + ", ".join(kwargs["value_set"])
    if "column_set" in kwargs:
        return f"has the {len(kwargs['column_set'])} agreed columns"
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else "all"


def log_checks(checks: tuple[Check, ...]) -> None:
    """One log line a check; failures stand out by their level."""
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
