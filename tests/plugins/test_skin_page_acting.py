"""The acting pages, in a real Airflow: what they show first, who may act, and what acting does."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
import requests
from models_server import REAL, AirflowUi
from skin_web import DASH

from skin_pipeline.operations import incidents

pytestmark = pytest.mark.airflow
DRIFT = "drift of the camera"
USERS = ("omar", "erin", "vera")  # nobody else acts as them
DAGS = ("skin_rollback", "skin_alias", "skin_acknowledge")


@pytest.fixture(scope="module")
def ui(airflow_ui: AirflowUi) -> AirflowUi:
    incidents.seen(
        airflow_ui.store, "drift", DRIFT, model=REAL, headline=DRIFT, text=["More blue."]
    )
    return airflow_ui


@pytest.fixture
def editor(ui: AirflowUi) -> requests.Session:
    return ui.session("erin")


@pytest.fixture
def viewer(ui: AirflowUi) -> requests.Session:
    return ui.session("vera")


def page(ui: AirflowUi, session: requests.Session, path: str) -> requests.Response:
    return session.get(f"{ui.url}/skin-models/act{path}", timeout=300)


def words(answer: requests.Response) -> str:
    """What a page says, without its marks."""
    text = re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def form(answer: requests.Response) -> dict[str, str]:
    """The fields of the form that acts, as a browser sends them when all is filled in."""
    (body,) = re.findall(r'<form method="post".*?</form>', answer.text, re.DOTALL)
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', body)
    return {**dict(hidden), "reason": "too many false alarms", "confirmed": "yes"}


def rollback_page(ui: AirflowUi, session: requests.Session) -> requests.Response:
    return page(ui, session, f"/rollback?model={REAL}")


def send(
    ui: AirflowUi, session: requests.Session, name: str, fields: dict[str, str], **headers: str
) -> requests.Response:
    return session.post(
        f"{ui.url}/skin-models/act/{name}", data=fields, headers=headers, timeout=300
    )


def run_of(ui: AirflowUi, answer: requests.Response) -> Any:
    """What Airflow's own API says about the run that an answer leads to."""
    path = answer.url.partition("/skin-models/act/run/")[2]
    dag, _, run = path.partition("/")
    return requests.get(
        f"{ui.url}/api/v2/dags/{dag}/dagRuns/{run}",
        headers={"Authorization": f"Bearer {ui.token}"},
        timeout=300,
    ).json()


def test_a_rollback_shows_first_what_will_change(ui: AirflowUi, editor: requests.Session) -> None:
    said = words(rollback_page(ui, editor))
    now, then = re.findall(r"from version (\w+) to version (\w+)", said)[0]
    assert now != then
    assert said.index(f"Now Version {now}") < said.index(f"Then Version {then}")
    assert f"Accuracy 0.831 0.781 {DASH} 0.881" in said
    assert f"Accuracy 0.806 0.756 {DASH} 0.856" in said
    assert "champion: from 2026-06-15 03:12 UTC until now." in said
    assert "champion: from 2026-06-01 03:12 UTC to 2026-06-15 03:12 UTC" in said
    assert "Signature: not signed; not verified, as SKIN_PUBLIC_KEY is not set here" in said


def test_a_rollback_is_a_run_of_the_person_who_asked_for_it(
    ui: AirflowUi, editor: requests.Session
) -> None:
    fields = form(rollback_page(ui, editor))
    before = ui.runs_of(*USERS)
    answer = send(ui, editor, "rollback", fields)
    assert answer.history[0].status_code == 303
    assert ui.runs_of(*USERS) == before + 1
    run = run_of(ui, answer)
    assert (run["dag_id"], run["state"], run["triggering_user_name"]) == (
        "skin_rollback",
        "queued",
        "erin",
    )
    assert run["conf"] == {
        "model": REAL,
        "alias": "champion",
        "version": fields["version"],
        "instead_of": fields["instead_of"],
        "reason": "too many false alarms",
    }
    said = words(answer)
    assert "Under way queued" in said
    assert "triggered by erin" in said
    assert 'http-equiv="refresh"' in answer.text
    assert re.search(r'href="../../../../dags/skin_rollback/runs/manual__', answer.text)


def test_the_run_is_on_the_audit_page_with_a_link(ui: AirflowUi, editor: requests.Session) -> None:
    run = run_of(ui, send(ui, editor, "rollback", form(rollback_page(ui, editor))))["dag_run_id"]
    audit = editor.get(f"{ui.url}/skin-models/audit", params={"text": run}, timeout=300)
    assert "skin_rollback: trigger_dag_run" in words(audit)
    assert f'aria-label="Run {run}"' in html.unescape(audit.text)


