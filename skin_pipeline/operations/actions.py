"""An action of a person: its intent is written before anything changes, its outcome afterwards.

    with recorded(store, intent) as doing:
        model.rollback(…)
        doing.result = "champion names 4f1a… again"

```
actions/<time>-<digest of the DAG run>/intent.json    written once
actions/<time>-<digest of the DAG run>/outcome.json   the last try's; a success stays
```

An intent without an outcome belongs to an action that is under way, or was killed.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

from skin_pipeline.contracts import Action, Outcome, address, dump, parse, revise, stamp
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

FOLDER = "actions"
INTENT, OUTCOME = "intent.json", "outcome.json"


@dataclass
class Doing:
    """An action under way; `result` says in words what it led to."""

    result: str = ""


@dataclass(frozen=True)
class Recorded:
    """An action that was recorded; `outcome` is None while it has none."""

    intent: Action
    outcome: Outcome | None


@contextmanager
def recorded(store: Store, intent: Action) -> Generator[Doing, None, None]:
    """Records an action: the intent before the block, and what became of it after the block.

    A second try of the same DAG run keeps the intent and replaces the outcome of the first.

    Raises:
        BadInput, Unavailable: As the store does. Nothing is done if the intent cannot be written.
    """
    key = key_of(intent)
    store.put(f"{key}/{INTENT}", dump(intent))
    log.info('action kind=%s model=%s plan="%s"', intent.kind, intent.model, intent.plan)
    doing = Doing()
    try:
        yield doing
    except Exception as error:
        end(store, key, done=False, result=str(error))
        raise
    end(store, key, done=True, result=doing.result)


def key_of(intent: Action) -> str:
    """Returns the key of an action, which is the same in each try of its DAG run."""
    return f"{FOLDER}/{stamp(intent.at)}-{address({'dag': intent.dag, 'run': intent.run})}"


def end(store: Store, key: str, *, done: bool, result: str) -> None:
    """Writes the outcome of an action; a success that is there already stays."""
    at = datetime.now(timezone.utc).isoformat()
    outcome = Outcome(done=done, result=result, at=at)

    def unless_done(old: Outcome | None) -> Outcome | None:
        return None if old and old.done else outcome

    if revise(store, f"{key}/{OUTCOME}", Outcome, unless_done):
        log.info('action_ended done=%s result="%s"', done, outcome.result)


def latest(store: Store, last: int = 200) -> Iterator[Recorded]:
    """Yields the latest actions, newest first.

    Raises:
        BadInput: A document is damaged.
    """
    for folder in folders(store)[:last]:
        yield of_key(store, folder)


def folders(store: Store) -> list[str]:
    """Returns the keys of all actions, newest first; the name of each begins with its time."""
    keys = (key for key in store.list(FOLDER) if key.endswith(f"/{INTENT}"))
    return [key.removesuffix(f"/{INTENT}") for key in keys][::-1]


def of_key(store: Store, key: str) -> Recorded:
    """Returns the action under a key. Raises `BadInput` if it is missing or damaged."""
    intent = parse(store.read(f"{key}/{INTENT}"), Action, key)
    found = store.tagged(f"{key}/{OUTCOME}")
    return Recorded(intent, parse(found[0], Outcome, key) if found else None)


def of_run(store: Store, dag: str, run: str) -> Recorded | None:
    """Returns the action of a DAG run; None while it has none."""
    digest = address({"dag": dag, "run": run})
    found = next((key for key in folders(store) if key.endswith(f"-{digest}")), "")
    return of_key(store, found) if found else None
