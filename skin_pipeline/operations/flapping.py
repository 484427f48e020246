"""What comes and goes: how often it must be seen before it is an incident, and before that ends.

An incident opens when `opens` of the last `last` observations were bad, and ends when the last
`ends` were good. So of a server that answers every other time there is one incident, not many.

    rule = rule_of("task_failed", passing=True)
    if opens(store, "task_failed", "skin_training ingest", rule, run="…"):
        …

The last observations of each are in `observations/<id of the incident>.json`.
"""

from __future__ import annotations

from typing import NamedTuple

from skin_pipeline.contracts import EventKind, Observations, parse, revise
from skin_pipeline.operations.incidents import id_of
from skin_pipeline.storage import Store

FOLDER = "observations"


class Rule(NamedTuple):
    """`opens` bad ones among the `last` observations open an incident; `ends` good ones in a row
    end it."""

    opens: int
    last: int
    ends: int


AT_ONCE = Rule(1, 1, 1)
# Its tests already hold false alarms down, so that one alarm is enough to open the incident. Where
# it hovers about its bound, it takes two calm runs in a row to end it.
DRIFT = Rule(1, 1, 2)
# A failure of what may pass by itself: a server that did not answer in all tries of a task. Once is
# no reason to wake anybody, since the next run continues from there.
PASSING = Rule(2, 3, 2)


def rule_of(kind: EventKind, *, passing: bool = False) -> Rule:
    """Returns the rule for a kind of incident; `passing` says that its cause may pass by itself."""
    if passing:
        return PASSING
    return DRIFT if kind == "drift" else AT_ONCE


def opens(store: Store, kind: EventKind, subject: str, rule: Rule, *, run: str) -> bool:
    """Keeps a bad observation, and returns whether it makes an incident."""
    if rule == AT_ONCE:
        return True
    bad = _observed(store, kind, subject, rule, bad=True, run=run)
    return sum(bad[-rule.last :]) >= rule.opens


def ends(store: Store, kind: EventKind, subject: str, *, run: str) -> bool:
    """Keeps a good observation, and returns whether it ends the incident.

    Of what was never observed as coming and going, nothing is kept: one success ends it.
    """
    if store.tagged(_key(kind, subject)) is None:
        return True
    rule = rule_of(kind, passing=kind != "drift")
    bad = _observed(store, kind, subject, rule, bad=False, run=run)
    return not any(bad[-rule.ends :])


def was_seen(store: Store, kind: EventKind, subject: str, *, run: str) -> bool:
    """Returns whether a run has an observation among the last ones."""
    found = store.tagged(_key(kind, subject))
    return found is not None and run in parse(found[0], Observations, FOLDER).runs


def _observed(
    store: Store, kind: EventKind, subject: str, rule: Rule, *, bad: bool, run: str
) -> tuple[bool, ...]:
    """Keeps an observation, and returns which of the last ones are bad.

    A run that looks again, as after a retry, replaces its own observation.
    """

    def added(old: Observations | None) -> Observations:
        known = old or Observations()
        earlier = [each for each in zip(known.runs, known.bad, strict=True) if each[0] != run]
        kept = [*earlier, (run, bad)][-max(rule.last, rule.ends) :]
        return Observations(runs=tuple(r for r, _ in kept), bad=tuple(b for _, b in kept))

    new = revise(store, _key(kind, subject), Observations, added)
    assert new is not None
    return new.bad


def _key(kind: EventKind, subject: str) -> str:
    return f"{FOLDER}/{id_of(kind, subject)}.json"
