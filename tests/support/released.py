"""Published versions, for tests that care about what names them and not about what is in them."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

from documents import dataset, verdict

from skin_pipeline.contracts import Pointer, Release, dump
from skin_pipeline.job import Job
from skin_pipeline.provenance import ProvenStore, SigningKeys
from skin_pipeline.release import Model, Registry, aliases, chain, history
from skin_pipeline.release.pointers import Alias
from skin_pipeline.storage import Store, digest

MODEL = "skin"


def keras_file(content: bytes) -> bytes:
    """What passes for a Keras file: a zip archive, the same for the same content."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(zipfile.ZipInfo("model.weights.h5"), content)
    return sink.getvalue()


def sources(store: Store, content: bytes) -> dict[str, str]:
    """Put the files of a version where the steps leave them; maps names to keys."""
    files = {"model.keras": keras_file(content), "metrics.json": b"{}"}
    keys = {name: f"evaluate/{digest(content)}/{name}" for name in files}
    for name, key in keys.items():
        store.put(key, files[name])
    return keys


def registry(store: Store, keys: SigningKeys | None = None) -> Registry:
    """The registry of a store, opened with keys, or expressly without any."""
    return Registry(store, keys or SigningKeys())


def opened(store: Store, keys: SigningKeys | None = None, name: str = MODEL) -> Model:
    """A model of the registry."""
    return registry(store, keys).model(name)


def alias_of(
    store: Store, alias: str = "champion", keys: SigningKeys | None = None, model: str = MODEL
) -> Alias:
    """An alias of a model, for what tests call below the registry."""
    return Alias(store, model, alias, keys or SigningKeys())


def described(store: Store, content: bytes = b"model", model: str = MODEL) -> Release:
    """A version that is not published yet."""
    return opened(store, name=model).describe(
        sources(store, content),
        verdict="gate/1",
        threshold=0.4,
        dataset=dataset("ingest/1"),
    )


def release(store: Store, content: bytes = b"model", model: str = MODEL) -> Release:
    """A published version."""
    made = described(store, content, model)
    opened(store, name=model).publish(made, sources(store, content))
    return made


def releases(store: Store, count: int, model: str = MODEL) -> list[str]:
    """The names of as many published versions, oldest first."""
    return [release(store, bytes([number]), model).version for number in range(count)]


def promote(store: Store, version: str, model: str = MODEL, **known: Any) -> bool:
    """Promote a published version, by default to the champion."""
    known = {"by": "test", "reason": "passed the gate", **known}
    return opened(store, name=model).promote(version, **known)


def judged_release(store: Store, content: bytes, model: str = MODEL, **known: Any) -> str:
    """The name of a published version that contains its verdict, as those that steps made do."""
    document = dump(verdict(**{"released_as": model, **known}))
    key = f"gate/{digest(content)}/verdict.json"
    store.put(key, document)
    files = {**sources(store, content), "verdict.json": key}
    made = opened(store, name=model).describe(
        files, verdict="gate/1", threshold=0.4, dataset=dataset("ingest/1")
    )
    opened(store, name=model).publish(made, files)
    return made.version


def vouch_for(job: Job, verdict: str) -> None:
    """Sign all that a verdict is made from, as if the steps had had the job's key."""
    bare = ProvenStore.of(job.store, SigningKeys())
    for key in chain.results_of(bare, verdict):
        proof = bare.prove(key).proof
        for result in (key, *(proof.made_from if proof else ())):
            job.proven.vouch(result)


def named(store: Store, alias: str = "champion", model: str = MODEL) -> str | None:
    """The version that an alias names."""
    pointer = opened(store, name=model).pointer(alias)
    return pointer.version if pointer else None


def champion_of(store: Store, keys: SigningKeys | None = None, model: str = MODEL) -> Pointer:
    """What the champion is, where there must be one."""
    pointer = opened(store, keys, model).champion
    assert pointer
    return pointer


def moves(store: Store, alias: str = "champion", model: str = MODEL) -> list[Pointer]:
    """All moves of an alias, newest first."""
    documents = opened(store, name=model).unverified.documents(alias)
    return [document.move for document in documents]


def problems(store: Store, alias: str = "champion", keys: SigningKeys | None = None) -> list[str]:
    """What is wrong with the history of an alias."""
    return history.problems(alias_of(store, alias, keys))


def pointer(version: str, **known: Any) -> Pointer:
    """A pointer as a mover makes it, before it has a number."""
    usual = {"model": MODEL, "moved_at": "2026-11-24T12:00:00+00:00", "by": "test", "reason": "r"}
    return Pointer(**{**usual, "version": version, "previous": None, **known})


def point(store: Store, pointer: Pointer, expected: str | None) -> bool:
    """Move an alias once, without looking whether it is where it shall be already."""
    return aliases.point(alias_of(store, pointer.alias, model=pointer.model), pointer, expected)


def in_threads(function: Callable[[Any], object], items: Iterable[Any]) -> None:
    """Call a function for each item at once; what one raises is raised here."""
    errors: list[BaseException] = []

    def call(item: Any) -> None:
        try:
            function(item)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
