"""The page "Models" and the page of a model: what they say of aliases, runs, moves and alerts."""

from __future__ import annotations

import html
import re
from typing import Any

import many_versions
import pytest
import skin_page_models
from models_server import DOCS, REAL, REFUSED, SYNTHETIC, fill, judge, promote
from released import moves, opened, registry
from skin_page_models import overview
from skin_status import Alerts, Scheduled

from skin_pipeline.contracts import Batch
from skin_pipeline.monitoring import score_log
from skin_pipeline.operations import incidents
from skin_pipeline.operations.reading import Reading
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Rollback
from skin_pipeline.storage import FolderStore, Store


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
    seen = {view.name: view.synthetic for view in overview(Reading(store))}
    assert seen == {"b-model": False, "a-model": True, "c-synthetic": True}
    assert list(seen) == ["b-model", "a-model", "c-synthetic"]  # synthetic ones last


def test_the_table_has_the_latest_runs_and_the_drawing_goes_further_back(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skin_page_models, "LAST_DRAWN", 3)
    drawn: list[int] = []
    monkeypatch.setattr(
        skin_page_models, "_history", lambda judged, _: drawn.append(len(judged)) or ""
    )
    fill(store)
    model = registry(store).model(REAL)
    real = skin_page_models.view(model, Reading(store), Alerts(), lines=2)
    assert [line.run.judged_at[8:10] for line in real.judged if line.run] == ["22", "15"]
    assert real.runs == 4
    assert drawn[0] == 3


def test_an_empty_store_tells_how_to_get_the_first_model(client: Any, empty: FolderStore) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "No model yet" in page.text
    assert "skin_training" in page.text


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
        "approved",  # of the champion
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
    assert text.count(f'href="./view/{DOCS}"') == text.count('aria-label="Report of run') == 9
    assert "Data Docs of" in client.get(f"/report/{DOCS}").text


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
    assert "Something about champion cannot be read." in page.text
    synthetic = page.text.split(f"{SYNTHETIC}</h2>")[1]
    assert synthetic.count('data-label="Run"') == 4  # the rest of its own model
    assert "0.831</dd>" in page.text  # the other champion


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
    (report, *_) = re.findall(r'href="./view/(gate/\w+/report.html)"', text)
    assert client.get(f"/report/{report}").text == s3_store.read(report).decode()


# --- aliases, alerts, schedules, and lists that go on ---------------------------------------------


def test_each_alias_is_told_with_its_version_figures_and_last_use(
    client: Any, empty: FolderStore
) -> None:
    versions = many_versions.write(empty, versions=3)
    assert opened(empty).move(versions[0], "canary", by="ann", reason="tried on a ward")
    for alias, version in (("champion", versions[2]), ("canary", versions[0])):
        score_log.record(empty, batch(alias, version))
    for path in ("/", "/model/skin"):
        text = client.get(path).text
        assert f'href="{"./" if path == "/" else "../"}version/skin/{versions[0]}"' in text
        assert "tried on a ward" in text
        assert text.count('<dl class="figures">') == 2
        assert "120 images of <code>s3://ward/canary</code>, 3 unreadable" in text
        assert "s3://ward/champion" in text
        assert text.index("Champion: version") < text.index("<h3>canary</h3>")


def batch(alias: str, version: str) -> Batch:
    return Batch(
        model="skin",
        alias=alias,
        version=version,
        source=f"s3://ward/{alias}",
        run=alias,
        scores=(),
        images=120,
        unreadable=3,
        known=0,
        began_at="2026-11-25T01:00:00+00:00",
        ended_at="2026-11-25T01:05:00+00:00",
    )


def test_a_damaged_batch_leaves_the_figures(client: Any, empty: FolderStore) -> None:
    (version,) = many_versions.write(empty, versions=1)
    key = score_log.record(empty, batch("champion", version))
    (empty.root / key).write_text("{}")
    text = client.get("/").text
    assert "not a Batch document" in text
    assert '<dl class="figures">' in text


