"""Runs one local Airflow in the checkout: SQLite, LocalExecutor, everything below `var/airflow`.

`make up` runs this file and serves Airflow's pages until Ctrl-C; `make demo` uses the class.

```
python scripts/local_airflow.py --port 8080
```
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import secrets
import shlex
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import psutil
import requests

from skin_pipeline.config import read_deployment
from skin_pipeline.errors import BadInput, PipelineError, Unavailable

CHECKOUT = Path(__file__).resolve().parent.parent
HOME, DAGS, PLUGINS = CHECKOUT / "var/airflow", CHECKOUT / "dags", CHECKOUT / "plugins"
HOST, USER = "127.0.0.1", "admin"
START_SECONDS = 180.0  # until Airflow is up; a slow machine with a cold disk needs a minute
STOP_SECONDS = 3.0  # for a clean end, before SIGKILL; the store never holds anything half-written
HANDOVER_SECONDS = 20.0  # to wait until an earlier Airflow has ended whose parent was killed
PARALLELISM = 4
API_TRIES = 6
LOG_LINES = 20
PRIVATE = 0o077  # umask: only the owner may read or change what Airflow keeps

COMPONENTS = {
    "api-server": ["api-server"],
    "dag-processor": ["dag-processor"],
    "scheduler": ["scheduler", "--skip-serve-logs"],  # the logs are on this machine
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
# The settings that do not depend on the folder or the port.
SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__DATABASE__CHECK_MIGRATIONS": "False",  # done here, once, before the components start
    "AIRFLOW__API__HOST": HOST,
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    # Of all files; one that was changed is read at the next refresh.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
    # The supervisor of a task may miss that the task ended, and then notices it after this time.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    # At the first request of a task, the API server loads what it needs, which takes seconds.
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    "AIRFLOW__TRIGGERER__CAPACITY": "10",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    # Airflow sets these itself, whatever the umask.
    "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
    "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "GX_ANALYTICS_ENABLED": "False",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONUNBUFFERED": "1",
}


class ApiError(PipelineError):
    """Airflow refused a request; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The REST API of a local Airflow, as its admin. Paths start after `/api/v2/`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy on the loopback

    def login(self, password: str) -> None:
        """Gets a token and sends it from now on."""
        answer = self._call("POST", "auth/token", {"username": USER, "password": password})
        self._session.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def get(self, path: str) -> Any:
        """Returns the JSON at `path`. Raises `ApiError`, or `requests`' own errors."""
        return self._call("GET", f"api/v2/{path}")

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Creates something. Raises like `get`."""
        return self._call("POST", f"api/v2/{path}", body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Changes something. Raises like `get`."""
        return self._call("PATCH", f"api/v2/{path}", body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        for attempt in range(1, API_TRIES + 1):
            answer = self._session.request(
                method,
                f"{self.url}/{path}",
                json=body,
                headers={"Accept": "application/json"},
                timeout=60,
            )
            # SQLite has one writer at a time. A request that comes while another one writes gets an
            # error, and has changed nothing, so it may be sent again.
            if answer.status_code < 500 or attempt == API_TRIES:
                break
            time.sleep(0.3 * attempt)
        if not answer.ok:
            raise ApiError(answer.status_code, _detail(answer))
        return answer.json()


def _detail(answer: requests.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:200]}"
    if isinstance(detail, list):  # one entry for each field that does not fit
        return "; ".join(f"{'.'.join(map(str, d['loc'][1:]))}: {d['msg']}" for d in detail)
    return str(detail).split("\n\n")[0]


