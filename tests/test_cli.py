from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import score_rows
import weights_file
from kaggle_server import KaggleServer
from leaks import leaks
from released import MODEL, release
from servers import HOST, S3Server

from skin_pipeline import cli
from skin_pipeline.config import Settings
from skin_pipeline.contracts import Evaluation, load
from skin_pipeline.release import MODEL_FILE, version_key
from skin_pipeline.storage import FolderStore

if TYPE_CHECKING:
    from tests.conftest import Finished

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_STORE", f"file://{tmp_path / 'store'}")


def flags(settings: Settings) -> list[str]:
    values = settings.model_dump()
    return [
        part
        for name, value in values.items()
        for part in (f"--{name.replace('_', '-')}", "" if value is None else str(value))
    ]


def test_a_finished_run_ends_with_0_and_the_paths(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKIN_STORE", finished.job.store.url)
    assert cli.main(["run", *flags(finished.job.settings)]) == 0
    said = capsys.readouterr().out
    # It is the run that made the champion, once more.
    told = r"Report: (.*)\nNothing changed, the champion is still: (.*)\n"
    report, version = re.search(told, said).groups()
    assert Path(report).is_file()
    assert Path(version, "model.keras").is_file()


def test_a_refused_run_ends_with_3_and_the_reasons(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKIN_STORE", finished.job.store.url)
    settings = finished.job.settings.model_copy(update={"min_sensitivity": 1.0})
    assert cli.main(["run", *flags(settings)]) == 3
    assert "Refused: sensitivity: " in capsys.readouterr().err


def test_steps_can_be_run_one_by_one(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKIN_STORE", finished.job.store.url)
    knobs = flags(finished.job.settings)

    def keys(*command: Any) -> Any:
        assert cli.main([*command, *knobs]) == 0
        return capsys.readouterr().out.split()

    dataset, weights = keys("ingest")
    (validation,) = keys("validate", dataset)
    (split,) = keys("split", validation)
    shards = range(len(finished.features))
    features = [keys("features", split, weights, str(shard))[0] for shard in shards]
    (index,) = keys("index", *features)
    trained = [keys("train", split, str(run), index)[0] for run in range(2)]
    (part,) = keys("logits", split, ",".join(map(str, shards)), *trained)
    assert part in load(finished.job.store, finished.evaluation, Evaluation).logits
    (evaluation,) = keys("evaluate", split, validation, *trained)
    assert keys("external", evaluation, validation) == []
    (verdict,) = keys("gate", evaluation, validation, *keys("champion", split))
    assert keys("promote", verdict) == [finished.version]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["run", "--data", "/no/such/folder"], "BadInput: data: there is nothing at /no/such"),
        (["run", "--runs", "many"], "BadInput: settings do not fit: runs: "),
        (["split", "validate/none"], "BadInput: "),
        (["run", "--weights", "none"], "weights=none (a random trunk) is for synthetic data only"),
        (["run", "--data", "kaggle://x"], "BadInput: "),
    ],
)
def test_bad_input_ends_with_1_and_one_clear_line(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_a_store_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SKIN_STORE", f"file://{tmp_path}/file/store")
    assert cli.main(["run", "--data", "demo", "--weights", "none"]) == 1
    said = capsys.readouterr().err
    assert "SKIN_STORE" in said
    assert f"{tmp_path}/file/store" in said


def test_without_credentials_kaggle_is_explained(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("KAGGLE")
    }
    run = subprocess.run(
        [sys.executable, "-m", "skin_pipeline", "run"],
        capture_output=True,
        text=True,
        env={**environment, "HOME": str(tmp_path), "SKIN_STORE": f"file://{tmp_path}/s"},
        cwd=ROOT,
    )
    assert run.returncode == 1
    assert "KAGGLE_USERNAME" in run.stderr
    assert "Traceback" not in run.stderr


def left_alone(*command: str, after: int = 0) -> tuple[int, str]:
    """How a command ends whose output nobody reads any more `after` some bytes, and its log."""
    process = subprocess.Popen(
        [sys.executable, "-m", "skin_pipeline", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # what is left is written while Python ends
        cwd=ROOT,
    )
    process.stdout.read(after)
    process.stdout.close()
    _, said = process.communicate()
    return process.returncode, said


@pytest.mark.parametrize("command", ["settings", "models list", "settings --help"])
def test_a_command_whose_reader_has_gone_ends_quietly(command: str) -> None:
    assert left_alone(*command.split()) == (1, "")


def test_scoring_ends_quietly_when_its_reader_has_gone(finished: Finished, tmp_path: Path) -> None:
    images = tmp_path / "images.txt"
    images.write_text("no-such-image.jpg\n" * 5000)  # more rows than a pipe holds
    model = finished.job.store.local(f"{finished.version}/model.keras")
    status, said = left_alone("predict", f"@{images}", "--model", str(model), after=1)
    assert status == 1
    assert "Traceback" not in said
    assert "Broken" not in said
    assert "predicted images=" not in said


def test_labels_that_came_back_are_read_and_told_and_a_wrong_place_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score_rows.write(FolderStore(tmp_path / "store"), "skin-resnet50", {"a.jpg": 0.9})
    (tmp_path / "labels.csv").write_text("image,label\na.jpg,malignant\n")
    assert cli.main(["labels", str(tmp_path / "labels.csv")]) == 0
    assert capsys.readouterr().out == "1 label came back for skin-resnet50 from 1 file\n"
    assert cli.main(["labels", str(tmp_path), "--model", "other"]) == 0
    assert cli.main(["labels", str(tmp_path / "none")]) == 1
    assert "BadInput: there is nothing at " in capsys.readouterr().err


def test_the_help_names_every_knob(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    said = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in said for name in Settings.model_fields)


# --- secrets --------------------------------------------------------------------------------------

SECRET = "planted/secret+5c1e"
BUG = """
import sys
from skin_pipeline import cli, storage
storage.S3Store._names = lambda *_: {}["a bug"]
sys.exit(cli.main(["models", "list"]))
"""


@pytest.fixture
def said(s3_server: S3Server) -> Callable[..., Any]:
    """Runs Python against the real S3 server with the right secrets, or others; all it prints."""
    usual = {
        "SKIN_STORE": f"s3://{s3_server.bucket}/cli",
        "SKIN_S3_ENDPOINT": s3_server.endpoint,
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def run(*arguments: str, **changes: str) -> bytes:
        done = subprocess.run(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **usual, **changes},
        )
        assert done.returncode == 1
        return done.stdout

    return run


def assert_untold(output: bytes, secret: str, message: str) -> None:
    """The output has the message, which the same search finds, and the secret in no form."""
    found = leaks({"secret": secret, "message": message}, {"output": [output]})
    assert found == {"message in output"}, output.decode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "the credentials are wrong"),
        ({"AWS_SECRET_ACCESS_KEY": f"{SECRET} "}, "BadInput: cannot "),
        ({"SKIN_STORE": "s3://no-such-bucket/x"}, "there is no such bucket"),
        ({"SKIN_S3_ENDPOINT": f"http://{HOST}:9"}, "Unavailable: cannot list"),
        ({"SKIN_STORE": f"s3://key:{SECRET}@bucket/x"}, "store holds a user name with a password"),
        ({"SKIN_S3_ENDPOINT": f"http://key:{SECRET}@{HOST}"}, "s3_endpoint holds a user name"),
    ],
)
def test_a_command_that_fails_tells_no_secret(
    said: Callable[..., Any], s3_server: S3Server, changes: Any, message: str
) -> None:
    output = said("-m", "skin_pipeline", "models", "list", **changes)
    assert_untold(output, s3_server.secret, message)
    assert_untold(output, SECRET, message)
    assert b"Traceback" not in output


