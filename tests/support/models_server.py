"""A store with judged models in it, and a real `airflow api-server` that shows them.

A folder whose `conftest.py` imports this as a plugin gets the fixture `airflow_ui`, one server for
the whole session.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import documents
import pytest
import requests
import sharing
from airflow_home import put_database
from released import opened, point
from servers import HOST, end_with_parent, free_ports

from skin_pipeline import journal
from skin_pipeline.contracts import (
    LABELS,
    RESULT,
    Check,
    GateCheck,
    Interval,
    Judgement,
    Pointer,
    Release,
    Split,
    address,
    dump,
)
from skin_pipeline.release import MANIFEST, version_key
from skin_pipeline.storage import FolderStore, Store

ROOT = Path(__file__).parents[2]
PASSWORD = "page-password-71c2"
# And their roles. Those of the second line belong to the tests of the acting pages, which count
# what these do while other tests use the same server.
USERS = {"admin": "admin", "olga": "op", "eve": "user", "victor": "viewer"} | {
    **{"omar": "op", "erin": "user", "vera": "viewer"}
}
START_SECONDS = 240.0

REAL, SYNTHETIC, REFUSED = "skin-resnet50", "skin-resnet50-synthetic", "skin-resnet50-wide"
REPORT = "<!doctype html><title>Report</title><style>h1{color:teal}</style><h1>Report of %s</h1>"
DATASET, VALIDATION, SPLIT = "ingest/01", "validate/01", "split/01"
DOCS = f"{VALIDATION}/docs/index.html"
UNFIT, UNFIT_RUN = "validate/02", "manual__2026-06-24T10:00:00+00:00"  # validation failed
DUPLICATES = documents.DUPLICATES.name


def interval(value: float, width: float = 0.05) -> Interval:
    """A figure with an interval around it."""
    return Interval(value=value, low=value - width, high=value + width)


def check(name: str, *, passed: bool, severity: Literal["critical", "warning"]) -> Check:
    """A check as Great Expectations left it."""
    return Check(
        name=name,
        severity=severity,
        observed="all" if passed else "3 found (a.jpg = <b>.jpg)",
        bound="none",
        passed=passed,
    )


def write_data(store: Store) -> None:
    """Write a data set with a warning and a shortcut, its split, and one that is not fit."""
    dataset = documents.dataset(DATASET)
    labels = check("labels", passed=True, severity="critical")
    fit = documents.validation(
        VALIDATION, DATASET, checks=(labels, documents.DUPLICATES), docs=DOCS
    )
    failed = check("duplicates have one label", passed=False, severity="critical")
    unfit = fit.model_copy(
        update={"checks": (failed,), "shortcuts": (), "docs": f"{UNFIT}/docs/index.html"}
    )
    split = Split(
        dataset=DATASET,
        table=f"{SPLIT}/manifest.parquet",
        runs=2,
        counts={f"run_{run}": {"train": 700, "validation": 200, "test": 244} for run in range(2)},
        stratification={},
        checks=(check("no group on two sides of a run", passed=True, severity="critical"),),
        docs=f"{SPLIT}/docs/index.html",
    )
    written = {DATASET: dataset, VALIDATION: fit, UNFIT: unfit, SPLIT: split}
    for key, document in written.items():
        store.put(f"{key}/{RESULT}", dump(document))
    for docs in (fit.docs, unfit.docs, split.docs):
        page = f"<!doctype html><title>Data Docs</title><h1>Data Docs of {docs}</h1>"
        store.put(docs, page.encode())


def judge(
    store: Store,
    model: str,
    run: str,
    *,
    at: str,
    accuracy: float,
    approved: bool,
    auc: float = 0.861,
    synthetic: bool = False,
) -> str:
    """Write everything that a judged run leaves in the store; the verdict's key."""
    digest = address({"model": model, "run": run})
    figures = documents.figures(
        threshold=0.412,
        accuracy=interval(accuracy),
        sensitivity=interval(0.853),
        specificity=interval(0.69),
        precision=interval(0.733),
        auc=interval(auc, 0.04),
    )
    evaluation = documents.evaluation(
        dataset=DATASET,
        split=SPLIT,
        synthetic=synthetic,
        threshold=0.412,
        ensemble=figures,
        per_run={0: figures, 1: figures},
    )
    value = f"{accuracy:.3f} [{accuracy - 0.05:.3f}, {accuracy + 0.05:.3f}]"
    check = GateCheck(
        name="accuracy",
        value=value,
        passed=approved,
        bound="at least 0.750 (the lower end of its 95 % interval)",
        advice="" if approved else "232 images: 187 correct would show 0.750, 163 were",
    )
    reasons = () if approved else (check.described(),)
    key, report = f"gate/{digest}", f"gate/{digest}/report.html"
    verdict = documents.verdict(
        evaluation=f"evaluate/{digest}",
        validation=VALIDATION,
        released_as=model,
        approved=approved,
        checks=(check,),
        reasons=reasons,
        report=report,
    )
    judgement = Judgement(
        model=model,
        run=run,
        judged_at=at,
        approved=approved,
        version=digest[:12] if approved else None,
        reasons=reasons,
        accuracy=figures.accuracy,
        sensitivity=figures.sensitivity,
        auc=figures.auc,
        report=report,
        docs=DOCS,
    )
    write_data(store)
    journal.note(store, run, validation=VALIDATION, split=SPLIT, verdict=key)
    store.put(f"evaluate/{digest}/{RESULT}", dump(evaluation))
    store.put(report, (REPORT % run).encode())
    store.put(f"{key}/{RESULT}", dump(verdict))
    opened(store, name=judgement.model).record(judgement, digest)
    return key