class LocalAirflow:
    """A local Airflow: its folder, its processes, its API. A context manager starts and ends it.

    Attributes:
        home: Its folder: database, logs, secrets.
        url: Where it is served.
        user, password: Its only login.
        environment: What its processes, and so the tasks, see.
        api: Its REST API, usable once it has started.
        interrupted: Runs that an earlier Airflow left unfinished; now marked as failed.
    """

    def __init__(
        self,
        purpose: str,
        *,
        home: Path = HOME,
        dags: Path = DAGS,
        plugins: Path = PLUGINS,
        port: int | None = None,
        triggerer: bool = False,
        settings: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """Describes an Airflow. Nothing happens before `start`.

        Args:
            purpose: The command that starts it, as messages of other commands name it.
            home: Folder for all that Airflow keeps.
            dags: Folder with the DAG files.
            plugins: Folder with the plugins.
            port: Port on the loopback; None for any free one.
            triggerer: Whether to run one. No task needs it, but without it Airflow's home page
                shows it as broken.
            settings: Environment variables on top of the usual ones.
            say: Called with a line for people when something takes time.
        """
        self.purpose, self.home, self.say = purpose, home, say
        self._dags, self._plugins, self._settings = dags, plugins, dict(settings or {})
        self._port, self._triggerer = port, triggerer
        self.url = self.password = ""
        self.user = USER
        self.environment: dict[str, str] = {}
        self.interrupted: list[str] = []
        self._keeper: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    def __enter__(self) -> LocalAirflow:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts Airflow and returns once it answers, schedules and reads DAGs.

        Raises:
            BadInput: another Airflow of this checkout is running, or the port is taken.
            Unavailable: a component ended or did not come up; the message has its last log lines.
        """
        self.started = datetime.now(timezone.utc)
        try:
            self._take_lock()
            self._close_to_others()
            self._prepare()
            self._migrate()
            leftovers = self._unfinished_runs()
            self._start_keeper()
            self._start_component("api-server")
            if leftovers:  # the scheduler would continue them, so they end before it starts
                self._wait_until(self._answers, "the API server")
                self._fail_runs(leftovers)
            self._start_component("dag-processor")
            self._start_component("scheduler")
            if self._triggerer:
                self._start_component("triggerer")
            self._wait_until(self._healthy, "Airflow")
            self._make_pool()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every process of this Airflow. May be called at any time, and again."""
        restore = {number: signal.signal(number, signal.SIG_IGN) for number in _STOPPING}
        try:
            if self._keeper:
                _close(self._keeper)
                self._keeper = None
            if self._lock:
                self._lock.close()
                self._lock = None
        finally:
            for number, handler in restore.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raises `Unavailable` if a component has ended."""
        if self._keeper is None or self._keeper.poll() is None:
            return
        assert self._keeper.stdout is not None
        last = self._keeper.stdout.read().decode().strip() or "its keeper was killed"
        raise Unavailable(f"Airflow broke off: {last}.", *self._log_tail(last.split()[0]))

    def wait_for_dag(self, dag_id: str) -> None:
        """Waits until the DAG has been read since the start.

        Raises:
            BadInput: its file cannot be imported; the message has the reason.
            Unavailable: it did not show up, or a component ended.
        """
        self._wait_until(lambda: self._dag_is_read(dag_id), f"the DAG {dag_id}")

    # --- what it is made of ----------------------------------------------------------------------

    def _take_lock(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.home / "lock"
        lock = os.fdopen(_private(str(path), os.O_RDWR | os.O_CREAT | os.O_APPEND), "a+")
        deadline = time.monotonic() + HANDOVER_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                holder = path.read_text().strip()
                if _alive(holder) or time.monotonic() > deadline:
                    lock.close()
                    raise BadInput(_held(self.home, holder)) from None
                time.sleep(0.2)
        lock.seek(0)
        lock.truncate()
        print(f"{os.getpid()} {self.purpose}", file=lock, flush=True)
        self._lock = lock

    def _close_to_others(self) -> None:
        """Takes from other users the rights that an earlier version or a wide umask gave them."""
        if narrowed := narrow(self.home):
            self.say(
                f"Other users of this machine could read or change {narrowed[0]}"
                + (f" and {len(narrowed) - 1} more in {self.home}" if narrowed[1:] else "")
                + "; now only you can"
            )

    def _prepare(self) -> None:
        """Sets port, secrets and environment."""
        port = self._port if self._port is not None else _free_port()
        if not _is_free(port):
            raise BadInput(
                f"port {port} on {HOST} is taken by another program. Stop that one, or choose "
                f"another port: {self.purpose} PORT={port + 1}"
            )
        self.url = f"http://{HOST}:{port}"
        self.api = Api(self.url)
        hidden = _secrets(self.home)
        self.password = hidden["password"]
        _write_private(self.home / "passwords.json", json.dumps({USER: self.password}))
        (self.home / "logs").mkdir(mode=0o700, exist_ok=True)
        (self.home / "secrets").mkdir(mode=0o700, exist_ok=True)
        self.environment = self._environment(port, hidden)

    def _environment(self, port: int, hidden: dict[str, str]) -> dict[str, str]:
        # Settings of another Airflow on this machine must not leak in; connections may.
        mine = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW__")}
        mine.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode Airflow imports far slower
        mine.pop("AIRFLOW_CONFIG", None)
        # Two tasks at a time: more of them would take more memory than many a laptop has.
        mine.setdefault("SKIN_THREADS", str(max(1, _cores() // 2)))
        mine.setdefault("SKIN_ALONE_THREADS", str(_cores()))
        mine.setdefault("SKIN_STORE", f"file://{CHECKOUT / 'var/store'}")
        mine.setdefault("SKIN_PATHS", f'"{CHECKOUT}"')  # in quotes, for it may have a comma
        mine.setdefault("SKIN_SCHEDULE", "")  # runs start by hand, unless the user says otherwise
        loopback = f"{HOST},localhost"
        for name in ("NO_PROXY", "no_proxy"):
            mine[name] = f"{mine[name]},{loopback}" if mine.get(name) else loopback
        path = mine.get("PYTHONPATH")
        return {
            **mine,
            **SETTINGS,
            "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{path}" if path else str(CHECKOUT),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self._plugins),
            "AIRFLOW__CORE__FERNET_KEY_CMD": self._reading("fernet", hidden),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._database}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY_CMD": self._reading("api", hidden),
            "AIRFLOW__API_AUTH__JWT_SECRET_CMD": self._reading("jwt", hidden),
            **self._settings,
        }

    def _reading(self, name: str, hidden: dict[str, str]) -> str:
        """Returns the command by which Airflow reads a secret, which no task's environment has."""
        path = self.home / "secrets" / name
        _write_private(path, hidden[name])
        return shlex.join(["cat", str(path)])

    @property
    def _database(self) -> Path:
        return self.home / "airflow.db"

    def _migrate(self) -> None:
        """Brings the database to the schema of this Airflow, if another version made it."""
        note, wanted = self.home / "database-version", version("apache-airflow")
        if self._database.exists() and note.exists() and note.read_text() == wanted:
            return
        self.say("Setting up Airflow's database")
        if not note.exists():  # what an interrupted first setup left cannot be continued
            for left in self.home.glob("airflow.db*"):
                left.unlink()
        log = self.home / "logs/migrate.log"
        with open(log, "wb", opener=_private) as output:
            done = subprocess.run(
                [_airflow(), "db", "migrate"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                umask=PRIVATE,
            )
        if done.returncode:
            raise Unavailable("Airflow's database is not set up.", *self._log_tail("migrate"))
        _write_private(note, wanted)

    def _unfinished_runs(self) -> list[tuple[str, str]]:
        """Returns the DAG and run ids of the runs that an earlier Airflow did not finish."""
        with closing(sqlite3.connect(self._database)) as database:
            return database.execute(
                "SELECT dag_id, run_id FROM dag_run WHERE state IN ('running', 'queued')"
            ).fetchall()

    def _fail_runs(self, runs: list[tuple[str, str]]) -> None:
        self.api.login(self.password)
        for dag, run in runs:
            with suppress(ApiError):  # its DAG is gone, so the scheduler does not continue it
                self.api.patch(f"dags/{dag}/dagRuns/{run}", {"state": "failed"})
                self.interrupted.append(run)
        if self.interrupted:
            self.say(f"Interrupted earlier, now marked as failed: {', '.join(self.interrupted)}")

    def _start_keeper(self) -> None:
        assert self._lock is not None
        self._keeper = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("keeper.py")), str(STOP_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=CHECKOUT,
            env=self.environment,
            umask=PRIVATE,
            start_new_session=True,  # Ctrl-C reaches only this process, which ends the keeper
            pass_fds=[self._lock.fileno()],  # locked until the last process has ended
        )

    def _start_component(self, name: str) -> None:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        line = [name, str(self._log(name)), _airflow(), *COMPONENTS[name]]
        with suppress(BrokenPipeError):  # `check` will say why
            self._keeper.stdin.write(json.dumps(line).encode() + b"\n")
            self._keeper.stdin.flush()

    def _wait_until(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _succeeds(ready):
            self.check()
            if time.monotonic() > deadline:
                started = [name for name in COMPONENTS if name != "triggerer" or self._triggerer]
                tails = [line for name in started for line in self._log_tail(name)]
                raise Unavailable(f"{what} did not come up in {START_SECONDS:.0f} s.", *tails)
            time.sleep(0.1)

    def _answers(self) -> bool:
        return bool(self.api.get("monitor/health"))

    def _healthy(self) -> bool:
        health = self.api.get("monitor/health")
        parts = ("scheduler", "dag_processor", *(["triggerer"] if self._triggerer else []))
        return all(self._is_since_start(health[part][f"latest_{part}_heartbeat"]) for part in parts)

    def _is_since_start(self, moment: str | None) -> bool:
        """Returns whether a time is of this Airflow, not of an earlier one in its folder."""
        return moment is not None and _time(moment) >= self.started

    def _make_pool(self) -> None:
        self.api.login(self.password)
        pool, taken = read_deployment().pool, ("SKIN_THREADS", "SKIN_ALONE_THREADS")
        least = max(int(self.environment[name] or 0) for name in taken)
        try:
            slots = self.api.get(f"pools/{pool}")["slots"]
        except ApiError as error:
            if error.status != requests.codes.not_found:
                raise
            note = "A slot is a core: keeps tasks that compute from taking more than there are."
            slots = max(least, _cores())
            self.api.post("pools", {"name": pool, "slots": slots, "description": note})
        if 0 <= slots < least:  # in such a pool no task could run, and nothing would say so
            # The API requires all fields, though only `slots` is changed.
            whole = {"pool": pool, "slots": least, "include_deferred": False}
            self.api.patch(f"pools/{pool}?update_mask=slots", whole)

    def _dag_is_read(self, dag_id: str) -> bool:
        for problem in self.api.get("importErrors")["import_errors"]:
            if self._is_since_start(problem["timestamp"]):
                reason = problem["stack_trace"].strip().splitlines()[-1]
                raise BadInput(f"Airflow cannot read {problem['filename']}: {reason}")
        try:
            return self._is_since_start(self.api.get(f"dags/{dag_id}")["last_parsed_time"])
        except ApiError as error:
            if error.status != requests.codes.not_found:
                raise
            return False

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _log_tail(self, name: str) -> list[str]:
        path = self._log(name)
        if not path.exists():
            return [f"There is no {path}."]
        lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return [f"The last lines of {path}:", *lines]


_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_on_signals() -> None:
    """Turns Ctrl-C, SIGTERM and the closing of the terminal into `SystemExit` (128 + number)."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in _STOPPING:
        ignored = signal.getsignal(number) is signal.SIG_IGN
        if not (ignored and number == signal.SIGHUP):  # nohup means it
            signal.signal(number, leave)


def _close(keeper: subprocess.Popen[bytes]) -> None:
    """Ends a keeper and its family, by closing its standard input."""
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    with suppress(OSError):
        keeper.stdin.close()
    try:
        keeper.wait(STOP_SECONDS + 15)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()
    keeper.stdout.close()


def _succeeds(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except requests.RequestException:  # not listening yet, or not any more
        return False


def _airflow() -> str:
    return str(Path(sys.executable).with_name("airflow"))


def narrow(folder: Path) -> list[Path]:
    """Takes all rights of others on a folder and what is in it; no link is followed.

    Returns:
        What others had rights on, the folder first.

    Raises:
        BadInput: something in it belongs to another user, who could change it again.
    """
    narrowed = []
    # A folder comes before its content: after it is closed, no other user can exchange that.
    paths = [folder]
    while paths:
        path = paths.pop(0)
        found = path.stat() if path == folder else path.lstat()
        if stat.S_ISLNK(found.st_mode):
            continue
        if found.st_uid != os.getuid():
            raise BadInput(
                f"{path} belongs to another user, who could read and change what Airflow keeps "
                f"there. Remove it, or take it over (chown), and start again"
            )
        if found.st_mode & PRIVATE:
            path.chmod(stat.S_IMODE(found.st_mode) & ~PRIVATE)
            narrowed.append(path)
        if stat.S_ISDIR(found.st_mode):
            paths += sorted(path.iterdir())
    return narrowed


def _private(path: str, flags: int) -> int:
    """Opens a file like `os.open`. Only the owner may read or change a new one."""
    return os.open(path, flags, 0o600)


def _secrets(home: Path) -> dict[str, str]:
    """Returns the installation's secrets, which are made once; only their owner may read them."""
    path = home / "secrets.json"
    if not path.exists():
        made = {
            "password": secrets.token_urlsafe(12),
            "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "api": secrets.token_hex(32),
            "jwt": secrets.token_hex(32),
        }
        _write_private(path, json.dumps(made))
    kept: dict[str, str] = json.loads(path.read_text())
    return kept


def _write_private(path: Path, text: str) -> None:
    """Writes a file with mode 0600, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def _alive(holder: str) -> bool:
    number = holder.partition(" ")[0]
    return number.isdigit() and psutil.pid_exists(int(number))


def _held(home: Path, holder: str) -> str:
    number, _, purpose = holder.partition(" ")
    return (
        f"`{purpose}` (process {number}) is using {home}, and one local Airflow can run at a time. "
        f"Wait for it, or stop it with Ctrl-C where it runs, or with: kill {number}"
    )


def _free_port() -> int:
    # None that a system gives by itself: a connection might take it before Airflow does.
    while not _is_free(port := secrets.choice(range(10_000, 32_768))):
        pass
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _port(text: str) -> int:
    if text.isdigit() and 1024 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"a port is a number from 1024 to 65535. Received: {text!r}")


def _cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 does not know Z


def serve(port: int, *, home: Path = HOME, dags: Path = DAGS, plugins: Path = PLUGINS) -> int:
    """Serves Airflow's pages until Ctrl-C. Returns the exit status."""
    end_on_signals()
    try:
        print("Starting Airflow", flush=True)
        with LocalAirflow(
            "make up", home=home, dags=dags, plugins=plugins, port=port, triggerer=True
        ) as airflow:
            print(
                f"\nAirflow is up: {airflow.url}\n"
                f"  user      {airflow.user}\n"
                f"  password  {airflow.password}\n"
                f"Logs: {airflow.home / 'logs'}. Ctrl-C stops it.",
                flush=True,
            )
            while True:
                airflow.check()
                time.sleep(0.5)
    except PipelineError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except SystemExit as ended:
        print("\nAirflow is stopped.")
        return 0 if ended.code == 128 + signal.SIGINT else int(str(ended.code))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--port", type=_port, default=8080, help="port on 127.0.0.1")
    sys.exit(serve(parser.parse_args().port))
