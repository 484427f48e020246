"""Model versions in the store, the champion pointer, and the history of verdicts.

```
models/<name>/champion.json                 the pointer, moved by compare-and-swap
models/<name>/versions/<version>/           immutable: model.keras, metrics, verdict, report
models/<name>/versions/<version>/manifest.json   written last: sha256 of every file
models/<name>/judged/<time>-<digest>.json   one document a judged run
```
"""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from skin_pipeline.contracts import LABELS, Dataset, Judgement, Pointer, Release, dump, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.job import address
from skin_pipeline.storage import Store, digest_file

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
MODEL_FILE = "model.keras"
ATTEMPTS = 20  # moves of the pointer that may get in between before a promotion gives up


def folder(model: str) -> str:
    """The key below which everything about a model lies."""
    return f"models/{model}"


def version_key(model: str, version: str) -> str:
    """The key below which the files of a version lie."""
    return f"{folder(model)}/versions/{version}"


def describe(
    store: Store,
    model: str,
    sources: dict[str, str],
    *,
    verdict: str,
    threshold: float,
    dataset: Dataset,
) -> Release:
    """The manifest of a version; its name is made from the digests of its files.

    Args:
        store: Where the files lie.
        model: The model's name.
        sources: Maps each file name to the key that its bytes are copied from.
        verdict: Key of the verdict.
        threshold: Probability from which an image is called malignant.
        dataset: What the model was trained and judged on.
    """
    files = {name: digest_file(store.local(key)) for name, key in sources.items()}
    return Release(
        model=model,
        version=address(files),
        verdict=verdict,
        synthetic=dataset.synthetic,
        content_digest=dataset.content_digest,
        labels=LABELS,
        threshold=threshold,
        files=files,
    )


def promote(store: Store, release: Release, *, by: str, reason: str) -> None:
    """Point the champion to a published version; nothing moves if it already does.

    Raises:
        Unavailable: others moved the pointer each time this call was about to.
    """
    for _ in range(ATTEMPTS):
        current = champion(store, release.model)
        previous = current.version if current else None
        if previous == release.version:
            log.info("already_champion model=%s version=%s", release.model, release.version)
            return
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        pointer = Pointer(
            model=release.model,
            version=release.version,
            previous=previous,
            moved_at=now,
            by=by,
            reason=reason,
        )
        if point(store, pointer, previous):
            log.info(
                "promoted model=%s version=%s previous=%s", release.model, release.version, previous
            )
            return
    raise Unavailable(f"the champion of {release.model} moved {ATTEMPTS} times meanwhile")


def release_of(store: Store, model: str, version: str) -> Release:
    """The manifest of a version. Raises `BadInput` if it is not in the store."""
    key = f"{version_key(model, version)}/{MANIFEST}"
    return parse(store.read(key), Release, key)


def publish(store: Store, release: Release, sources: dict[str, str]) -> None:
    """Write a version: its files first, each read back and compared, the manifest last.

    Args:
        release: The version; `files` maps a file name to its sha256.
        sources: Maps each file name to the key that its bytes are copied from.

    Raises:
        Unavailable: what was read back is not what was written.
    """
    target = version_key(release.model, release.version)
    for name, digest in release.files.items():
        store.put_file(f"{target}/{name}", store.local(sources[name]))
        if digest_file(store.local(f"{target}/{name}")) != digest:
            raise Unavailable(f"{store.link(f'{target}/{name}')} does not read back as written")
    store.put(f"{target}/{MANIFEST}", dump(release))


def champion(store: Store, model: str) -> Pointer | None:
    """The current champion, or None if nothing was promoted under this name."""
    return _pointer(store, model)[0]


def point(store: Store, pointer: Pointer, expected: str | None) -> bool:
    """Move the champion pointer from version `expected`; whether this call moved it.

    Raises:
        BadInput: the version is not complete in the store.
    """
    manifest = f"{version_key(pointer.model, pointer.version)}/{MANIFEST}"
    if not store.exists(manifest):
        raise BadInput(f"{pointer.model} has no version {pointer.version}; nothing was moved")
    current, tag = _pointer(store, pointer.model)
    if (current.version if current else None) != expected:
        return False
    return store.swap(f"{folder(pointer.model)}/champion.json", dump(pointer), tag)


def models(store: Store) -> list[str]:
    """Names of all models that were judged or promoted, sorted."""
    return sorted({key.split("/")[1] for key in store.list("models")})


def record(store: Store, judgement: Judgement, digest: str) -> None:
    """Add a judged run to the model's history; the same run is written once."""
    stamp = judgement.judged_at.replace(":", "").replace("-", "")
    store.put(f"{folder(judgement.model)}/judged/{stamp}-{digest[:12]}.json", dump(judgement))


def judgements(store: Store, model: str, last: int = 20) -> list[Judgement]:
    """The latest judged runs of a model, newest first."""
    keys = store.list(f"{folder(model)}/judged")[-last:]
    return [parse(store.read(key), Judgement, key) for key in reversed(keys)]


def _pointer(store: Store, model: str) -> tuple[Pointer | None, str | None]:
    key = f"{folder(model)}/champion.json"
    found = store.tagged(key)
    if found is None:
        return None, None
    return parse(found[0], Pointer, key), found[1]
