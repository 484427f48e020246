"""A working day of an on-call person, in a browser, on a running Airflow: one story, told in order.

A run is triggered by the form, followed, and rejected; two others are approved and promoted; their
versions are compared, and one is rolled back; a failure is acknowledged; all of it is on the page
Audit. A viewer sees all of it and can do nothing. Each test needs those before it.

The pictures of the pages are kept in var/screenshots, or where SKIN_SCREENSHOTS says.
"""

from __future__ import annotations

import json
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
from playwright.sync_api import Browser, FrameLocator, Page, ViewportSize, expect
from pressing import pressed
from released import opened

from skin_pipeline.operations import incidents
from skin_pipeline.storage import FolderStore

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1500)]

MODEL = "skin-resnet50-synthetic"
VIEWER = "victor"
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
# What the form shows as its defaults: quick settings, so that nobody has to touch it.
QUICK = {
    **{"SKIN_DATA": "demo", "SKIN_WEIGHTS": "none", "SKIN_STRATEGY": "head"},
    **{"SKIN_IMAGE_SIZE": "64", "SKIN_VIEWS": "1", "SKIN_RUNS": "2", "SKIN_MIN_RUNS": "2"},
    **{"SKIN_REGIONS": "centre", "SKIN_CORRUPTED": "0"},
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
    viewer: Page
    runs: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    def state(self, path: str) -> str:
        return str(self.airflow.api.get(path)["state"])

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        rest(self.page)
        end = time.monotonic() + PATIENCE / 1000 * 3
        while not ready():
            self.airflow.check()
            assert time.monotonic() < end, what
            time.sleep(0.5)

    def wait_for_run(self, dag: str, run: str, state: str = "success") -> None:
        path = f"dags/{dag}/dagRuns/{run}"
        self.wait(lambda: self.state(path) in {"success", "failed"}, f"{run} did not end")
        assert self.state(path) == state

    def show(self, path: str, page: Page | None = None) -> FrameLocator:
        """Open one of our pages inside Airflow's UI."""
        page = page or self.page
        deeper = f"/skin-models/{path}" if path else ""  # the first page is the entry's own
        page.goto(f"{self.airflow.url}/plugin/models{deeper}")
        return page.frame_locator("iframe[title=Models]")

    def champion(self) -> str:
        pointer = opened(self.store, name=MODEL).champion
        assert pointer
        return pointer.version


def rest(page: Page) -> None:
    """Leave the pages of Airflow, which move and ask for news: a third of two cores, unseen."""
    page.goto("about:blank")


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
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"admin:admin,{VIEWER}:viewer",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    }
    put_database(folder / "airflow")
    with LocalAirflow(
        "the tests", home=folder / "airflow", settings=settings, say=lambda text: None
    ) as airflow:
        for dag in ("skin_training", "skin_rollback", "skin_acknowledge"):
            airflow.wait_for_dag(dag)
            airflow.api.patch(f"dags/{dag}?update_mask=is_paused", {"is_paused": False})
        passwords = json.loads((folder / "airflow/passwords.json").read_text())
        admin = _logged_in(browser, airflow, "admin", passwords["admin"])
        viewer = _logged_in(browser, airflow, VIEWER, passwords[VIEWER])
        yield Day(airflow, store, admin, viewer)


def _logged_in(browser: Browser, airflow: LocalAirflow, user: str, password: str) -> Page:
    page = browser.new_context(viewport=DESKTOP).new_page()
    page.set_default_timeout(PATIENCE)
    log_in(page, airflow.url, user, password)
    page.get_by_role("link", name="Models").wait_for()
    rest(page)
    return page


def triggered(day: Day) -> str:
    """Press Trigger in the form, which nobody has touched; the id of the run."""
    open_form(day.page, day.airflow.url, "skin_training")
    button = day.page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True)
    expect(button).to_be_enabled()
    answered = pressed(day.page, button, lambda answer: answer.url.endswith("/dagRuns"))
    run = str(answered.json()["dag_run_id"])
    day.runs.append(run)
    return run


def waits_for_approval(day: Day, run: str) -> None:
    path = f"dags/skin_training/dagRuns/{run}"

    def asked() -> bool:
        assert day.state(path) not in {"failed", "success"}, "it ended without asking"
        return day.state(f"{path}/taskInstances/approve") == "awaiting_input"

    day.wait(asked, "nobody is asked")


def answer(day: Day, run: str, choice: str) -> None:
    """Answer the request of a run on its own page, as the alert links to it."""
    path = f"dags/skin_training/runs/{run}/tasks/approve/required_actions"
    day.page.goto(f"{day.airflow.url}/{path}")
    button = day.page.get_by_role("button", name=choice, exact=True)
    button.wait_for()
    keep(day.page, f"approval-{choice.lower()}")
    assert pressed(day.page, button, lambda answer: answer.request.method == "PATCH").ok


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


