"""Takes the pictures of the documentation anew, in a browser, of a local Airflow that ran the demo.

```
python scripts/pictures.py             docs/run.png, form.png, models.png, report.png,
                                       comparison.png, version.png
python scripts/pictures.py --to FOLDER
```

Needs Chromium or Chrome, and what `make test` installs. Airflow and the models are in a temporary
folder and gone afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from demo import DAG, SYNTHETIC, Follower, label
from local_airflow import CHECKOUT, LocalAirflow, end_on_signals
from PIL import Image

from skin_pipeline.errors import BadInput, PipelineError, Unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 180_000  # ms until a page must show what is expected, on a machine that is busy
COLOURS = 256  # of a picture: fewer than a page has, but the difference is not visible
MOST_BYTES = 300_000
# The second run finds all results but the verdict, and is refused. The third has fewer runs, and
# need not be better than the champion: so there are two versions to compare.
RUNS: tuple[dict[str, Any], ...] = (
    SYNTHETIC,
    {**SYNTHETIC, "min_accuracy": 0.99},
    {**SYNTHETIC, "runs": 4, "min_runs": 4, "min_auc_change": None},
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo with several settings and takes the pictures. Returns the exit status."""
    end_on_signals()
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--to", type=Path, default=CHECKOUT / "docs", help="folder of the pictures")
    folder = parser.parse_args(arguments).to
    try:
        with tempfile.TemporaryDirectory(prefix="skin-pictures-") as scratch:
            _take_all(Path(scratch), folder)
    except PipelineError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _take_all(scratch: Path, folder: Path) -> None:
    settings = {"SKIN_STORE": f"file://{scratch / 'store'}"}
    with (
        open_browser() as browser,
        LocalAirflow(
            "make pictures", home=scratch / "airflow", triggerer=True, settings=settings
        ) as airflow,
    ):
        airflow.wait_for_dag(DAG)
        airflow.api.patch(f"dags/{DAG}?update_mask=is_paused", {"is_paused": False})
        first, *_ = [_run(airflow, params) for params in RUNS]
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.set_default_timeout(PATIENCE)
        log_in(page, airflow.url, airflow.user, airflow.password)
        page.get_by_role("link", name="Models").wait_for()
        folder.mkdir(parents=True, exist_ok=True)
        _graph(page, airflow.url, first, folder / "run.png")
        _form(page, airflow.url, folder / "form.png")
        _models(page, airflow.url, folder / "models.png")
        _report(page, folder / "report.png")
        _comparison(page, airflow.url, folder / "comparison.png")
        _version(page, folder / "version.png")


@contextmanager
def open_browser() -> Generator[Browser, None, None]:
    """Yields a browser without a window.

    Raises:
        BadInput: none is installed.
    """
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        raise BadInput("neither chromium nor google-chrome is installed")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


def log_in(page: Page, url: str, user: str, password: str) -> None:
    """Goes to a page of Airflow that requires a login, and logs in."""
    page.goto(url)
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(password)
    page.locator("button[type=submit]").click()


def open_form(page: Page, url: str, dag: str) -> None:
    """Goes to a DAG and presses Trigger, which opens its form."""
    page.goto(f"{url}/dags/{dag}")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Run Parameters").wait_for()


def _run(airflow: LocalAirflow, params: dict[str, Any]) -> str:
    """Runs the DAG to its end. Returns the run's id."""
    run = airflow.api.post(f"dags/{DAG}/dagRuns", {"logical_date": None, "conf": params})
    follower = Follower(airflow, run["dag_run_id"])
    for line in follower.lines():
        print(line, flush=True)
    failed = [label(task) for task, state in follower.states.items() if state == "failed"]
    if failed:
        raise Unavailable(f"the run failed in {', '.join(failed)}: {follower.errors}")
    return follower.run


def _graph(page: Page, url: str, run: str, to: Path) -> None:
    page.goto(f"{url}/dags/{DAG}/runs/{quote(run, safe='')}")
    page.get_by_label("Show Graph").click()
    page.locator(".react-flow__node").nth(10).wait_for()
    _settle(page)
    _take(page, to)


def _form(page: Page, url: str, to: Path) -> None:
    open_form(page, url, DAG)
    _settle(page)
    _take(page, to)


def _models(page: Page, url: str, to: Path) -> None:
    page.goto(f"{url}/plugin/models")
    page.frame_locator("iframe[title=Models]").get_by_role("table").first.wait_for()
    _settle(page)
    _take(page, to)


def _report(page: Page, to: Path) -> None:
    """Opens the champion's report from the page Models, which must be open."""
    framed = page.frame_locator("iframe[title=Models]")
    framed.get_by_role("link", name="Report", exact=True).first.click()
    framed.frame_locator("iframe[title=Report]").get_by_role("heading").first.wait_for()
    _settle(page)
    _take(page, to)


def _comparison(page: Page, url: str, to: Path) -> None:
    """Compares the two versions that the demo has made."""
    page.goto(f"{url}/plugin/models")
    framed = page.frame_locator("iframe[title=Models]")
    framed.get_by_role("link", name="All of ").first.click()
    boxes = framed.get_by_role("checkbox", name="Compare version")
    boxes.nth(1).wait_for()
    for number in range(2):
        boxes.nth(number).check()
    framed.get_by_role("button", name="Compare").first.click()
    framed.get_by_role("table", name="Figures of each version").wait_for()
    _settle(page)
    _take(page, to)


def _version(page: Page, to: Path) -> None:
    """Opens a version from the comparison, which must be open."""
    framed = page.frame_locator("iframe[title=Models]")
    table = framed.get_by_role("table", name="Figures of each version")
    table.get_by_role("link").first.click()
    framed.get_by_role("heading", name="Where it comes from").wait_for()
    _settle(page)
    _take(page, to)


def _settle(page: Page) -> None:
    """Waits until two pictures in a row are equal, because pages move while they load."""
    before, until = b"", time.monotonic() + PATIENCE / 1000
    while (now := page.screenshot()) != before:
        if time.monotonic() > until:
            raise Unavailable("the page does not come to rest")
        before = now
        page.wait_for_timeout(500)


def _take(page: Page, to: Path) -> None:
    """Writes a small PNG of what the page shows."""
    page.screenshot(path=to)
    with Image.open(to) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(to, optimize=True)
    size = to.stat().st_size
    print(f"{to}: {size:,} bytes", flush=True)
    if size > MOST_BYTES:
        raise BadInput(f"{to} has {size} bytes, over {MOST_BYTES}; lower COLOURS")


if __name__ == "__main__":
    sys.exit(main())
