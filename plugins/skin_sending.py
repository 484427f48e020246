"""How alerts are sent: by Airflow's SMTP provider, or by Apprise, through Airflow's connections.

    deliver(store, incident, alert)   # through all that are configured; notes it in the incident
    send("pager", alert)              # through one; raises NotSent

The type of the connection says how:

    webhook   type `http`, host: the URL; password: a bearer token, or login and password. It gets
              one flat JSON object
    Slack     type `http`, host: https://hooks.slack.com/services, password: T…/B…/…
              (for a server that takes Slack's format: its URL, and extra {"format": "slack"})
    e-mail    type `smtp`, extra {"to": "a@…, b@…", "from_email": "…"}, and the fields that
              Airflow's SMTP provider requires
    others    type `apprise`, as Apprise's provider for Airflow has it: config {"path": URL}, or a
              list of these; or the URL as the password

Redirects are not followed, so that an alert and its token go to no other server.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from apprise import Apprise
    from skin_alerts import Alert

    from skin_pipeline.contracts import Incident
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

# Short, since a task does not end before its alert is sent.
CONNECT_SECONDS, ANSWER_SECONDS = 3.05, 5
ATTEMPTS = 2
SLACK = "https://hooks.slack.com/services"
# What Apprise adds to a JSON object, unless it is told to leave it out.
NO_DEFAULTS = dict.fromkeys(("version", "title", "message", "attachments", "type"), "")
TALKATIVE = ("apprise", "urllib3", "requests")  # they log addresses, which may be secrets


class NotSent(Exception):
    """An alert could not be delivered. The message contains no address and no secret."""


def deliver(store: Store, incident: Incident, message: Alert) -> str:
    """Sends a message about an incident to those who do not have it yet, and notes what became of
    it in the incident. Returns why it did not arrive, or ""."""
    from datetime import datetime, timezone

    from skin_pipeline.operations import incidents

    over = message.state == "over"
    to, sent = ("recovery_delivered", "recovery_sent") if over else ("delivered", "sent")
    delivered, problem = send_everywhere(message, getattr(incident, to))
    noted: dict[str, Any] = {to: delivered, "problem": problem}
    if not problem:
        noted[sent] = datetime.now(timezone.utc).isoformat()
    try:
        incidents.update(store, incident.id, **noted)
    except Exception as error:
        log.error("alert_not_noted id=%s error=%s", incident.id, type(error).__name__)
    return problem


def send_everywhere(message: Alert, already: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Sends a message through all configured connections but those that it went through already.

    Returns:
        The connections that it has gone through now, and why it did not go through the others.
    """
    from skin_pipeline.config import read_deployment

    names = [name.strip() for name in read_deployment().notify_connection.split(",")]
    delivered, problems = list(already), []
    for name in filter(None, names):
        if name in delivered:
            continue
        try:
            send(name, message)
        except NotSent as error:
            problems.append(f"{name}: {error}")
            log.error(
                'alert_not_sent event=%s connection=%s reason="%s" subject="%s"',
                *(message.event, name, error, message.headline),
            )
        else:
            delivered.append(name)
            log.info(
                'alert_sent event=%s connection=%s subject="%s"',
                *(message.event, name, message.headline),
            )
    if not any(names):
        level = logging.INFO if message.level in {"info", "success"} else logging.WARNING
        log.log(level, 'alert event=%s subject="%s"', message.event, message.headline)
    return tuple(delivered), "; ".join(problems)


def send(name: str, alert: Alert) -> None:
    """Sends an alert through the Airflow connection of that name.

    Raises:
        NotSent: It could not be delivered.
    """
    from skin_connections import find_connection

    connection = find_connection(name)
    if connection is None:
        raise NotSent("SKIN_NOTIFY_CONNECTION names a connection that does not exist")
    try:
        _way(connection)(alert, connection)
    except NotSent:
        raise
    except Exception as error:
        # Of a library's error only the type: its message may contain a URL, which may be a secret.
        raise NotSent(type(error).__name__) from None


