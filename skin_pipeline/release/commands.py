"""The commands `models …`, by which an operator works with versions and aliases.

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
from typing import Any

from skin_pipeline.contracts import CHAMPION, Pointer
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import PUBLIC_KEY
from skin_pipeline.release.history import is_written_down
from skin_pipeline.release.registry import Model, Registry

SHOWN_MOVES = 10
SECONDS = len("2026-11-24T12:00:00")  # as much of a time as people read
KEEP = 5
_HELP = {
    "list": "all models, or the versions of one",
    "show": "a version; by default the champion",
    "verify": "compare a version, or those that the aliases name, with the manifest and signature, "
    "and check the history of the aliases; nothing is written into the store",
    "sign": "sign a version that was published without a signature; without VERSION, sign the "
    "aliases and their history so far",
    "rollback": "make an alias name an earlier version again",
    "alias": "make an alias name a version",
    "prune": "remove old versions that no alias names or named before",
}


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the commands to the parser of `models`."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    added = {
        name: commands.add_parser(name, help=text, description=text) for name, text in _HELP.items()
    }
    for name, command in added.items():
        command.add_argument("model", metavar="MODEL", nargs="?" if name == "list" else None)
    for name in ("show", "verify"):
        added[name].add_argument("name", nargs="?", metavar="VERSION|ALIAS")
    added["rollback"].add_argument("target", metavar="VERSION|previous")
    added["rollback"].add_argument("--alias", default=CHAMPION, help="default: champion")
    added["verify"].add_argument(
        "--accept-older",
        metavar="REASON",
        help="after you restored the store from a backup: verify everything but its age, and "
        "remember on this machine what it has now instead of the newer moves; the reason is kept",
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


def run(registry: Registry, action: str, **arguments: Any) -> str:
    """Runs a command. Returns the text that it prints.

    Args:
        registry: Opened with the keys of the deployment.
        action: The command, such as `list`.
        **arguments: As `add_to` reads them.

    Raises:
        BadInput, Unavailable: as the methods of `Model`.
    """
    name = arguments.pop("model")
    if action == "list" and name is None:
        return _list_models(registry)
    return _ACTIONS[action](_known_model(registry, name), **arguments)


def _known_model(registry: Registry, name: str) -> Model:
    known = registry.models()
    if name not in known:
        raise BadInput(
            f"there is no model {name} in {registry.store.url}. There are: "
            f"{', '.join(known) or 'none'}"
        )
    return registry.model(name)


# --- looking: unsigned versions and pointers are shown too, and marked ---------------------------


def _list_models(registry: Registry) -> str:
    head: tuple[str, ...] = ("MODEL", "CHAMPION", "SINCE", "VERSIONS", "OTHER ALIASES")
    models = [registry.model(name) for name in registry.models()]
    rows = [_model_row(model) for model in models]
    if registry.keys.public:
        head = (*head, "TRUSTED")
        rows = [(*row, _trusted(model)) for row, model in zip(rows, models, strict=True)]
    return _table(head, rows)


def _model_row(model: Model) -> tuple[str, ...]:
    count = str(len(model.versions()))
    try:
        named = model.unverified.pointers()
    except BadInput as error:  # one damaged model must not hide the others
        return model.name, "unreadable", "", count, str(error)
    champion = named.pop(CHAMPION, None)
    others = ", ".join(f"{name}={pointer.version}" for name, pointer in named.items())
    if champion is None:
        return model.name, "none", "", count, others
    return model.name, champion.version, champion.moved_at, count, others


def _trusted(model: Model) -> str:
    """Returns whether all aliases of a model may be used, or why one may not."""
    try:
        for alias in model.aliases():
            model.pointer(alias)
    except BadInput as error:
        return f"NO: {error}"
    return "yes"


def _list(model: Model) -> str:
    named = model.unverified.pointers()
    rows = [(*_version_row(model, name), _names(name, named)) for name in model.versions()]
    newest_first = sorted(rows, key=lambda row: row[1], reverse=True)
    shown = [(version, at[:SECONDS], *rest) for version, at, *rest in newest_first]
    return _table(("VERSION", "PUBLISHED", "THRESHOLD", "DATA", "ALIASES"), shown)


def _version_row(model: Model, version: str) -> tuple[str, str, str, str]:
    try:
        release = model.unverified.release(version)
    except BadInput as error:
        return version, "", "", str(error)
    published = release.published_at or "-"  # sorts before every time
    return version, published, f"{release.threshold:.3f}", _data(release.synthetic)


def _data(synthetic: bool) -> str:
    return "synthetic" if synthetic else "real"


def _names(version: str, named: dict[str, Pointer]) -> str:
    return ", ".join(name for name, pointer in named.items() if pointer.version == version)


def _show(model: Model, name: str | None) -> str:
    name = name or CHAMPION
    release = model.unverified.release(model.unverified.resolve(name))
    named = model.unverified.pointers()
    facts = {
        "model": model.name,
        "version": release.version,
        "aliases": _names(release.version, named),
        **({"pointer": _pointer(model, name)} if name in named else {}),
        "published": release.published_at or "unknown",
        "verdict": release.verdict,
        "data": f"{release.content_digest} ({_data(release.synthetic)})",
        "threshold": f"{release.threshold:.6g} ({' / '.join(release.labels)})",
        "place": model.store.link(model.version_key(release.version)),
    }
    parts = [
        _table((), list(facts.items())),
        _table(("FILE", "SHA-256"), list(release.files.items())),
        *([_moves(model, name)] if name in named else []),
    ]
    return "\n\n".join(parts)


def _pointer(model: Model, alias: str) -> str:
    """Returns whether a pointer may be used, in words."""
    if not model.keys.public:
        return f"not verified: {PUBLIC_KEY} names no key to check it with"
    try:
        model.pointer(alias)
    except BadInput as error:
        return f"NOT TRUSTED: {error}"
    return "signed with the trusted key"


def _moves(model: Model, alias: str) -> str:
    """Returns a table of the latest moves of an alias, newest first."""
    history = model.unverified.documents(alias)
    signed = model.signatures(history)
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


# --- verifying and signing -----------------------------------------------------------------------


def _verify(model: Model, name: str | None, accept_older: str | None = None) -> str:
    watched = model.aliases()
    if name is not None and name not in watched:
        release = model.verify(name)
        signed = _signed(model, name)
        return f"Version {name} of {model.name} is whole: {len(release.files)} files, {signed}."
    checked = [name] if name else watched
    if not checked:
        return f"{model.name} has no alias; name a version to verify it."
    accepted = _accepted(model, checked, accept_older)
    # An alias that the backup does not have is no longer watched after its loss was accepted.
    forgotten = {*watched} - {*model.aliases()}
    there = [alias for alias in checked if alias not in forgotten]
    return "\n".join([*accepted, *_all_verified(model, there)])


def _accepted(model: Model, aliases: list[str], reason: str | None) -> list[str]:
    """Accepts the present state of a restored store, if there is a reason. Returns what changed."""
    if reason is None:
        return []
    older = model.accept_older(aliases, by=_user(), reason=reason)
    told = [
        f"Accepted here: {item.alias} has {item.now or 'no move'}, though {item.seen} was seen at "
        f"{item.seen.seen_at}."
        for item in older
    ]
    return told or ["Nothing is older than what was seen here."]


def _all_verified(model: Model, aliases: list[str]) -> list[str]:
    """Returns a line for each alias. Raises `BadInput` with the problems of all aliases."""
    lines, problems = [], []
    for alias in aliases:
        try:
            lines.append(_verified(model, alias))
        except BadInput as error:
            problems.append(str(error))
    if problems:
        raise BadInput("; ".join(problems))
    return lines


def _verified(model: Model, alias: str) -> str:
    release = model.verify_alias(alias)
    signed = _signed(model, release.version)
    history = model.unverified.documents(alias)  # only to show its length and newest move
    newest = history[0].move
    notes = (
        ""
        if is_written_down(model.store, history[0])
        else (
            f" Move {newest.number} is in the pointer only, as its process was stopped; the next "
            "move writes it into the history."
        )
    )
    if newest.rollback:
        notes += f" It was rolled back on purpose: move {newest.number}, {newest.moved_at}."
    how = "signed with the trusted key" if model.keys.public else "not verified against a key"
    return (
        f"{alias} of {model.name}: version {release.version} is whole ({len(release.files)} files, "
        f"{signed}), and so is the history (moves: {len(history)}, {how}).{notes}"
    )


def _signed(model: Model, version: str) -> str:
    """Returns whether a verified version is signed."""
    if model.keys.public:
        return "signed with the trusted key"
    signed = model.is_signed(version)
    return f"signed, but {PUBLIC_KEY} names no key to check it with" if signed else "not signed"


def _sign(model: Model, version: str | None) -> str:
    model.keys.check()
    if version is None:
        return _sign_aliases(model)
    done = model.sign(version)
    return f"Version {version} of {model.name} is signed{'' if done else ' already'}."


def _sign_aliases(model: Model) -> str:
    """Signs what the aliases name, and their history so far."""
    lines = []
    for alias in model.unverified.pointers():  # unverified: the signature is only made here
        done = model.sign_history(alias, _user())
        lines.append(f"{alias} of {model.name}: {f'signed {done}' if done else 'signed already'}.")
    return "\n".join(lines) or f"{model.name} has no alias; name a version to sign it."


# --- moving and removing -------------------------------------------------------------------------


def _rollback(model: Model, target: str, alias: str, reason: str) -> str:
    plan = model.plan_rollback(target, alias)
    model.carry_out(plan, alias, by=_user(), reason=reason)
    if plan.version == plan.instead_of:
        return f"{alias} of {model.name} names version {plan.version} already; nothing was moved."
    return (
        f"{alias} of {model.name} names version {plan.version} now, instead of {plan.instead_of}."
    )


def _alias(model: Model, alias: str, version: str, reason: str) -> str:
    model.promote(version, alias, by=_user(), reason=reason)
    return f"{alias} of {model.name} names version {version} now."


def _prune(model: Model, keep: int, yes: bool) -> str:
    going = model.prune(keep, dry_run=not yes)
    if not going:
        return f"No version of {model.name} to remove."
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


def _user() -> str:
    """Returns the user of the command line."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return f"user {os.getuid()}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as text, with columns as wide as their widest cell."""
    lines = [*([head] if head else []), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
