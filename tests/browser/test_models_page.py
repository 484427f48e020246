"""The page "Models" and the tab "Data" as a person meets them: after the login, in the Airflow UI.

And the Data Docs, also as files in a folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from models_server import PASSWORD, REAL, UNFIT, VALIDATION, AirflowUi
from pictures import PATIENCE, log_in
from playwright.sync_api import Browser, Page, ViewportSize, expect

from skin_pipeline import journal
from skin_pipeline.contracts import RESULT, Check, Validation, dump, load
from skin_pipeline.data.validation import docs

DESKTOP: ViewportSize = {"width": 1360, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
PLUGIN = "/skin-models/"
# Chromium says this of every page that Airflow frames, as its frame allows scripts.
OF_AIRFLOW = "An iframe which has both allow-scripts and allow-same-origin"

pytestmark = pytest.mark.airflow


@dataclass
class Visit:
    """A browser tab, with what it requested and what our page wrote to its console."""

    page: Page
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(PATIENCE)
    visit = Visit(context.new_page())
    visit.page.on("request", lambda sent: visit.requested.append(sent.url))
    visit.page.on(
        "console",
        lambda said: (
            visit.complaints.append(said.text)
            if PLUGIN in said.location.get("url", "") and not said.text.startswith(OF_AIRFLOW)
            else None
        ),
    )
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    yield visit
    context.close()


def test_from_the_login_to_the_champion_and_its_report(visit: Visit, airflow_ui: AirflowUi) -> None:
    page, framed = visit.page, visit.page.frame_locator("iframe[title=Models]")
    log_in(page, airflow_ui.url, "admin", PASSWORD)
    page.get_by_role("link", name="Models").click()

    real = framed.get_by_role("region", name=REAL, exact=True)
    expect(real.get_by_text("Champion: version")).to_be_visible()
    for screen in (DESKTOP, PHONE):
        page.set_viewport_size(screen)
        for table, rows in (("Judged runs", 5), ("Moves of the champion", 3)):
            shown = real.get_by_role("table", name=table).get_by_role("row")
            expect(shown).to_have_count(rows)
        expect(real.get_by_role("cell", name="refused").first).to_be_visible()
        assert framed.locator("body").evaluate("body => body.scrollWidth <= innerWidth")

    real.get_by_role("link", name="Report", exact=True).first.click()
    report = framed.frame_locator("iframe[title=Report]")
    expect(report.get_by_role("heading")).to_contain_text("Report of scheduled__2026-06-15")
    framed.get_by_role("link", name="All models").click()
    expect(real).to_be_visible()

    assert visit.complaints == []
    hosts = {urlsplit(url.removeprefix("blob:")).netloc for url in visit.requested}
    assert hosts - {""} == {urlsplit(airflow_ui.url).netloc}


def test_the_link_of_an_alert_leads_through_the_login_to_the_report(
    visit: Visit, airflow_ui: AirflowUi
) -> None:
    (key, *_) = [key for key in airflow_ui.store.list("gate") if key.endswith("report.html")]
    log_in(visit.page, f"{airflow_ui.url}/plugin/models{PLUGIN}view/{key}", "admin", PASSWORD)

    report = visit.page.frame_locator("iframe[title=Models]").frame_locator("iframe[title=Report]")
    expect(report.get_by_role("heading")).to_contain_text("Report of ")


def test_the_page_follows_the_theme_that_was_picked_in_airflow(
    visit: Visit, airflow_ui: AirflowUi
) -> None:
    page = visit.page
    page.context.add_cookies([{"name": "_token", "value": airflow_ui.token, "url": airflow_ui.url}])
    page.add_init_script("localStorage.setItem('theme', 'dark')")
    page.goto(f"{airflow_ui.url}/plugin/models")
    framed = page.frame_locator("iframe[title=Models]")
    heading = framed.get_by_role("heading", name="Models", exact=True)
    expect(heading).to_have_css("color", "rgb(244, 244, 245)")

    page.evaluate("localStorage.setItem('theme', 'light')")  # what Airflow's menu does

    expect(heading).to_have_css("color", "rgb(24, 24, 27)")


# --- Data Docs -----------------------------------------------------------------------------------

RUN = "manual__2026-07-02T10:00:00+00:00"
CHECKED = "validate/03"


def finding(name: str, *, passed: bool) -> docs.Finding:
    check = Check(name=name, severity="critical", observed="2 off", bound="all", passed=passed)
    return docs.Finding(check, f"{name} must be so.", "Because.", (f"{'long/' * 40}a.jpg: 3",))


def write_docs(folder: Path) -> None:
    findings = [finding("sharpness", passed=True), finding("labels", passed=False)] * 8
    docs.write(folder, "The images", {"Images": "1144"}, findings, "Great Expectations")


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_data_docs_open_from_a_folder_and_ask_for_nothing_else(
    screen: ViewportSize, visit: Visit, tmp_path: Path
) -> None:
    write_docs(tmp_path)
    page = visit.page
    page.on("console", lambda said: visit.complaints.append(said.text))
    page.set_viewport_size(screen)
    page.goto(f"file://{tmp_path}/index.html")
    expect(page.get_by_text("Not fit for training")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.get_by_role("table").get_by_role("link", name="labels").last.click()
    expect(page.locator("article:target")).to_contain_text("labels must be so.")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("link", name="The images").click()
    expect(page.get_by_role("heading", name="All checks")).to_be_visible()

    files = {url.split("#")[0] for url in visit.requested}
    assert files == {f"file://{tmp_path}/{name}" for name in docs.PAGES}
    assert visit.complaints == []


@pytest.fixture(scope="module")
def a_run(airflow_ui: AirflowUi, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run whose validation failed, in Airflow and in the store."""
    requests.post(
        f"{airflow_ui.url}/api/v2/dags/skin_training/dagRuns",
        json={"dag_run_id": RUN, "logical_date": None},
        headers={"Authorization": f"Bearer {airflow_ui.token}"},
        timeout=300,
    ).raise_for_status()
    folder = tmp_path_factory.mktemp("docs")
    write_docs(folder)
    for page in docs.PAGES:
        airflow_ui.store.put_file(f"{CHECKED}/docs/{page}", folder / page)
    unfit = load(airflow_ui.store, UNFIT, Validation)
    unfit = unfit.model_copy(update={"docs": f"{CHECKED}/docs/index.html"})
    airflow_ui.store.put(f"{CHECKED}/{RESULT}", dump(unfit))
    journal.note(airflow_ui.store, RUN, validation=CHECKED)
    return RUN


