"""A real local Airflow runs a stand-in for the DAG, ends, breaks off and starts again."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import demo
import local_airflow
import psutil
import pytest
import requests
from local_airflow import CHECKOUT, HOST, ApiError, LocalAirflow
from processes import MARKER, PATIENCE, family, list_entry, living, offspring, until
from servers import free_ports
from small_verdict import judged

from skin_pipeline.config import Deployment
from skin_pipeline.contracts import (
    RESULT,
    Contract,
    dump,
)
from skin_pipeline.errors import BadInput
from skin_pipeline.roots import Roots
from skin_pipeline.storage import FolderStore

SCRIPTS = CHECKOUT / "scripts"
STAND_IN = """
import time
from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

@dag(schedule="@weekly", start_date=__import__("datetime").datetime(2026, 1, 1), catchup=False,
     max_active_runs=1, params={"model_name": Param("promote", type="string", maxLength=20)})
def skin_training():
    @task
    def ingest(params=None):
        while params["model_name"] == "hang":
            time.sleep(0.2)
    @task(retries=1, retry_delay=0.1)
    def features(shard, params=None, ti=None):
        if params["model_name"] == "retry" and shard and ti.try_number == 1:
            raise RuntimeError("the store did not answer")
        if params["model_name"] == "fail" and shard:
            raise AirflowFailException("the weights are of another network")
    @task
    def gate(features):
        return "gate/1"
    @task
    def promote(verdict, params=None):
        if params["model_name"] == "refuse":
            raise AirflowSkipException("refused")
        return "models/m/versions/v1"
    @task
    def reject(verdict, params=None):
        if params["model_name"] != "refuse":
            raise AirflowSkipException("approved")
        return verdict
    shards = features.expand(shard=[0, 1])
    ingest() >> shards
    verdict = gate(shards)
    promote(verdict)
    reject(verdict)

