"""That alerts arrive, however the connection is filled in, and that no secret is told."""

from __future__ import annotations

import base64
import json
import logging
import re
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import skin_sending
from airflow.sdk import Connection
from alerting import BASE, MAIL, RUN, SECRET, connect, mail_connection, mail_inbox
from servers import HOST, Inbox, webhook_inbox
from skin_alerts import Alert, Place, complete
from skin_sending import NotSent, _is_slack, _slack_url, send, send_everywhere


@pytest.fixture
def webhook() -> Iterator[Inbox]:
    """A real HTTP server that keeps what is posted to it."""
    with webhook_inbox() as inbox:
        yield inbox


@pytest.fixture
def mailbox() -> Iterator[Inbox]:
    """A real SMTP server that keeps what is sent to it."""
    with mail_inbox() as inbox:
        yield inbox


@pytest.fixture(autouse=True)
def base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", BASE)


def failure(error: str = "no images") -> Alert:
    place = Place("skin_training", RUN, "train", 2, 4)
    text = [f"Error: {error}"]
    return complete("task_failed", "Task train [2] failed", text, model="skin", place=place)


def test_a_webhook_gets_json_with_a_bearer_token(
    webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, conn_type="http", host=f"{webhook.url}/hook", password=SECRET)
    send("alerts", failure())
    (post,) = webhook.received
    assert (post.path, post.headers["Authorization"]) == ("/hook", f"Bearer {SECRET}")
    assert post.json == failure().payload()
    assert (post.json["map_index"], post.json["try_number"]) == (2, 4)


def test_a_webhook_without_a_password_gets_no_authorization(
    webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, conn_type="http", host=f"{webhook.url}/hook?key=a%20b")
    send("alerts", failure())
    (post,) = webhook.received
    assert post.path == "/hook?key=a+b"
    assert "Authorization" not in post.headers


