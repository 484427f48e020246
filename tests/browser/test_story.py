"""A working day of an on-call person, in a browser, on a running Airflow: one story, told in order.

A run is triggered by the form, followed, and rejected; two others are approved and promoted; their
versions are compared. Each test needs those before it.

The pictures of the pages are kept in var/screenshots, or where SKIN_SCREENSHOTS says.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from airflow_home import put_database
from local_airflow import CHECKOUT, LocalAirflow
from pictures import PATIENCE, log_in, open_form
from playwright.sync_api import Browser, FrameLocator, Page, expect
from released import opened

from skin_pipeline.storage import FolderStore

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1500)]

MODEL = "skin-resnet50-synthetic"
# What the form shows as its defaults: quick settings, so that nobody has to touch it.
QUICK = {
    **{"SKIN_DATA": "demo", "SKIN_WEIGHTS": "none", "SKIN_STRATEGY": "head"},
    **{"SKIN_IMAGE_SIZE": "64", "SKIN_VIEWS": "1", "SKIN_RUNS": "2", "SKIN_MIN_RUNS": "2"},
    **{"SKIN_EPOCHS": "10", "SKIN_TARGET_SENSITIVITY": "0.95"},
    **{"SKIN_MIN_ACCURACY": "0.5", "SKIN_MIN_SENSITIVITY": "0.5", "SKIN_MIN_AUC_CHANGE": "-1"},
}
SCREENSHOTS = Path(os.environ.get("SKIN_SCREENSHOTS", CHECKOUT / "var/screenshots"))


@dataclass
class Day:
    """The Airflow of this day, its store, and what the story has come to."""

    airflow: LocalAirflow
    store: FolderStore
    page: Page
    runs: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    def state(self, path: str) -> str:
        return str(self.airflow.api.get(path)["state"])

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE / 1000 * 3
        while not ready():
            self.airflow.check()
            assert time.monotonic() < end, what
            time.sleep(0.5)

    def wait_for_run(self, dag: str, run: str, state: str = "success") -> None:
        path = f"dags/{dag}/dagRuns/{run}"
        self.wait(lambda: self.state(path) in {"success", "failed"}, f"{run} did not end")
        assert self.state(path) == state

    def show(self, path: str) -> FrameLocator:
        """Open one of our pages inside Airflow's UI."""
        deeper = f"/skin-models/{path}" if path else ""  # the first page is the entry's own
        self.page.goto(f"{self.airflow.url}/plugin/models{deeper}")
        return self.page.frame_locator("iframe[title=Models]")

    def champion(self) -> str:
        pointer = opened(self.store, name=MODEL).champion
        assert pointer
        return pointer.version


