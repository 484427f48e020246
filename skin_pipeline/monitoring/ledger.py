"""Which images a version of a model has scored, so that each is scored once.

    known = read(store, "skin-resnet50", version)
    known.holds(place)                                  # whether it need not be read again
    claim(store, "skin-resnet50", version, {chunk: entries})   # which images are a chunk's own

An image is known by its *id*, the SHA-256 of its bytes. It also has a *place*: the digest of its
source, its name and its state there, by which it is known without being read. Each id belongs to
the chunk that claimed it first, so two batches at once give no image two rows.

```
scoring/<model>/ledger/<version>.json        a `Ledger`; moved by compare-and-swap
scoring/<model>/ledger/<version>-<site>.json   another one, with the profile of a site
scoring/<model>/ledger/<sha256>.txt          a part of them: place, id and chunk in each line
```

There are few parts, however many batches there were: many are made into one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from skin_pipeline.contracts import Ledger, dump, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.monitoring.score_log import FOLDER
from skin_pipeline.storage import Store, digest

MOST_PARTS = 50  # a batch reads all of them
TRIES = 50  # each failure means that another batch went ahead
NONE = "-"  # in a line: no place, or no chunk, as the image was another one's already
PLACE = 32  # letters of a digest


class Entry(NamedTuple):
    """An image that was read: where it was found, and its id."""

    place: str
    id: str


@dataclass
class Known:
    """What a version has scored: the id at each place, and the chunk that each id belongs to."""

    places: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def holds(self, place: str) -> bool:
        """Returns whether the image at a place was scored."""
        return self.places.get(place) in self.owners

    def take(self, place: str, image: str, owner: str) -> None:
        """Notes a line of the ledger."""
        if place != NONE:
            self.places[place] = image
        if owner != NONE:
            self.owners.setdefault(image, owner)

    def lines(self) -> Iterator[str]:
        """Yields all lines of the ledger."""
        yield from (f"{NONE} {image} {owner}" for image, owner in self.owners.items())
        yield from (f"{place} {image} {NONE}" for place, image in self.places.items())


class _State(NamedTuple):
    """A ledger, the tag of its pointer, and what its parts say."""

    ledger: Ledger
    tag: str | None
    known: Known


def place_of(source: str, name: str, state: str) -> str:
    """Returns the place of an image, which is another one after its bytes have changed."""
    return digest("\0".join((source, name, state)).encode(errors="surrogateescape"))[:PLACE]


def scorer(version: str, site: str = "") -> str:
    """Returns the name of what scores: a version, at a site it has a profile of or as it is.

    An image that was scored without the profile is scored again with it.
    """
    return f"{version}-{site}" if site else version


def read(store: Store, model: str, version: str) -> Known:
    """Returns what a version has scored so far; `version` is what `scorer` returns."""
    return _current(store, model, version).known


def claim(
    store: Store, model: str, version: str, found: Mapping[str, Sequence[Entry]]
) -> dict[str, set[str]]:
    """Notes the images that chunks have scored. Returns the ids that belong to each chunk.

    The answer for a chunk stays the same, however often this is called.

    Args:
        store: The store.
        model: Name of the model.
        version: What scored them; see `scorer`.
        found: The images of each chunk, by the name of the chunk.

    Raises:
        Unavailable: Other batches went ahead again and again.
    """
    for _ in range(TRIES):
        state = _current(store, model, version)
        lines = list(_noted(state.known, found))
        if not lines or _added(store, _key(model, version), state, lines):
            owners = state.known.owners
            return {
                chunk: {image for _, image in entries if owners[image] == chunk}
                for chunk, entries in found.items()
            }
    raise _overtaken(model)


def _noted(known: Known, found: Mapping[str, Sequence[Entry]]) -> Iterator[str]:
    """Notes the entries that are new, and yields a line for each."""
    for chunk, entries in found.items():
        for place, image in entries:
            if known.places.get(place) == image and image in known.owners:
                continue
            owner = NONE if image in known.owners else chunk
            known.take(place, image, owner)
            yield f"{place} {image} {owner}"


def _added(store: Store, key: str, state: _State, lines: Iterable[str]) -> bool:
    """Adds lines to a ledger; returns False if another process was faster."""
    kept = state.ledger.parts
    replaced: tuple[str, ...] = ()
    if len(kept) >= MOST_PARTS:
        lines, kept, replaced = state.known.lines(), (), kept
    content = "".join(f"{line}\n" for line in lines).encode()
    part = f"{key.rpartition('/')[0]}/{digest(content)}.txt"
    store.put(part, content)
    changed = Ledger(changes=state.ledger.changes + 1, parts=(*kept, part))
    moved = store.swap(key, dump(changed), state.tag)
    if moved:
        for old in replaced:
            store.remove(old)  # all that it says is in the new part
    return moved


def _current(store: Store, model: str, version: str) -> _State:
    key = _key(model, version)
    for _ in range(TRIES):
        found = store.tagged(key)
        if found is None:
            return _State(Ledger(), None, Known())
        ledger = parse(found[0], Ledger, key)
        try:
            return _State(ledger, found[1], _read(store, ledger.parts))
        except BadInput:
            # Another process may just have made one part of many, and removed those.
            if store.tagged(key) == found:
                raise
    raise _overtaken(model)


def _read(store: Store, parts: Iterable[str]) -> Known:
    known = Known()
    for part in parts:
        for line in store.read(part).decode().splitlines():
            known.take(*line.split(" "))
    return known


def _overtaken(model: str) -> Unavailable:
    return Unavailable(
        f"the list of images that {model} has scored was changed by other batches {TRIES} times "
        "in a row. Try again when fewer of them run"
    )


def _key(model: str, version: str) -> str:
    return f"{FOLDER}/{model}/ledger/{version}.json"
