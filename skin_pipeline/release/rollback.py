"""Rollback: an alias names again what it named before.

It has two halves: `plan` finds and verifies the version, and `carry_out` moves the alias, but only
if it still names what it named when the plan was made. So a task that is tried again cannot go back
twice.
"""

from __future__ import annotations

from typing import NamedTuple

from skin_pipeline.contracts import Pointer
from skin_pipeline.errors import BadInput
from skin_pipeline.release import aliases, trust
from skin_pipeline.release.history import examined, known_names
from skin_pipeline.release.pointers import Alias, Document
from skin_pipeline.release.versions import Version

PREVIOUS = "previous"


class Rollback(NamedTuple):
    """A plan: an alias is to name `version` again, instead of the version `instead_of`."""

    version: str
    instead_of: str


def plan(alias: Alias, target: str) -> Rollback:
    """Finds and verifies the version that a rollback leads to. Nothing is moved.

    Args:
        alias: The alias to move.
        target: A version, or `previous` for the one that the alias named before.

    Raises:
        BadInput: there is no such alias or version, or the version is damaged, or one of them is
            not signed as the keys require.
    """
    now = trust.pointer(alias)
    if now is None:
        known = known_names(alias.store, alias.model)
        raise BadInput(f"{alias.model} has no {alias.name} to roll back. {known}")
    history = trusted_history(alias) if target == PREVIOUS else [now]
    version = aliases.before(history) if target == PREVIOUS else target
    if version is None:
        raise BadInput(
            f"{alias} has named no version before {now.move.version}. Name one yourself. "
            f"{known_names(alias.store, alias.model)}"
        )
    Version(alias.store, alias.model, version, alias.keys).verify()
    alias.keys.check_mover()  # here too, so that a plan that cannot be carried out is not made
    return Rollback(version, history[0].move.version)


def trusted_history(alias: Alias) -> list[Document]:
    """Returns the moves of an alias, newest first; with a public key, only if nothing is wrong.

    A trusted pointer alone is not enough here: an attacker who changes an old move could choose
    which version a rollback leads to, and which ones a pruning keeps.

    Raises:
        BadInput: something is wrong with the history.
    """
    if not alias.keys.public:
        return alias.documents()
    history, found = examined(alias)
    if found:
        raise BadInput(
            f"the history of {alias} is damaged, so that it is not known what it named before: "
            f"{'; '.join(found)}"
        )
    return history


def carry_out(alias: Alias, plan: Rollback, *, by: str, reason: str) -> Pointer:
    """Moves an alias as planned. Returns the pointer after the move.

    A plan that was carried out already moves nothing.

    Raises:
        BadInput: the alias was moved since the plan was made, there is no reason, or the alias is
            not signed as the keys require.
        Unavailable: the store failed.
    """
    done = aliases.move(
        alias, plan.version, by=by, reason=reason, expected=plan.instead_of, rollback=True
    )
    now = trust.pointer(alias)
    if not done or now is None:
        raise BadInput(
            f"{alias} was moved from {plan.instead_of} to {now and now.move.version} meanwhile; "
            "nothing was rolled back. Look at the new version and decide again"
        )
    return now.move