skin_training()
"""


# --- what the local Airflow is given -------------------------------------------------------------


@pytest.fixture
def prepared(tmp_path: Path) -> LocalAirflow:
    """A local Airflow that is not started, with its port, secrets and environment."""
    airflow = LocalAirflow("make up", home=tmp_path / "airflow", settings={"SKIN_RETRIES": "7"})
    airflow.home.mkdir()
    airflow._prepare()
    return airflow


def test_settings_of_another_airflow_do_not_leak_in_and_ours_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__CORE__UNKNOWN", "x")
    monkeypatch.setenv("AIRFLOW_CONFIG", "/etc/airflow.cfg")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("AIRFLOW_CONN_KAGGLE", "{}")
    monkeypatch.setenv("NO_PROXY", "clinic.test")
    monkeypatch.setenv("SKIN_STORE", "s3://models/x")
    monkeypatch.delenv("SKIN_THREADS", raising=False)
    monkeypatch.delenv("SKIN_ALONE_THREADS", raising=False)
    monkeypatch.delenv("SKIN_PATHS", raising=False)
    airflow = LocalAirflow("make up", home=tmp_path, settings={"SKIN_RETRIES": "7"})
    airflow._prepare()
    seen = airflow.environment
    assert not {"AIRFLOW__CORE__UNKNOWN", "AIRFLOW_CONFIG", "PYTHONDONTWRITEBYTECODE"} & set(seen)
    assert seen["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert (seen["AIRFLOW_CONN_KAGGLE"], seen["SKIN_STORE"]) == ("{}", "s3://models/x")
    assert seen["NO_PROXY"] == f"clinic.test,{HOST},localhost"
    assert seen["SKIN_RETRIES"] == "7"
    assert 1 <= int(seen["SKIN_THREADS"]) <= int(seen["SKIN_ALONE_THREADS"])
    assert seen["AIRFLOW_HOME"] == str(tmp_path)
    assert seen["AIRFLOW__API__BASE_URL"] == airflow.url
    assert seen["AIRFLOW__API__HOST"] == HOST
    assert Roots.of(Deployment(paths=seen["SKIN_PATHS"]), by_others=True).folders == (
        os.path.realpath(CHECKOUT),
    )


def test_folders_that_runs_may_read_are_the_user_s_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for paths in ("/mnt/clinic", ""):
        monkeypatch.setenv("SKIN_PATHS", paths)
        home = tmp_path / f"airflow{len(paths)}"
        home.mkdir()
        airflow = LocalAirflow("make up", home=home)
        airflow._prepare()
        assert airflow.environment["SKIN_PATHS"] == paths


def test_secrets_are_made_once_and_are_the_owners_only(prepared: LocalAirflow) -> None:
    again = LocalAirflow("make up", home=prepared.home)
    again._prepare()
    hidden = json.loads((prepared.home / "secrets.json").read_text())
    assert again.password == prepared.password == hidden["password"]
    assert len(set(hidden.values())) == 4
    for name in ("secrets.json", "passwords.json"):
        assert stat.S_IMODE((prepared.home / name).stat().st_mode) == 0o600


def modes(folder: Path) -> dict[str, int]:
    """Mode of the folder and of all in it that is no link."""
    paths = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in paths}


def open_to_others(folder: Path) -> set[str]:
    """What other users of the machine have any right on."""
    return {name for name, mode in modes(folder).items() if mode & 0o077}


def test_secrets_are_read_from_files_and_stand_in_no_environment(prepared: LocalAirflow) -> None:
    hidden = json.loads((prepared.home / "secrets.json").read_text())
    environment = "\n".join(prepared.environment.values())
    assert [name for name, secret in hidden.items() if secret in environment] == []
    for name, secret in (
        ("AIRFLOW__CORE__FERNET_KEY_CMD", "fernet"),
        ("AIRFLOW__API__SECRET_KEY_CMD", "api"),
        ("AIRFLOW__API_AUTH__JWT_SECRET_CMD", "jwt"),
    ):
        command = prepared.environment[name]
        assert hidden[secret] not in command  # which a list of processes shows
        said = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True)
        assert said.stdout == hidden[secret]


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_whatever_the_umask_nobody_else_can_read_what_is_made(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        airflow = LocalAirflow("make up", home=tmp_path / "home")
        airflow._take_lock()
        airflow._prepare()
    finally:
        os.umask(before)
    airflow.stop()
    assert open_to_others(tmp_path / "home") == set()


def test_what_an_earlier_version_left_open_is_closed_and_told_and_links_are_left_alone(
    tmp_path: Path,
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (home / "logs/dag_id=a").mkdir(parents=True)
    elsewhere.mkdir()
    for path in ("airflow.db", "airflow.cfg", "logs/dag_id=a/attempt=1.log", "../elsewhere/mine"):
        (home / path).touch(0o644)
    (home / "tool").touch(0o755)
    (home / "shared").symlink_to(elsewhere)
    said: list[str] = []
    airflow = LocalAirflow("make up", home=home, say=said.append)
    airflow._close_to_others()
    assert open_to_others(home) == set()
    assert modes(home)["tool"] == 0o700
    assert modes(elsewhere) == {".": 0o755, "mine": 0o644}
    assert said == [
        f"Other users of this machine could read or change {home} and 6 more in {home}; "
        "now only you can"
    ]
    airflow._close_to_others()
    assert len(said) == 1


def test_what_another_user_put_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets.json").touch()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(BadInput, match="belongs to another user, who could read"):
        LocalAirflow("make up", home=tmp_path)._close_to_others()


class Pools:
    """Airflow's API, as far as pools go."""

    def __init__(self, slots: int | None) -> None:
        self.slots, self.password = slots, ""

    def login(self, password: str) -> None:
        self.password = password

    def get(self, path: str) -> dict[str, int]:
        assert path == "pools/training"
        if self.slots is None:
            raise ApiError(404, "no such pool")
        return {"slots": self.slots}

    def post(self, path: str, body: dict[str, Any]) -> None:
        assert (path, body["name"]) == ("pools", "training")
        self.slots = body["slots"]

    def patch(self, path: str, body: dict[str, int]) -> None:
        assert path == "pools/training?update_mask=slots"
        self.slots = body["slots"]


