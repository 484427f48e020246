"""Model versions in the store, the aliases that name them, and the history of verdicts.

```
models/<name>/champion.json                 an alias: a pointer, moved by compare-and-swap
models/<name>/moves/champion/<number>.json  one document a move of it
models/<name>/versions/<version>/           immutable: model.keras, metrics, verdict, report
models/<name>/versions/<version>/manifest.json   written last: sha256 of every file
models/<name>/versions/<version>/manifest.json.sig   its signature, if versions are signed
models/<name>/removals/<version>            a mark, while a version is being removed
models/<name>/judged/<time>-<digest>.json   one document a judged run
store.json                                  the store's name, if pointers are signed
```

    registry.champion(store, "skin-resnet50").version
    registry.rollback(store, "skin-resnet50", "previous", by="me", reason="too many false alarms")
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from skin_pipeline.contracts import Judgement, Move, Pointer, Release, dump, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import NONE, SigningKeys
from skin_pipeline.release import pointers, seen
from skin_pipeline.release.aliases import (
    ANY,
    CHAMPION,
    PATTERN,
    aliases,
    before,
    champion,
    documents,
    move,
    moves,
    named,
    point,
    sign_history,
)
from skin_pipeline.release.history import examined, is_written_down, problems, signatures
from skin_pipeline.release.seen import Accepted, Seen
from skin_pipeline.release.versions import (
    MANIFEST,
    MODEL_FILE,
    describe,
    folder,
    is_signed,
    manifest_key,
    publish,
    release_of,
    sign_manifest,
    verify,
    version_key,
    versions,
)
from skin_pipeline.storage import Store

__all__ = [
    "ANY",
    "CHAMPION",
    "MANIFEST",
    "MODEL_FILE",
    "PATTERN",
    "PREVIOUS",
    "Rollback",
    "accept_older",
    "aliases",
    "before",
    "carry_out",
    "champion",
    "describe",
    "documents",
    "folder",
    "is_signed",
    "is_written_down",
    "judgements",
    "models",
    "move",
    "moves",
    "named",
    "plan_rollback",
    "point",
    "problems",
    "promote",
    "prune",
    "publish",
    "record",
    "release_of",
    "resolve",
    "rollback",
    "sign",
    "sign_history",
    "sign_manifest",
    "signatures",
    "verify",
    "verify_alias",
    "version_key",
    "versions",
    "watched",
]

log = logging.getLogger(__name__)

PREVIOUS = "previous"


def promote(
    store: Store,
    release: Release,
    *,
    by: str,
    reason: str,
    alias: str = CHAMPION,
    expected: str | None = ANY,
    keys: SigningKeys = NONE,
) -> bool:
    """Verify a published version and make an alias name it; whether it does now.

    Args:
        store: The store.
        release: The version. Nothing moves if the alias names it already.
        by: Who promotes it: a person, or a run.
        reason: Why, for people.
        alias: The alias.
        expected: The version that the alias must still name, such as the one that this version was
            judged against (None: nothing); of several promoters who expect the same, one wins.
        keys: Whether the version and what the alias is now must be signed, and by which key; the
            move is signed too.

    Raises:
        BadInput: the version is damaged, or it or what the alias is now is not signed as the keys
            ask for.
        Unavailable: others moved the alias each time this call was about to.
    """
    model, version = release.model, release.version
    verify(store, model, version, keys)
    return move(
        store, model, version, alias=alias, by=by, reason=reason, expected=expected, keys=keys
    )


def sign(store: Store, model: str, version: str, keys: SigningKeys) -> bool:
    """Sign a published version on a person's word; see `chain.sign`."""
    from skin_pipeline.release import chain  # judges again, which web pages never do

    return chain.sign(store, model, version, keys)


class Rollback(NamedTuple):
    """An alias shall name `version` again, in the place of the version `instead_of`."""

    version: str
    instead_of: str


def plan_rollback(
    store: Store, model: str, target: str, alias: str = CHAMPION, keys: SigningKeys = NONE
) -> Rollback:
    """Find and verify the version that a rollback leads to; nothing is moved.

    Args:
        store: The store.
        model: The model's name.
        target: A version, or `previous` for the one that the alias named before.
        alias: The alias to move.
        keys: Whether the version and what the alias is now must be signed, and by which key.

    Raises:
        BadInput: there is no such alias or version, or the version is damaged, or one of them is
            not signed as the keys ask for.
    """
    champion(store, model, alias, keys)  # can it be trusted?
    whole = keys if target == PREVIOUS else NONE
    history = _history(store, model, alias, whole)
    if not history:
        raise BadInput(f"{model} has no {alias} to roll back. {_known(store, model)}")
    version = before(history) if target == PREVIOUS else target
    if version is None:
        raise BadInput(
            f"{alias} of {model} has named no version before {history[0].version}. Name one "
            f"yourself. {_known(store, model)}"
        )
    verify(store, model, version, keys)
    keys.check_mover()
    return Rollback(version, history[0].version)