def promote(store: Store, model: str, verdict: str, *, at: str, synthetic: bool = False) -> str:
    """Make the model of a verdict the champion; its version."""
    version = verdict.removeprefix("gate/")[:12]
    previous = opened(store, name=model).champion
    release = Release(
        model=model,
        version=version,
        verdict=verdict,
        synthetic=synthetic,
        content_digest="c",
        labels=LABELS,
        threshold=0.412,
        files={},
    )
    store.put(f"{version_key(model, version)}/{MANIFEST}", dump(release))
    pointer = Pointer(
        model=model,
        version=version,
        previous=previous.version if previous else None,
        moved_at=at,
        by="skin_training",
        reason="approved by the gate",
    )
    assert point(store, pointer, previous.version if previous else None)
    return version


def fill(store: Store) -> None:
    """Three models: one with a history and a champion, one synthetic, one that never passed."""
    for model, synthetic in ((REAL, False), (SYNTHETIC, True)):
        for day, accuracy, approved in (
            ("01", 0.806, True),
            ("08", 0.771, False),
            ("15", 0.831, True),
            ("22", 0.743, False),
        ):
            at = f"2026-06-{day}T03:12:40+00:00"
            verdict = judge(
                store,
                model,
                f"scheduled__2026-06-{day}T03:00:00+00:00",
                at=at,
                accuracy=accuracy,
                approved=approved,
                synthetic=synthetic,
            )
            if approved:
                promote(store, model, verdict, at=at, synthetic=synthetic)
    judge(
        store,
        REFUSED,
        "manual__<b>bold</b>",
        at="2026-06-23T10:00:00+00:00",
        accuracy=0.61,
        approved=False,
        auc=float("nan"),
    )
    journal.note(store, UNFIT_RUN, validation=UNFIT)
    store.put("weights/private.html", b"not for the page")


