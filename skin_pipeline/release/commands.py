"""The commands `models …`: what an operator does with versions and aliases, as plain text.

```
python -m skin_pipeline models list
python -m skin_pipeline models rollback skin-resnet50 previous --reason "too many false alarms"
```
"""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Callable, Sequence

from skin_pipeline.contracts import Pointer
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import NONE, PUBLIC_KEY, SigningKeys
from skin_pipeline.release import registry
from skin_pipeline.storage import Store

SHOWN_MOVES = 10
SECONDS = len("2026-11-24T12:00:00")  # as much of a time as people read
KEEP = 5
_HELP = {
    "list": "all models, or the versions of one",
    "show": "a version; by default the champion",
    "verify": "compare a version, or all that aliases name, with the manifest and its signature, "
    "and check the history of the aliases; nothing is written into the store",
    "sign": "sign a version that was published without a signature; or, without VERSION, what the "
    "aliases name, and their history so far",
    "rollback": "make an alias name an earlier version again",
    "alias": "make an alias name a version",
    "prune": "remove old versions that no alias names or named before",
}


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the commands to the parser of `models`."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    added = {
        name: commands.add_parser(name, help=text, description=text) for name, text in _HELP.items()
    }
    for name, command in added.items():
        command.add_argument("model", metavar="MODEL", nargs="?" if name == "list" else None)
    for name in ("show", "verify"):
        added[name].add_argument("name", nargs="?", metavar="VERSION|ALIAS")
    added["rollback"].add_argument("target", metavar="VERSION|previous")
    added["rollback"].add_argument("--alias", default=registry.CHAMPION, help="default: champion")
    added["verify"].add_argument(
        "--accept-older",
        metavar="REASON",
        help="the store was restored from a backup on purpose: verify all but its age, and "
        "remember here what it has now, not the newer moves that were seen; the reason is kept",
    )
    added["sign"].add_argument("version", nargs="?", metavar="VERSION")
    added["alias"].add_argument("alias", metavar="NAME")
    added["alias"].add_argument("version", metavar="VERSION")
    for name in ("rollback", "alias"):
        added[name].add_argument("--reason", required=True, help="why; it stays in the history")
    added["prune"].add_argument(
        "--keep", type=int, default=KEEP, help=f"newest versions to keep; default: {KEEP}"
    )
    added["prune"].add_argument("--yes", action="store_true", help="remove, instead of listing")


def run(store: Store, action: str, keys: SigningKeys = NONE, **arguments: str) -> str:
    """What a command has to say.

    Args:
        store: The store.
        action: The command, such as `list`.
        keys: The keys of the deployment.
        **arguments: As `add_to` reads them.

    Raises:
        BadInput, Unavailable: as the functions of `registry`.
    """
    return _ACTIONS[action](store, keys=keys, **arguments)


def _list(store: Store, model: str | None, keys: SigningKeys) -> str:
    if model is None:
        head: tuple[str, ...] = ("MODEL", "CHAMPION", "SINCE", "VERSIONS", "OTHER ALIASES")
        names = registry.models(store)
        rows = [_model(store, name) for name in names]
        if keys.public:
            head = (*head, "TRUSTED")
            rows = [
                (*row, _trusted(store, name, keys)) for row, name in zip(rows, names, strict=True)
            ]
        return _table(head, rows)
    _check_known(store, model)
    named = registry.aliases(store, model)
    rows = [
        (*_version(store, model, version), _names(version, named))
        for version in registry.versions(store, model)
    ]
    newest_first = sorted(rows, key=lambda row: row[1], reverse=True)
    shown = [(version, at[:SECONDS], *rest) for version, at, *rest in newest_first]
    return _table(("VERSION", "PUBLISHED", "THRESHOLD", "DATA", "ALIASES"), shown)


def _model(store: Store, model: str) -> tuple[str, ...]:
    count = str(len(registry.versions(store, model)))
    try:
        named = registry.aliases(store, model)
    except BadInput as error:  # the other models are to be seen all the same
        return model, "unreadable", "", count, str(error)
    champion = named.pop(registry.CHAMPION, None)
    others = ", ".join(f"{name}={pointer.version}" for name, pointer in named.items())
    if champion is None:
        return model, "none", "", count, others
    return model, champion.version, champion.moved_at, count, others


