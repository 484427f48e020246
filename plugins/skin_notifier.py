"""Alerts: a task failed for good, a run failed, the gate refused a model, a model was promoted.

    @dag(on_failure_callback=SkinNotifier("run_failed"))
    @task(on_failure_callback=SkinNotifier("task_failed"))
    @task(on_success_callback=SkinNotifier("promoted"))

They go through the Airflow connection that `SKIN_NOTIFY_CONNECTION` names, and to the log without
one. An alert that cannot be sent is a line in the log, never an error of the run.

    webhook   type `http`, host: the URL; password: a bearer token, if any
    Slack     type `http`, host: https://hooks.slack.com/services, password: T…/B…/…
              (for servers that take the same as Slack: their URL, and extra {"format": "slack"})
    e-mail    type `smtp`, extra {"to": "a@…, b@…", "from_email": "…"} and what Airflow's own has
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

Event = Literal["task_failed", "run_failed", "refused", "promoted"]
GATE = "gate"  # the task whose result is the key of the verdict
DATA_TASKS = ("validate", "split")  # if they fail, the run's tab "Data" says more

CONNECT_SECONDS, ANSWER_SECONDS = 3.05, 5
ATTEMPTS = 2
LONGEST_ERROR = 500  # characters
SLACK = "https://hooks.slack.com/services"


class NotSent(Exception):
    """An alert was not taken. The message holds no address and no secret."""


@dataclass(frozen=True)
class Words:
    """What an alert says, and about which model."""

    subject: str
    lines: tuple[str, ...]
    model: str = ""
    synthetic: bool = False
    report_url: str = ""
    data_url: str = ""


@dataclass(frozen=True)
class Place:
    """Where in Airflow it happened. A part that is not known is empty."""

    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1
    try_number: int = 0

    @property
    def task(self) -> str:
        """The task for people: `train [3]` for a mapped one."""
        return self.task_id if self.map_index < 0 else f"{self.task_id} [{self.map_index}]"


@dataclass(frozen=True)
class Alert:
    """What is sent: subject and text for people, the rest for machines."""

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
        """The JSON of a webhook: one flat object."""
        fields = asdict(self)
        return {**fields.pop("place"), **fields}


class SkinNotifier(BaseNotifier):
    """Tells people about one event of a run. Nothing that goes wrong in here is raised.

    Args:
        event: `task_failed` and `run_failed` are failure callbacks of a task and of a DAG;
            `promoted` and `refused` are success callbacks of tasks after the gate.

    Raises:
        ValueError: there is no such event.
    """

    def __init__(self, event: Event, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if event not in get_args(Event):
            raise ValueError(f"event must be one of {get_args(Event)}. Received: {event!r}")
        self.event: Event = event

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render nothing: there are no templates, and not every DAG of Airflow's could do it."""

    def notify(self, context: Context) -> None:
        """Compose the alert and send it."""
        try:
            send(compose(self.event, context))
        except Exception as error:  # an alert must never fail a run
            log.error("alert_failed event=%s error=%s", self.event, type(error).__name__)


# --- what an alert says --------------------------------------------------------------------------


def compose(event: Event, context: Any) -> Alert:
    """The alert for an event.

    Args:
        event: What happened.
        context: Airflow's context of the callback; every part of it may be missing.
    """
    place = _place(context)
    words = WORDS[event](context, place)
    if event == "run_failed":  # Airflow's context names the task that happened to end last
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
            f"Task {place.task} failed for good on try {place.try_number}.",
            f"Error: {_described(fault)}",
            f"What to do: {_next_step(fault)}",
        ),
        *_model(context),
        data_url=_data_url(place) if place.task_id in DATA_TASKS else "",
    )


def _fault(error: Any) -> Any:
    """The pipeline's own error, where the DAG passed one on in an error of Airflow's."""
    from skin_pipeline.errors import PipelineError

    # Also where it says `from None`, which hides the cause from people only.
    cause = getattr(error, "__cause__", None) or getattr(error, "__context__", None)
    return cause if isinstance(cause, PipelineError) else error


def _described(fault: Any) -> str:
    """An error on one line; a foreign one with its type, as its message alone may say little."""
    from skin_pipeline.errors import PipelineError

    if isinstance(fault, BaseException) and not isinstance(fault, PipelineError):
        return _one_line(f"{type(fault).__name__}: {fault}")
    return _one_line(fault) or "the task's process ended without one; see the log of the task"


