"""The runbook has an entry for whatever may happen, and each is whole."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from skin_pipeline.config import Settings
from skin_pipeline.contracts import EventKind
from skin_pipeline.errors import BadInput, Rejected, Unavailable
from skin_pipeline.operations import runbook
from skin_pipeline.storage import FolderStore

ROOT = Path(__file__).parents[2]
POINTS = ["What it means", "How to check", "What to do", "Who may"]
RAISED = {"BadInput", "Unavailable"}


def modules_that_raise() -> Iterator[str]:
    """All modules of ours that raise an error of the pipeline themselves."""
    for folder in ("skin_pipeline", "dags", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            calls = (
                node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
            )
            if any(isinstance(call.func, ast.Name) and call.func.id in RAISED for call in calls):
                inner = path.relative_to(ROOT).with_suffix("")
                parts = inner.parts if folder == "skin_pipeline" else inner.parts[1:]
                yield ".".join(parts)


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_each_alert_has_an_entry(kind: str) -> None:
    assert kind in runbook.entries()


@pytest.mark.parametrize("module", sorted(set(modules_that_raise())))
def test_each_module_that_raises_errors_has_an_entry_for_them(module: str) -> None:
    assert runbook._entry_in(module) in runbook.entries(), f"{module}: add it to RAISED_IN"


def test_no_entry_is_for_a_module_that_is_no_longer_there() -> None:
    for module in runbook.RAISED_IN:
        path = ROOT / module.replace(".", "/")
        places = [
            path.with_suffix(".py"),
            path,
            *(ROOT / f / f"{module}.py" for f in ("dags", "plugins")),
        ]
        assert any(place.exists() for place in places), module


@pytest.mark.parametrize("entry", runbook.entries().values(), ids=lambda entry: entry.id)
def test_each_entry_says_all_four_things(entry: runbook.Entry) -> None:
    assert [title for title, _ in entry.points] == POINTS
    assert all(text.endswith((".", "?")) for _, text in entry.points)


def test_what_the_table_of_errors_and_checks_names_exists() -> None:
    named = {*runbook.RAISED_IN.values(), *(entry for _, entry in runbook.CHECKS)}
    assert named <= set(runbook.entries())


def test_every_entry_is_reached_from_somewhere() -> None:
    reached = {
        *get_args(EventKind),
        *runbook.RAISED_IN.values(),
        *(entry for _, entry in runbook.CHECKS),
        *(runbook.UNEXPECTED, "timed_out", "killed"),
    }
    assert set(runbook.entries()) == reached


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("sensitivity", "figure_below_bound"),
        ("calibration error", "figure_below_bound"),
        ("change of AUC", "not_better"),
        ("champion", "champion_not_scored"),
        ("sensitivity by sex", "slice_below_bound"),
        ("AUC on isic2017", "external_below_bound"),
        ("external set isic2017", "external_below_bound"),
        ("external sets", "external_below_bound"),
        ("successful runs", "too_few_runs"),
        ("saved model agrees with the evaluation", "file_disagrees"),
        ("bounds", "no_bounds"),
    ],
)
def test_a_check_of_the_gate_leads_to_its_entry(name: str, entry: str) -> None:
    assert runbook.entry_of_check(name) == entry


def raised(call: object, *arguments: object) -> BaseException:
    """The error that a call raises."""
    try:
        call(*arguments)  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def test_an_error_leads_to_the_entry_of_what_raised_it(store: FolderStore) -> None:
    assert runbook.entry_of(raised(store.read, "no/such.json")) == "store"
    from skin_pipeline.config import read_settings

    assert runbook.entry_of(raised(read_settings, {"runs": 0})) == "settings"


def test_the_error_behind_airflows_own_counts(store: FolderStore) -> None:
    def wrapped() -> None:
        try:
            store.read("no/such.json")
        except BadInput as error:
            raise RuntimeError("as Airflow says it") from error

    assert runbook.entry_of(raised(wrapped)) == "store"


@pytest.mark.parametrize("error", [None, ValueError("a bug"), Rejected("x"), Unavailable("y")])
def test_what_came_from_none_of_our_modules_is_unexpected(error: BaseException | None) -> None:
    assert runbook.entry_of(error) == "unexpected"


def test_a_timeout_is_called_one() -> None:
    assert runbook.entry_of(TimeoutError()) == "timed_out"


def test_the_documentation_has_the_runbook_of_now() -> None:
    page = (ROOT / "docs/operating.md").read_text()
    assert runbook.written_into(page) == page, "run make docs"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="must contain the lines"):
        runbook.written_into("# Operating")


def test_settings_are_those_that_the_entries_name() -> None:
    import re

    from skin_pipeline.config import Deployment

    known = {*Settings.model_fields, *Deployment.model_fields}
    named = re.findall(r"`SKIN_(\w+)`", runbook.text())
    assert named
    assert {name.lower() for name in named if not name.endswith("_")} <= known
