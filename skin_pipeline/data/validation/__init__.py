"""Great Expectations on the manifest and on the split: the only room that imports it.

The suites stand in `suites`, expectations of our own in `expectations`, the Data Docs in `docs`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from skin_pipeline.contracts import LABELS, Check
from skin_pipeline.data.validation import docs as pages

log = logging.getLogger(__name__)

EXAMPLES = 20  # images that the Data Docs name for a check
SHOWN = 3  # of them in a log line


def check_manifest(
    table: pd.DataFrame,
    docs: Path,
    *,
    min_per_class: int,
    max_unreadable: float,
    max_group_share: float,
) -> tuple[Check, ...]:
    """Check the manifest, widened by duplicates and groups, and write its Data Docs.

    Args:
        table: The manifest with the columns `duplicates`, `external`, `group` and `anchor`.
        docs: An existing folder for the Data Docs; `index.html` is their first page.
        min_per_class: Fewest readable images of a class.
        max_unreadable: Largest share of quarantined images, 0…1.
        max_group_share: Largest share of the images in one group, 0…1.

    Returns:
        A check an expectation, in the order of the suite. Where columns are missing, that is the
        only check, as the others could not look at anything.
    """
    _calm()
    from skin_pipeline.data.validation import suites

    suite = suites.manifest_suite(min_per_class, max_unreadable, max_group_share)
    if not set(suites.COLUMNS) <= set(table.columns):
        return _run("The images", suite[:1], table, {"Images": str(len(table))}, docs)
    return _run("The images", suite, suites.prepared(table), _facts(table), docs)


def check_split(table: pd.DataFrame, docs: Path) -> tuple[Check, ...]:
    """Check that nothing leaks between the sides of any run, and write the Data Docs.

    Args:
        table: The widened manifest with the columns `run_0`, `run_1`, ….
        docs: As in `check_manifest`.
    """
    _calm()
    from skin_pipeline.data.validation import suites

    runs = [column for column in table.columns if column.startswith("run_")]
    facts = {**_facts(table), "Runs": str(len(runs))}
    return _run("The split", suites.split_suite(runs), suites.prepared(table), facts, docs)


def log_checks(checks: tuple[Check, ...]) -> None:
    """One log line a check, and one for all; failures stand out by their level."""
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
    """Import Great Expectations: no request to its makers, no log lines of its own."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
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
    """Run the expectations over the table and write the pages about them."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources
        .add_pandas("skin_pipeline")
        .add_dataframe_asset("table")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": table})
    )
    results = batch.validate(
        gx.ExpectationSuite(name="suite", expectations=expectations),
        result_format={
            "result_format": "SUMMARY",
            "unexpected_index_column_names": ["key"],
            "partial_unexpected_count": EXAMPLES,
        },
    ).results
    order = [item.description for item in expectations]  # GX answers in an order of its own
    found = sorted(map(_finding, results), key=lambda item: order.index(item.check.name))
    pages.write(docs, title, facts, found, f"Great Expectations {gx.__version__}")
    return tuple(item.check for item in found)


def _finding(result: Any) -> pages.Finding:
    config = result.expectation_config
    examples = _examples(result.result)
    check = Check(
        name=config.description,
        severity="warning" if config.severity.value == "warning" else "critical",
        observed=_observed(result, examples),
        bound=config.meta["bound"],
        passed=bool(result.success),
    )
    return pages.Finding(check, _sentence(config), config.notes or "", tuple(examples))


def _examples(seen: Mapping[str, Any]) -> list[str]:
    """The images that a check found fault with, and what it saw in them."""
    own = seen.get("details") or {}
    if "faults" in own:
        more = own["count"] - len(own["faults"])
        return [*own["faults"], *([f"and {more} more"] if more else [])]
    return [
        f"{row['key']}: {_short(value)}"
        for row in seen.get("partial_unexpected_index_list") or ()
        for name, value in row.items()
        if name != "key"
    ]


def _observed(result: Any, examples: list[str]) -> str:
    seen, raised = result.result, _raised(result.exception_info)
    if raised:
        return f"could not be checked: {raised}"
    value = seen.get("observed_value")
    if isinstance(value, list):
        missing = (seen.get("details") or {}).get("mismatched", {}).get("missing", [])
        return f"{len(value)} columns" + (f", without {', '.join(missing)}" if missing else "")
    if value is None and "unexpected_count" not in seen:
        return "nothing to look at"
    text = _short(value) if value is not None else _count(seen)
    if not examples or result.success:
        return text
    shown = [*examples[:SHOWN], *(["…"] if len(examples) > SHOWN else [])]
    return f"{text} ({'; '.join(shown)})"


def _count(seen: Mapping[str, Any]) -> str:
    return f"{seen['unexpected_count']} of {seen['element_count'] - seen['missing_count']} off"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value) or "empty"


def _raised(info: Mapping[str, Any]) -> str:
    """The message of what went wrong inside, empty if nothing did."""
    parts = [info, *(part for part in info.values() if isinstance(part, dict))]
    return next((str(p["exception_message"]) for p in parts if p.get("raised_exception")), "")


def _sentence(config: Any) -> str:
    """The expectation in words, as Great Expectations renders it."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.render.renderer.inline_renderer import InlineRenderer

    unnamed = ExpectationConfiguration(type=config.type, kwargs=config.kwargs)  # else it is a name
    (content,) = InlineRenderer(unnamed).get_rendered_content()
    params = {name: _word(item["value"]) for name, item in (content.value.params or {}).items()}
    words = Template(content.value.template).safe_substitute(params).strip(" .").split()
    text = " ".join(words)
    return f"{text[:1].upper()}{text[1:]}."


def _word(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value).strip()
    return f'{text} ""'.strip() if not text or text.endswith("=") else text
