"""The commands `site …`, as a person types them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from profiled_sites import profile
from released import MODEL as SMALL
from released import opened, promote, release

from skin_pipeline import cli
from skin_pipeline.contracts import RESULT
from skin_pipeline.data import demo
from skin_pipeline.release import sites
from skin_pipeline.storage import FolderStore

if TYPE_CHECKING:
    from tests.conftest import Finished

MODEL = "skin-resnet50-synthetic"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    monkeypatch.setenv("SKIN_STORE", made.url)
    return made


def said(capsys: pytest.CaptureFixture[str], *command: str, status: int = cli.DONE) -> str:
    """What a command prints, or why it fails."""
    assert cli.main(list(command)) == status
    out, err = capsys.readouterr()
    return str(out if status == cli.DONE else err)


def test_a_profile_is_made_shown_listed_and_used(
    finished: Finished, tmp_path: Path, store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished.root, store.root, dirs_exist_ok=True)
    demo.generate(tmp_path / "site", seed=7, per_class=25)
    make = ("site", "make", MODEL, "clinic-b", str(tmp_path / "site"))

    made = said(capsys, *make, "--target-sensitivity", "0.9")
    assert made.startswith("Site clinic-b, profile 1, for version ")
    assert "Made from 25 malignant and 25 benign images" in made

    shown = said(capsys, "site", "show", MODEL, "clinic-b")
    assert made.strip() in shown
    assert "25 + 25" in said(capsys, "site", "list", MODEL)

    images = tmp_path / "site/benign"
    output = tmp_path / "scores.csv"
    said(capsys, "predict", str(images), "--model-name", MODEL, "--site", "clinic-b",
         "--output", str(output))  # fmt: skip
    plain = tmp_path / "plain.csv"
    said(capsys, "predict", str(images), "--model-name", MODEL, "--output", str(plain))
    assert output.read_text() != plain.read_text()

    unknown = said(
        capsys, "predict", str(images), "--model-name", MODEL, "--site", "x", status=cli.FAILED
    )
    assert "Sites with one: clinic-b" in unknown
    few = said(capsys, *make, "--threshold-by", "guaranteed", status=cli.FAILED)
    assert "site clinic-b: too few labelled images" in few
    assert f"{RESULT}" not in few


def test_predict_says_once_that_a_threshold_is_not_validated(
    finished: Finished,
    tmp_path: Path,
    store: FolderStore,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(finished.root, store.root, dirs_exist_ok=True)
    demo.generate(tmp_path / "site", seed=7, per_class=2)
    with caplog.at_level("INFO"):
        out = said(capsys, "predict", str(tmp_path / "site"), "--model-name", MODEL)
    (record,) = [item for item in caplog.records if "threshold_not_validated" in item.getMessage()]
    assert "not validated for images of another origin" in record.getMessage()
    assert "threshold" not in out  # the scores alone are on the standard output


def test_lists_and_shows_say_what_there_is(
    store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    version = release(store).version
    promote(store, version)
    assert "has no profile of any site" in said(capsys, "site", "list", SMALL)
    known = sites.Profiles.of(opened(store), version)
    known.add(profile(version=version))
    known.add(profile(version=version, threshold=0.3))
    known.add(profile("clinic-c", version=version))
    listed = said(capsys, "site", "list", SMALL)
    assert [line.split()[0] for line in listed.splitlines()] == ["SITE", "clinic-b", "clinic-c"]
    shown = said(capsys, "site", "show", SMALL, "clinic-b", "--version", version)
    assert [line.split()[1] for line in shown.splitlines()[-2:]] == ["2", "1"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("show", SMALL, "nowhere"), "Sites with one: none"),
        (("list", "other"), "there is no model other"),
        (("list", SMALL, "--version", "canary"), "has no 'canary'"),
        (("list", SMALL, "--version", "0" * 20), "has no version"),
        (("show", SMALL, "../x"), "a site is a name"),
    ],
)
def test_what_is_not_there_is_told(
    store: FolderStore, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], told: str
) -> None:
    promote(store, release(store).version)
    assert told in said(capsys, "site", *command, status=cli.FAILED)