def _trusted(store: Store, model: str, keys: SigningKeys) -> str:
    """Whether all aliases of a model may be acted on, or why one may not."""
    try:
        for alias in registry.watched(store, model, keys):
            registry.champion(store, model, alias, keys)
    except BadInput as error:
        return f"NO: {error}"
    return "yes"


def _version(store: Store, model: str, version: str) -> tuple[str, str, str, str]:
    try:
        release = registry.release_of(store, model, version)
    except BadInput as error:
        return version, "", "", str(error)
    published = release.published_at or "-"  # sorts before every time
    return version, published, f"{release.threshold:.3f}", _data(release.synthetic)


def _data(synthetic: bool) -> str:
    return "synthetic" if synthetic else "real"


def _names(version: str, named: dict[str, Pointer]) -> str:
    return ", ".join(name for name, pointer in named.items() if pointer.version == version)


def _show(store: Store, model: str, name: str | None, keys: SigningKeys) -> str:
    _check_known(store, model)
    name = name or registry.CHAMPION
    release = registry.release_of(store, model, registry.resolve(store, model, name))
    named = registry.aliases(store, model)
    facts = {
        "model": model,
        "version": release.version,
        "aliases": _names(release.version, named),
        **({"pointer": _pointer(store, model, name, keys)} if name in named else {}),
        "published": release.published_at or "unknown",
        "verdict": release.verdict,
        "data": f"{release.content_digest} ({_data(release.synthetic)})",
        "threshold": f"{release.threshold:.6g} ({' / '.join(release.labels)})",
        "place": store.link(registry.version_key(model, release.version)),
    }
    parts = [
        _table((), list(facts.items())),
        _table(("FILE", "SHA-256"), list(release.files.items())),
        *([_moves(store, model, name, keys)] if name in named else []),
    ]
    return "\n\n".join(parts)


def _pointer(store: Store, model: str, alias: str, keys: SigningKeys) -> str:
    """Whether what an alias names may be acted on."""
    if not keys.public:
        return f"not verified: {PUBLIC_KEY} names no key to check it with"
    try:
        registry.champion(store, model, alias, keys)
    except BadInput as error:
        return f"NOT TRUSTED: {error}"
    return "signed with the trusted key"


def _moves(store: Store, model: str, alias: str, keys: SigningKeys) -> str:
    """The latest moves of an alias, newest first."""
    history = registry.documents(store, model, alias)
    signed = registry.signatures(store, history, keys)
    rows = [
        (
            str(move.number),
            move.moved_at,
            move.version,
            move.previous or "none",
            "rollback" if move.rollback else "",
            word,
            move.by,
            move.reason,
        )
        for (_, _, move, _), word in zip(history[:SHOWN_MOVES], signed, strict=False)
    ]
    head = ("MOVE", "AT", f"{alias.upper()} TO", "FROM", "", "SIGNED", "BY", "REASON")
    return _table(head, rows)


def _verify(
    store: Store, model: str, name: str | None, keys: SigningKeys, accept_older: str | None = None
) -> str:
    _check_known(store, model)
    watched = registry.watched(store, model, keys)
    if name is not None and name not in watched:
        release = registry.verify(store, model, name, keys)
        signed = _signed(store, model, name, keys)
        return f"Version {name} of {model} is whole: {len(release.files)} files, {signed}."
    checked = [name] if name else watched
    if not checked:
        return f"{model} has no alias; name a version to verify it."
    accepted = _accepted(store, model, checked, keys, accept_older)
    forgotten = {*watched} - {*registry.watched(store, model, keys)}
    there = [alias for alias in checked if alias not in forgotten]
    return "\n".join([*accepted, *_all_verified(store, model, there, keys)])


def _accepted(
    store: Store, model: str, aliases: list[str], keys: SigningKeys, reason: str | None
) -> list[str]:
    """What was seen here and is no longer asked for, if a person said so."""
    if reason is None:
        return []
    older = registry.accept_older(store, model, aliases, by=_user(), reason=reason, keys=keys)
    told = [
        f"Accepted here: {item.alias} has {item.now or 'no move'}, though {item.seen} was seen at "
        f"{item.seen.seen_at}."
        for item in older
    ]
    return told or ["Nothing is older than what was seen here."]