def test_a_run_that_failed_in_validation_leads_to_its_data_docs(
    visit: Visit, airflow_ui: AirflowUi, a_run: str
) -> None:
    page = visit.page
    log_in(page, f"{airflow_ui.url}/dags/skin_training/runs/{a_run}", "admin", PASSWORD)
    page.get_by_role("link", name="Data", exact=True).click()
    tab = page.frame_locator("iframe[title=Data]")
    expect(tab.get_by_role("heading", name="Not fit for training")).to_be_visible()

    tab.get_by_role("link", name="Data Docs of the images").click()
    shown = tab.frame_locator("iframe[title=Report]")
    shown.get_by_role("table").get_by_role("link", name="labels").last.click()
    expect(shown.locator("article:target")).to_contain_text("labels must be so.")
    shown.get_by_role("link", name="The images").click()
    expect(shown.get_by_role("heading", name="All checks")).to_be_visible()
    assert page.url.endswith("/plugin/skin-data")  # where the link of an alert leads, too

    assert visit.complaints == []
    hosts = {urlsplit(url.removeprefix("blob:")).netloc for url in visit.requested}
    assert hosts - {""} == {urlsplit(airflow_ui.url).netloc}


def test_a_report_leads_to_the_data_docs(visit: Visit, airflow_ui: AirflowUi) -> None:
    report = f'<!doctype html><title>R</title><a href="../../{VALIDATION}/docs/index.html">Docs</a>'
    airflow_ui.store.put("gate/77/report.html", report.encode())
    log_in(
        visit.page,
        f"{airflow_ui.url}/plugin/models{PLUGIN}view/gate/77/report.html",
        "admin",
        PASSWORD,
    )

    shown = visit.page.frame_locator("iframe[title=Models]").frame_locator("iframe[title=Report]")
    shown.get_by_role("link", name="Docs").click()
    expect(shown.get_by_role("heading")).to_contain_text("Data Docs of validate")
    assert visit.complaints == []