def _next_step(fault: Any) -> str:
    """What a person does about a failed task."""
    from skin_pipeline.errors import BadInput, Unavailable

    if isinstance(fault, BadInput):
        return "correct what the error names, then clear the task or start a new run."
    again = "then clear the task; finished steps are not repeated."
    if isinstance(fault, Unavailable):
        return f"wait until what the error names answers again, {again}"
    return f"read the log of the task, remove the cause, {again}"


REASONS = {
    "task_failure": "a task failed",
    "all_tasks_deadlocked": "no task could go on",
    "timed_out": "it took longer than it may",
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
    """Tasks that failed themselves, as far as Airflow tells."""
    try:
        states = context["ti"].get_task_states(dag_id=place.dag_id, run_ids=[place.run_id])
    except Exception as error:  # not there under `airflow dags test`
        log.info("task_states_unknown error=%s", type(error).__name__)
        return []
    return sorted(name for name, state in states[place.run_id].items() if state == "failed")


def _judged(context: Any, place: Place) -> Words:
    """Words about a verdict; without its figures if the store cannot be read."""
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
    # Only for the text of the message; nothing is decided by it.
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
    """A line that names the warnings about the data, if there are any."""
    from skin_pipeline import journal

    names = journal.data_of(store, validation, split).warning_names
    return [f"Warnings about the data: {_one_line('; '.join(names))}."] if names else []


def _outcome(verdict: Verdict, champion: Pointer | None, unchanged: bool) -> list[str]:
    """The end of the subject, what became of the champion, and what to do."""
    version = f"version {champion.version}" if champion else "none"
    same = [f"Nothing changed: a run came to this verdict on {verdict.judged_at}."]
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
        return ["is unchanged", f"The run made the champion again: {version}.", *same, NOTHING]
    return ["was promoted", f"The champion is now {version}.", NOTHING]


NOTHING = "Nothing needs to be done."


WORDS: dict[Event, Callable[[Any, Place], Words]] = {
    "task_failed": _task_failed,
    "run_failed": _run_failed,
    "promoted": _judged,
    "refused": _judged,
}


def _model(context: Any) -> tuple[str, bool]:
    """The name that the run's model gets, and whether its data is synthetic; from the form."""
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
    """`text` without the passwords that this process has seen in connections, and without whatever
    else looks like one."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    return "\n".join(line(part) for part in masked(str(redact(text))).split("\n"))


def _base_url() -> str:
    from airflow.sdk.configuration import conf

    return str(conf.get("api", "base_url", fallback="") or "").rstrip("/")


def _run_url(place: Place) -> str:
    """The page of the task or run in the Airflow UI; empty if its address is not configured."""
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
    """Send an alert through the configured connection, or log it; a failure is logged, not raised.

    Raises:
        BadInput: the deployment's settings do not fit.
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
        # Of foreign errors the type only: their messages hold addresses, which may be secrets.
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
    """Whether it is Slack, or says that it takes the same. Without the Slack provider, Airflow
    offers no connection type for it and turns the type into `generic`."""
    return (
        connection.conn_type in {"slack", "slackwebhook"}
        or connection.extra_dejson.get("format") == "slack"
        or any(
            "//hooks.slack.com/" in (part or "") for part in (connection.host, connection.password)
        )
    )


def _send_webhook(alert: Alert, connection: Connection) -> None:
    """POST the alert as JSON. A login makes it basic, a password alone bearer authentication."""
    headers, login = {}, None
    if connection.login:
        login = (connection.login, connection.password or "")
    elif connection.password:
        headers["Authorization"] = f"Bearer {connection.password}"
    _post(_webhook_url(connection), alert.payload(), headers=headers, auth=login)


def _webhook_url(connection: Connection) -> str:
    """The URL of a connection, be it one URL in the host or spread over the fields.

    `http://HOST:PORT/PATH` as the URI of a connection leaves the path in its schema, where other
    connections have `https`.
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
    """POST to an incoming webhook; its secret part is the password, as Airflow stores it."""
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
    """POST JSON, once more if the server was not reached or failed.

    Raises:
        NotSent: with what the last attempt met.
    """
    import requests

    problem = ""
    for _ in range(ATTEMPTS):
        try:
            answer = requests.post(
                url,
                json=payload,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
                **options,
            )
        except requests.RequestException as error:
            problem = type(error).__name__
            continue
        if answer.status_code < 300:
            return
        problem = f"the server answered {answer.status_code}"
        if answer.status_code < 500:
            break
    raise NotSent(problem)


def _send_mail(alert: Alert, connection: Connection) -> None:
    """Send an e-mail through Airflow's own SMTP provider."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    class QuickHook(SmtpHook):
        """The hook without its long waits: a task's process stands still meanwhile."""

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
