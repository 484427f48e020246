"""What every alert has: what happened, what it means, what to do, where to look.

alert = complete("drift", "The images look different", ["blur: …"], model="skin-resnet50",
                 place=Place(), links={"Monitoring": …})
alert.text         # for people
alert.payload()    # for machines
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from skin_pipeline.foreign import guard, line, masked

if TYPE_CHECKING:
    from skin_pipeline.contracts import EventKind, Incident

log = logging.getLogger(__name__)
guard(__name__)

LONGEST_ERROR = 500  # characters
MEANS, TO_DO = "What it means: ", "What to do: "
NOTHING = "nothing needs to be done."
# Of each kind of event what it means, and what to do, where the alert itself says nothing else.
ADVICE: dict[EventKind, tuple[str, str]] = {
    "task_failed": (
        "its run cannot end well before this task does; the steps that finished are kept.",
        "read the log of the task, remove the cause, then clear the task.",
    ),
    "run_failed": (
        "the run did not reach its end; the steps that finished are kept, and the champion stays "
        "as it was unless the task `promote` succeeded.",
        "open the run, read the logs of the tasks that failed, remove the cause, then clear them; "
        "finished steps are not repeated.",
    ),
    "refused": (
        "the new model is not used, and the champion goes on.",
        "read the report, change the data or the settings, start a new run.",
    ),
    "promoted": ("whoever uses the champion uses this version from now on.", NOTHING),
    "approval_waiting": (
        "nothing is promoted until somebody who may answers; without an answer in time it is "
        "rejected.",
        "read the figures and the report, then approve or reject under Required Actions.",
    ),
    "data_warning": (
        "the run goes on, but its figures may say less than they seem to.",
        "look at the run's tab Data and decide whether the data must be corrected.",
    ),
    "drift": (
        "the images or the scores are no longer like those that the model was judged on, so its "
        "figures may no longer hold.",
        "open the page Monitoring, find out what changed at the source (camera, site, patients), "
        "and train again if it stays so.",
    ),
    "late": (
        "the run goes on, but it takes longer than SKIN_DEADLINE_HOURS allows.",
        "open the run and see which task runs or waits: for a slot of the pool, for a worker, or "
        "for another try.",
    ),
    "scoring_failed": (
        "images that were to be scored have no scores yet; the next run begins with them.",
        "read the log of the task, remove the cause, then clear the task.",
    ),
    "rolled_back": (
        "whoever uses the alias uses the earlier version from now on.",
        "if you did not expect it, see the page Audit for who did it and why.",
    ),
    "damaged": (
        "what the alias names cannot be trusted, and everything that verifies it refuses it.",
        "roll back to a version that is whole, or restore the files from the backup, then run "
        "skin_watch again.",
    ),
}
FAILURES = frozenset({"task_failed", "run_failed", "scoring_failed", "damaged"})
NEWS = frozenset({"promoted", "rolled_back"})


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

    @property
    def run(self) -> Place:
        """The run of the task."""
        return Place(self.dag_id, self.run_id)

    @property
    def url(self) -> str:
        """The URL of the task, with its log, or of the run; "" if Airflow's URL is not set."""
        from skin_web import airflow_url

        base = airflow_url()
        if not base or not self.run_id:
            return ""
        task = f"/tasks/{quote(self.task_id)}" if self.task_id else ""
        mapped = f"/mapped/{self.map_index}" if self.map_index >= 0 else ""
        return f"{base}/dags/{quote(self.dag_id)}/runs/{quote(self.run_id)}{task}{mapped}"


def place_of(context: Any) -> Place:
    """Returns the place that a callback's or a task's context is about."""
    ti, dag = context.get("ti"), context.get("dag")
    return Place(
        dag_id=getattr(dag, "dag_id", "") or getattr(ti, "dag_id", ""),
        run_id=context.get("run_id") or getattr(ti, "run_id", ""),
        task_id=getattr(ti, "task_id", ""),
        map_index=_number(getattr(ti, "map_index", None), -1),
        try_number=_number(getattr(ti, "try_number", None), 0),
    )


def moment_of(context: Any) -> datetime:
    """Returns when that happened which a context reports: the end of its run, if that has ended,
    since Airflow may call back much later; otherwise now."""
    ended = getattr(context.get("dag_run"), "end_date", None)
    return ended if isinstance(ended, datetime) and ended.tzinfo else datetime.now(timezone.utc)


