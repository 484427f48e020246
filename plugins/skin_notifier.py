"""Alerts: a task or a run failed, the gate refused a model, a model was promoted.

    @dag(on_failure_callback=SkinNotifier("run_failed"))
    @task(on_failure_callback=SkinNotifier("task_failed"))
    @task(on_success_callback=SkinNotifier("promoted"))

They go through the Airflow connection that `SKIN_NOTIFY_CONNECTION` names; if it names none, they
go to the log. An alert that cannot be sent is a line in the log, never an error of the run.

    webhook   type `http`, host: the URL; password: a bearer token, if any
    Slack     type `http`, host: https://hooks.slack.com/services, password: T…/B…/…
              (for a server that takes Slack's format: its URL, and extra {"format": "slack"})
    e-mail    type `smtp`, extra {"to": "a@…, b@…", "from_email": "…"}, and the fields that
              Airflow's SMTP provider requires
"""

from __future__ import annotations

import html
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseNotifier

from skin_pipeline.foreign import guard, line, masked

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from airflow.sdk.definitions.context import Context

    from skin_pipeline.contracts import Interval, Pointer, Verdict
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

Event = Literal["task_failed", "run_failed", "refused", "promoted", "approval_waiting"]
GATE = "gate"  # the task that returns the key of the verdict
DATA_TASKS = ("validate", "split")  # if they fail, the run's tab "Data" says more

# Short, since a task does not end before its alert is sent.
CONNECT_SECONDS, ANSWER_SECONDS = 3.05, 5
ATTEMPTS = 2
LONGEST_ERROR = 500  # characters
SLACK = "https://hooks.slack.com/services"


class NotSent(Exception):
    """An alert could not be delivered. The message contains no address and no secret."""


@dataclass(frozen=True)
class Words:
    """The text of an alert, and the model that it is about."""

    subject: str
    lines: tuple[str, ...]
    model: str = ""
    synthetic: bool = False
    report_url: str = ""
    data_url: str = ""


@dataclass(frozen=True)
class Place:
    """The task or run of Airflow that an alert is about. A part that is not known is empty."""

    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1
    try_number: int = 0

    @property
    def task(self) -> str:
        """The task's name for people, such as `train [3]` for a mapped task."""
        return self.task_id if self.map_index < 0 else f"{self.task_id} [{self.map_index}]"


@dataclass(frozen=True)
class Alert:
    """What is sent: `subject` and `text` for people, the rest for machines."""

    event: Event
    subject: str
    text: str
    model: str
    synthetic: bool
    place: Place = field(default_factory=Place)
    run_url: str = ""
    report_url: str = ""
    data_url: str = ""

    def payload(self) -> dict[str, Any]:
        """Returns the JSON that a webhook gets: one flat object."""
        fields = asdict(self)
        return {**fields.pop("place"), **fields}


