"""What a confined process does to the machine, and to the process that started it: nothing."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from surroundings import SECRET, place
from takeover import ask, taken_over

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.sandbox import confine

__all__ = ["place"]  # a fixture


linux = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")


REFUSED_ANSWERS = {
    "answers_with_numbers_out_of_range": "did not answer with 2 probabilities from 0 to 1",
    "answers_with_what_is_no_number": "did not answer with 2 probabilities from 0 to 1",
    "answers_with_no_number": "did not answer with 2 probabilities from 0 to 1",
    "answers_with_too_few": "did not answer with 2 probabilities from 0 to 1",
    "answers_with_more_than_is_asked": "did not answer with 2 probabilities from 0 to 1",
    "answers_with_nested_lists": "did not answer with 2 probabilities from 0 to 1",
    "says_without_end": "was stopped while it was tried",
    "writes_a_huge_file": "brought down the process",
    "writes_many_files": "it wrote more than",
    "writes_files_and_removes_them": "it wrote more than",
    "writes_empty_files": "it wrote more than",
    "hides_files_from_the_one_who_watches": "it wrote more than",
    "brings_itself_down": r"SIGABRT.*\\x1b\[2Jcleared",
}


@linux
@pytest.mark.parametrize(("hostile", "said"), REFUSED_ANSWERS.items(), ids=REFUSED_ANSWERS)
def test_a_model_that_misuses_its_process_is_refused(hostile: str, said: str, place: Path) -> None:
    with taken_over(place, hostile=hostile), pytest.raises(BadInput, match=said) as refused:
        ask(place)
    assert str(place / "model.keras") in str(refused.value)


def test_a_refusal_is_one_line_that_no_terminal_obeys(place: Path) -> None:
    with (
        taken_over(place, hostile="answers_with_a_code_for_terminals"),
        pytest.raises(BadInput) as refused,
    ):
        ask(place)
    assert str(refused.value) == r"\x1b[2Jcleared\nINFO all is well"


def test_a_process_that_closes_its_output_and_stays_is_ended_in_time(place: Path) -> None:
    with (
        taken_over(place, hostile="answers_and_stays"),
        pytest.raises(Unavailable, match="gave no answer within 5 s"),
    ):
        ask(place, seconds=5)


def test_a_kernel_without_any_layer_is_told_in_the_log(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO),
        taken_over(
            place, without=["landlock", "filter", "namespaces"], hostile="answers_with_too_few"
        ),
        pytest.raises(BadInput),
    ):
        ask(place)
    assert "landlock=none filter=none namespaces=none" in caplog.text
    for gap in (
        "read the files",
        "use the network",
        "start processes",
        "look into",
        "send signals",
    ):
        assert f"it can {gap}" in caplog.text


def test_only_what_python_needs_of_the_environment_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = ("AWS_SECRET_ACCESS_KEY", "KAGGLE_KEY", "SKIN_SIGNING_PASSWORD", "AIRFLOW_CONN_X")
    others = ("AIRFLOW__CORE__FERNET_KEY", "HTTPS_PROXY", "HOME")
    for name in (*secrets, *others, "LC_ALL", "PYTHONPATH", "OMP_NUM_THREADS", "PATH"):
        monkeypatch.setenv(name, SECRET)
    given = confine.environment()
    assert not {*secrets, *others} & given.keys()
    assert {"LC_ALL", "PYTHONPATH", "OMP_NUM_THREADS", "PATH"} <= given.keys()
