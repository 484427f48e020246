"""What this machine has seen of the aliases of a store, so that it notices an old pointer.

An attacker who may write to the store can put an old pointer back and remove the newest moves. What
is left is consistent, and every signature is valid. Only a machine that has seen the newer move can
notice that it is gone. So it is remembered outside of the store, in
`<state folder>/<digest of the address>.json`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from pydantic import Field

from skin_pipeline.contracts import Contract, Pointer, dump, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.storage import Store, digest

log = logging.getLogger(__name__)

SETTING = "SKIN_STATE"
LONGEST = 100  # letters of a text from the store that messages repeat


class Seen(Contract):
    """The newest move of an alias that was seen here, and when."""

    number: int
    sha256: str
    version: str
    moved_at: str
    seen_at: str

    def __str__(self) -> str:
        """Returns words for people: `move 6 (to version 4f1a, made 2026-11-24T12:00:00+00:00)`."""
        return told(self.number, self.version, self.moved_at)


class Accepted(Contract):
    """An older state of an alias that a person accepted: what was seen, and what is there now."""

    alias: str
    seen: Seen
    now: Seen | None
    at: str
    by: str
    reason: str


class Memory(Contract):
    """What was seen of one store. Keys are `MODEL/ALIAS`.

    `place` is the store's address, and `store` the name that its pointers were signed for. `signed`
    contains pointers whose signature was checked, `unsigned` those seen while none was required.
    They are kept apart because a forged pointer can have any number: remembered among the signed
    ones, it would make every true move with a lower number look old.
    """

    place: str
    store: str = ""
    signed: dict[str, Seen] = Field(default_factory=dict)
    unsigned: dict[str, Seen] = Field(default_factory=dict)
    accepted: tuple[Accepted, ...] = ()

    def of(self, keys: SigningKeys) -> dict[str, Seen]:
        """Returns the part that counts where these keys are used."""
        return self.signed if keys.public else self.unsigned


def told(number: int, version: str, moved_at: str) -> str:
    """Returns the words that messages use for a move."""
    return f"move {number} (to version {_plain(version)}, made {_plain(moved_at)})"


def _plain(text: str) -> str:
    """Returns a text from the store, safe for a line of a log."""
    return text if text.isprintable() and len(text) <= LONGEST else repr(text[:LONGEST])


def name_of(model: str, alias: str) -> str:
    """Returns the key of an alias in a memory."""
    return f"{model}/{alias}"


def seen_now(pointer: Pointer, sha256: str) -> Seen:
    """Returns what is remembered of a pointer that is seen now."""
    return Seen(
        number=pointer.number,
        sha256=sha256,
        version=pointer.version,
        moved_at=pointer.moved_at,
        seen_at=_now(),
    )


def recall(store: Store, keys: SigningKeys) -> Memory:
    """Returns what was seen of a store; nothing if it was never seen, or nothing is remembered.

    Call it before you read a pointer. In the other order, another process could move the alias and
    remember that in between, and the pointer that you read would look old.

    Raises:
        BadInput: the file is damaged, cannot be read, or is about another store.
    """
    address = _address(store)
    if not keys.state:
        return Memory(place=address)
    return _load(_file(keys, address), address)


def remember(store: Store, keys: SigningKeys, name: str, seen: Seen, identity: str = "") -> bool:
    """Remembers a move, unless a later one is remembered. Returns whether the memory is up to date.

    If the file cannot be written, a warning is logged, and an old pointer is not noticed later.
    """
    if not keys.state:
        return False

    def change(memory: Memory) -> Memory:
        known = memory.of(keys).get(name)
        if known and known.number >= seen.number:
            return memory
        return _with(memory, keys, {name: seen}, identity)

    try:
        _change(keys, _address(store), change)
    except OSError as error:
        problem = f"{error.strerror}; name a folder that this user may write to in {SETTING}"
        log.warning('move_not_remembered alias=%s problem="%s"', name, problem)
        return False
    return True


def accept(
    store: Store,
    keys: SigningKeys,
    now: Mapping[str, Seen | None],
    *,
    identity: str,
    by: str,
    reason: str,
) -> list[Accepted]:
    """Replaces what was seen by what the store has now, which is older. Returns what changed.

    Args:
        store: The store.
        keys: They say which part of the memory counts, and in which folder it is.
        now: The aliases that contradict what was seen, as they are now; None for one that names
            nothing.
        identity: The name of the store.
        by: Who accepts it.
        reason: Why; it is kept in the memory.

    Raises:
        BadInput: the memory cannot be written.
    """
    taken: list[Accepted] = []

    def change(memory: Memory) -> Memory:
        known = memory.of(keys)
        more = {"at": _now(), "by": by, "reason": reason}
        taken.extend(
            Accepted(alias=name, seen=known[name], now=item, **more)
            for name, item in now.items()
            if name in known
        )
        changed = _with(memory, keys, now, identity)
        return changed.model_copy(update={"accepted": (*memory.accepted, *taken)})

    try:
        _change(keys, _address(store), change)
    except OSError as error:
        raise _unusable(keys.state, str(error.strerror)) from error
    return taken


def file_of(store: Store, keys: SigningKeys) -> Path:
    """Returns the file that contains what was seen of a store."""
    return _file(keys, _address(store))


def _with(
    memory: Memory, keys: SigningKeys, now: Mapping[str, Seen | None], identity: str
) -> Memory:
    entries = {name: item for name, item in {**memory.of(keys), **now}.items() if item}
    part = "signed" if keys.public else "unsigned"
    return memory.model_copy(update={part: entries, "store": identity or memory.store})


def _address(store: Store) -> str:
    """Returns where a store is, with its server: two servers may have buckets of the same name."""
    endpoint = getattr(store, "endpoint", "")  # a folder has none
    return f"{store.url} at {endpoint}" if endpoint else store.url


def _file(keys: SigningKeys, address: str) -> Path:
    return Path(keys.state) / f"{digest(address.encode())[:20]}.json"


def _load(file: Path, address: str) -> Memory:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return Memory(place=address)
    except OSError as error:
        raise _unusable(str(file), str(error.strerror)) from error
    try:
        memory = parse(content, Memory, str(file))
    except BadInput as error:
        raise _unusable(str(file), str(error)) from None
    if memory.place != address:
        raise _unusable(str(file), f"it is about the store {memory.place}, not {address}")
    return memory


def _unusable(file: str, problem: str) -> BadInput:
    return BadInput(
        f"what was seen of the aliases cannot be looked up in {file}: {problem}. It reveals old "
        "pointers that were put back. Put a copy of it back, or correct it. If there is none, look "
        "whether each alias names what it should (python -m skin_pipeline models show MODEL), and "
        f"remove the file: it is then made anew from what is there. {SETTING} names the folder"
    )


def _change(keys: SigningKeys, address: str, change: Callable[[Memory], Memory]) -> None:
    """Changes a memory, one process at a time. Readers see it before or after, never in between."""
    file = _file(keys, address)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(file.with_suffix(".lock")):
        before = _load(file, address)
        after = change(before)
        if after != before:
            _write(file, dump(after))


def _write(file: Path, content: bytes) -> None:
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".part")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as sink:
            sink.write(content)
            sink.flush()
            os.fsync(sink.fileno())
        Path(draft).replace(file)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Generator[None, None, None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # a process forked meanwhile holds the same lock
        os.close(handle)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
