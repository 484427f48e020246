"""A backup as docs/operating.md tells to make it, restored on another machine: database and store.

Two PostgreSQL and two S3 servers stand for the two machines. What is copied is what the commands of
the page copy: a dump of the database, the objects by their names, and the Fernet key.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import boto3
import healthy
import pytest
from cluster import DAG, Component, Missing, database, find_program, postgres_server
from cryptography.fernet import Fernet
from local_airflow import DAGS, PLUGINS
from servers import HOST, S3Server, free_ports, seaweedfs

from skin_pipeline.data import demo
from tests.conftest import Finished

pytestmark = [pytest.mark.cluster, pytest.mark.exhaustive, pytest.mark.timeout(900)]

CHECKOUT = Path(__file__).parents[2]
MODEL = "skin-resnet50-synthetic"
SECRET = "correct-horse-battery"
RUN = "before-the-backup"


@dataclass
class Machine:
    """What an installation keeps, and the programs that look at it."""

    postgres: Component
    port: int
    s3: S3Server
    home: Path
    fernet: str

    @property
    def environment(self) -> dict[str, str]:
        mine = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "AWS", "SKIN"))}
        return {
            **mine,
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / "state"),
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": self.fernet,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database(self.port)}",
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "SKIN_STORE": f"s3://{self.s3.bucket}",
            "SKIN_S3_ENDPOINT": self.s3.endpoint,
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command of Python in the installation; what it printed."""
        command = [sys.executable, "-m", *words]
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, (done.stdout + done.stderr)[-3000:]
        return done.stdout

    def objects(self) -> Any:
        """Return the bucket, as any S3 client sees it."""
        resource = boto3.resource("s3", endpoint_url=self.s3.endpoint, **self.s3.credentials)
        return resource.Bucket(self.s3.bucket)

    def client(self, program: str, *words: str) -> None:
        """Run a program of PostgreSQL against the database."""
        where = ["--host", HOST, "--port", str(self.port), "--username", "airflow"]
        subprocess.run([find_program(program), *where, *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Two machines with servers that hold nothing yet; both have the Fernet key of the first."""
    try:
        initdb, postgres, _ = map(find_program, ("initdb", "postgres", "pg_dump"))
    except Missing as missing:
        pytest.skip(str(missing))
    key = Fernet.generate_key().decode()
    with ExitStack() as stack:
        made = []
        for port in free_ports(2):
            home = Path(tempfile.mkdtemp(prefix="machine-"))  # where PostgreSQL's user comes to
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            server = postgres_server(home, initdb, postgres, port)
            stack.callback(server.kill)
            server.start()
            s3 = stack.enter_context(seaweedfs())
            made.append(Machine(server, port, s3, home, key))
        yield made[0], made[1]


@pytest.fixture(scope="module")
def restored(
    machines: tuple[Machine, Machine], finished: Finished, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Machine, Machine]:
    """A machine that was in use, and another one onto which its backup was restored."""
    old, new = machines
    _use(old, finished)
    backup = tmp_path_factory.mktemp("backup")
    old.client("pg_dump", "--format=custom", f"--file={backup / 'airflow.dump'}", "postgres")
    for item in old.objects().objects.all():
        place = backup / "models" / item.key
        place.parent.mkdir(parents=True, exist_ok=True)
        old.objects().download_file(item.key, str(place))
    old.postgres.kill()
    new.client("pg_restore", "--dbname=postgres", "--no-owner", str(backup / "airflow.dump"))
    for path in sorted((backup / "models").rglob("*")):
        if path.is_file():
            new.objects().upload_file(str(path), str(path.relative_to(backup / "models")))
    return old, new


def _use(machine: Machine, finished: Finished) -> None:
    """A login, a run that Airflow remembers, and a promoted model."""
    machine.run("airflow", "db", "migrate")
    login = ["--conn-type", "http", "--conn-login", "clinic", "--conn-password", SECRET]
    machine.run("airflow", "connections", "add", "kaggle", *login)
    machine.run("airflow", "dags", "reserialize")
    machine.run("airflow", "dags", "trigger", DAG, "--run-id", RUN)
    for path in sorted(finished.root.rglob("*")):
        if path.is_file():
            machine.objects().upload_file(str(path), str(path.relative_to(finished.root)))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    demo.generate(folder, seed=3, per_class=4)
    return folder


def scores(machine: Machine, images: Path) -> list[dict[str, str]]:
    """What the champion says of some images."""
    said = machine.run("skin_pipeline", "predict", "--model-name", MODEL, str(images))
    return list(csv.DictReader(StringIO(said)))


def told(machine: Machine, *words: str) -> Any:
    """What a command of Airflow tells, without the lines of its log before that."""
    said = machine.run("airflow", *words, "--output", "json")
    return json.loads(said[said.index("[{") :])


def test_airflow_knows_its_runs_and_can_read_its_logins(
    restored: tuple[Machine, Machine],
) -> None:
    _, new = restored
    new.run("airflow", "db", "check-migrations", "--migration-wait-timeout", "0")
    (login,) = told(new, "connections", "get", "kaggle")
    assert (login["login"], login["password"]) == ("clinic", SECRET)
    assert [run["run_id"] for run in told(new, "dags", "list-runs", DAG)] == [RUN]


def test_the_health_check_of_a_job_believes_what_it_wrote_lately(
    restored: tuple[Machine, Machine],
) -> None:
    _, new = restored
    address = f"postgresql+psycopg2://{database(new.port)}"
    written = (
        "INSERT INTO job (job_type, state, hostname, latest_heartbeat, start_date) "
        "VALUES ('TriggererJob', '{}', '{}', now() - interval '{} seconds', now())"
    )
    for state, host, age in (
        ("running", "one", 5),
        ("running", "two", 600),
        ("failed", "three", 5),
    ):
        new.client("psql", "--command", written.format(state, host, age), "postgres")
    alive = [host for host in ("one", "two", "three") if healthy.job("TriggererJob", address, host)]
    assert alive == ["one"]
    assert not healthy.job("SchedulerJob", address, "one")


def test_without_the_fernet_key_the_logins_are_lost(restored: tuple[Machine, Machine]) -> None:
    _, new = restored
    other = Machine(**{**vars(new), "fernet": Fernet.generate_key().decode()})
    with pytest.raises(AssertionError, match="Connection not found"):
        other.run("airflow", "connections", "get", "kaggle")


def test_the_champion_serves_as_it_did(restored: tuple[Machine, Machine], images: Path) -> None:
    old, new = restored
    found = scores(new, images)
    assert len(found) == 8
    assert found == scores(old, images)


def test_the_history_is_whole_and_a_part_that_is_missing_is_noticed(
    restored: tuple[Machine, Machine], finished: Finished
) -> None:
    _, new = restored
    said = new.run("skin_pipeline", "models", "verify", MODEL)
    assert f"version {Path(finished.version).name} is whole" in said
    assert "so is the history (moves: 1" in said
    new.objects().Object(f"{finished.version}/model.keras").delete()
    new.run("skin_pipeline", "models", "verify", MODEL, status=1)