def _history(store: Store, model: str, alias: str, keys: SigningKeys) -> list[Move]:
    """Returns the moves of an alias, newest first; with a public key, only if nothing is wrong.

    Whoever changes an old move could say what was named before, and so where a rollback leads.
    """
    if not keys.public:
        return moves(store, model, alias)
    history, found = examined(store, model, alias, keys)
    if found:
        raise BadInput(
            f"the history of {alias} of {model} is damaged, so that nobody knows what it named "
            f"before: {'; '.join(found)}"
        )
    return [Move(**document.move.model_dump()) for document in history]


def carry_out(
    store: Store,
    model: str,
    plan: Rollback,
    *,
    alias: str = CHAMPION,
    by: str,
    reason: str,
    keys: SigningKeys = NONE,
) -> Pointer:
    """Move an alias as planned; what it is then. A plan that was carried out moves nothing again.

    Raises:
        BadInput: the alias was moved since the plan was made, there is no reason, or the alias is
            not signed as the keys ask for.
        Unavailable: the store failed.
    """
    done = move(
        store,
        model,
        plan.version,
        alias=alias,
        by=by,
        reason=reason,
        expected=plan.instead_of,
        rollback=True,
        keys=keys,
    )
    now = champion(store, model, alias, keys)
    if not done or now is None:
        raise BadInput(
            f"{alias} of {model} was moved from {plan.instead_of} to {now and now.version} "
            "meanwhile; nothing was rolled back. Look at the new version and decide again"
        )
    return now


def rollback(
    store: Store,
    model: str,
    target: str,
    *,
    alias: str = CHAMPION,
    by: str,
    reason: str,
    keys: SigningKeys = NONE,
) -> Pointer:
    """Verify an earlier version and make an alias name it again; what the alias is then.

    Takes and raises what `plan_rollback` and `carry_out` do. Nothing moves if it names it already.
    """
    plan = plan_rollback(store, model, target, alias, keys)
    return carry_out(store, model, plan, alias=alias, by=by, reason=reason, keys=keys)


def resolve(store: Store, model: str, name: str) -> str:
    """The version that `name` stands for: an alias or a version.

    Raises:
        BadInput: there is neither, or the alias names a version that is not there.
    """
    pointer = aliases(store, model).get(name)
    version = pointer.version if pointer else name
    if not store.exists(manifest_key(model, version)):
        raise BadInput(f"{model} has no version {version}. {_known(store, model)}")
    return version


def _known(store: Store, model: str) -> str:
    """Which names there are, for a message."""
    there = ", ".join(aliases(store, model)) or "none"
    return f"Its versions: {', '.join(versions(store, model)) or 'none'}; its aliases: {there}"


def verify_alias(
    store: Store, model: str, alias: str = CHAMPION, keys: SigningKeys = NONE
) -> Release:
    """Verifies the version that an alias names, and its history; returns the version's manifest.

    Nothing is written into the store. If all is right, the newest move is remembered here, and an
    older one is refused from then on.

    Raises:
        BadInput: the alias names nothing, something is damaged, an old pointer was put back, or
            something is not signed as the keys ask for; names every problem.
    """
    memory = seen.recall(store, keys)
    release = _verified(store, model, alias, keys, replayed=True)
    found = pointers.standing(store, model, alias, keys)
    if found:
        pointers.keep(store, keys, found, memory, pointers.identity(store) if keys.public else "")
    return release


def _verified(
    store: Store, model: str, alias: str, keys: SigningKeys, *, replayed: bool
) -> Release:
    pointer = champion(store, model, alias)
    found = problems(store, model, alias, keys, replayed=replayed)
    if pointer is None:
        told = "; ".join(found) or f"{model} has no {alias}. {_known(store, model)}"
        raise BadInput(told)
    try:
        release = verify(store, model, pointer.version, keys)
    except BadInput as error:
        raise BadInput("; ".join([*found, str(error)])) from None
    if found:
        raise BadInput(f"the history of {alias} of {model} is damaged: {'; '.join(found)}")
    return release


def watched(store: Store, model: str, keys: SigningKeys = NONE) -> list[str]:
    """Returns the names of all aliases that there are, were moved, or were seen here."""
    there = (name.split("/") for name in seen.recall(store, keys).of(keys))
    return sorted({alias for owner, alias in there if owner == model} | {*named(store, model)})