def _number(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


@dataclass(frozen=True)
class Words:
    """The text of an alert, and what it is about.

    `subject` is what stays the same while the incident lasts. `passing` says that its cause may
    pass by itself. `verdict` is the key of the verdict that it is about, if any.
    """

    subject: str
    headline: str
    lines: tuple[str, ...]
    model: str = ""
    synthetic: bool = False
    links: Mapping[str, str] = field(default_factory=dict)
    passing: bool = False
    verdict: str = ""


@dataclass(frozen=True)
class Alert:
    """What is sent. `incident` is "" where the store could not be reached."""

    event: EventKind
    headline: str
    lines: tuple[str, ...]
    model: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    incident: str = ""
    count: int = 1
    state: str = "open"

    @property
    def text(self) -> str:
        """The text for people."""
        links = (f"{name}: {url}" for name, url in self.links.items() if url)
        times = f", seen {self.count} times" if self.count > 1 else ""
        number = [f"Incident {self.incident}{times}."] if self.incident else []
        return _masked("\n".join(map(line, (*self.lines, *links, *number))))

    @property
    def level(self) -> str:
        """How bad it is, in the words of Apprise."""
        if self.state == "over":
            return "success"
        if self.event in FAILURES:
            return "failure"
        return "info" if self.event in NEWS else "warning"

    def payload(self) -> dict[str, Any]:
        """Returns the JSON that a webhook gets: one flat object."""
        link = {name.lower(): url for name, url in self.links.items()}
        return {
            "event": self.event,
            "subject": self.headline,
            "text": self.text,
            "model": self.model,
            "synthetic": False,
            **asdict(Place()),
            **self.origin,
            "incident": self.incident,
            "count": self.count,
            "state": self.state,
            "run_url": link.get("log") or link.get("run", ""),
            **{f"{name}_url": link.get(name, "") for name in ("log", "report", "data", "runbook")},
        }


def model_of(context: Any) -> tuple[str, bool]:
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


def data_url(place: Place) -> str:
    """Returns the URL of the tab "Data" of a run."""
    from skin_models import data_link
    from skin_web import airflow_url

    return data_link(place.dag_id, place.run_id, airflow_url())


def complete(
    event: EventKind,
    headline: str,
    text: Iterable[str],
    *,
    model: str = "",
    synthetic: bool = False,
    links: Mapping[str, str] = {},
    place: Place,
) -> Alert:
    """Returns an alert with all that its kind has: advice, the run, links to run, log, runbook.

    Args:
        event: What happened.
        headline: It in a few words.
        text: It in lines. One that begins with "What it means: " or "What to do: " takes the place
            of the usual one.
        model: The model that it is about, or "".
        synthetic: Whether its data is synthetic.
        links: Addresses by name, such as `Report`.
        place: The task or the run.
    """
    lines = [one_line(item) for item in text]
    for start, usual in zip((MEANS, TO_DO), ADVICE[event], strict=True):
        if not any(item.startswith(start) for item in lines):
            lines.append(start + usual)
    # What it means stands before what to do, whichever of them the alert brought along.
    lines.sort(key=lambda item: item.startswith(MEANS) + 2 * item.startswith(TO_DO))
    if place.run_id:
        about = f"Model {model}, run" if model else "Run"
        lines.append(f"{about} {place.run_id} of {place.dag_id}.")
    subject = f"[synthetic data] {headline}" if synthetic else headline
    return Alert(
        event,
        _masked(one_line(subject)),
        tuple(map(_masked, lines)),
        model,
        {**links, **_links(event, place)},
        {"synthetic": synthetic, **asdict(place)},
    )


def _links(event: EventKind, place: Place) -> dict[str, str]:
    """Returns the addresses that every alert has, where there is such a thing."""
    from skin_web import airflow_url, page_link

    found = {
        "Run": place.run.url,
        "Log": place.url if place.task_id else "",
        "Runbook": page_link(f"runbook#{event}", airflow_url()),
    }
    return {name: url for name, url in found.items() if url}


def of_incident(incident: Incident) -> Alert:
    """Returns the alert that is sent about an incident."""
    return Alert(
        *(incident.kind, incident.headline, incident.text, incident.model),
        *(incident.links, incident.origin, incident.id, incident.count),
    )


def recovery(incident: Incident, text: Iterable[str] = ()) -> Alert:
    """Returns the message that an incident ended.

    Args:
        incident: The incident.
        text: What ended it, in lines.
    """
    alert = of_incident(incident)
    times = f"{incident.count} times" if incident.count > 1 else "once"
    lines = [
        *map(one_line, text),
        f"It was seen {times} since {_minute(incident.opened_at)}, and ended at "
        f"{_minute(incident.ended_at)}.",
    ]
    if not incident.delivered:  # nobody knows yet what it was
        lines += ["The alert itself could not be sent. It said:", *incident.text]
    else:
        lines += [TO_DO + NOTHING]
    headline = f"Over: {incident.headline}"
    return replace(alert, headline=headline, lines=tuple(lines), state="over")


def _minute(moment: str) -> str:
    return f"{moment[:16].replace('T', ' ')} UTC"


def one_line(value: Any) -> str:
    """Returns text of others on one line of a bounded length, without secrets."""
    text = line(" ".join(masked(str(value if value is not None else "")).split()))
    return text if len(text) <= LONGEST_ERROR else f"{text[:LONGEST_ERROR]} …"


def _masked(text: str) -> str:
    """Returns text without secrets: those of Airflow's connections, and all that looks like one."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    return "\n".join(line(part) for part in masked(str(redact(text))).split("\n"))
