"""Who may read our pages and act on them under FAB: its roles, and two that are made for it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import many_versions
import pytest
import requests
import sharing
from fab_server import fab_server
from models_server import REAL, AirflowUi

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def ui() -> Iterator[AirflowUi]:
    with fab_server(Path(tempfile.mkdtemp(prefix="airflow-", dir=sharing.folder()))) as ui:
        yield ui


def get(ui: AirflowUi, user: str, path: str) -> requests.Response:
    return ui.session(user).get(f"{ui.url}/skin-models/{path}", timeout=300)


@pytest.mark.parametrize(
    ("user", "reads", "acts", "audits"),
    [
        ("victor", False, False, False),  # FAB's Viewer and User may not see plugins
        ("ursula", False, False, False),
        ("rita", True, False, False),  # Viewer with that right
        ("anton", True, True, False),  # User with that right
        ("olga", True, True, False),
        ("admin", True, True, True),
    ],
)
def test_the_role_decides_who_reads_acts_and_sees_airflow_s_events(
    ui: AirflowUi, user: str, *, reads: bool, acts: bool, audits: bool
) -> None:
    before = ui.count("dag_run")
    for path in ("act", "audit", ""):
        assert get(ui, user, path).status_code == (200 if reads else 403), path
    assert ("act/rollback" in get(ui, user, "act").text) is acts
    if reads:
        assert ("You may not read Airflow" not in get(ui, user, "audit").text) is audits
    form = get(ui, user, f"act/rollback?model={REAL}")
    assert form.status_code == (200 if acts else 403)
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form.text))
    sent = ui.session(user).post(
        f"{ui.url}/skin-models/act/rollback",
        data={**fields, "reason": "false alarms", "confirmed": "yes"},
        timeout=300,
    )
    assert sent.status_code == (200 if acts else 403)
    assert ui.count("dag_run") == before + acts
    if acts:
        assert f"triggered by {user}" in " ".join(sent.text.split())


def test_nothing_is_shown_without_a_login(ui: AirflowUi) -> None:
    for path in ("act", "audit", "audit.csv", f"act/rollback?model={REAL}"):
        assert requests.get(f"{ui.url}/skin-models/{path}", timeout=300).status_code == 401


def test_who_may_see_plugins_may_open_every_page_of_models(ui: AirflowUi) -> None:
    images = many_versions.put_images(ui.store, "91")
    versions = many_versions.write(ui.store, "skin-fab", versions=2, images=images)
    chosen = "&".join(f"version={version}" for version in versions)
    for path in (
        "model/skin-fab",
        f"version/skin-fab/{versions[0]}",
        f"compare/skin-fab?{chosen}",
        f"thumbnail/skin-fab/{versions[0]}/0/0",
        f"file/skin-fab/{versions[0]}/card.md",
        f"document/evaluate/{versions[0]}/result.json",
    ):
        for user, status in (("victor", 403), ("rita", 200), ("admin", 200)):
            assert get(ui, user, path).status_code == status, (user, path)
        assert requests.get(f"{ui.url}/skin-models/{path}", timeout=300).status_code == 401