@pytest.mark.parametrize(
    "connection",
    [
        {"conn_type": "http", "host": HOST, "port": "PORT", "extra": {"path": "/in/hook"}},
        {"conn_type": "generic", "host": f"http://{HOST}/in/hook", "port": "PORT"},
        {"conn_type": "http", "host": HOST, "port": "PORT", "schema": "in/hook"},
        {"conn_type": "webhook", "host": f"http://{HOST}:PORT/in/hook", "schema": "http"},
    ],
)
def test_a_webhook_is_found_however_the_connection_is_filled_in(
    connection: dict[str, Any], webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = webhook.url.rpartition(":")[2]
    filled = json.loads(json.dumps(connection).replace('"PORT"', port).replace("PORT", port))
    connect(monkeypatch, login="ops", password=SECRET, **filled)
    send("alerts", failure())
    (post,) = webhook.received
    login = base64.b64encode(f"ops:{SECRET}".encode()).decode()
    assert (post.path, post.headers["Authorization"]) == ("/in/hook", f"Basic {login}")


@pytest.mark.parametrize(
    "connection",
    [
        {"conn_type": "slackwebhook", "password": f"URL/services/T/{SECRET}"},
        {"conn_type": "slack", "host": "URL/services", "password": f"T/{SECRET}"},
        {"conn_type": "http", "host": f"URL/services/T/{SECRET}", "extra": {"format": "slack"}},
    ],
)
def test_slack_gets_one_escaped_text(
    connection: dict[str, Any], webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, **json.loads(json.dumps(connection).replace("URL", webhook.url)))
    send("alerts", failure("<!channel> & co"))
    (post,) = webhook.received
    assert post.path == f"/services/T/{SECRET}"
    assert list(post.json) == ["text"]
    assert post.json["text"].startswith("*Task train [2] failed*\n")
    assert "&lt;!channel&gt; &amp; co" in post.json["text"]


@pytest.mark.parametrize(
    "connection",
    [
        {"host": "https://hooks.slack.com/services", "password": "T/B/x"},
        {"host": "https://hooks.slack.com/services/T/B/x"},
        {"password": "https://hooks.slack.com/services/T/B/x"},
    ],
)
def test_slack_is_known_by_its_address(connection: dict[str, Any]) -> None:
    found = Connection(conn_id="alerts", conn_type="generic", **connection)
    assert _is_slack(found)
    assert _slack_url(found) == "https://hooks.slack.com/services/T/B/x"


def test_an_email_reaches_every_recipient(mailbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, **mail_connection(mailbox))
    send("alerts", failure("<b>"))
    (mail,) = mailbox.received
    assert mail.recipients == ["ops@example.org", "lab@example.org"]
    assert mail.login == ("ops", SECRET)
    assert mail.message["Subject"] == "Task train [2] failed"
    assert mail.message["From"] == "airflow@example.org"
    assert "Error: &lt;b&gt;<br>" in mail.message.get_body(("html",)).get_content()


# --- Apprise -------------------------------------------------------------------------------------


def apprise_url(inbox: Inbox, path: str) -> str:
    return f"{inbox.url.replace('http://', 'json://')}/{path}"


@pytest.mark.parametrize("form", ["dict", "list", "text", "password"])
def test_a_service_of_apprise_is_reached_by_its_address(
    form: str, webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: Any = {"path": apprise_url(webhook, SECRET), "tag": "alerts"}
    extra = {"config": {"dict": config, "list": [config], "text": json.dumps(config)}.get(form)}
    filled = {"password": config["path"]} if form == "password" else {"extra": extra}
    connect(monkeypatch, conn_type="apprise", **filled)
    send("alerts", failure())
    (post,) = webhook.received
    assert post.path == f"/{SECRET}"
    assert (post.json["title"], post.json["type"]) == ("Task train [2] failed", "failure")
    assert post.json["message"] == failure().text


def test_every_service_is_tried_and_those_that_fail_are_named(
    webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = [{"path": apprise_url(webhook, name)} for name in ("a", "b")]
    connect(monkeypatch, conn_type="apprise", extra={"config": services})
    webhook.answers = [404, 200]
    with pytest.raises(NotSent, match=r"^JSON: the server answered 404$"):
        send("alerts", failure())
    assert [post.path for post in webhook.received] == ["/a", "/b"]


@pytest.mark.parametrize("config", [None, {"path": f"nosuch://{SECRET}"}])
def test_an_address_that_apprise_does_not_know_is_not_passed_over(
    config: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect(monkeypatch, conn_type="apprise", extra={"config": config})
    with caplog.at_level(logging.DEBUG), pytest.raises(NotSent, match="does not know an address"):
        send("alerts", failure())
    assert SECRET not in caplog.text


def test_the_address_of_a_service_cannot_ask_for_redirects(
    webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{apprise_url(webhook, 'a')}?redirect=yes&cto=100"
    connect(monkeypatch, conn_type="apprise", extra={"config": {"path": path}})
    webhook.answers = [307]
    with pytest.raises(NotSent, match="the server answered 307"):
        send("alerts", failure())
    assert len(webhook.received) == 1


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "posts", "arrived"),
    [
        ([500], 2, True),
        ([500, 503], 2, False),
        ([404], 1, False),
        # Followed, the alert and its token would go to wherever the server points.
        *(([status], 1, False) for status in (301, 302, 303, 307, 308)),
    ],
)
def test_a_failing_server_is_tried_once_more_and_no_further(
    answers: list[int], posts: int, arrived: bool, webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, conn_type="http", host=webhook.url, password=SECRET)
    webhook.answers = list(answers)
    if arrived:
        send("alerts", failure())
    else:
        with pytest.raises(NotSent, match=f"the server answered {answers[-1]}"):
            send("alerts", failure())
    assert [post.path for post in webhook.received] == ["/"] * posts


def no_server() -> str:
    return f"http://{HOST}:9/services/T/{SECRET}"


@pytest.mark.parametrize(
    ("connection", "reason"),
    [
        ({"conn_type": "http", "host": no_server(), "password": SECRET}, "no answer"),
        ({"conn_type": "slackwebhook", "password": no_server()}, "no answer"),
        ({"conn_type": "http", "password": SECRET}, "the connection has no host"),
        ({"conn_type": "http", "host": f"http://[{SECRET}"}, "ValueError"),
        ({"conn_type": "smtp", "host": HOST, "password": SECRET}, 'needs "to" and "from_email"'),
        (
            {
                "conn_type": "smtp",
                "host": HOST,
                "port": 9,
                "password": SECRET,
                "login": "a@example.org",
                "extra": {"to": "b@example.org", "disable_ssl": True, "disable_tls": True},
            },
            "ConnectionRefusedError",
        ),
        ({"conn_type": "apprise", "password": f"json://{HOST}:1/{SECRET}"}, "JSON: no answer"),
        (None, "a connection that does not exist"),
    ],
    ids=[
        "dead",
        "dead slack",
        "no host",
        "broken url",
        "no recipients",
        "dead mail",
        "dead apprise",
        "missing",
    ],
)
def test_what_cannot_be_sent_is_said_without_secrets(
    connection: dict[str, Any] | None,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connect(monkeypatch, **(connection or {}))
    if connection is None:
        monkeypatch.delenv("AIRFLOW_CONN_ALERTS")
    with caplog.at_level(logging.DEBUG), pytest.raises(NotSent, match=re.escape(reason)) as error:
        send("alerts", failure())
    assert SECRET not in f"{caplog.text} {error.value}"


@pytest.mark.parametrize("kind", ["http", "slack", "apprise"])
def test_an_address_with_a_secret_is_in_no_log_when_all_goes_well(
    kind: str, webhook: Inbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"{webhook.url}/{SECRET}"
    fields = {"host": url} if kind == "http" else {"password": url}
    if kind == "apprise":
        fields = {"password": url.replace("http://", "json://")}
    connect(monkeypatch, conn_type=kind, **fields)
    with caplog.at_level(logging.DEBUG):
        send("alerts", failure())
    assert len(webhook.received) == 1
    assert SECRET not in caplog.text


def test_whoever_has_an_alert_already_does_not_get_it_again(
    webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        connect(monkeypatch, name, conn_type="http", host=f"{webhook.url}/{name}")
    monkeypatch.setenv("SKIN_NOTIFY_CONNECTION", "first, second")
    assert send_everywhere(failure(), ("first",)) == (("first", "second"), "")
    assert [post.path for post in webhook.received] == ["/second"]


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes a connection and never says a word."""
    with socketserver.TCPServer((HOST, 0), socketserver.BaseRequestHandler) as listener:
        yield f"http://{HOST}:{listener.server_address[1]}"


@pytest.mark.parametrize("by", ["http", "smtp", "apprise"])
def test_a_server_that_says_nothing_is_waited_for_no_longer_than_is_set(
    by: str, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert skin_sending.CONNECT_SECONDS + skin_sending.ANSWER_SECONDS <= 10
    monkeypatch.setattr(skin_sending, "ANSWER_SECONDS", 0.05)
    where: dict[str, Any] = {"host": HOST, "port": int(silent.rpartition(":")[2])}
    if by == "smtp":
        where["extra"] = MAIL
    if by == "apprise":
        where = {"password": silent.replace("http://", "json://")}
    connect(monkeypatch, conn_type=by, **where)
    said: list[str] = []

    def sending() -> None:
        try:
            send("alerts", failure())
        except NotSent as error:
            said.append(str(error))

    thread = threading.Thread(target=sending, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(said) == 1
    assert re.fullmatch(r"no answer|JSON: no answer|AirflowException", said[0])
