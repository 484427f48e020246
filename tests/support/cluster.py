"""A cluster on one machine, without containers: PostgreSQL, Redis, S3, Airflow, two Celery workers.

It stands in for machines of their own by keeping from each component what it would not have there:
each worker has its own home, caches and logs, no access to Airflow's database, and only S3 in
common with the others. A network that fails, a small disk and a wrong clock are what tests give a
worker before it starts (`harm.py`).
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests
from local_airflow import CHECKOUT, DAGS, PLUGINS, SETTINGS, Api, ApiError
from servers import HOST, S3Server, end_with_parent, free_ports, seaweedfs

DAG = "skin_training"
QUEUES = {"one": "default", "two": "default,special"}  # that the workers listen to
WORKERS = tuple(QUEUES)
PATIENCE = 480.0  # seconds until a test that waits gives up
HEARTBEAT_SECONDS = 20  # after which a task of a worker that was killed is begun anew
MOST_RESTARTS = 20  # of a component
# Docker waits so long before it restarts a container, twice as long after each end, up to a minute.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 60.0
POSTGRES_USER = "postgres"
COMMANDS = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    **{
        f"worker-{name}": [
            *("celery", "worker", "--skip-serve-logs", "--celery-hostname", name),
            *("--queues", queues),
        ]
        for name, queues in QUEUES.items()
    },
}


class Missing(Exception):
    """A program that the cluster consists of is not installed."""


def find_program(name: str) -> str:
    """Returns the path of a program of PostgreSQL or Redis.

    Raises:
        Missing: It is not installed.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or next((str(path) for path in reversed(debian)), "")
    if not found:
        raise Missing(f"{name} is not installed: apt-get install postgresql redis-server")
    return found