def test_the_traceback_of_a_bug_tells_no_secret(
    said: Callable[..., Any], s3_server: S3Server
) -> None:
    output = said("-c", BUG)
    assert b"Traceback" in output
    assert_untold(output, s3_server.secret, "KeyError: 'a bug'")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "s3://models/none"),
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "the credentials are wrong"),
    ],
)
def test_scoring_images_of_a_bucket_that_fails_tells_no_secret(
    said: Callable[..., Any], s3_server: S3Server, store: FolderStore, changes: Any, message: str
) -> None:
    folder = store.root / version_key(MODEL, release(store).version)
    arguments = ("predict", "s3://models/none", "--model", str(folder / MODEL_FILE))
    output = said("-m", "skin_pipeline", *arguments, **changes)
    assert_untold(output, s3_server.secret, message)
    assert_untold(output, SECRET, message)


def test_a_download_from_kaggle_that_fails_tells_no_secret(
    said: Callable[..., Any], tmp_path: Path
) -> None:
    weights_file.written(tmp_path / "any.weights.h5")
    data = ("--data", "kaggle://owner/skin", "--weights", str(tmp_path / "any.weights.h5"))
    with KaggleServer({}, username="ada", key="another") as kaggle:
        known = {"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": SECRET}
        place = {"SKIN_KAGGLE_ENDPOINT": kaggle.url, "SKIN_STORE": str(tmp_path / "store")}
        output = said("-m", "skin_pipeline", "run", *data, **known, **place)
    assert len(kaggle.seen) > 0
    assert_untold(output, SECRET, "credentials")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["run", "--imagesiz", "64"], "--imagesiz is no setting; the nearest is --image-size"),
        (["split", "key", "--min-runz=2"], "the nearest is --min-runs"),
        (["run", "--data", "demo", "surplus"], "not understood: surplus"),
        (["predict", "folder", "--min-runs", "2"], "not understood: --min-runs"),
    ],
)
def test_a_flag_that_there_is_none_of_is_named_with_the_nearest(
    command: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_plan_says_what_a_run_of_a_size_takes(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["plan", "--images", "100000", "--workers", "8", "--cores", "4", "--strategy", "head"]
    assert cli.main(asked) == 0
    said = capsys.readouterr().out
    assert "100,000 images on 8 x 4 cores" in said
    assert re.search(r"features +\d+ ", said)


@pytest.mark.parametrize(
    ("flags", "wrong"), [(["--images", "0"], "images must be"), (["--runs", "99"], "runs")]
)
def test_a_plan_for_what_cannot_be_is_refused(
    flags: list[str], wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", "--images", "10", *flags]) == 1
    assert wrong in capsys.readouterr().err
