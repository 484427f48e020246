"""What people did and were told: actions, approvals, incidents; and what was scored with a model.

Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from skin_pipeline.contracts.document import Contract, SafeText

ActionKind = Literal["rollback", "move", "acknowledge", "approve", "reject", "labels", "site"]


class Action(Contract):
    """The intent of an action that a person started, written before anything changes.

    - `subject` is what it acts on: an alias, an incident, or the key of a verdict.
    - `plan` says in words what will change, such as `champion: 4f1a… to 77c0…`.
    - `dag` and `run` name the DAG run that carries it out; `by` is the person, as Airflow knows
      them, or empty.
    """

    kind: ActionKind
    model: str
    subject: SafeText
    plan: SafeText
    by: SafeText
    reason: SafeText
    dag: str
    run: str
    at: str


class Outcome(Contract):
    """What became of an action, beside its intent. Without it, the action did not end."""

    done: bool
    result: SafeText
    at: str


class Approval(Contract):
    """A person's decision on a verdict, before its model is promoted.

    It holds for this verdict only, and only while the champion is the one that the verdict compares
    with: `champion` is its version, and empty if there was none. `by` is the user who answered;
    empty, with `approved` false, if nobody did in time. `asked` names the request, so that each is
    answered once.

    - `champion_move` is the number of the move that made the champion. So an approval is used up by
      the promotion, and does not hold again after a rollback.
    - `started_by` is who triggered the run, which may be who approved.
    - `signature` is that of this document without its signature, in hex, and `store` the name of
      the store that it was made for, as in `Pointer`.
    """

    verdict: str
    model: str
    champion: str
    approved: bool
    by: SafeText
    at: str
    note: SafeText = ""
    dag: str
    run: str
    asked: str
    champion_move: int = Field(0, ge=0)
    started_by: SafeText = ""
    store: str = Field("", pattern=r"^[0-9a-f]{0,64}$")
    signature: str = Field("", pattern=r"^[0-9a-f]{0,512}$")


EventKind = Literal[
    "task_failed",
    "run_failed",
    "refused",
    "promoted",
    "approval_waiting",
    "data_warning",
    "drift",
    "late",
    "scoring_failed",
    "rolled_back",
    "damaged",
]


class Incident(Contract):
    """One thing that people are alerted to, however often it is seen: `incidents/<id>.json`.

    - `id` is made from `kind` and `subject`, which is what stays the same while it lasts, such as
      the DAG and the task. An incident that ended and comes again has the next `episode`.
    - `state`: open, acknowledged (by a person, who works on it) or ended (the recovery was seen).
    - `count` is how often it was seen in this episode; `seen_at` is when it was last reported, and
      `happened_at` when that happened, since Airflow may call back late.
    - `sent` is the time of the alert, empty until it was delivered; `problem` is why it could not
      be; `recovery_sent` is the time of the message that it ended.
    - `delivered` names the connections that the alert went through, and `recovery_delivered` those
      of the message that it ended, so that a second attempt uses only the others.
    - `headline` and `text` are those of the alert, `links` its addresses by name, and `origin` what
      machines read: the DAG, the run, the task. `runs` are the last runs that it was seen in.
    """

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    episode: int = Field(1, ge=1)
    kind: EventKind
    subject: SafeText
    model: str
    state: Literal["open", "acknowledged", "ended"]
    count: int = Field(1, ge=1)
    opened_at: str
    seen_at: str
    happened_at: str = ""
    ended_at: str = ""
    acknowledged_by: SafeText = ""
    headline: SafeText
    text: tuple[SafeText, ...]
    links: dict[str, str] = Field(default_factory=dict)
    origin: dict[str, str | int | bool] = Field(default_factory=dict)
    runs: tuple[SafeText, ...] = ()
    sent: str = ""
    delivered: tuple[str, ...] = ()
    problem: SafeText = ""
    recovery_sent: str = ""
    recovery_delivered: tuple[str, ...] = ()


class Observations(Contract):
    """How something that comes and goes was found lately: `observations/<id of the incident>.json`.

    `runs` names who looked, the last one at the end; `bad` says of each whether it was bad.
    """

    runs: tuple[SafeText, ...] = ()
    bad: tuple[bool, ...] = ()


class Batch(Contract):
    """Result of one batch of scoring: which images were scored, by which version, into what.

    `scores` are the keys of Parquet files with a row for each image, in the columns that
    `skin_pipeline.monitoring.score_log` describes. `images` counts those that have a probability,
    `unreadable` those that have a problem instead, and `known` those that were scored earlier.
    `site` names the site whose profile was used, and `profile` is its number; 0 without a site.
    """

    model: str
    alias: str
    version: str
    source: SafeText
    run: str
    scores: tuple[str, ...]
    images: int = Field(ge=0)
    unreadable: int = Field(ge=0)
    known: int = Field(ge=0)
    began_at: str
    ended_at: str
    site: str = ""
    profile: int = Field(0, ge=0)