def _way(connection: Connection) -> Callable[[Alert, Connection], None]:
    if connection.conn_type == "apprise":
        return _send_by_apprise
    if _is_slack(connection):
        return _send_slack
    return _send_mail if connection.conn_type in {"smtp", "email"} else _send_webhook


# --- webhooks ------------------------------------------------------------------------------------


def _is_slack(connection: Connection) -> bool:
    """Returns whether a connection leads to Slack, or to a server that takes its format.

    The type alone is not enough: without the Slack provider, Airflow turns it into `generic`.
    """
    return (
        connection.conn_type in {"slack", "slackwebhook"}
        or connection.extra_dejson.get("format") == "slack"
        or any(
            "//hooks.slack.com/" in (part or "") for part in (connection.host, connection.password)
        )
    )


def _send_slack(alert: Alert, connection: Connection) -> None:
    """Posts the alert to an incoming webhook, whose secret part is the connection's password."""
    text = f"*{alert.headline}*\n{alert.text}"
    _post(_slack_url(connection), {"text": html.escape(text, quote=False)}, alert)


def _slack_url(connection: Connection) -> str:
    secret = connection.password or ""
    if "://" in secret:
        return secret
    host = (connection.host or SLACK).rstrip("/")
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
    return f"{host}/{secret.lstrip('/')}" if secret else host


def _send_webhook(alert: Alert, connection: Connection) -> None:
    """Posts the alert as JSON.

    A connection with a login gives basic authentication, one with a password alone a bearer token.
    """
    login: dict[str, Any] = {}
    if connection.login:
        login = {"user": connection.login, "password": connection.password or ""}
    elif connection.password:
        login = {"headers": {"Authorization": f"Bearer {connection.password}"}}
    _post(_webhook_url(connection), alert.payload(), alert, **login)


def _webhook_url(connection: Connection) -> str:
    """Returns the URL of a connection, which is whole in its host, or in parts in its fields.

    The field `schema` contains the protocol or a path: if a connection is given as the URI
    `http://HOST:PORT/PATH`, Airflow puts the path there.
    """
    host = (connection.host or "").rstrip("/")
    if not host:
        raise NotSent("the connection has no host")
    protocol = connection.schema if connection.schema in {"http", "https"} else ""
    path = connection.extra_dejson.get("path") or ("" if protocol else connection.schema) or ""
    if "://" not in host:
        secure = connection.conn_type == "https"
        host = f"{protocol or ('https' if secure else 'http')}://{host}"
    if connection.port and urlsplit(host).port is None:
        parts = urlsplit(host)
        host = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    return f"{host}/{path.lstrip('/')}" if path else host


def _post(url: str, payload: dict[str, Any], alert: Alert, **login: Any) -> None:
    """Posts a JSON object by Apprise's plugin for it."""
    from apprise.plugins.custom_json import NotifyJSON

    parts = urlsplit(url)
    if parts.username and "user" not in login:
        login |= {"user": unquote(parts.username), "password": unquote(parts.password or "")}
    service = NotifyJSON(  # type: ignore[no-untyped-call]
        host=parts.hostname,
        port=parts.port,
        secure=parts.scheme == "https",
        fullpath=parts.path or "/",
        params=dict(parse_qsl(parts.query)),
        payload={**NO_DEFAULTS, **payload},
        asset=_asset(),
        **login,
    )
    _notify(service, alert)


# --- Apprise -------------------------------------------------------------------------------------