@dataclass(frozen=True)
class AirflowUi:
    """A running API server with the plugins of this checkout and a filled store."""

    url: str
    store: FolderStore
    env: dict[str, str] = field(repr=False)

    @property
    def token(self) -> str:
        """What a login gives."""
        return self.token_of("admin")

    def token_of(self, user: str) -> str:
        """What a login as one of `USERS` gives."""
        login = {"username": user, "password": PASSWORD}
        answer = requests.post(f"{self.url}/auth/token", json=login, timeout=300)
        return str(answer.json()["access_token"])

    def session(self, user: str) -> requests.Session:
        """A browser in which one of `USERS` has logged in."""
        session = requests.Session()
        session.cookies.set("_token", self.token_of(user))
        return session

    def count(self, table: str) -> int:
        """How many rows a table of Airflow's database has."""
        with closing(sqlite3.connect(f"{self.env['AIRFLOW_HOME']}/airflow.db")) as database:
            (rows,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(rows)

    def runs_of(self, *users: str) -> int:
        """How many DAG runs these users have triggered."""
        names = ", ".join("?" * len(users))
        asked = f"SELECT count(*) FROM dag_run WHERE triggering_user_name IN ({names})"
        with closing(sqlite3.connect(f"{self.env['AIRFLOW_HOME']}/airflow.db")) as database:
            (rows,) = database.execute(asked, users).fetchone()
        return int(rows)


@pytest.fixture(scope="session")
def airflow_ui() -> Iterator[AirflowUi]:
    """One Airflow for all tests of the page; it starts with three models in its store, and knows
    our DAGs, which nothing runs."""
    with sharing.server("models_server", "shared_api_server") as ui:
        yield ui


def shared_api_server() -> AbstractContextManager[AirflowUi]:
    """The one of `airflow_ui`."""
    home = Path(tempfile.mkdtemp(prefix="airflow-", dir=sharing.folder()))
    return api_server(home, prepare=know_dags)


def know_dags(environment: dict[str, str]) -> None:
    """Have a database of Airflow contain our DAGs, as if a DAG processor had read them.

    Best before its server starts: SQLite lets only one process write, and the others wait for
    five seconds.
    """
    reading = {
        **environment,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "PYTHONPATH": f"{ROOT}/dags:{ROOT}/plugins:{ROOT}",
    }
    command = [sys.executable, "-m", "airflow", "dags", "reserialize"]
    subprocess.run(command, env=reading, check=True, capture_output=True)


@contextmanager
def api_server(
    home: Path,
    path: str = "",
    *,
    more: Mapping[str, str] = MappingProxyType({}),
    prepare: Callable[[dict[str, str]], None] | None = None,
) -> Generator[AirflowUi, None, None]:
    """Airflow's API server with a home of its own, up when the block starts.

    Args:
        home: Its folder.
        path: The path below which it answers.
        more: More variables of its environment.
        prepare: Is called with its environment before it starts, when there is a database.

    Raises:
        RuntimeError: it did not come up; the message ends with the last lines of its log.
    """
    store = FolderStore(home / "store")
    fill(store)
    put_database(home)
    (port,) = free_ports(1)  # just before it is taken: others ask for ports too
    environment = {**_environment(home, store, port, path), **more}
    ui = AirflowUi(f"http://{HOST}:{port}{path}", store, environment)
    if prepare:
        prepare(environment)
    log = home / "log"
    airflow = [sys.executable, "-m", "airflow", "api-server"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*airflow, "--host", HOST, "--port", str(port), "--workers", "1"],
            env=ui.env,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        _wait(process, ui.url, log)
        yield ui
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(home: Path, store: FolderStore, port: int, path: str) -> dict[str, str]:
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps(dict.fromkeys(USERS, PASSWORD)))
    (home / "dags").mkdir()
    kept = {name: value for name, value in os.environ.items() if not _foreign(name)}
    return kept | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(map(":".join, USERS.items())),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}{path}",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PYTHONPATH": str(ROOT),
        "SKIN_STORE": store.url,
    }


def _foreign(name: str) -> bool:
    return name.startswith(("AIRFLOW", "SKIN_", "_AIRFLOW"))


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/api/v2/monitor/health", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    raise RuntimeError(f"airflow api-server did not come up:\n{tail}")