def keep(page: Page, name: str) -> None:
    """Keep a picture of what the page shows."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("day")
    store = FolderStore(folder / "store")
    settings = {
        **QUICK,
        "SKIN_STORE": store.url,
        "SKIN_SCHEDULE": "",
        "SKIN_RETRIES": "0",
        "SKIN_APPROVAL": "always",
        "SKIN_APPROVERS": "admin",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    }
    put_database(folder / "airflow")
    with LocalAirflow(
        "the tests", home=folder / "airflow", settings=settings, say=lambda text: None
    ) as airflow:
        airflow.wait_for_dag("skin_training")
        airflow.api.patch("dags/skin_training?update_mask=is_paused", {"is_paused": False})
        yield Day(airflow, store, _logged_in(browser, airflow))


def _logged_in(browser: Browser, airflow: LocalAirflow) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE)
    log_in(page, airflow.url, airflow.user, airflow.password)
    page.get_by_role("link", name="Models").wait_for()
    return page


def triggered(day: Day) -> str:
    """Press Trigger in the form, which nobody has touched; the id of the run."""
    open_form(day.page, day.airflow.url, "skin_training")
    button = day.page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True)
    expect(button).to_be_enabled()
    for _ in range(3):  # SQLite has one writer at a time: see `local_airflow.Api`
        with day.page.expect_response(lambda answer: answer.url.endswith("/dagRuns")) as answered:
            button.click()
        if answered.value.ok:
            break
    run = str(answered.value.json()["dag_run_id"])
    day.runs.append(run)
    return run


def waits_for_approval(day: Day, run: str) -> None:
    path = f"dags/skin_training/dagRuns/{run}"

    def asked() -> bool:
        assert day.state(path) != "failed"
        return day.state(f"{path}/taskInstances/approve") == "awaiting_input"

    day.wait(asked, "nobody is asked")


def answer(day: Day, run: str, choice: str) -> None:
    """Answer the request of a run on its own page, as the alert links to it."""
    path = f"dags/skin_training/runs/{run}/tasks/approve/required_actions"
    day.page.goto(f"{day.airflow.url}/{path}")
    day.page.get_by_role("button", name=choice, exact=True).wait_for()
    keep(day.page, f"approval-{choice.lower()}")
    day.page.get_by_role("button", name=choice, exact=True).click()


def test_1_a_run_is_triggered_by_the_form_and_waits_for_approval(day: Day) -> None:
    run = triggered(day)
    waits_for_approval(day, run)
    assert opened(day.store, name=MODEL).champion is None
    day.page.goto(f"{day.airflow.url}/dags/skin_training/runs/{run}")
    day.page.get_by_text("approve").first.wait_for()
    keep(day.page, "run-waits")


def test_2_the_log_of_the_gate_ends_with_the_verdict_in_words(day: Day) -> None:
    day.page.goto(f"{day.airflow.url}/dags/skin_training/runs/{day.runs[0]}/tasks/gate")
    expect(day.page.get_by_text("result approved").first).to_be_visible()
    keep(day.page, "log-of-gate")


def test_3_a_rejected_model_is_not_promoted(day: Day) -> None:
    answer(day, day.runs[0], "Reject")
    day.wait_for_run("skin_training", day.runs[0])
    assert opened(day.store, name=MODEL).champion is None
    (judged,) = opened(day.store, name=MODEL).judgements()
    assert not judged.approved
    assert "rejected by admin" in " ".join(judged.reasons)


def test_4_an_approved_model_becomes_champion_with_its_approver_in_the_history(day: Day) -> None:
    conf = {"seed": 2}
    made = day.airflow.api.post("dags/skin_training/dagRuns", {"logical_date": None, "conf": conf})
    run = made["dag_run_id"]
    waits_for_approval(day, run)
    answer(day, run, "Approve")
    day.wait_for_run("skin_training", run)
    day.versions.append(day.champion())
    (move,) = opened(day.store, name=MODEL).unverified.documents()
    assert "approved by admin" in f"{move.move.by} {move.move.reason}"


def test_5_the_page_models_shows_the_champion_and_leads_to_its_report(day: Day) -> None:
    models = day.show("")
    expect(models.get_by_text(day.versions[0]).first).to_be_visible()
    keep(day.page, "models")
    models.get_by_role("link", name="Report").first.click()
    report = models.frame_locator("iframe[title=Report]")
    expect(report.get_by_role("heading", level=1)).to_be_visible()


def test_6_a_second_version_is_compared_with_the_first(day: Day) -> None:
    made = day.airflow.api.post(
        "dags/skin_training/dagRuns", {"logical_date": None, "conf": {"seed": 3}}
    )
    waits_for_approval(day, made["dag_run_id"])
    answer(day, made["dag_run_id"], "Approve")
    day.wait_for_run("skin_training", made["dag_run_id"])
    day.versions.append(day.champion())
    assert len(set(day.versions)) == 2
    query = "&".join(f"version={version}" for version in day.versions)
    page = day.show(f"compare/{MODEL}?{query}")
    for version in day.versions:
        expect(page.get_by_text(version).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"seed")).first).to_be_visible()
    keep(day.page, "comparison")
