"""A store that was written before the code was divided into rooms is read and acted on as before.

`golden/store` was written by the code of before: two signed versions, three judged runs, an alias
`canary`, and a champion that was rolled back. Its keys are gone but for the public one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import key_pairs
import pytest

from skin_pipeline import cli, journal
from skin_pipeline.contracts import Evaluation, Verdict, load
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Model, Registry
from skin_pipeline.storage import FolderStore

GOLDEN = Path(__file__).parent / "golden"
NAME, FIRST, SECOND = "skin-resnet50", "91afffa7d9144679b1f1", "108c1eb373077b00217f"
LAST_RUN = "scheduled__2026-06-15T00:00:00+00:00"


@pytest.fixture
def old(tmp_path: Path) -> FolderStore:
    shutil.copytree(GOLDEN / "store", tmp_path / "old")
    return FolderStore(tmp_path / "old")


def model(store: FolderStore, keys: SigningKeys | None = None) -> Model:
    return Registry(store, keys or SigningKeys()).model(NAME)


def test_the_champion_its_history_and_the_versions_are_read_and_verified(old: FolderStore) -> None:
    trusted = model(old, SigningKeys(public=str(GOLDEN / "store-public.pem")))
    champion = trusted.champion
    assert champion
    assert (champion.version, champion.previous, champion.rollback) == (FIRST, SECOND, True)
    assert (champion.by, champion.reason) == ("ada", "too many false alarms")
    canary = trusted.pointer("canary")
    assert canary
    assert canary.version == SECOND
    assert set(trusted.versions()) == {FIRST, SECOND}
    for version in (FIRST, SECOND):
        assert trusted.verify(version).version == version
    for alias in ("champion", "canary"):
        trusted.verify_alias(alias)


def test_its_judgements_reports_and_journals_are_read(old: FolderStore) -> None:
    judged = model(old).judgements()
    assert [(item.accuracy.value, item.approved) for item in judged] == [
        (0.81, True),
        (0.7, False),
        (0.78, True),
    ]
    for item in judged:
        assert f"Report of {item.run}".encode() in old.read(item.report)
    made = journal.of_run(old, LAST_RUN)
    assert made
    verdict = load(old, made.verdict, Verdict)
    accuracy = load(old, verdict.evaluation, Evaluation).ensemble.accuracy
    assert (accuracy.value, verdict.approved) == (0.81, True)
    assert journal.data_of(old, made.validation, made.split).warnings


def test_it_is_rolled_back_and_the_move_follows_the_ones_before(
    old: FolderStore, tmp_path: Path
) -> None:
    before = model(old).unverified.documents("champion")
    now = model(old).rollback(SECOND, by="ops", reason="it was not the model")
    assert (now.version, now.previous, now.number) == (SECOND, FIRST, 4)
    assert [item.content for item in model(old).unverified.documents("champion")[1:]] == [
        item.content for item in before
    ]


def test_who_has_another_key_cannot_move_its_champion(old: FolderStore, tmp_path: Path) -> None:
    theirs = model(old, key_pairs.write(tmp_path, "theirs"))
    with pytest.raises(BadInput, match="sign"):
        theirs.rollback(SECOND, by="mallory", reason="mine")
    champion = model(old).champion
    assert champion
    assert champion.version == FIRST


def test_the_commands_show_it(
    old: FolderStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKIN_STORE", old.url)
    monkeypatch.setenv("SKIN_PUBLIC_KEY", str(GOLDEN / "store-public.pem"))
    assert cli.main(["models", "verify", NAME]) == 0
    assert cli.main(["models", "show", NAME]) == 0
    said = capsys.readouterr().out
    assert FIRST in said
    assert "too many false alarms" in said


def test_its_versions_decide_on_every_image_as_before(old: FolderStore) -> None:
    for version in (FIRST, SECOND):
        assert model(old).release(version).abstention.never
    for key in old.list("evaluate"):
        if key.endswith("/result.json"):
            evaluation = load(old, key.rpartition("/")[0], Evaluation)
            assert evaluation.abstention.never
            assert (evaluation.answered, evaluation.familiarity) == ((), "")