class Component:
    """A process with everything that it starts, which can be killed and started again."""

    def __init__(
        self, command: list[str], log: Path, environment: Mapping[str, str], user: str | None = None
    ) -> None:
        self.command, self.log, self._user = command, log, user
        self.environment = dict(environment)
        self._popen: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self._due = 0.0  # when it may be started again, since it has ended

    def start(self) -> None:
        """Start it; it is killed if the process of the tests is."""
        identity: dict[str, Any] = {}
        if self._user:
            identity = {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid}
            identity["extra_groups"] = []
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=end_with_parent,
                **identity,
            )

    def kill(self) -> None:
        """End it and all that came from it at once, whatever they are doing."""
        if self._popen is None:
            return
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._popen.pid)
            for process in [parent, *parent.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._popen.wait()
        self._popen = None

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._popen
        return self._popen.pid

    def stop(self) -> None:
        """Ask it to end, as for maintenance, and wait until it has; `keep` leaves it so."""
        assert self._popen
        self._popen.send_signal(signal.SIGINT)
        self.ended()
        self.kill()  # what it left

    def ended(self) -> int:
        """Wait until it has ended by itself; its status."""
        assert self._popen
        return self._popen.wait(PATIENCE)

    def keep(self) -> None:
        """Start it again if it has ended by itself, as `restart: unless-stopped` does.

        Raises:
            AssertionError: It has ended too often.
        """
        if self._popen is None or self._popen.poll() is None:
            return
        if not self._due:
            pause = FIRST_PAUSE * 2.0**self.restarts
            self._due = time.monotonic() + min(pause, LONGEST_PAUSE)
        if time.monotonic() < self._due:
            return
        self._due = 0.0
        self.restarts += 1
        words = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        assert self.restarts <= MOST_RESTARTS, f"{self.log.stem} ended again:\n{words}"
        self.kill()  # what it left
        self.start()


@dataclass
class Airflow:
    """A running Airflow, as its API tells of it."""

    api: Api

    def keep(self) -> None:
        """Start again what has ended by itself; of containers, their engine does it."""

    def wait(self, ready: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        """Wait until something is so; errors of the API are no answer yet."""
        end = time.monotonic() + seconds
        while True:
            with suppress(requests.RequestException, ApiError):
                if ready():
                    return
            self.keep()
            assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
            time.sleep(0.2)

    def trigger(self, **conf: Any) -> str:
        """Start a run; its id."""
        body = {"logical_date": None, "conf": conf}
        run: str = self.api.post(f"dags/{DAG}/dagRuns", body)["dag_run_id"]
        return run

    def state(self, run: str) -> str:
        """Return the state of a run."""
        return str(self.api.get(f"dags/{DAG}/dagRuns/{run}")["state"])

    def tasks(self, run: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        found = self.api.get(f"dags/{DAG}/dagRuns/{run}/taskInstances?limit=200")
        tasks: list[dict[str, Any]] = found["task_instances"]
        return tasks

    def succeed(self, run: str, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        """Wait until a run has succeeded; its task instances."""
        self.wait(lambda: self.state(run) in {"success", "failed"}, f"the end of {run}", seconds)
        tasks = self.tasks(run)
        failed = [task["task_id"] for task in tasks if task["state"] not in {"success", "skipped"}]
        assert self.state(run) == "success", failed
        return tasks

    def running(self, run: str, task: str) -> dict[str, Any] | None:
        """Return an instance of a task that a worker is running now, or None."""
        return next(
            (
                item
                for item in self.tasks(run)
                if item["task_id"] == task and item["state"] == "running" and item["hostname"]
            ),
            None,
        )

    def tries(self, run: str, task: dict[str, Any]) -> list[dict[str, Any]]:
        """Return all tries of a task instance, the present one last."""
        mapped = f"/{task['map_index']}" if task["map_index"] >= 0 else ""
        path = f"dags/{DAG}/dagRuns/{run}/taskInstances/{task['task_id']}{mapped}/tries"
        found: list[dict[str, Any]] = self.api.get(path)["task_instances"]
        return found

    def log(self, run: str, task: dict[str, Any]) -> str:
        """Return the log of a task as the page in Airflow gets it."""
        path = f"dags/{DAG}/dagRuns/{run}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        answer = self.api.get(f"{path}?full_content=true&map_index={task['map_index']}")
        return json.dumps(answer["content"])


@dataclass
class Cluster(Airflow):
    """A running cluster: its components by name, its store, and Airflow's API."""

    s3: S3Server
    folder: Path
    components: dict[str, Component] = field(default_factory=dict)
    redis: list[str] = field(default_factory=list)

    def keep(self) -> None:
        """Start each component again that has ended by itself."""
        for component in self.components.values():
            component.keep()


@contextmanager
def cluster(
    settings: Mapping[str, str], change: Callable[[Cluster], object] = lambda made: None
) -> Generator[Cluster, None, None]:
    """Yield a cluster that is up and has read the DAGs.

    Args:
        settings: Environment variables of all components, beside those of a cluster.
        change: Called before the components start, to change some of them.

    Raises:
        Missing: PostgreSQL or Redis is not installed.
    """
    programs = [find_program(name) for name in ("initdb", "postgres", "redis-server", "redis-cli")]
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        s3 = stack.enter_context(seaweedfs())
        made = _describe(folder, s3, settings, programs)
        for component in made.components.values():
            stack.callback(component.kill)
        change(made)
        _start(made, folder)
        yield made


def _describe(
    folder: Path, s3: S3Server, settings: Mapping[str, str], programs: list[str]
) -> Cluster:
    initdb, postgres, redis, redis_cli = programs
    ports = dict(zip(("postgres", "redis", "api"), free_ports(3), strict=True))
    made = Cluster(Api(f"http://{HOST}:{ports['api']}"), s3, folder)
    components = made.components
    components["postgres"] = postgres_server(folder, initdb, postgres, ports["postgres"])
    components["redis"] = Component(
        [redis, "--port", str(ports["redis"]), "--bind", HOST, "--save", "", "--appendonly", "no"],
        folder / "redis.log",
        os.environ,
    )
    made.redis = [redis_cli, "-h", HOST, "-p", str(ports["redis"])]
    common = {**_environment(folder, ports), **_store(folder, s3), **settings}
    airflow = str(Path(sys.executable).with_name("airflow"))
    for name, command in COMMANDS.items():
        home = _home(folder, name)
        components[name] = Component(
            [airflow, *command], folder / f"{name}.log", {**common, **_own(name, home, ports)}
        )
    return made


def postgres_server(folder: Path, initdb: str, postgres: str, port: int) -> Component:
    """Return a PostgreSQL that is set up. As it refuses to run as root, it has its own user."""
    user = POSTGRES_USER if os.getuid() == 0 else None
    data = Path(tempfile.mkdtemp(prefix="postgres-", dir=folder))
    if user:
        folder.chmod(0o711)
        shutil.chown(data, user)
    options = ["--auth=trust", "--username=airflow", "--encoding=UTF8", "--no-sync"]
    setup = Component([initdb, *options, str(data / "db")], data / "setup.log", os.environ, user)
    setup.start()
    assert setup.ended() == 0, (data / "setup.log").read_text()
    command = [postgres, "-D", str(data / "db"), "-p", str(port), "-h", HOST, "-k", "", "-F"]
    return Component(command, folder / "postgres.log", os.environ, user)


def _store(folder: Path, s3: S3Server) -> dict[str, str]:
    """The environment by which a component reaches the store; the keys are in a file."""
    keys = folder / "s3-keys"
    keys.write_text(
        f"[default]\naws_access_key_id = {s3.access_key}\naws_secret_access_key = {s3.secret}\n"
    )
    reached = {"endpoint_url": s3.endpoint, "region_name": "us-east-1"}
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(keys),
        "AWS_DEFAULT_REGION": "us-east-1",
        "SKIN_STORE": f"s3://{s3.bucket}",
        "SKIN_S3_ENDPOINT": s3.endpoint,
        "AIRFLOW__LOGGING__REMOTE_LOGGING": "True",
        "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": f"s3://{s3.bucket}/task-logs",
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "task_logs",
        "AIRFLOW_CONN_TASK_LOGS": json.dumps({"conn_type": "aws", "extra": reached}),
    }


def _environment(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """What all components of Airflow have in common."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "AWS_", "SKIN_"))}
    mine.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode Airflow imports far slower
    return {
        **mine,
        **SETTINGS,
        "NO_PROXY": f"{HOST},localhost",
        "no_proxy": f"{HOST},localhost",
        "PYTHONPATH": os.pathsep.join((str(CHECKOUT), str(Path(__file__).parent))),
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{ports['api']}/execution/",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "worker_name.name",
        "AIRFLOW__API__PORT": str(ports["api"]),
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{ports['api']}",
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CELERY__BROKER_URL": f"redis://{HOST}:{ports['redis']}/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{_database(ports)}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_SECONDS),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    }


def _own(name: str, home: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """What a component has for itself alone. A worker has no access to Airflow's database."""
    return {
        "COMPONENT": name,
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_STATE_HOME": str(home / "state"),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "airflow/logs"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (
            "postgresql+psycopg2://"
            + ("none.invalid/none" if name.startswith("worker") else _database(ports))
        ),
    }


def _database(ports: Mapping[str, int]) -> str:
    return database(ports["postgres"])


def database(port: int) -> str:
    """Return the address of the database of a PostgreSQL on a port."""
    return f"airflow@{HOST}:{port}/postgres"


def _home(folder: Path, name: str) -> Path:
    home = folder / name
    for part in ("tmp", "cache", "state", "airflow"):
        (home / part).mkdir(parents=True)
    return home


def _start(made: Cluster, folder: Path) -> None:
    (folder / "passwords.json").write_text(json.dumps({"admin": "admin"}))
    for name in ("postgres", "redis"):
        made.components[name].start()
    _migrate(made.components["api-server"])
    for name in COMMANDS:
        made.components[name].start()
    made.wait(lambda: _is_healthy(made.api), "a healthy Airflow")
    made.api.login("admin")
    made.api.post("pools", {"name": "training", "slots": 4})
    made.wait(lambda: made.api.get(f"dags/{DAG}"), f"the DAG {DAG}")
    made.api.patch(f"dags/{DAG}?update_mask=is_paused", {"is_paused": False})


def _migrate(component: Component) -> None:
    """Bring the database to Airflow's schema; PostgreSQL may still be starting."""
    end = time.monotonic() + PATIENCE
    command = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
    while True:
        done = subprocess.run(
            command, env=component.environment, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
        assert time.monotonic() < end, done.stderr[-2000:]
        time.sleep(0.5)


def _is_healthy(api: Api) -> bool:
    health = api.get("monitor/health")
    return all(health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor"))