@pytest.mark.parametrize(
    ("there", "threads", "alone", "then"),
    [
        *[(None, 2, 4, 4), (None, 6, 4, 6), (None, 2, 8, 8), (1, 2, 0, 2)],
        *[(3, 2, 2, 3), (3, 2, 4, 4), (-1, 2, 4, -1)],
    ],
)
def test_the_pool_has_a_slot_a_core_and_never_fewer_than_one_task_takes(
    there: int | None,
    threads: int,
    alone: int,
    then: int,
    prepared: LocalAirflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_airflow, "_cores", lambda: 4)
    pools = Pools(there)
    monkeypatch.setattr(prepared, "api", pools)
    prepared.environment["SKIN_THREADS"] = str(threads)
    prepared.environment["SKIN_ALONE_THREADS"] = str(alone)
    prepared._make_pool()
    assert (pools.slots, pools.password) == (then, prepared.password)


@pytest.mark.parametrize(
    ("moment", "counts"),
    [(None, False), ("2026-01-01T00:00:00Z", False), ("2100-01-01T00:00:00+00:00", True)],
)
def test_only_what_happened_since_the_start_counts(
    moment: str | None, counts: bool, prepared: LocalAirflow
) -> None:
    prepared.started = datetime.now(timezone.utc)
    assert prepared._is_since_start(moment) is counts


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "no such DAG\n\nmore"}, "no such DAG"),
        ({"detail": [{"loc": ["body", "conf", "runs"], "msg": "too few"}]}, "conf.runs: too few"),
        ({"other": 1}, "HTTP 418: "),
        ("<html>", "HTTP 418: <html>"),
    ],
)
def test_what_airflow_refuses_is_told_in_its_words(body: Any, said: str) -> None:
    answer = requests.Response()
    answer.status_code = 418
    answer._content = (body if isinstance(body, str) else json.dumps(body)).encode()
    assert local_airflow._detail(answer).startswith(said)


# --- starting and ending, with a stand-in for the program `airflow` ------------------------------

FAKE_AIRFLOW = """#!/bin/sh
case "$1" in
  db) exec {python} -c "
import sqlite3
sqlite3.connect('{home}/airflow.db').execute('CREATE TABLE dag_run (dag_id, run_id, state)')" ;;
  scheduler) {scheduler} ;;
  *) sleep 6000 & wait ;;
esac
"""


def starting(root: Path, scheduler: str) -> subprocess.Popen[str]:
    """A process that starts a local Airflow whose program never gets as far as to answer."""
    program = root / "airflow"
    program.write_text(
        FAKE_AIRFLOW.format(python=sys.executable, home=root / "home", scheduler=scheduler)
    )
    program.chmod(0o755)
    code = (
        "import sys, local_airflow; from pathlib import Path; root = Path(sys.argv[1]);"
        "local_airflow._airflow = lambda: str(root / 'airflow');"
        "sys.exit(local_airflow.serve(int(sys.argv[2]), home=root / 'home'))"
    )
    return script(code, str(root), str(free_ports(1)[0]), marker=str(root))