def _send_by_apprise(alert: Alert, connection: Connection) -> None:
    """Sends the alert to each service of a connection of the type `apprise`."""
    import apprise

    with _quiet():
        services = apprise.Apprise(asset=_asset())
        _add(services, connection)
    # An address that Apprise does not know is left out of its list, and would never be told.
    if not services or len(services) < _named(connection):
        raise NotSent("Apprise does not know an address of the connection, or it has none")
    problems = []
    for service in services:
        try:
            _notify(service, alert)
        except NotSent as error:
            problems.append(f"{getattr(service, 'service_name', 'a service')}: {error}")
    if problems:
        raise NotSent("; ".join(problems))


def _add(services: Apprise, connection: Connection) -> None:
    """Adds the addresses of a connection: those of the provider's form, and a plain one."""
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    if connection.extra_dejson.get("config"):
        AppriseHook(connection.conn_id).set_config_from_conn(connection, services)
    if _plain(connection):
        services.add(_plain(connection))


def _named(connection: Connection) -> int:
    """Returns how many addresses a connection has."""
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    plain = int(bool(_plain(connection)))
    if not connection.extra_dejson.get("config"):
        return plain
    config = AppriseHook(connection.conn_id).get_config_from_conn(connection)
    return plain + (len(config) if isinstance(config, list) else 1)


def _plain(connection: Connection) -> str:
    """Returns the address that is the password of a connection, or ""."""
    password = connection.password or ""
    return password if "://" in password else ""


def _asset() -> Any:
    """Returns what Apprise does by default: no redirects, and no long waiting."""
    import apprise

    return apprise.AppriseAsset(app_id="skin-pipeline", http_redirects=False, async_mode=False)


def _notify(service: Any, alert: Alert) -> None:
    """Sends an alert to one service, and tries once more if it could not be reached or failed.

    Raises:
        NotSent: Every attempt failed; the message is about the last one.
    """
    service.redirects = False  # whatever its address says
    service.socket_connect_timeout = CONNECT_SECONDS
    service.socket_read_timeout = ANSWER_SECONDS
    problem = ""
    for _ in range(ATTEMPTS):
        with _quiet() as said:
            sent = service.notify(body=alert.text, title=alert.headline, notify_type=_level(alert))
        if sent:
            return
        status = _status(said)
        problem = f"the server answered {status}" if status else "no answer"
        if status and status < 500:  # a refusal, which a second attempt does not change
            break
    raise NotSent(problem)


def _level(alert: Alert) -> Any:
    from apprise import NotifyType

    return NotifyType(alert.level)


def _status(said: list[str]) -> int:
    """Returns the status that a server answered, which Apprise tells in its log only; 0 if none."""
    found = re.findall(r"error=(\d{3})\b", " ".join(said))
    return int(found[-1]) if found else 0


@contextmanager
def _quiet() -> Generator[list[str], None, None]:
    """Gives what Apprise warns of while the block runs, and keeps it out of all logs."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    before = [(each.level, each.propagate) for each in loggers]
    for each in loggers:
        each.setLevel(logging.WARNING)
        each.propagate = False
    loggers[0].addHandler(handler)
    try:
        yield said
    finally:
        loggers[0].removeHandler(handler)
        for each, (level, propagate) in zip(loggers, before, strict=True):
            each.setLevel(level)
            each.propagate = propagate


# --- e-mail --------------------------------------------------------------------------------------


def _send_mail(alert: Alert, connection: Connection) -> None:
    """Sends an e-mail through Airflow's own SMTP provider."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    class QuickHook(SmtpHook):
        """Airflow's hook with short time-outs: the process of a task waits for it."""

        timeout = ANSWER_SECONDS
        smtp_retry_limit = ATTEMPTS - 1

    recipients = connection.extra_dejson.get("to")
    sender = connection.extra_dejson.get("from_email") or connection.login
    if not recipients or not sender:
        raise NotSent('the connection\'s extra needs "to" and "from_email"')
    body = html.escape(alert.text).replace("\n", "<br>\n")
    with QuickHook(smtp_conn_id=connection.conn_id) as hook:
        hook.send_email_smtp(
            to=recipients, from_email=sender, subject=alert.headline, html_content=body
        )
