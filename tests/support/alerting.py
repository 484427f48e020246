"""What tests of alerts share: contexts of callbacks, connections, and a mail server."""

from __future__ import annotations

import email
import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from email import policy
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import AuthResult, LoginPassword
from servers import HOST, Inbox, free_ports

from skin_pipeline.errors import BadInput

BASE = "https://airflow.example.org"
RUN = "manual__2026-07-01T09:00:00+00:00"
SECRET = "hush-token-93d7"
MAIL = {
    "to": "ops@example.org, lab@example.org",
    "from_email": "airflow@example.org",
    "disable_ssl": True,
    "disable_tls": True,
}


@contextmanager
def mail_inbox() -> Generator[Inbox, None, None]:
    """A real SMTP server that keeps what is sent to it; `url` is its port. It asks for a login."""
    inbox = Inbox()

    class Keeper(Message):
        def prepare_message(self, session: Any, envelope: Any) -> Any:
            message = email.message_from_bytes(envelope.content, policy=policy.default)
            given = {"login": session.auth_data, "recipients": envelope.rcpt_tos}
            inbox.received.append(SimpleNamespace(**given, message=message))
            return message

        def handle_message(self, message: Any) -> None:
            pass  # it is kept

    def anybody(*given: Any) -> AuthResult:
        data = given[-1]
        assert isinstance(data, LoginPassword)
        return AuthResult(success=True, auth_data=(data.login.decode(), data.password.decode()))

    port = free_ports(1)[0]
    controller = Controller(
        Keeper(),
        hostname=HOST,
        port=port,
        authenticator=anybody,
        auth_required=True,
        auth_require_tls=False,
    )
    controller.start()
    try:
        inbox.url = str(port)
        yield inbox
    finally:
        controller.stop()


def mail_connection(inbox: Inbox) -> dict[str, Any]:
    """The fields of an Airflow connection to a mail server."""
    login = {"login": "ops", "password": SECRET}
    return {"conn_type": "smtp", "host": HOST, "port": int(inbox.url), **login, "extra": MAIL}


def connect(monkeypatch: pytest.MonkeyPatch, name: str = "alerts", **connection: Any) -> None:
    """Let alerts go through an Airflow connection."""
    monkeypatch.setenv("SKIN_NOTIFY_CONNECTION", name)
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def context(
    task: str = "train",
    *,
    map_index: int = -1,
    run: str = RUN,
    params: dict[str, Any] | None = None,
    verdict: str = "",
    states: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A callback's context, as far as the alerts look at it."""
    ti = SimpleNamespace(
        task_id=task,
        dag_id="skin_training",
        run_id=run,
        map_index=map_index,
        try_number=4,
        start_date=datetime.fromisoformat("2026-06-30T00:00:00+00:00"),
        xcom_pull=lambda task_ids, **_: verdict,
        get_task_states=lambda dag_id, run_ids: {run_ids[0]: states or {}},
    )
    dag = SimpleNamespace(dag_id="skin_training", task_ids=["ingest", "train", "gate"])
    return {"ti": ti, "dag": dag, "run_id": run, "params": params or {}, **more}


def fail_fast(error: Exception) -> Exception:
    """What the DAG makes of bad input: an error of Airflow's that hides its cause."""
    from airflow.sdk.exceptions import AirflowFailException

    try:
        try:
            raise error
        except BadInput as bad:
            raise AirflowFailException(str(bad)) from None
    except AirflowFailException as passed_on:
        return passed_on