def script(code: str, *arguments: str, marker: str) -> subprocess.Popen[str]:
    """Python code in a session of its own, as a terminal would start it."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            MARKER: marker,
            "PYTHONPATH": os.pathsep.join([str(SCRIPTS), str(CHECKOUT)]),
        },
        start_new_session=True,
    )


def listening(process: psutil.Process) -> list[Any]:
    """The connections on which a process waits for others; none when it has ended."""
    with suppress(psutil.NoSuchProcess):
        found = process.net_connections("inet")
        return [connection for connection in found if connection.status == psutil.CONN_LISTEN]
    return []


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 0),  # the usual way to end `make up`
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGHUP, 128 + signal.SIGHUP),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_no_process_outlives_the_script_whatever_ended_it(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    process = starting(tmp_path, "sleep 6000 & wait")
    until(lambda: len(family(str(tmp_path))) >= 8)  # script, keeper, three programs, three sleeps
    os.killpg(process.pid, number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    until(lambda: not living(family(str(tmp_path))))


def test_a_component_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    process = starting(tmp_path, "echo no space left on device; exit 7")
    shown, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Airflow broke off: scheduler ended with status 7." in shown
    assert "no space left on device" in shown
    assert not living(family(str(tmp_path)))


def test_a_taken_port_is_named_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port} .* is taken .*make up PORT={port + 1}"):
            LocalAirflow("make up", home=tmp_path, port=port).start()
    assert not (tmp_path / "airflow.db").exists()


# --- a real Airflow ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder (with a space in its name) with the stand-in DAG and a store with its results."""
    root = tmp_path_factory.mktemp("local airflow")
    for name in ("dags", "plugins"):
        (root / name).mkdir()
    (root / "dags/skin_training.py").write_text(STAND_IN)
    store = FolderStore(root / "store")
    documents: dict[str, Contract] = dict(zip(("gate/1", "evaluate/1"), judged(), strict=True))
    for key, document in documents.items():
        store.put(f"{key}/{RESULT}", dump(document))
    return root


@pytest.fixture(scope="module", autouse=True)
def _environment(stage: Path) -> Iterator[None]:
    """Where the store is, and what must not leak in from another Airflow of the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKIN_STORE", f"file://{stage / 'store'}")
        patch.setenv(MARKER, str(stage))
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://elsewhere/production")
        patch.delenv("SKIN_SCHEDULE", raising=False)
        yield


def local(stage: Path) -> LocalAirflow:
    """A local Airflow on the stage, as `make up` has it, for the demo; not yet started."""
    return LocalAirflow(
        "a test",
        home=stage / "home",
        dags=stage / "dags",
        plugins=stage / "plugins",
        triggerer=True,
        settings=demo.AIRFLOW,
    )


def lines_until(process: subprocess.Popen[str], *words: str) -> str:
    """What the process prints until a line has all the words."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if all(word in line for word in words):
            return seen
    raise AssertionError(f"it ended before it said {words}:\n{seen}")


@pytest.fixture(scope="module")
def interrupted(stage: Path) -> Path:
    """The stage after a demo on it was ended with Ctrl-C in the middle of a run."""
    code = (
        "import sys, demo; from pathlib import Path; root = Path(sys.argv[1]);"
        "sys.exit(demo.main(['--model-name', 'hang'], home=root / 'home', dags=root / 'dags',"
        " plugins=root / 'plugins'))"
    )
    process = script(code, str(stage), marker=str(stage))
    lines_until(process, "ingest", "started")
    came = offspring(process.pid)
    assert len(came) > len(local_airflow.COMPONENTS)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == 128 + signal.SIGINT
    assert not living(came | family(str(stage)))
    return stage


def demo_run(airflow: LocalAirflow, model_name: str) -> tuple[int, list[str]]:
    """Exit status and lines of one demo run on a running Airflow."""
    lines: list[str] = []
    status = demo._run(airflow, {"model_name": model_name}, lines.append)
    return status, lines


