"""The page "Models" as a person meets it: after the login, in the navigation of the Airflow UI."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from models_server import PASSWORD, REAL, AirflowUi
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP: ViewportSize = {"width": 1360, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
PLUGIN = "/skin-models/"
# Chromium says this of every page that Airflow frames, as its frame allows scripts.
OF_AIRFLOW = "An iframe which has both allow-scripts and allow-same-origin"

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.skipif(CHROMIUM is None, reason="neither chromium nor google-chrome is installed"),
]


@dataclass
class Visit:
    """A browser tab, with what it requested and what our page wrote to its console."""

    page: Page
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    context = browser.new_context(viewport=DESKTOP)
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


def log_in(page: Page, url: str) -> None:
    page.goto(url)
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("button[type=submit]").click()


def test_from_the_login_to_the_champion_and_its_report(visit: Visit, airflow_ui: AirflowUi) -> None:
    page, framed = visit.page, visit.page.frame_locator("iframe[title=Models]")
    log_in(page, airflow_ui.url)
    page.get_by_role("link", name="Models").click()

    real = framed.get_by_role("region", name=REAL, exact=True)
    expect(real.get_by_text("Champion: version")).to_be_visible()
    for screen in (DESKTOP, PHONE):
        page.set_viewport_size(screen)
        expect(real.get_by_role("row")).to_have_count(5)
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
    log_in(visit.page, f"{airflow_ui.url}/plugin/models{PLUGIN}view/{key}")

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
