"""Alerts: each incident is told once, counted while it lasts, and told again when it is over.

    @dag(on_failure_callback=SkinNotifier("run_failed"), on_success_callback=SkinRecovery())
    @task(on_failure_callback=SkinNotifier("task_failed"))
    @task(on_success_callback=SkinNotifier("promoted"))

    alert("drift", "skin-resnet50 champion", model=…, headline=…, text=[…])   # in a task
    recovered("drift", "skin-resnet50 champion")

They go through the Airflow connections that `SKIN_NOTIFY_CONNECTION` names (see `skin_sending`);
if it names none, they go to the log. Incidents are kept in the store, by
`skin_pipeline.operations.incidents`. An alert that cannot be sent stays in its incident, from where
`send_again` sends it; it is never an error of the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from skin_alert_words import Told

    from skin_pipeline.contracts import EventKind, Incident
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

# The events whose text is made from the context of a callback; others are told by `alert`.
BY_CALLBACK = (
    *("task_failed", "scoring_failed", "run_failed", "promoted", "refused", "data_warning"),
    "late",
)


class SkinNotifier(BaseNotifier):
    """An Airflow callback that tells people about one event of a run. The call never raises.

    Args:
        event: `task_failed` and `scoring_failed` are for the failure callback of a task,
            `run_failed` for that of a DAG. `promoted`, `refused` and `data_warning` are for success
            callbacks: of the tasks after the gate, and of the task `split`.

    Raises:
        ValueError: There is no such event.
    """

    def __init__(self, event: EventKind, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if event not in BY_CALLBACK:
            raise ValueError(f"event must be one of {BY_CALLBACK}. Received: {event!r}")
        self.event: EventKind = event

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Does nothing. There are no templates, and Airflow could not render them for every DAG."""

    def notify(self, context: Context) -> None:
        """Tells it, and ends the incidents that it ends."""
        tell(self.event, context)


class SkinRecovery(BaseNotifier):
    """The success callback of a DAG: its failures are over, and those of its tasks, and it is no
    longer late. The call never raises."""

    event = "recovered"

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Does nothing, as `SkinNotifier` does."""

    def notify(self, context: Context) -> None:
        """Ends the incidents of the DAG that the success ends."""
        _never_raises(_run_succeeded, context)


def tell(event: EventKind, context: Any) -> None:
    """Tells people about an event that a callback of Airflow reports. Never raises."""
    _never_raises(_tell, event, context)


def late(context: Any = None, **_: Any) -> None:
    """Tells people that a run missed its deadline: the callback of Airflow's `DeadlineAlert`."""
    tell("late", context or {})


def alert(
    kind: EventKind,
    subject: str,
    *,
    model: str,
    headline: str,
    text: Iterable[str],
    links: Mapping[str, str] = {},
    context: Any = None,
    synthetic: bool = False,
    passing: bool = False,
) -> Incident | None:
    """Opens an incident or counts it once more, and tells people if it is new. Never raises.

    Args:
        kind: What happened.
        subject: What it happened to: the same text as long as it is the same incident. Of a moment
            (promoted, rolled back, data warning) it names the moment, such as a move's number.
        model: The model that it is about, or "".
        headline: It in a few words.
        text: It in lines. What it means and what to do are added, unless a line begins with "What
            it means: " or "What to do: ". The run, the log and the runbook are linked anyway.
        links: Further addresses by name, such as `Report`.
        context: The context of the task or callback; by default that of the running task, if any.
        synthetic: Whether the model's data is synthetic.
        passing: Whether the cause may pass by itself, so that one time is no incident yet.

    Returns:
        The incident; None if it is none yet, or if the store could not be reached.
    """
    from skin_alert_words import Told
    from skin_alerts import complete, moment_of, place_of

    about = _context(context)

    def run() -> Incident | None:
        made = complete(
            *(kind, headline, text),
            model=model,
            synthetic=synthetic,
            links=links,
            place=place_of(about),
        )
        return _alert(Told(made, subject, moment_of(about), passing))

    made: Incident | None = _never_raises(run)
    return made


def recovered(
    kind: EventKind, subject: str, *, text: Iterable[str] = (), context: Any = None
) -> Incident | None:
    """Ends an incident, if it is open, and tells people that it is over. Never raises.

    Args:
        kind: What happened.
        subject: What it happened to, as it was given to `alert`.
        text: What ended it, in lines.
        context: As for `alert`.

    Returns:
        The incident that ended; None if none was open, or it does not end yet.
    """

    def run() -> Incident | None:
        return _end(_store(), kind, subject, _context(context), text)

    over: Incident | None = _never_raises(run)
    return over


def send_again(store: Store) -> tuple[int, int]:
    """Sends what could not be sent. Returns how many messages arrived now, and how many did not."""
    from skin_alerts import of_incident, recovery
    from skin_sending import deliver

    from skin_pipeline.operations import incidents

    arrived = failed = 0
    for incident in incidents.unsent(store):
        over = incidents.is_over(incident)
        message = recovery(incident) if over else of_incident(incident)
        problem = deliver(store, incident, message)
        arrived, failed = arrived + (not problem), failed + bool(problem)
    return arrived, failed


# --- what callbacks report -----------------------------------------------------------------------


def _tell(event: EventKind, context: Any) -> None:
    from skin_alert_words import compose

    told = compose(event, context)
    if told:
        if event == "refused":
            _never_raises(_supersede, told)
        _alert(told)
    if event == "promoted" and told and told.alert.model:
        text = [f"{told.alert.headline}, by run {told.alert.origin.get('run_id')}."]
        _end(_store(), "refused", told.alert.model, context, text)
    if event == "run_failed":
        _nobody_is_asked(_store(), context)
        _tasks_ended(_store(), context)


