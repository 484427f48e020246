"""The pages of a real Airflow below a base path, as behind a proxy: every link stays below it."""

from __future__ import annotations

import html
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

import many_versions
import pytest
import requests
import sharing
from models_server import AirflowUi, api_server
from pictures import PATIENCE
from playwright.sync_api import Browser, Page, ViewportSize, expect
from released import opened

BASE = "/team/airflow"
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
MODEL = "skin-path"

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def ui() -> Iterator[AirflowUi]:
    """An Airflow below a base path, with a model of three versions."""
    home = Path(tempfile.mkdtemp(prefix="airflow-", dir=sharing.folder()))
    with api_server(home, BASE) as ui:
        images = many_versions.put_images(ui.store, "91")
        many_versions.write(ui.store, MODEL, versions=3, runs=6, images=images)
        yield ui


def test_every_link_of_our_pages_stays_below_the_path_and_leads_somewhere(ui: AirflowUi) -> None:
    session, home = requests.Session(), f"{ui.url}/skin-models/"
    session.cookies.set("_token", ui.token)
    waiting, seen = [home], set[str]()
    while waiting and len(seen) < 80:
        page = waiting.pop(0)
        answer = session.get(page, timeout=300)
        assert answer.status_code == 200, page
        seen.add(page)
        if not answer.headers["Content-Type"].startswith("text/html"):
            continue
        for link in re.findall(r'(?:href|src|action)="(.*?)"', answer.text):
            target = urljoin(page, html.unescape(link)).partition("#")[0]
            if link.startswith(("#", "data:", "http")):
                continue
            assert urlsplit(target).path.startswith(f"{BASE}/"), f"{link} of {page}"
            form = "/compare/" in target and "?" not in target
            chosen = "/act/" not in target and not form
            if target.startswith(home) and chosen and target not in {*seen, *waiting}:
                waiting.append(target)
    for part in ("/model/", "/version/", "/document/", "/file/", "/view/"):
        assert any(part in page for page in seen), part


@pytest.fixture
def page(browser: Browser, ui: AirflowUi) -> Iterator[Page]:
    """A tab of somebody who is logged in; what is said there is asserted to be nothing."""
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(PATIENCE)
    context.add_cookies([{"name": "_token", "value": ui.token, "url": ui.url}])
    tab, said = context.new_page(), list[str]()
    tab.on(
        "console",
        lambda m: said.append(m.text) if "/skin-models/" in m.location.get("url", "") else None,
    )
    yield tab
    context.close()
    assert [text for text in said if not text.startswith("An iframe which has both")] == []


def test_from_the_menu_to_a_comparison_and_a_version(page: Page, ui: AirflowUi) -> None:
    page.goto(f"{ui.url}/plugin/models")
    framed = page.frame_locator("iframe[title=Models]")
    framed.get_by_role("link", name=f"All of {MODEL}").click()
    boxes = framed.get_by_role("checkbox", name="Compare version")
    expect(boxes).to_have_count(3)
    boxes.nth(0).check()
    boxes.nth(2).check()
    framed.get_by_role("button", name="Compare").first.click()
    expect(framed.get_by_role("table", name="Figures of each version")).to_be_visible()
    picture = framed.get_by_role("img").first
    picture.scroll_into_view_if_needed()
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    framed.get_by_role("table", name="Figures of each version").get_by_role("link").first.click()
    expect(framed.get_by_role("heading", name="Where it comes from")).to_be_visible()
    with page.expect_download() as saved:
        framed.get_by_role("link", name="Download card.md").click()
    assert saved.value.suggested_filename.endswith("-card.md")
    framed.get_by_role("link", name="Models", exact=True).click()
    expect(framed.get_by_role("heading", name="Models", exact=True)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_fits_the_screen_and_complains_of_nothing(
    page: Page,
    ui: AirflowUi,
    screen: ViewportSize,
    scheme: Literal["light", "dark"],
    tmp_path: Path,
) -> None:
    versions = sorted(opened(ui.store, name=MODEL).versions())
    chosen = "&".join(f"version={version}" for version in versions)
    page.set_viewport_size(screen)
    page.emulate_media(color_scheme=scheme)
    for number, path in enumerate((
        "",
        f"model/{MODEL}",
        f"version/{MODEL}/{versions[0]}",
        f"compare/{MODEL}?{chosen}",
        f"document/evaluate/{versions[0]}/result.json",
    )):
        page.goto(f"{ui.url}/skin-models/{path}")
        expect(page.get_by_role("navigation", name="Pages", exact=True)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        ink = page.locator("h1, h2").first.evaluate("e => getComputedStyle(e).color")
        assert ink == ("rgb(24, 24, 27)" if scheme == "light" else "rgb(244, 244, 245)")
        page.screenshot(path=tmp_path / f"{number}.png", full_page=True)