@pytest.mark.parametrize(
    ("lacks", "said"),
    [({"reason": " \n"}, "Give a reason"), ({"confirmed": ""}, "Confirm that this is")],
)
def test_without_a_reason_and_a_confirmation_nothing_is_done(
    ui: AirflowUi, editor: requests.Session, lacks: dict[str, str], said: str
) -> None:
    before = ui.runs_of(*USERS)
    answer = send(ui, editor, "rollback", {**form(rollback_page(ui, editor)), **lacks})
    assert answer.status_code == 400
    assert said in words(answer)
    assert ui.runs_of(*USERS) == before


def test_an_alias_is_made_and_moved(ui: AirflowUi, editor: requests.Session) -> None:
    empty = page(ui, editor, f"/alias?model={REAL}&alias=canary")
    (version, *_) = re.findall(r"<option>(\w+)</option>", empty.text)
    shown = page(ui, editor, f"/alias?model={REAL}&alias=canary&version={version}")
    assert f"canary of {REAL}: from nothing to version {version}" in words(shown)
    answer = send(ui, editor, "alias", form(shown))
    conf = run_of(ui, answer)["conf"]
    assert (conf["alias"], conf["version"], conf["instead_of"]) == ("canary", version, "nothing")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("alias=champion&version=0123abcd", "There is no version 0123abcd"),
        ("alias=../champion&version=0123abcd", "an alias is a name of lower-case letters"),
    ],
)
def test_what_cannot_be_done_has_no_form(
    ui: AirflowUi, editor: requests.Session, query: str, said: str
) -> None:
    answer = page(ui, editor, f"/alias?model={REAL}&{query}")
    assert f"This cannot be done. {said}" in words(answer)
    assert 'method="post"' not in answer.text


def test_an_alert_is_acknowledged(ui: AirflowUi, editor: requests.Session) -> None:
    number = incidents.id_of("drift", DRIFT)
    assert f"act/acknowledge?incident={number}" in page(ui, editor, "").text
    shown = page(ui, editor, f"/acknowledge?incident={number}")
    assert "More blue." in words(shown)
    answer = send(ui, editor, "acknowledge", {**form(shown), "note": "looking at it"})
    run = run_of(ui, answer)
    assert run["dag_id"] == "skin_acknowledge"
    assert run["conf"] == {"incident": number, "note": "looking at it"}


def test_a_viewer_sees_no_button_and_is_refused(
    ui: AirflowUi, viewer: requests.Session, editor: requests.Session
) -> None:
    number, before = incidents.id_of("drift", DRIFT), ui.runs_of(*USERS)
    overview = page(ui, viewer, "")
    assert overview.status_code == 200
    assert not re.search(r"act/(?:rollback|alias|acknowledge)|dags/skin_training", overview.text)
    fields = form(rollback_page(ui, editor))
    for path in (
        f"/rollback?model={REAL}",
        f"/alias?model={REAL}",
        f"/acknowledge?incident={number}",
    ):
        answer = page(ui, viewer, path)
        assert answer.status_code == 403
        assert "This needs a right that you do not have" in words(answer)
    for name in ("rollback", "alias", "acknowledge"):
        assert send(ui, viewer, name, fields).status_code == 403
    assert ui.runs_of(*USERS) == before


@pytest.mark.parametrize(
    ("changed", "headers"),
    [
        ({"token": ""}, {}),
        ({"token": "WyJldmUiXQ.aaaaaa.bbbb"}, {}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_a_form_that_another_page_sends_does_nothing(
    ui: AirflowUi, editor: requests.Session, changed: dict[str, str], headers: dict[str, str]
) -> None:
    before = ui.runs_of(*USERS)
    fields = {**form(rollback_page(ui, editor)), **changed}
    answer = send(ui, editor, "rollback", fields, **headers)
    assert answer.status_code == 403
    assert "was not sent from this page" in words(answer)
    assert ui.runs_of(*USERS) == before


def test_a_form_is_worth_nothing_for_another_user_or_another_action(
    ui: AirflowUi, editor: requests.Session
) -> None:
    before = ui.runs_of(*USERS)
    fields = form(rollback_page(ui, editor))
    assert send(ui, ui.session("omar"), "rollback", fields).status_code == 403
    assert send(ui, editor, "alias", fields).status_code == 403
    assert ui.runs_of(*USERS) == before


def test_only_runs_of_these_dags_are_followed(ui: AirflowUi, editor: requests.Session) -> None:
    for path in ("/run/skin_training/manual__1", "/run/skin_rollback/none", "/run/a/b/c"):
        assert page(ui, editor, path).status_code == 404


def test_an_action_can_be_sent_to_our_own_origin_only(
    ui: AirflowUi, editor: requests.Session
) -> None:
    policy = rollback_page(ui, editor).headers["Content-Security-Policy"].split("; ")
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'self'" in policy


def test_a_link_into_airflow_leads_there_from_its_frame_too() -> None:
    """Airflow's frame may not navigate the window; the browser story clicks on such a link."""
    from skin_web import PAGES

    assert 'a[target="_top"]' in (PAGES / "theme.js").read_text()
