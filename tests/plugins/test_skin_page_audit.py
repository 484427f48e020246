"""The page "Audit" and its CSV, in a real Airflow."""

from __future__ import annotations

import csv
import html
import io
import re

import pytest
import requests
import skin_page_audit
from models_server import REAL, REFUSED, AirflowUi

from skin_pipeline.operations.audit import Entry


def test_no_cell_of_the_csv_is_a_formula() -> None:
    entry = Entry("2026-07-01T00:00:00+00:00", "action", by="=1+1", what="@SUM(A1)", why="-2")
    (_, row) = csv.reader(io.StringIO(skin_page_audit.as_csv(iter([entry]))))
    assert row[3:6] == ["'=1+1", "'@SUM(A1)", "'-2"]


def test_a_csv_that_is_cut_off_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skin_page_audit, "MOST_ROWS", 2)
    text = skin_page_audit.as_csv(iter([Entry("2026", "move")] * 3))
    assert text.splitlines()[-1] == "There are more than 2 rows: narrow the days down."
    assert "There are more" not in skin_page_audit.as_csv(iter([Entry("2026", "move")] * 2))


def get(ui: AirflowUi, path: str = "audit", user: str = "eve", **query: str) -> requests.Response:
    return ui.session(user).get(f"{ui.url}/skin-models/{path}", params=query, timeout=300)


@pytest.mark.airflow
def test_moves_and_judgements_are_shown_with_their_reports(airflow_ui: AirflowUi) -> None:
    text = html.unescape(get(airflow_ui, model=REAL).text)
    assert re.search(r"champion: moved from version \w+ to version \w+", text)
    assert "required at least 0.750" in text
    assert re.search(r'href="\./view/gate/\w+/report\.html"', text)
    assert re.search(r'href="\./\.\./dags/skin_training/runs/scheduled__2026-06-22', text)
    assert 'target="_top"' in text


@pytest.mark.airflow
def test_the_form_keeps_what_was_asked_and_the_csv_is_of_the_same_rows(
    airflow_ui: AirflowUi,
) -> None:
    asked = {"kind": "judgement", "model": REFUSED, "until": "2026-12-31"}
    text = get(airflow_ui, **asked).text
    assert '<option value="judgement" selected>' in text
    assert 'name="until" value="2026-12-31"' in text
    (link,) = re.findall(r'href="\./(audit\.csv\?[^"]*)"', html.unescape(text))
    answer = airflow_ui.session("eve").get(f"{airflow_ui.url}/skin-models/{link}", timeout=300)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["Content-Disposition"]
    (row,) = list(csv.DictReader(io.StringIO(answer.text)))
    assert (row["kind"], row["model"], row["result"]) == ("judgement", REFUSED, "refused")


@pytest.mark.airflow
@pytest.mark.parametrize("path", ["audit", "audit.csv"])
def test_a_day_that_is_none_is_explained(airflow_ui: AirflowUi, path: str) -> None:
    answer = get(airflow_ui, path, since="yesterday")
    assert answer.status_code == 400
    assert "since is a day such as" in answer.text


@pytest.mark.airflow
def test_airflow_s_own_events_are_for_those_who_may_read_them(airflow_ui: AirflowUi) -> None:
    answer = requests.post(
        f"{airflow_ui.url}/api/v2/dags/skin_acknowledge/dagRuns",
        headers={"Authorization": f"Bearer {airflow_ui.token}"},
        json={"logical_date": None, "conf": {"incident": "0123456789ab"}},
        timeout=300,
    )
    assert answer.ok
    text = get(airflow_ui, kind="airflow", by="admin").text
    assert "skin_acknowledge: trigger_dag_run" in text
    assert "You may not read Airflow" not in text