class SkinNotifier(BaseNotifier):
    """An Airflow callback that sends an alert about one event of a run. The call never raises.

    Args:
        event: `task_failed` is for the failure callback of a task, `run_failed` for that of a DAG.
            `promoted` and `refused` are for success callbacks of the tasks after the gate.

    Raises:
        ValueError: There is no such event.
    """

    def __init__(self, event: Event, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if event not in get_args(Event):
            raise ValueError(f"event must be one of {get_args(Event)}. Received: {event!r}")
        self.event: Event = event

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Does nothing. There are no templates, and Airflow could not render them for every DAG."""

    def notify(self, context: Context) -> None:
        """Composes the alert and sends it."""
        try:
            send(compose(self.event, context))
        except Exception as error:  # an alert must never fail a run
            log.error("alert_failed event=%s error=%s", self.event, type(error).__name__)


# --- what an alert says --------------------------------------------------------------------------


def compose(event: Event, context: Any) -> Alert:
    """Returns the alert for an event.

    Args:
        event: What happened.
        context: The context that Airflow gives a callback; every part of it may be missing.
    """
    place = _place(context)
    words = WORDS[event](context, place)
    if event == "run_failed":  # the context names the task that ended last, whatever the cause
        place = Place(place.dag_id, place.run_id)
    run_url = _run_url(place)
    about = f"Model {words.model}, run" if words.model else "Run"
    links = {"Report": words.report_url, "Data": words.data_url, "Run": run_url}
    lines = (
        *words.lines,
        f"{about} {place.run_id} of {place.dag_id}.",
        *(f"{name}: {url}" for name, url in links.items() if url),
    )
    text = "\n".join(map(line, lines))
    subject = f"[synthetic data] {words.subject}" if words.synthetic else words.subject
    return Alert(
        event,
        _masked(_one_line(subject)),
        _masked(text),
        words.model,
        words.synthetic,
        place,
        run_url,
        words.report_url,
        words.data_url,
    )


def _place(context: Any) -> Place:
    ti, dag = context.get("ti"), context.get("dag")
    return Place(
        dag_id=getattr(dag, "dag_id", "") or getattr(ti, "dag_id", ""),
        run_id=context.get("run_id") or getattr(ti, "run_id", ""),
        task_id=getattr(ti, "task_id", ""),
        map_index=_number(getattr(ti, "map_index", None), -1),
        try_number=_number(getattr(ti, "try_number", None), 0),
    )


def _number(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def _task_failed(context: Any, place: Place) -> Words:
    fault = _fault(context.get("exception"))
    return Words(
        f"Task {place.task} failed in {place.dag_id}",
        (
            f"Task {place.task} failed on try {place.try_number} and is not tried again.",
            f"Error: {_described(fault)}",
            f"What to do: {_next_step(fault)}",
        ),
        *_model(context),
        data_url=_data_url(place) if place.task_id in DATA_TASKS else "",
    )


def _fault(error: Any) -> Any:
    """Returns the pipeline's own error if the DAG turned one into an error of Airflow's."""
    from skin_pipeline.errors import PipelineError

    # Raised `from None`, Airflow's error has no cause, but the first error is still its context.
    cause = getattr(error, "__cause__", None) or getattr(error, "__context__", None)
    return cause if isinstance(cause, PipelineError) else error


def _described(fault: Any) -> str:
    """Returns an error on one line. Other errors than the pipeline's own come with their type, as
    their messages alone may say little."""
    from skin_pipeline.errors import PipelineError

    if isinstance(fault, BaseException) and not isinstance(fault, PipelineError):
        return _one_line(f"{type(fault).__name__}: {fault}")
    return _one_line(fault) or "none was reported before the process of the task ended"


def _next_step(fault: Any) -> str:
    """Returns what a person should do about a failed task."""
    from skin_pipeline.errors import BadInput, Unavailable

    if isinstance(fault, BadInput):
        return "correct what the error names, then clear the task or start a new run."
    again = "then clear the task; finished steps are not repeated."
    if isinstance(fault, Unavailable):
        return f"wait until what the error names is available again, {again}"
    return f"read the log of the task, remove the cause, {again}"


REASONS = {
    "task_failure": "a task failed",
    "all_tasks_deadlocked": "no remaining task could start",
    "timed_out": "it took longer than allowed",
}


def _run_failed(context: Any, place: Place) -> Words:
    reason = str(context.get("reason") or "")
    failed = ", ".join(_failed_tasks(context, place))
    return Words(
        f"A run of {place.dag_id} failed",
        (
            f"The run failed: {REASONS.get(reason, reason) or 'a task failed'}"
            + (f" ({failed})." if failed else "."),
            "What to do: open the run, read the logs of the tasks that failed, remove the cause, "
            "then clear them; finished steps are not repeated.",
        ),
        *_model(context),
    )


def _failed_tasks(context: Any, place: Place) -> list[str]:
    """Returns the tasks that failed themselves; none if Airflow does not say."""
    try:
        states = context["ti"].get_task_states(dag_id=place.dag_id, run_ids=[place.run_id])
    except Exception as error:  # not available under `airflow dags test`
        log.info("task_states_unknown error=%s", type(error).__name__)
        return []
    return sorted(name for name, state in states[place.run_id].items() if state == "failed")


def _judged(context: Any, place: Place) -> Words:
    """Returns the text about a verdict, without its figures if the store cannot be read."""
    try:
        return _verdict_words(context, place)
    except Exception as error:
        log.warning("verdict_unreadable error=%s", type(error).__name__)
        model, synthetic = _model(context)
        line = "Its verdict could not be read; see the page Models in Airflow."
        return Words(f"{model or 'A model'} was judged", (line,), model, synthetic)


def _verdict_words(context: Any, place: Place) -> Words:
    from skin_connections import open_configured_store
    from skin_models import report_link

    from skin_pipeline import journal
    from skin_pipeline.contracts import CHAMPION, Evaluation, Verdict, load
    from skin_pipeline.release import Unverified

    store = open_configured_store()
    verdict = load(store, context["ti"].xcom_pull(task_ids=GATE), Verdict)
    evaluation = load(store, verdict.evaluation, Evaluation)
    # It needs no verified signature, since nothing is decided by it: it is only shown.
    champion = Unverified(store, verdict.released_as).pointer(CHAMPION)
    unchanged = journal.changed_nothing(store, place.run_id)
    outcome, *lines = _outcome(verdict, champion, unchanged)
    figures = evaluation.ensemble
    lines.insert(
        1,
        f"On {figures.images} test images: accuracy {_with_interval(figures.accuracy)}, "
        f"sensitivity {_with_interval(figures.sensitivity)}.",
    )
    lines[2:2] = _data_warnings(store, verdict.validation, evaluation.split)
    return Words(
        f"{verdict.released_as} {outcome}",
        tuple(lines),
        verdict.released_as,
        evaluation.synthetic,
        report_link(verdict.report, _base_url()),
        _data_url(place),
    )


def _data_warnings(store: Store, validation: str, split: str) -> list[str]:
    """Returns a line that names the warnings about the data, or no line if there are none."""
    from skin_pipeline import journal

    names = journal.data_of(store, validation, split).warning_names
    return [f"Warnings about the data: {_one_line('; '.join(names))}."] if names else []


def _outcome(verdict: Verdict, champion: Pointer | None, unchanged: bool) -> list[str]:
    """Returns the end of the subject, then lines: what became of the champion, and what to do."""
    version = f"version {champion.version}" if champion else "none"
    same = [f"Nothing changed: an earlier run came to the same verdict on {verdict.judged_at}."]
    if not verdict.approved:
        return [
            "was refused, as before" if unchanged else "was refused",
            f"The champion stays as it was: {version}.",
            *(same if unchanged else []),
            *(
                f"Failed: {_one_line(item.described())}"
                f"{f' ({item.advice})' if item.advice else ''}."
                for item in verdict.checks
                if not item.passed
            ),
            "What to do: read the report, change the data or the settings, start a new run.",
        ]
    if unchanged:
        again = f"The run produced the present champion again: {version}."
        return ["is unchanged", again, *same, NOTHING]
    return ["was promoted", f"The champion is now {version}.", NOTHING]


NOTHING = "Nothing needs to be done."


WORDS: dict[Event, Callable[[Any, Place], Words]] = {
    "task_failed": _task_failed,
    "run_failed": _run_failed,
    "promoted": _judged,
    "refused": _judged,
}


def _model(context: Any) -> tuple[str, bool]:
    """Returns the name of the run's model, and whether its data is synthetic, from the settings."""
    from skin_pipeline.config import Settings, read_settings
    from skin_pipeline.errors import BadInput

    params = context.get("params") or {}
    known = {name: params[name] for name in Settings.model_fields if name in params}
    try:
        settings = read_settings(known)
    except BadInput:  # the settings may be what failed
        return line(known.get("model_name") or "", 100), False
    return settings.released_as, settings.synthetic


def _with_interval(item: Interval) -> str:
    return f"{item.value:.3f} (95 % interval {item.low:.3f} to {item.high:.3f})"


def _one_line(value: Any) -> str:
    text = line(" ".join(masked(str(value if value is not None else "")).split()))
    return text if len(text) <= LONGEST_ERROR else f"{text[:LONGEST_ERROR]} …"


def _masked(text: str) -> str:
    """Returns text without secrets: those of Airflow's connections, and all that looks like one."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    return "\n".join(line(part) for part in masked(str(redact(text))).split("\n"))


def _base_url() -> str:
    from airflow.sdk.configuration import conf

    return str(conf.get("api", "base_url", fallback="") or "").rstrip("/")


def _run_url(place: Place) -> str:
    """Returns the URL of the task or run in the Airflow UI; "" if Airflow's URL is not set."""
    base = _base_url()
    if not base or not place.run_id:
        return ""
    task = f"/tasks/{quote(place.task_id)}" if place.task_id else ""
    mapped = f"/mapped/{place.map_index}" if place.map_index >= 0 else ""
    return f"{base}/dags/{quote(place.dag_id)}/runs/{quote(place.run_id)}{task}{mapped}"


def _data_url(place: Place) -> str:
    from skin_models import data_link

    return data_link(place.dag_id, place.run_id, _base_url())


# --- how it is sent ------------------------------------------------------------------------------


def send(alert: Alert) -> None:
    """Sends an alert through the configured connection, or logs it if there is none.

    A failed delivery is logged, not raised.

    Raises:
        BadInput: The deployment's settings are not valid.
    """
    from skin_pipeline.config import read_deployment

    name = read_deployment().notify_connection
    if not name:
        level = logging.INFO if alert.event == "promoted" else logging.WARNING
        log.log(level, 'alert event=%s subject="%s"', alert.event, alert.subject)
        return
    try:
        _send_through(name, alert)
        log.info('alert_sent event=%s connection=%s subject="%s"', alert.event, name, alert.subject)
    except Exception as error:  # an alert must never fail a run
        # Of a library's error only the type: its message may contain a URL, which may be a secret.
        reason = str(error) if isinstance(error, NotSent) else type(error).__name__
        log.error(
            'alert_not_sent event=%s connection=%s reason="%s" subject="%s"',
            alert.event,
            name,
            reason,
            alert.subject,
        )


def _send_through(name: str, alert: Alert) -> None:
    from skin_connections import find_connection

    connection = find_connection(name)
    if connection is None:
        raise NotSent("SKIN_NOTIFY_CONNECTION names a connection that does not exist")
    if _is_slack(connection):
        _send_slack(alert, connection)
    elif connection.conn_type in {"smtp", "email"}:
        _send_mail(alert, connection)
    else:
        _send_webhook(alert, connection)


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


def _send_webhook(alert: Alert, connection: Connection) -> None:
    """Posts the alert as JSON.

    A connection with a login gives basic authentication, one with a password alone a bearer token.
    """
    headers, login = {}, None
    if connection.login:
        login = (connection.login, connection.password or "")
    elif connection.password:
        headers["Authorization"] = f"Bearer {connection.password}"
    _post(_webhook_url(connection), alert.payload(), headers=headers, auth=login)


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


def _send_slack(alert: Alert, connection: Connection) -> None:
    """Posts the alert to an incoming webhook, whose secret part is the connection's password."""
    text = f"*{alert.subject}*\n{alert.text}"
    _post(_slack_url(connection), {"text": html.escape(text, quote=False)})


def _slack_url(connection: Connection) -> str:
    secret = connection.password or ""
    if "://" in secret:
        return secret
    host = (connection.host or SLACK).rstrip("/")
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
    return f"{host}/{secret.lstrip('/')}" if secret else host


def _post(url: str, payload: dict[str, Any], **options: Any) -> None:
    """Posts JSON, and tries once more if the server could not be reached or failed.

    Raises:
        NotSent: Every attempt failed; the message is about the last one.
    """
    import requests

    problem = ""
    for _ in range(ATTEMPTS):
        try:
            answer = requests.post(
                url,
                json=payload,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,  # the alert and its token go to no other server
                **options,
            )
        except requests.RequestException as error:
            problem = type(error).__name__
            continue
        if answer.status_code < 300:
            return
        problem = f"the server answered {answer.status_code}"
        if answer.status_code < 500:  # a refusal, which a second attempt does not change
            break
    raise NotSent(problem)


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
            to=recipients, from_email=sender, subject=alert.subject, html_content=body
        )
