"""Starts and stops what docker-compose.yaml describes: `make compose-up`, `make compose-down`.

```
python scripts/compose_stack.py up [--minutes 20]
python scripts/compose_stack.py down [--volumes [--yes]]
```

It needs only Python, and Docker with Compose.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compose_secrets

CHECKOUT = Path(__file__).resolve().parent.parent
COMPOSE = ("docker", "compose")
ALL_PROFILES = ("--profile", "*")
LOST = (
    "This removes the volumes as well: Airflow's database with its users and connections, every "
    "model and its history, the logs and the metrics. Nothing brings them back but a backup."
)


class Refused(Exception):
    """What was asked for cannot be done; the message says why."""


def compose(*words: str) -> str:
    """Runs a command of Compose, which may write to the terminal, and returns what it prints.

    Raises:
        Refused: Docker or Compose is missing, or the command failed.
    """
    try:
        done = subprocess.run(
            [*COMPOSE, *words], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=False
        )
    except FileNotFoundError as error:
        raise Refused("docker is not installed here") from error
    if done.returncode:
        raise Refused(f"`docker compose {' '.join(words)}` failed; its reason is above")
    return done.stdout


def containers(asked: Callable[..., str] = compose) -> list[dict[str, Any]]:
    """Returns what Compose says about each container, those that ended too."""
    said = asked("ps", "--all", "--format", "json").strip()
    if said.startswith("["):  # as older versions of Compose say it
        listed: list[dict[str, Any]] = json.loads(said)
        return listed
    return [json.loads(line) for line in said.splitlines()]


def waited_for(found: list[dict[str, Any]]) -> list[str]:
    """Returns the services that are not ready yet, each with its state.

    Raises:
        Refused: One of them has failed.
    """
    pending = []
    for container in found:
        name, state, health = container["Service"], container["State"], container["Health"]
        if state == "exited" and container["ExitCode"] == 0:  # those that prepare, and end
            continue
        if state in {"exited", "dead"} or health == "unhealthy":
            raise Refused(f"{name} is {health or state}. Its log: docker compose logs {name}")
        if state != "running" or health not in {"", "healthy"}:
            pending.append(f"{name} ({health or state})")
    return pending


def up(minutes: float, asked: Callable[..., str] = compose) -> None:
    """Starts everything, waits until all of it is healthy, and says where the pages are.

    Raises:
        Refused: Something failed, or was not healthy in time.
    """
    if not (CHECKOUT / compose_secrets.FOLDER).exists() and compose_secrets.main():
        raise Refused("there are no secrets")
    owner = compose_secrets.owner()
    compose_secrets.complete(CHECKOUT / compose_secrets.FOLDER, **owner)
    compose_secrets.name_user(CHECKOUT, **owner)
    asked("up", "--build", "--detach", "--remove-orphans")
    end, before = time.monotonic() + minutes * 60, ""
    while pending := waited_for(containers(asked)):
        if time.monotonic() > end:
            raise Refused(f"not ready after {minutes:g} minutes: {', '.join(pending)}")
        if (now := ", ".join(pending)) != before:
            print(f"Waiting for {now}", flush=True)
        before = now
        time.sleep(2)
    print(f"All of it is healthy: http://{asked('port', 'api-server', '8080').strip()}")
    print(f"User: admin; its password: {CHECKOUT / compose_secrets.FOLDER / 'admin_password'}")


def down(
    volumes: bool,
    sure: bool,
    asked: Callable[..., str] = compose,
    answer: Callable[[], str] = input,
) -> None:
    """Removes containers and networks, and with `volumes` the data, if somebody is sure of it.

    Raises:
        Refused: Nobody was.
    """
    if volumes and not sure:
        project = json.loads(asked("config", "--format", "json"))["name"]
        print(f"{LOST}\nType the name of the project, {project}, to go on: ", end="", flush=True)
        try:
            typed = answer()
        except EOFError:
            typed = ""
        if typed.strip() != project:
            raise Refused("nothing was stopped or removed; --yes answers without a terminal")
    asked(*ALL_PROFILES, "down", "--remove-orphans", *(["--volumes"] if volumes else []))
    print("Stopped and removed" + (", with all data." if volumes else ". The data stays."))


def main(words: list[str] | None = None) -> int:
    """Does what was asked for, and returns the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start everything and wait until it is healthy")
    start.add_argument("--minutes", type=float, default=20, help="how long to wait for that")
    stop = commands.add_parser("down", help="stop and remove everything but the data")
    stop.add_argument("--volumes", action="store_true", help="remove the data too")
    stop.add_argument("--yes", action="store_true", help="do not ask whether you are sure")
    given = parser.parse_args(words)
    try:
        if given.command == "up":
            up(given.minutes)
        else:
            down(given.volumes, given.yes)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
