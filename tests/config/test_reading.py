"""Settings and deployment from outside: every problem is named, with the nearest name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skin_pipeline.config import Deployment, Settings, read_deployment, read_settings
from skin_pipeline.errors import BadInput


def test_every_wrong_value_is_named_at_once() -> None:
    with pytest.raises(BadInput) as error:
        read_settings({"runs": 0, "views": 3})
    assert "runs" in str(error.value)
    assert "views" in str(error.value)


def test_a_deployment_variable_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_THREADS", "many")
    with pytest.raises(BadInput, match=r"threads.*'many'"):
        read_deployment()


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        ("SKIN_IMAGESIZE", "SKIN_IMAGESIZE is no setting; the nearest is SKIN_IMAGE_SIZE"),
        ("SKIN_STOR", "the nearest is SKIN_STORE"),
        ("skin_min_accurracy", "the nearest is SKIN_MIN_ACCURACY"),
        ("SKIN_QQQQ", 'problem="SKIN_QQQQ is no setting"'),
    ],
)
def test_a_variable_that_is_no_setting_is_warned_of_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, problem: str
) -> None:
    monkeypatch.setenv(variable, "1")
    read_deployment()
    assert problem in caplog.text


def test_variables_that_are_read_are_not_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (*Settings.model_fields, *Deployment.model_fields):
        monkeypatch.setenv(f"SKIN_{name.upper()}", "")
    monkeypatch.setenv("SKIN_KAGGLE_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("SKIN_TEST_DATA", "/shared")
    read_deployment()
    assert "unknown_variable" not in caplog.text


def test_a_store_below_the_folder_one_works_in_is_taken(tmp_path: Path) -> None:
    """As `make demo` names it, from a shell that says in `PWD` where it is."""
    store = f"file://{tmp_path}/var/store"
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "from skin_pipeline.config import read_deployment as d; print(d().store)",
        ],
        cwd=tmp_path,
        env={**os.environ, "PWD": str(tmp_path), "SKIN_STORE": store},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == store