def accept_older(
    store: Store, model: str, names: Iterable[str], *, by: str, reason: str, keys: SigningKeys
) -> list[Accepted]:
    """Takes the aliases of a store that was restored from a backup for what they are now.

    All but their age is verified first. Nothing is written into the store: what changes is what is
    remembered here, where the reason is kept with it.

    Args:
        store: The store.
        model: The model's name.
        names: The aliases; one that names nothing any more is forgotten.
        by: Who accepts it.
        reason: Why.
        keys: Say what must be signed, and where it is remembered.

    Returns:
        What was seen of each alias that is older now.

    Raises:
        BadInput: something else is wrong than the age, there is no reason, or no folder to
            remember in.
    """
    reason = " ".join(reason.split())
    if not reason or not keys.state:
        lacks = f"name a folder in {seen.SETTING}" if reason else "it needs a reason, which is kept"
        raise BadInput(f"nothing older was accepted: {lacks}")
    known, now = seen.recall(store, keys).of(keys), dict[str, Seen | None]()
    for alias in names:
        found = pointers.read(store, model, alias)
        name = seen.name_of(model, alias)
        if found:
            _verified(store, model, alias, keys, replayed=False)
        if found is None:
            now[name] = None
        elif pointers.replay_problem(store, found, known):
            now[name] = seen.seen_now(found.move, found.sha256)
    here = pointers.identity(store)
    return seen.accept(store, keys, now, identity=here, by=by, reason=reason)


def prune(
    store: Store, model: str, keep: int, dry_run: bool = True, keys: SigningKeys = NONE
) -> list[str]:
    """Remove old versions; the names of those that go, or went, oldest first.

    What an alias names, and what it named before, is kept, and so are the newest versions and
    those whose manifest cannot be read. Do not move an alias to an old version meanwhile.

    Args:
        store: The store.
        model: The model's name.
        keep: How many of the newest versions are kept, by the time of their publication.
        dry_run: Whether to remove nothing.
        keys: Whether pointers must be signed, and by which key: an old one that was put back would
            have the true champion removed.

    Raises:
        BadInput: `keep` is negative, or a pointer cannot be read or trusted; nothing was removed.
    """
    if keep < 0:
        raise BadInput(f"keep must be 0 or more. Received: {keep}")
    kept, dated = _kept(store, model, keys), _by_age(store, model)
    going = [version for version in dated[: max(0, len(dated) - keep)] if version not in kept]
    if dry_run:
        return going
    for mark in store.list(_removals(model)):  # of prunings that were stopped
        _sweep(store, model, mark.rsplit("/", 1)[1])
    return [version for version in going if _remove(store, model, version)]


def _kept(store: Store, model: str, keys: SigningKeys) -> set[str | None]:
    """What aliases name, and what they named before."""
    for alias in watched(store, model, keys):
        champion(store, model, alias, keys)  # nor may one have been taken away
    return {
        version
        for alias, pointer in aliases(store, model).items()
        for version in (
            pointer.version,
            pointer.previous,
            before(_history(store, model, alias, keys)),
        )
    }


def _by_age(store: Store, model: str) -> list[str]:
    """The versions whose manifests can be read, oldest publication first."""
    found = []
    for version in versions(store, model):
        try:
            found.append((release_of(store, model, version).published_at, version))
        except BadInput as error:
            log.warning('version_unreadable model=%s version=%s error="%s"', model, version, error)
    return [version for _, version in sorted(found)]


def _remove(store: Store, model: str, version: str) -> bool:
    """Remove a version unless an alias names it by now; whether it is gone.

    The manifest goes first: a version that is half gone is none. A mark tells the next pruning to
    go on, should this one be stopped.
    """
    manifest = manifest_key(model, version)
    content = store.read(manifest)
    store.put(f"{_removals(model)}/{version}", b"")
    store.remove(manifest)
    stays = any(pointer.version == version for pointer in aliases(store, model).values())
    if stays:
        store.put(manifest, content)  # somebody moved an alias to it while this went on
    _sweep(store, model, version)
    log.info(
        "%s model=%s version=%s", "version_kept" if stays else "version_removed", model, version
    )
    return not stays


def _sweep(store: Store, model: str, version: str) -> None:
    """Remove the files of a version without a manifest, and the mark of its removal."""
    if not store.exists(manifest_key(model, version)):
        for key in store.list(version_key(model, version)):
            store.remove(key)
    store.remove(f"{_removals(model)}/{version}")


def _removals(model: str) -> str:
    """The key below which a mark lies for each version that is being removed."""
    return f"{folder(model)}/removals"


def models(store: Store) -> list[str]:
    """Names of all models that were judged or promoted, sorted."""
    return sorted({key.split("/")[1] for key in store.list("models")})


def record(store: Store, judgement: Judgement, digest: str) -> bool:
    """Add a judged run to the model's history; whether it is new there.

    Args:
        store: The store.
        judgement: What the run came to.
        digest: Key of the verdict. The same verdict is written once, whoever comes to it again.
    """
    stamp = judgement.judged_at.replace(":", "").replace("-", "")
    key = f"{folder(judgement.model)}/judged/{stamp}-{digest[:12]}.json"
    if store.exists(key):
        return False
    store.put(key, dump(judgement))
    return True


def judgements(store: Store, model: str, last: int = 20) -> list[Judgement]:
    """The latest judged runs of a model, newest first."""
    keys = store.list(f"{folder(model)}/judged")[-last:]
    return [parse(store.read(key), Judgement, key) for key in reversed(keys)]