def _supersede(told: Told) -> None:
    """Ends the refusal of an earlier verdict: another one, with other reasons, is about to be told
    in its place."""
    from skin_pipeline.operations import incidents

    store = _store()
    old = incidents.of_id(store, incidents.id_of("refused", told.subject))
    if old and old.state != "ended" and old.origin.get("verdict") != told.alert.origin["verdict"]:
        incidents.ended(store, "refused", told.subject)


def _run_succeeded(context: Any) -> None:
    from skin_alerts import place_of

    store, place = _store(), place_of(context)
    text = [f"Run {place.run_id} of {place.dag_id} succeeded."]
    for kind in ("run_failed", "late", "scoring_failed"):
        _end(store, kind, place.dag_id, context, text)
    _nobody_is_asked(store, context)
    _tasks_ended(store, context)


def _nobody_is_asked(store: Store, context: Any) -> None:
    """Ends the waiting for people in a run that has ended, as when somebody marked the task."""
    from skin_alerts import place_of

    place = place_of(context)
    for task in ("approve", "budget"):
        text = [f"Run {place.run_id} of {place.dag_id} ended without an answer."]
        _end(store, "approval_waiting", f"{place.dag_id} {task} {place.run_id}", context, text)


def _tasks_ended(store: Store, context: Any) -> None:
    """Tells of the tasks of a run that were killed, and ends the failures of those that succeeded.

    A task that was killed could not tell of it: Airflow calls its callback in its own process.
    """
    from skin_alert_words import compose, failed, succeeded
    from skin_alerts import place_of

    place = place_of(context)
    silent = {name: value for name, value in context.items() if name != "exception"}
    for each in failed(context, place):
        told = compose("task_failed", silent, each)
        if told and not _was_told(store, told.subject, place.run_id):
            _alert(told)
    for task in succeeded(context, place):
        text = [f"Task {task} succeeded in run {place.run_id} of {place.dag_id}."]
        _end(store, "task_failed", f"{place.dag_id} {task}", context, text)


def _was_told(store: Store, subject: str, run: str) -> bool:
    """Returns whether a task itself told of its failure in a run."""
    from skin_pipeline.operations import flapping, incidents

    incident = incidents.of_id(store, incidents.id_of("task_failed", subject))
    in_incident = incident is not None and run in incident.runs
    return in_incident or flapping.was_seen(store, "task_failed", subject, run=run)


# --- incidents -----------------------------------------------------------------------------------


def _alert(told: Told) -> Incident | None:
    """Counts what happened, and sends the alert if it is new."""
    from skin_sending import deliver, send_everywhere

    try:
        store = _store()
        incident = _seen(store, told)
    except Exception as error:  # a store that does not answer is no reason to stay silent
        log.error(
            'incident_not_counted kind=%s subject="%s" error=%s',
            *(told.alert.event, told.subject, type(error).__name__),
        )
        send_everywhere(told.alert, ())
        return None
    if incident is None:
        return None
    if incident.count > 1 and not incident.problem:
        log.info("alert_repeated id=%s count=%d", incident.id, incident.count)
        return incident
    import skin_metrics
    from skin_alerts import of_incident

    skin_metrics.alert(incident.kind)
    deliver(store, incident, of_incident(incident))
    return incident


def _seen(store: Store, told: Told) -> Incident | None:
    """Counts what happened. Returns None while it was not seen often enough to be an incident."""
    from skin_pipeline.operations import flapping, incidents

    made, rule = told.alert, flapping.rule_of(told.alert.event, passing=told.passing)
    run = str(made.origin.get("run_id") or "")
    if not flapping.opens(store, made.event, told.subject, rule, run=run):
        log.warning(
            'alert_held kind=%s opens_at=%d of_last=%d subject="%s"',
            *(made.event, rule.opens, rule.last, made.headline),
        )
        return None
    return incidents.seen(
        *(store, made.event, told.subject),
        model=made.model,
        headline=made.headline,
        text=made.lines,
        links=made.links,
        origin=made.origin,
        at=told.at,
    )


def _end(
    store: Store, kind: EventKind, subject: str, context: Any, text: Iterable[str]
) -> Incident | None:
    """Ends an incident, if it is open and this ends it, and sends the message that it is over."""
    from skin_alerts import moment_of, place_of, recovery
    from skin_sending import deliver

    from skin_pipeline.operations import flapping, incidents

    if incidents.is_outdated(store, kind, subject, moment_of(context)):
        log.info('recovery_outdated kind=%s subject="%s"', kind, subject)
        return None
    if not flapping.ends(store, kind, subject, run=place_of(context).run_id):
        return None
    incident = incidents.ended(store, kind, subject)
    if incident:
        deliver(store, incident, recovery(incident, text))
    return incident


# --- for all of them -----------------------------------------------------------------------------


def _never_raises(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a function returns, or None if it fails, which is a line in the log."""
    try:
        return function(*arguments)
    except Exception as error:  # an alert must never fail a run
        name = next((str(each) for each in arguments if isinstance(each, str)), "")
        log.error("alert_failed event=%s error=%s", name, type(error).__name__)
        return None


def _store() -> Store:
    from skin_connections import open_configured_store

    return open_configured_store()


def _context(given: Any) -> Any:
    """Returns the context that was given, or that of the running task; an empty one outside."""
    from airflow.sdk import get_current_context

    if given is not None:
        return given
    try:
        return get_current_context()
    except Exception:  # outside of a task
        return {}
