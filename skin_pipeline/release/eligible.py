"""Which versions may become the champion: by a training run, and by hand.

A training run must not promote again what a person rolled back: on unchanged data its verdict is
the same as before. A person may choose among the versions that the champion named before, and those
that passed the gate; for all others the gate would be a formality.
"""

from __future__ import annotations

from collections.abc import Iterator

from skin_pipeline.contracts import CHAMPION, Pointer, Verdict, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.release.pointers import Alias
from skin_pipeline.release.rollback import trusted_history
from skin_pipeline.release.versions import Version

VERDICT_FILE = "verdict.json"  # of a version


def rolled_back(alias: Alias) -> Iterator[Pointer]:
    """Yields the rollbacks that led an alias away from a version for good, newest first.

    Left out are those from a version that the alias has named again since: a person chose it then.

    Raises:
        BadInput: The history of the alias is damaged.
    """
    settled = set[str]()
    for document in trusted_history(alias):
        move = document.move
        if move.rollback and move.previous and move.previous not in settled:
            settled.add(move.previous)
            yield move
        settled.add(move.version)


def check_by_hand(alias: Alias, version: str) -> None:
    """Checks that a person may make an alias name a version. Every alias but the champion may.

    The version was verified before, so that its verdict is the one that it was published with.

    Raises:
        BadInput: The champion never named the version, and the version did not pass the gate; or
            the history of the champion is damaged.
    """
    if alias.name != CHAMPION or version in _named(alias):
        return
    problem = _verdict_problem(Version(alias.store, alias.model, version, alias.keys))
    if problem:
        raise BadInput(
            f"{alias} cannot name version {version}: it never did before, and {problem}. Take a "
            "version that was the champion or that the gate approved; another alias may name any"
        )


def _named(alias: Alias) -> set[str]:
    return {document.move.version for document in trusted_history(alias)}


def _verdict_problem(version: Version) -> str:
    """Returns why a version did not pass the gate; "" if it did."""
    key = f"{version.key}/{VERDICT_FILE}"
    if not version.store.exists(key):
        return f"it has no {VERDICT_FILE} that says that it passed the gate"
    verdict = parse(version.store.read(key), Verdict, key)
    if verdict.released_as != version.model:
        return f"its verdict is on a model named {verdict.released_as}"
    return "" if verdict.approved else f"the gate refused it: {'; '.join(verdict.reasons)}"
