"""The form behind *Trigger*, as a person meets it: opened, filled in, emptied, sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
from models_server import ROOT, AirflowUi
from pictures import PATIENCE, open_form
from playwright.sync_api import Browser, Locator, Page, expect
from pressing import pressed

from skin_pipeline.config import Settings, form_schema, read_settings

DAGS = ROOT / "dags"
SECTIONS = ("Run Parameters", "Data", "Split", "Training", "Judging")

pytestmark = pytest.mark.airflow


@pytest.fixture
def page(browser: Browser, airflow_ui: AirflowUi) -> Iterator[Page]:
    """A tab of somebody who is logged in."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    context.set_default_timeout(PATIENCE)
    context.add_cookies([{"name": "_token", "value": airflow_ui.token, "url": airflow_ui.url}])
    yield context.new_page()
    context.close()


def trigger(page: Page) -> Locator:
    """The button that sends the form."""
    return page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True)


def sent(page: Page, ui: AirflowUi) -> dict[str, Any]:
    """Press Trigger; what Airflow has kept as the run's `conf`."""
    answered = pressed(page, trigger(page), lambda answer: answer.url.endswith("/dagRuns"))
    run = answered.json()
    assert answered.ok, run
    kept = requests.get(
        f"{ui.url}/api/v2/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}",
        headers={"Authorization": f"Bearer {ui.token}"},
        timeout=300,
    ).json()
    assert kept["state"] in {"queued", "running"}
    conf: dict[str, Any] = kept["conf"]
    return conf


def field(page: Page, name: str) -> Locator:
    """The input of a field."""
    return page.locator(f"input[name=element_{name}]")


def show(page: Page, section: str) -> None:
    """Open a section; the first is open already."""
    button = page.get_by_role("dialog").get_by_role("button", name=section, exact=True)
    if button.get_attribute("aria-expanded") != "true":
        button.click()
    expect(button).to_have_attribute("aria-expanded", "true")


def test_a_form_that_nobody_touched_starts_a_run_with_the_defaults(
    page: Page, airflow_ui: AirflowUi
) -> None:
    open_form(page, airflow_ui.url, "skin_training")
    expect(field(page, "data")).to_be_visible()
    expect(field(page, "min_accuracy")).to_be_visible()
    expect(field(page, "min_auc_change")).to_be_hidden()
    expect(trigger(page)).to_be_enabled()

    conf = sent(page, airflow_ui)

    assert conf == {name: schema["default"] for name, schema in form_schema().items()}
    assert read_settings(conf) == Settings()


def test_every_field_can_be_filled_in_and_emptied_again(page: Page, airflow_ui: AirflowUi) -> None:
    open_form(page, airflow_ui.url, "skin_training")
    for section in SECTIONS:
        show(page, section)
        for name, schema in form_schema().items():
            if (schema["section"] or SECTIONS[0]) == section:
                fill_and_empty(page, name, schema)
    expect(trigger(page)).to_be_enabled()

    conf = sent(page, airflow_ui)

    assert conf == dict.fromkeys(form_schema())
    read = read_settings(conf)  # a bound that was emptied asks for nothing, the rest is as usual
    assert (read.min_accuracy, read.min_auc_change) == (None, None)
    assert (read.runs, read.data, read.columns) == (6, Settings().data, "")


def clear(page: Page, name: str) -> None:
    """Empty a list of choices. A section that is still unfolding may move away under the click."""
    choice = page.locator(f"#element_{name}")
    shown = choice.inner_text()
    for _ in range(5):
        choice.get_by_label("Clear selected options").click(force=True)
        with suppress(AssertionError):
            expect(choice).not_to_have_text(shown, timeout=2000)
            return
    raise AssertionError(f"{name} still says {shown!r}")


def fill_and_empty(page: Page, name: str, schema: dict[str, Any]) -> None:
    """Type into a field and clear it; a list of choices has a cross for that."""
    if "enum" in schema:
        clear(page, name)
        return
    field(page, name).fill("1")
    field(page, name).fill("")


def test_a_value_out_of_bounds_is_refused_with_its_name_and_bound(
    page: Page, airflow_ui: AirflowUi
) -> None:
    open_form(page, airflow_ui.url, "skin_training")
    show(page, "Split")
    field(page, "runs").fill("50")
    field(page, "seed").click()
    expect(field(page, "runs")).to_have_value("50")  # and not 20, without a word

    trigger(page).click()

    problem = page.get_by_text("Invalid input for param runs: 50 is greater than the maximum of 20")
    expect(problem).to_be_visible()


# Of each DAG what a person has to write; everything else may stay as it is, or be emptied.
ASKED: dict[str, dict[str, str]] = {
    "skin_training": {},
    "skin_scoring": {},
    "skin_labels": {},
    "skin_monitoring": {},
    "skin_watch": {},
    "skin_rollback": {"reason": "too many false alarms"},
    "skin_alias": {"alias": "canary", "version": "20260701-abcdef123456", "reason": "a trial"},
    "skin_acknowledge": {"incident": "0123456789ab"},
    "skin_site": {"source": "s3://clinic-b/labelled", "site": "clinic-b"},
}


def open_dialog(page: Page, url: str, dag: str) -> None:
    """Press Trigger on the page of a DAG, which may have no fields."""
    page.goto(f"{url}/dags/{dag}")
    page.get_by_role("button", name="Trigger").first.click()
    trigger(page).wait_for()


def test_the_form_of_every_dag_is_tried() -> None:
    assert set(ASKED) == {path.stem for path in DAGS.glob("*.py") if "@dag(" in path.read_text()}


@pytest.mark.parametrize("dag", ASKED)
def test_a_form_asks_for_what_it_must_know_and_for_nothing_else(
    dag: str, page: Page, airflow_ui: AirflowUi
) -> None:
    open_dialog(page, airflow_ui.url, dag)
    for name, value in ASKED[dag].items():
        expect(trigger(page)).to_be_disabled()
        expect(field(page, name)).to_have_attribute("required", "")
        field(page, name).fill(value)
    expect(trigger(page)).to_be_enabled()

    conf = sent(page, airflow_ui)

    assert ASKED[dag].items() <= conf.items()


@pytest.mark.parametrize("dag", [name for name in ASKED if name != "skin_training"])
def test_every_field_that_a_form_does_not_ask_for_can_be_emptied(
    dag: str, page: Page, airflow_ui: AirflowUi
) -> None:
    open_dialog(page, airflow_ui.url, dag)
    written = page.locator(
        "input[name^=element_]:not([type=hidden])"
    )  # others are chosen of a list
    names = written.evaluate_all("all => all.map(e => e.name)")
    free = {name.removeprefix("element_") for name in names} - set(ASKED[dag])
    for name in free:
        fill_and_empty(page, name, {})
    for name, value in ASKED[dag].items():
        field(page, name).fill(value)

    conf = sent(page, airflow_ui)
    chosen = {"threshold_by"} & conf.keys()
    expected = {**dict.fromkeys(free), **ASKED[dag]}
    assert {name: conf[name] for name in conf.keys() - chosen} == expected
