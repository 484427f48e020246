"""Published versions, for tests that care about what names them and not about what is in them."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

from documents import dataset

from skin_pipeline.contracts import Pointer, Release
from skin_pipeline.job import Job
from skin_pipeline.provenance import NONE, ProvenStore
from skin_pipeline.release import chain, registry
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


def described(store: Store, content: bytes = b"model", model: str = MODEL) -> Release:
    """A version that is not published yet."""
    return registry.describe(
        store,
        model,
        sources(store, content),
        verdict="gate/1",
        threshold=0.4,
        dataset=dataset("ingest/1"),
    )


def release(store: Store, content: bytes = b"model", model: str = MODEL) -> Release:
    """A published version."""
    made = described(store, content, model)
    registry.publish(store, made, sources(store, content))
    return made


def releases(store: Store, count: int, model: str = MODEL) -> list[str]:
    """The names of as many published versions, oldest first."""
    return [release(store, bytes([number]), model).version for number in range(count)]


def promote(store: Store, version: str, model: str = MODEL, **known: str) -> bool:
    """Promote a published version, by default to the champion."""
    made = registry.release_of(store, model, version)
    return registry.promote(store, made, **{"by": "test", "reason": "passed the gate", **known})


def vouch_for(job: Job, verdict: str) -> None:
    """Sign all that a verdict stands on, as if the steps had had the job's key."""
    bare = ProvenStore.of(job.store, NONE)
    for key in chain.results_of(bare, verdict):
        proof = bare.prove(key).proof
        for result in (key, *(proof.made_from if proof else ())):
            job.proven.vouch(result)


def named(store: Store, alias: str = "champion", model: str = MODEL) -> str | None:
    """The version that an alias names."""
    pointer = registry.champion(store, model, alias)
    return pointer.version if pointer else None


def pointer(version: str, **known: str) -> Pointer:
    """A pointer as a mover makes it, before it has a number."""
    usual = {"model": MODEL, "moved_at": "2026-11-24T12:00:00+00:00", "by": "test", "reason": "r"}
    return Pointer(**{**usual, "version": version, "previous": None, **known})


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
