"""The report as a person opens it: from a folder, on a desktop and on a phone, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from judged_run import write_all
from pictures import PATIENCE
from playwright.sync_api import Browser, Page, ViewportSize, expect

from skin_pipeline.evaluation import report
from skin_pipeline.storage import FolderStore

DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
MEBIBYTE = 2**20
# How the contrast of text to the page is to be at least, after WCAG 2 (level AA).
CONTRAST = 4.5
COLOURS = """() => [...document.querySelectorAll("p, td, th, figcaption, a, dd, svg text")].map(
    (part) => getComputedStyle(part).getPropertyValue(part.closest("svg") ? "fill" : "color"))"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run of which there is everything to tell."""
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    path.write_text(report.render(*write_all(FolderStore(folder / "store"))), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def brightness(colour: str) -> float:
    """The relative luminance of `rgb(…)`, 0…1."""
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_report_opens_from_a_folder_and_asks_for_nothing_else(
    screen: ViewportSize, scheme: Literal["light", "dark"], page: Page, file: Path
) -> None:
    requested: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda sent: requested.append(sent.url))
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_viewport_size(screen)
    page.emulate_media(color_scheme=scheme)
    page.goto(file.as_uri())
    expect(page.get_by_text("Refused")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert {url for url in requested if not url.startswith("data:")} == {file.as_uri()}
    assert complaints == []


@pytest.mark.parametrize(("scheme", "ground"), [("light", 1.0), ("dark", brightness("(18,18,18)"))])
def test_all_text_can_be_read_on_the_page(
    scheme: Literal["light", "dark"], ground: float, page: Page, file: Path
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(file.as_uri())
    for colour in set(page.evaluate(COLOURS)):
        high, low = sorted((brightness(colour), ground), reverse=True)[:2]
        assert (high + 0.05) / (low + 0.05) >= CONTRAST, colour


def test_pictures_and_drawings_are_there_and_lie_within_the_screen(page: Page, file: Path) -> None:
    page.set_viewport_size(PHONE)
    page.goto(file.as_uri())
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth === 224)")
    expect(page.get_by_role("img", name="ROC curve")).to_have_count(1)
    for name in ("ROC curve", "Reliability", "Ensemble and 6 runs alone"):
        box = page.get_by_role("img", name=name).bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= PHONE["width"]


def test_the_settings_unfold_and_are_printed(page: Page, file: Path) -> None:
    page.goto(file.as_uri())
    setting = page.get_by_role("rowheader", name="image_size")
    expect(setting).not_to_be_visible()
    page.get_by_text("settings", exact=False).last.click()
    expect(setting).to_be_visible()
    page.get_by_text("settings", exact=False).last.click()
    page.emulate_media(media="print")
    assert page.locator("details td").first.is_visible()


def test_the_report_can_be_sent_by_mail(file: Path) -> None:
    assert file.stat().st_size < 5 * MEBIBYTE