@pytest.mark.airflow
class TestRunning:
    """What a running Airflow does for the demo. The class is there to end it before the rest."""

    @pytest.fixture(scope="class")
    def airflow(self, interrupted: Path) -> Iterator[LocalAirflow]:
        """One Airflow for all of them, started where the demo was interrupted."""
        before = offspring(os.getpid())
        with local(interrupted) as running:
            running.wait_for_dag(demo.DAG)
            yield running
            came = offspring(os.getpid()) - before
        assert len(came) > len(local_airflow.COMPONENTS)
        assert not living(came | family(str(interrupted)))

    def test_a_run_that_ctrl_c_interrupted_is_failed_and_does_not_block_the_next(
        self, airflow: LocalAirflow
    ) -> None:
        # Only this one: although the DAG has a schedule and is not paused, nothing ran by itself.
        runs = airflow.api.get(f"dags/{demo.DAG}/dagRuns")["dag_runs"]
        assert [(run["dag_run_id"], run["state"]) for run in runs] == [
            (airflow.interrupted[0], "failed")
        ]
        assert demo_run(airflow, "promote")[0] == demo.PROMOTED

    def test_no_part_is_red_on_the_home_page(self, airflow: LocalAirflow) -> None:
        health = airflow.api.get("monitor/health")  # which the page shows
        assert {part: state["status"] for part, state in health.items()} == dict.fromkeys(
            ("metadatabase", "scheduler", "triggerer", "dag_processor"), "healthy"
        )

    def test_only_the_owner_can_read_the_secrets_and_only_with_the_password_one_gets_in(
        self,
        airflow: LocalAirflow,
    ) -> None:
        assert open_to_others(airflow.home) == set()
        with pytest.raises(ApiError):
            local_airflow.Api(airflow.url).get(f"dags/{demo.DAG}")
        with pytest.raises(ApiError):
            local_airflow.Api(airflow.url).login("guessed")

    def test_nothing_listens_beyond_the_loopback_and_no_list_of_processes_shows_a_secret(
        self, airflow: LocalAirflow
    ) -> None:
        came = offspring(os.getpid())
        heard = {connection.laddr.ip for process in came for connection in listening(process)}
        assert heard == {HOST}
        hidden = json.loads((airflow.home / "secrets.json").read_text()).values()
        shown = "\n".join(map(list_entry, came))
        assert airflow.url in shown
        assert [secret for secret in hidden if secret in shown] == []

    def test_the_pool_is_there_and_tasks_share_the_cores(self, airflow: LocalAirflow) -> None:
        slots = airflow.api.get("pools/training")["slots"]
        assert int(airflow.environment["SKIN_THREADS"]) <= slots <= (os.cpu_count() or 1)

    def test_a_pool_in_which_no_task_would_fit_grows(
        self, airflow: LocalAirflow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        more = airflow.api.get("pools/training")["slots"] + 1
        monkeypatch.setitem(airflow.environment, "SKIN_THREADS", str(more))
        airflow._make_pool()
        assert airflow.api.get("pools/training")["slots"] == more

    def test_a_run_is_shown_step_by_step_and_ends_with_the_verdict(
        self, airflow: LocalAirflow, stage: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, lines = demo_run(airflow, "promote")
        shown = capsys.readouterr().out
        assert status == demo.PROMOTED
        done = [line[:14].strip() for line in lines if "done in" in line]
        assert done[0] == "ingest"
        assert set(done[1:3]) == {"features [0]", "features [1]"}  # at the same time
        assert done[3:] == ["gate", "promote"]
        assert f"Model:  {stage}/store/models/m/versions/v1/model.keras" in shown
        assert "PROMOTED  skin-resnet50-synthetic" in shown

    @pytest.mark.parametrize(
        ("model_name", "status", "told"),
        [
            ("refuse", demo.REFUSED, "REFUSED"),
            (
                "retry",
                demo.PROMOTED,
                "features [1]   failed, will try again: the store did not answer",
            ),
            ("fail", demo.FAILED, "features [1]: the weights are of another network"),
        ],
    )
    def test_other_ends_have_their_own_status_and_say_why(
        self,
        airflow: LocalAirflow,
        capsys: pytest.CaptureFixture[str],
        model_name: str,
        status: int,
        told: str,
    ) -> None:
        found, lines = demo_run(airflow, model_name)
        assert found == status
        assert told in "\n".join([*lines, capsys.readouterr().out])

    def test_what_airflow_does_not_accept_is_told_in_its_words(self, airflow: LocalAirflow) -> None:
        with pytest.raises(BadInput, match=r"model_name.*is too long"):
            demo_run(airflow, "a" * 21)

    def test_a_second_one_is_told_who_holds_the_folder(
        self, airflow: LocalAirflow, stage: Path
    ) -> None:
        with pytest.raises(BadInput, match=f"`a test` \\(process {os.getpid()}\\) is using"):
            local(stage).start()
        airflow.check()