def _all_verified(store: Store, model: str, aliases: list[str], keys: SigningKeys) -> list[str]:
    """A line an alias. Raises `BadInput` with the problems of all, if there are any."""
    lines, problems = [], []
    for alias in aliases:
        try:
            lines.append(_verified(store, model, alias, keys))
        except BadInput as error:
            problems.append(str(error))
    if problems:
        raise BadInput("; ".join(problems))
    return lines


def _verified(store: Store, model: str, alias: str, keys: SigningKeys) -> str:
    release = registry.verify_alias(store, model, alias, keys)
    signed = _signed(store, model, release.version, keys)
    history = registry.documents(store, model, alias)
    newest = history[0].move
    notes = (
        ""
        if registry.is_written_down(store, history[0])
        else (
            f" Move {newest.number} stands in the pointer only, as its mover was stopped; the next "
            "move writes it down."
        )
    )
    if newest.rollback:
        notes += f" It was rolled back on purpose: move {newest.number}, {newest.moved_at}."
    how = "signed with the trusted key" if keys.public else "not verified against a key"
    return (
        f"{alias} of {model}: version {release.version} is whole ({len(release.files)} files, "
        f"{signed}), and so is the history (moves: {len(history)}, {how}).{notes}"
    )


def _signed(store: Store, model: str, version: str, keys: SigningKeys) -> str:
    """Whether a verified version is signed."""
    if keys.public:
        return "signed with the trusted key"
    signed = registry.is_signed(store, model, version)
    return f"signed, but {PUBLIC_KEY} names no key to check it with" if signed else "not signed"


def _sign(store: Store, model: str, version: str | None, keys: SigningKeys) -> str:
    _check_known(store, model)
    keys.check()
    if version is None:
        return _sign_aliases(store, model, keys)
    registry.verify(store, model, version)
    done = registry.sign(store, model, version, keys)
    return f"Version {version} of {model} is signed{'' if done else ' already'}."


def _sign_aliases(store: Store, model: str, keys: SigningKeys) -> str:
    """Sign what the aliases name, and their history so far."""
    lines = []
    for alias in registry.aliases(store, model):
        done = registry.sign_history(store, model, alias, _user(), keys)
        lines.append(f"{alias} of {model}: {f'signed {done}' if done else 'signed already'}.")
    return "\n".join(lines) or f"{model} has no alias; name a version to sign it."


def _rollback(
    store: Store, model: str, target: str, alias: str, reason: str, keys: SigningKeys
) -> str:
    _check_known(store, model)
    plan = registry.plan_rollback(store, model, target, alias, keys)
    registry.carry_out(store, model, plan, alias=alias, by=_user(), reason=reason)
    if plan.version == plan.instead_of:
        return f"{alias} of {model} names version {plan.version} already; nothing was moved."
    return f"{alias} of {model} names version {plan.version} now, instead of {plan.instead_of}."


def _alias(
    store: Store, model: str, alias: str, version: str, reason: str, keys: SigningKeys
) -> str:
    _check_known(store, model)
    release = registry.release_of(store, model, version)
    registry.promote(store, release, alias=alias, by=_user(), reason=reason, keys=keys)
    return f"{alias} of {model} names version {version} now."


def _prune(store: Store, model: str, keep: int, yes: bool, keys: SigningKeys) -> str:
    _check_known(store, model)
    going = registry.prune(store, model, keep, dry_run=not yes, keys=keys)
    if not going:
        return f"No version of {model} to remove."
    head = "Removed" if yes else "Would remove (--yes removes them)"
    return "\n".join([f"{head}:", *(f"  {version}" for version in going)])


_ACTIONS: dict[str, Callable[..., str]] = {
    "list": _list,
    "show": _show,
    "verify": _verify,
    "sign": _sign,
    "rollback": _rollback,
    "alias": _alias,
    "prune": _prune,
}


def _check_known(store: Store, model: str) -> None:
    known = registry.models(store)
    if model not in known:
        raise BadInput(
            f"there is no model {model} in {store.url}. There are: {', '.join(known) or 'none'}"
        )


def _user() -> str:
    """Who is at the command line."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return f"user {os.getuid()}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns, as wide as their widest cell."""
    lines = [*([head] if head else []), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
