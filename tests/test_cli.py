from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from skin_pipeline import cli
from skin_pipeline.config import Settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("SKIN_STORE", f"file://{tmp_path / 'store'}")


def flags(settings: Settings) -> list[str]:
    values = settings.model_dump()
    return [
        part
        for name, value in values.items()
        for part in (f"--{name.replace('_', '-')}", "" if value is None else str(value))
    ]


def test_a_finished_run_ends_with_0_and_the_paths(finished, monkeypatch, capsys):
    monkeypatch.setenv("SKIN_STORE", finished.job.store.url)
    assert cli.main(["run", *flags(finished.job.settings)]) == 0
    said = capsys.readouterr().out
    report, version = re.search(r"Report: (.*)\nPromoted: (.*)\n", said).groups()
    assert Path(report).is_file()
    assert Path(version, "model.keras").is_file()


def test_a_refused_run_ends_with_3_and_the_reasons(finished, monkeypatch, capsys):
    monkeypatch.setenv("SKIN_STORE", finished.job.store.url)
    settings = finished.job.settings.model_copy(update={"min_sensitivity": 1.0})
    assert cli.main(["run", *flags(settings)]) == 3
    assert "Refused: sensitivity: " in capsys.readouterr().err


def test_steps_can_be_run_one_by_one(finished, monkeypatch, capsys):
    monkeypatch.setenv("SKIN_STORE", finished.job.store.url)
    knobs = flags(finished.job.settings)

    def keys(*command):
        assert cli.main([*command, *knobs]) == 0
        return capsys.readouterr().out.split()

    dataset, weights = keys("ingest")
    (validation,) = keys("validate", dataset)
    (split,) = keys("split", validation)
    shards = range(len(finished.features))
    features = [keys("features", split, weights, str(shard))[0] for shard in shards]
    trained = [keys("train", split, str(run), *features)[0] for run in range(2)]
    (evaluation,) = keys("evaluate", split, validation, *trained)
    assert keys("external", evaluation, validation) == []
    (verdict,) = keys("gate", evaluation, validation, *keys("champion", split))
    assert keys("promote", verdict) == [finished.version]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["run", "--data", "/no/such/folder"], "BadInput: data: nothing stands at /no/such/folder"),
        (["run", "--runs", "many"], "BadInput: settings do not fit: runs: "),
        (["split", "validate/none"], "BadInput: "),
        (["run", "--weights", "none"], "weights=none (a random trunk) is for synthetic data only"),
        (["run", "--data", "kaggle://x"], "BadInput: "),
    ],
)
def test_bad_input_ends_with_1_and_one_clear_line(command, message, capsys):
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_a_store_that_cannot_be_written_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SKIN_STORE", f"file://{tmp_path}/file/store")
    assert cli.main(["run", "--data", "demo", "--weights", "none"]) == 1
    said = capsys.readouterr().err
    assert "SKIN_STORE" in said
    assert f"{tmp_path}/file/store" in said


def test_without_credentials_kaggle_is_explained(tmp_path):
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
def test_a_command_whose_reader_has_gone_ends_quietly(command):
    assert left_alone(*command.split()) == (1, "")


def test_scoring_ends_quietly_when_its_reader_has_gone(finished, tmp_path):
    images = tmp_path / "images.txt"
    images.write_text("no-such-image.jpg\n" * 5000)  # more rows than a pipe holds
    model = finished.job.store.local(f"{finished.version}/model.keras")
    status, said = left_alone("predict", f"@{images}", "--model", str(model), after=1)
    assert status == 1
    assert "Traceback" not in said
    assert "Broken" not in said
    assert "predicted images=" not in said


def test_the_help_names_every_knob(capsys):
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    said = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in said for name in Settings.model_fields)