def trained(day: Day, target: float) -> None:
    """Train and approve a model whose threshold aims at another sensitivity.

    The data stays the same, so that the versions have their test images in common.
    """
    body = {"logical_date": None, "conf": {"target_sensitivity": target}}
    run = day.airflow.api.post("dags/skin_training/dagRuns", body)["dag_run_id"]
    waits_for_approval(day, run)
    answer(day, run, "Approve")
    day.wait_for_run("skin_training", run)
    day.versions.append(day.champion())


def test_4_an_approved_model_becomes_champion_with_its_approver_in_the_history(day: Day) -> None:
    trained(day, 0.9)
    (move,) = opened(day.store, name=MODEL).unverified.documents()
    assert "approved by admin" in f"{move.move.by} {move.move.reason}"


def test_5_the_page_models_shows_the_champion_and_leads_to_its_report(day: Day) -> None:
    models = day.show("")
    expect(models.get_by_text(day.versions[0]).first).to_be_visible()
    keep(day.page, "models")
    models.get_by_role("link", name="Report").first.click()
    report = models.frame_locator("iframe[title=Report]")
    expect(report.get_by_role("heading", level=1)).to_be_visible()


def test_6_a_second_version_is_compared_with_the_first_on_the_same_images(day: Day) -> None:
    trained(day, 0.8)
    assert len(set(day.versions)) == 2
    query = "&".join(f"version={version}" for version in day.versions)
    page = day.show(f"compare/{MODEL}?{query}")
    for version in day.versions:
        expect(page.locator("code", has_text=version).first).to_be_visible()
    expect(page.get_by_text("target_sensitivity").first).to_be_visible()
    keep(day.page, "comparison")


def test_7_the_champion_is_rolled_back_with_a_reason(day: Day) -> None:
    page = day.show(f"act/rollback?model={MODEL}&alias=champion")
    for version in day.versions:
        expect(page.locator("code", has_text=version).first).to_be_visible()
    keep(day.page, "rollback")
    page.get_by_label("Reason, which stays in the history").fill("too many false alarms")
    page.get_by_label("I have seen what will change.").check()
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()  # it loads itself anew
    keep(day.page, "rolled-back")
    assert day.champion() == day.versions[0]


def test_8_a_failure_is_acknowledged(day: Day) -> None:
    body = {"logical_date": None, "conf": {"data": "kaggle://no/such"}}
    run = day.airflow.api.post("dags/skin_training/dagRuns", body)["dag_run_id"]
    day.wait_for_run("skin_training", run, "failed")
    day.wait(lambda: len(incidents.every(day.store)) >= 2, "task and run are not both told of")
    page = day.show("act")
    page.get_by_role("link", name=re.compile(r"^Acknowledge")).first.click()
    keep(day.page, "acknowledge")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    (seen,) = [item for item in incidents.every(day.store) if item.state == "acknowledged"]
    assert seen.acknowledged_by == "admin"


def test_9_the_audit_page_has_all_of_it(day: Day) -> None:
    page = day.show("audit")
    for words in ("too many false alarms", "rejected by admin", "approved by admin", "acknowledge"):
        expect(page.get_by_text(re.compile(words, re.IGNORECASE)).first).to_be_visible()
    keep(day.page, "audit")


def test_10_each_page_is_whole_on_a_phone_too(day: Day) -> None:
    day.page.set_viewport_size(PHONE)
    query = "&".join(f"version={version}" for version in day.versions)
    deeper = (f"model/{MODEL}", f"compare/{MODEL}?{query}", f"act/rollback?model={MODEL}")
    for path in ("", "audit", "act", "runbook", "monitoring", *deeper):
        page = day.show(path)
        page.get_by_role("heading", level=1).first.wait_for()
        keep(day.page, f"phone-{path.split('?')[0].replace('/', '-') or 'models'}")
        wide, shown = page.locator("html").evaluate("e => [e.scrollWidth, e.clientWidth]")
        assert wide <= shown + 1, path
    day.page.set_viewport_size(DESKTOP)


def test_11_a_viewer_reads_everything_and_can_do_nothing(day: Day) -> None:
    page = day.show("", day.viewer)
    expect(page.locator("code", has_text=day.versions[0]).first).to_be_visible()
    page = day.show("act", day.viewer)
    expect(page.get_by_text("You may read these pages.")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile(r"Roll back"))).to_have_count(0)
    keep(day.viewer, "viewer")
    url = f"{day.airflow.url}/skin-models/act/rollback"
    form: dict[str, str | float | bool] = {
        "model": MODEL,
        "alias": "champion",
        "reason": "x",
        "confirmed": "yes",
    }
    context = day.viewer.context.request
    assert context.get(f"{url}?model={MODEL}&alias=champion").status == 403
    assert context.post(url, form=form).status == 403
    assert day.champion() == day.versions[0]