def test_an_open_alert_stands_with_its_model_and_says_if_it_could_not_be_sent(
    client: Any, empty: FolderStore
) -> None:
    fill(empty)
    links = {"Run": "https://a.example.org/dags/x/runs/y", "Bad": "javascript:alert(1)"}
    alert = incidents.seen(
        empty, "drift", "x", model=REAL, headline="Drift: <b>bluer</b>", text=("a",), links=links
    )
    incidents.update(empty, alert.id, problem="smtp.example.org refused the connection")
    real, refused, _ = client.get("/").text.split("<section")[1:]
    assert "Drift: &lt;b&gt;bluer&lt;/b&gt;" in real
    assert "The alert could not be sent: smtp.example.org refused the connection" in real
    assert f'href="./act/acknowledge?incident={alert.id}"' in real
    assert 'href="./runbook#drift"' in real
    assert links["Run"] in real
    assert "javascript:" not in real
    assert "Drift" not in refused
    incidents.acknowledge(empty, alert.id, "ann")
    assert "ann works on it" in client.get("/").text
    incidents.ended(empty, "drift", "x")
    assert "Drift" not in client.get("/").text


def test_the_next_runs_are_told(
    client: Any, empty: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [
        Scheduled("skin_training", "2026-11-29T00:00:00+00:00", "On Sunday", False),
        Scheduled("skin_scoring", "", "", True),
    ]
    monkeypatch.setattr(skin_page_models, "next_runs", lambda: runs)
    text = " ".join(client.get("/").text.split())
    assert 'skin_training</a>: <time datetime="2026-11-29T00:00:00+00:00">' in text
    assert "(On Sunday)" in text
    assert "skin_scoring</a>: none, as the DAG is paused." in text


def test_all_judged_runs_are_reached_page_by_page(
    client: Any, empty: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_versions.write(empty, versions=5, runs=35)
    assert "All 35 judged runs" in client.get("/").text
    found = []
    for page in (1, 2, 3):
        text = client.get(f"/model/skin?page={page}").text
        found += re.findall(r'<code class="muted">scheduled__(\d+)</code>', text)
    assert found == [str(number) for number in reversed(range(35))]
    assert "page 2 of 2" in client.get("/model/skin?page=2").text
    monkeypatch.setattr(skin_page_models, "NAMES_A_PAGE", 2)
    assert "page 3 of 3" in client.get("/model/skin?names=3").text


def test_a_damaged_judgement_is_a_line_of_its_own(client: Any, empty: FolderStore) -> None:
    many_versions.write(empty, versions=3)
    (empty.root / opened(empty).judged_keys()[1]).write_text("{}")
    text = client.get("/model/skin").text
    assert text.count("This judgement cannot be read.") == 1
    assert text.count('name="version"') == 1 + 2  # of the champion, and of the other lines


def test_a_page_reads_few_of_many_documents(
    client: Any, empty: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_versions.write(empty, versions=20, runs=80)
    monkeypatch.setattr(skin_page_models, "LAST_DRAWN", 10)
    read: list[str] = []
    of_store = FolderStore.read

    def counting(store: FolderStore, key: str) -> bytes:
        read.append(key)
        return of_store(store, key)

    monkeypatch.setattr(FolderStore, "read", counting)
    client.get("/model/skin?page=2")
    assert sum("/judged/" in key for key in read) == 10 + 25
    assert len(read) < 70


@pytest.mark.parametrize("name", ["other", "..", "%2e%2e", "Skin", "<b>", "skin%2f.."])
def test_a_model_that_is_not_there_is_said_so(client: Any, empty: FolderStore, name: str) -> None:
    many_versions.write(empty, versions=1)
    page = client.get(f"/model/{name}")
    assert page.status_code in {200, 404}
    assert page.status_code == 404 or name in {"..", "%2e%2e"}  # that leads to all models
    assert "<b>" not in page.text
