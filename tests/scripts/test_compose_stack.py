"""`make compose-up` and `compose-down`: what they ask of Compose, say, and refuse to do.

tests/cluster/test_stack.py runs them with real containers.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import compose_secrets
import compose_stack
import pytest
from compose_stack import Refused

ADDRESS = "127.0.0.1:8080"


def container(name: str, state: str = "running", health: str = "", code: int = 0) -> dict[str, Any]:
    return {"Service": name, "State": state, "Health": health, "ExitCode": code}


ENDED = container("volumes", "exited")
HEALTHY = container("redis", health="healthy")


class Compose:
    """Stands for Compose: answers with one list of containers after another."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self.answers = [*answers]
        self.asked: list[str] = []

    def __call__(self, *words: str) -> str:
        self.asked.append(" ".join(words))
        if "ps" in words:
            found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            return "\n".join(map(json.dumps, found))
        if "config" in words:
            return json.dumps({"name": "clinic"})
        return f"{ADDRESS}\n" if "port" in words else ""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with secrets, and no time between two looks."""
    monkeypatch.setattr(compose_stack, "CHECKOUT", tmp_path)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    shutil.copy(Path(__file__).parents[2] / ".env.example", tmp_path)
    compose_secrets.write(tmp_path, **compose_secrets.owner())
    return tmp_path


def test_up_waits_until_all_is_healthy_and_says_where_the_pages_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    starting = container("redis", health="starting")
    compose = Compose([ENDED, starting], [ENDED, starting], [ENDED, HEALTHY])
    compose_stack.up(1, compose)
    assert compose.asked[0] == "up --build --detach --remove-orphans"
    said = capsys.readouterr().out
    assert said.count("Waiting for redis (starting)") == 1
    assert f"http://{ADDRESS}" in said


@pytest.mark.parametrize(
    ("failed", "word"),
    [
        (container("airflow-init", "exited", code=1), "airflow-init is exited"),
        (container("redis", health="unhealthy"), "redis is unhealthy"),
        (container("s3", "dead"), "s3 is dead"),
    ],
)
def test_up_ends_with_the_name_of_what_failed(failed: dict[str, Any], word: str) -> None:
    with pytest.raises(Refused, match=f"{word}. Its log: docker compose logs"):
        compose_stack.up(1, Compose([ENDED, failed]))


@pytest.mark.parametrize("state", ["created", "restarting", "paused"])
def test_up_ends_when_it_has_waited_long_enough(state: str) -> None:
    with pytest.raises(Refused, match=f"not ready after 0 minutes: worker-1 .{state}."):
        compose_stack.up(0, Compose([HEALTHY, container("worker-1", state)]))


def test_a_service_that_nothing_asks_is_ready_when_it_runs() -> None:
    assert compose_stack.waited_for([container("collector")]) == []


def test_up_adds_the_secrets_that_an_earlier_version_did_not_have(root: Path) -> None:
    missing = root / compose_secrets.FOLDER / "grafana_password"
    missing.unlink()
    compose_stack.up(1, Compose([HEALTHY]))
    assert missing.exists()
    assert "\nSKIN_UID=" in (root / ".env").read_text()


def test_older_versions_of_compose_answer_with_one_list() -> None:
    assert compose_stack.containers(lambda *_: json.dumps([HEALTHY])) == [HEALTHY]


def test_down_keeps_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    compose = Compose()
    compose_stack.down(False, False, compose)
    assert compose.asked == ["--profile * down --remove-orphans"]
    assert "The data stays" in capsys.readouterr().out


def test_down_removes_the_data_if_somebody_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for sure, answer in ((False, "clinic\n"), (True, "")):
        compose = Compose()
        compose_stack.down(True, sure, compose, lambda answer=answer: answer)  # type: ignore[misc]
        assert compose.asked[-1] == "--profile * down --remove-orphans --volumes"
    assert "every model" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["", "yes", "another"])
def test_down_removes_nothing_if_nobody_is_sure(answer: str) -> None:
    compose = Compose()
    with pytest.raises(Refused, match="nothing was stopped or removed"):
        compose_stack.down(True, False, compose, lambda: answer)
    assert not any("down" in words for words in compose.asked)


def test_down_without_a_terminal_removes_nothing() -> None:
    def nobody() -> str:
        raise EOFError

    with pytest.raises(Refused):
        compose_stack.down(True, False, Compose(), nobody)


def test_without_docker_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compose_stack.main(["down"]) == 1
    assert "docker is not installed here" in capsys.readouterr().err


def test_a_command_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 3\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert compose_stack.main(["up"]) == 1
    assert "`docker compose up --build --detach --remove-orphans` failed" in capsys.readouterr().err
