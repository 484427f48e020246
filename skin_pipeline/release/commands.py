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
from skin_pipeline.release import registry
from skin_pipeline.release.signing import NONE, PUBLIC_KEY, Keys
from skin_pipeline.storage import Store

SHOWN_MOVES = 10
SECONDS = len("2026-11-24T12:00:00")  # as much of a time as people read
KEEP = 5
_HELP = {
    "list": "all models, or the versions of one",
    "show": "a version; by default the champion",
    "verify": "compare a version, or all that aliases name, with the manifest and its signature",
    "sign": "sign a version that was published without a signature",
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
    added["sign"].add_argument("version", metavar="VERSION")
    added["alias"].add_argument("alias", metavar="NAME")
    added["alias"].add_argument("version", metavar="VERSION")
    for name in ("rollback", "alias"):
        added[name].add_argument("--reason", required=True, help="why; it stays in the history")
    added["prune"].add_argument(
        "--keep", type=int, default=KEEP, help=f"newest versions to keep; default: {KEEP}"
    )
    added["prune"].add_argument("--yes", action="store_true", help="remove, instead of listing")


def run(store: Store, action: str, keys: Keys = NONE, **arguments: str) -> str:
    """What a command has to say.

    Args:
        store: The store.
        action: The command, such as `list`.
        keys: The keys of the deployment.
        **arguments: As `add_to` reads them.

    Raises:
        BadInput, Unavailable: as the functions of `registry`.
    """
    if action in _WITH_KEYS:
        return _ACTIONS[action](store, keys=keys, **arguments)
    return _ACTIONS[action](store, **arguments)


def _list(store: Store, model: str | None) -> str:
    if model is None:
        rows = [_model(store, name) for name in registry.models(store)]
        return _table(("MODEL", "CHAMPION", "SINCE", "VERSIONS", "OTHER ALIASES"), rows)
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


def _show(store: Store, model: str, name: str | None) -> str:
    _check_known(store, model)
    name = name or registry.CHAMPION
    release = registry.release_of(store, model, registry.resolve(store, model, name))
    named = registry.aliases(store, model)
    facts = {
        "model": model,
        "version": release.version,
        "aliases": _names(release.version, named),
        "published": release.published_at or "unknown",
        "verdict": release.verdict,
        "data": f"{release.content_digest} ({_data(release.synthetic)})",
        "threshold": f"{release.threshold:.6g} ({' / '.join(release.labels)})",
        "place": store.link(registry.version_key(model, release.version)),
    }
    parts = [
        _table((), list(facts.items())),
        _table(("FILE", "SHA-256"), list(release.files.items())),
        *([_moves(store, model, name)] if name in named else []),
    ]
    return "\n\n".join(parts)


def _moves(store: Store, model: str, alias: str) -> str:
    """The latest moves of an alias, newest first."""
    rows = [
        (
            str(move.number),
            move.moved_at,
            move.version,
            move.previous or "none",
            "rollback" if move.rollback else "",
            move.by,
            move.reason,
        )
        for move in registry.moves(store, model, alias)[:SHOWN_MOVES]
    ]
    head = ("MOVE", "AT", f"{alias.upper()} TO", "FROM", "", "BY", "REASON")
    return _table(head, rows)


def _verify(store: Store, model: str, name: str | None, keys: Keys) -> str:
    _check_known(store, model)
    named = list(registry.aliases(store, model))
    if name is not None and name not in named:
        release = registry.verify(store, model, name, keys)
        signed = _signed(store, model, name, keys)
        return f"Version {name} of {model} is whole: {len(release.files)} files, {signed}."
    checked = [name] if name else named
    if not checked:
        return f"{model} has no alias; name a version to verify it."
    return "\n".join(_verified(store, model, alias, keys) for alias in checked)


def _verified(store: Store, model: str, alias: str, keys: Keys) -> str:
    release = registry.verify_alias(store, model, alias, keys)
    signed = _signed(store, model, release.version, keys)
    count = len(registry.moves(store, model, alias))
    return (
        f"{alias} of {model}: version {release.version} is whole ({len(release.files)} files, "
        f"{signed}), and so is the history (moves: {count})."
    )


def _signed(store: Store, model: str, version: str, keys: Keys) -> str:
    """Whether a verified version is signed."""
    if keys.public:
        return "signed with the trusted key"
    signed = registry.is_signed(store, model, version)
    return f"signed, but {PUBLIC_KEY} names no key to check it with" if signed else "not signed"


def _sign(store: Store, model: str, version: str, keys: Keys) -> str:
    _check_known(store, model)
    keys.check()
    registry.verify(store, model, version)
    done = registry.sign(store, model, version, keys)
    return f"Version {version} of {model} is signed{'' if done else ' already'}."


def _rollback(store: Store, model: str, target: str, alias: str, reason: str, keys: Keys) -> str:
    _check_known(store, model)
    plan = registry.plan_rollback(store, model, target, alias, keys)
    registry.carry_out(store, model, plan, alias=alias, by=_user(), reason=reason)
    if plan.version == plan.instead_of:
        return f"{alias} of {model} names version {plan.version} already; nothing was moved."
    return f"{alias} of {model} names version {plan.version} now, instead of {plan.instead_of}."


def _alias(store: Store, model: str, alias: str, version: str, reason: str, keys: Keys) -> str:
    _check_known(store, model)
    release = registry.release_of(store, model, version)
    registry.promote(store, release, alias=alias, by=_user(), reason=reason, keys=keys)
    return f"{alias} of {model} names version {version} now."


def _prune(store: Store, model: str, keep: int, yes: bool) -> str:
    _check_known(store, model)
    going = registry.prune(store, model, keep, dry_run=not yes)
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
_WITH_KEYS = {"verify", "sign", "rollback", "alias"}


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
