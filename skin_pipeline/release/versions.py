"""Immutable model versions: a folder of files, and a manifest with their digests, written last.

If versions are signed, the signature of the manifest follows, before any alias names the version.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from skin_pipeline.contracts import LABELS, Dataset, Release, dump, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.job import address
from skin_pipeline.release import signing
from skin_pipeline.release.signing import Keys
from skin_pipeline.storage import Store, digest, digest_file

log = logging.getLogger(__name__)

MANIFEST = signing.MANIFEST
MODEL_FILE = "model.keras"
UNNAMED = {"version", "published_at"}  # what a manifest says that is no part of its version's name


def folder(model: str) -> str:
    """The key below which everything about a model lies."""
    return f"models/{model}"


def version_key(model: str, version: str) -> str:
    """The key below which the files of a version lie."""
    return f"{folder(model)}/versions/{version}"


def manifest_key(model: str, version: str) -> str:
    """The key of a version's manifest; a version without one is not there."""
    return f"{version_key(model, version)}/{MANIFEST}"


def _signature_key(model: str, version: str) -> str:
    return f"{version_key(model, version)}/{signing.SIGNATURE}"


def _signature(store: Store, model: str, version: str) -> bytes | None:
    found = store.tagged(_signature_key(model, version))
    return found[0] if found else None


def _called(model: str, version: str) -> str:
    return f"version {version} of {model}"


def describe(
    store: Store,
    model: str,
    sources: dict[str, str],
    *,
    verdict: str,
    threshold: float,
    dataset: Dataset,
) -> Release:
    """The manifest of a version; its name is made from all else that it says.

    Args:
        store: Where the files lie.
        model: The model's name.
        sources: Maps each file name to the key that its bytes are copied from.
        verdict: Key of the verdict.
        threshold: Probability from which an image is called malignant.
        dataset: What the model was trained and judged on.
    """
    release = Release(
        model=model,
        version="",
        verdict=verdict,
        synthetic=dataset.synthetic,
        content_digest=dataset.content_digest,
        labels=LABELS,
        threshold=threshold,
        files={name: digest_file(store.local(key)) for name, key in sources.items()},
    )
    name = _name(json.loads(dump(release)))
    return release.model_copy(update={"version": name})


def _name(manifest: dict[str, Any]) -> str:
    """The name of the version of a manifest; from its JSON, which later fields do not change."""
    return address({name: value for name, value in manifest.items() if name not in UNNAMED})


def publish(store: Store, release: Release, sources: dict[str, str]) -> None:
    """Write a version: its files first, each read back and compared, the manifest last.

    Args:
        release: The version; `files` maps a file name to its sha256.
        sources: Maps each file name to the key that its bytes are copied from.

    Raises:
        Unavailable: what was read back is not what was written.
    """
    target = version_key(release.model, release.version)
    for name, expected in release.files.items():
        store.put_file(f"{target}/{name}", store.local(sources[name]))
        if digest_file(store.local(f"{target}/{name}")) != expected:
            raise Unavailable(f"{store.link(f'{target}/{name}')} does not read back as written")
    _drop_stale_signature(store, release.model, release.version)
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    store.put(f"{target}/{MANIFEST}", dump(release.model_copy(update={"published_at": now})))


def _drop_stale_signature(store: Store, model: str, version: str) -> None:
    """Remove the signature of a manifest that is gone: a pruning was killed between the two.

    It is looked for first, since whoever publishes at the same time writes the manifest before it.
    """
    key = _signature_key(model, version)
    if store.exists(key) and not store.exists(manifest_key(model, version)):
        store.remove(key)


def sign(store: Store, model: str, version: str, keys: Keys) -> bool:
    """Write the signature of a published version beside its manifest; whether this call did.

    Nothing is written where the same key signed before.

    Args:
        store: The store.
        model: The model's name.
        version: A version of it whose bytes are right: see `verify`.
        keys: The private key is used.

    Raises:
        BadInput: the key cannot be used, there is no such version, or there is a signature that is
            not that of this manifest by this key; it is left as it is.
    """
    own = keys.own()
    release_of(store, model, version)
    manifest = store.read(manifest_key(model, version))
    key = _signature_key(model, version)
    written = not store.exists(key) and store.put(key, signing.sign(manifest, keys))
    if found := signing.problem(manifest, store.read(key), own):
        raise BadInput(
            f"{_called(model, version)} has a signature already, which is not ours: {found}. It is "
            f"never overwritten; if it is worth nothing, remove {store.link(key)} and sign again"
        )
    if written:
        log.info("version_signed model=%s version=%s", model, version)
    return written


def is_signed(store: Store, model: str, version: str) -> bool:
    """Whether there is a signature beside the manifest of a version; not whether it is right."""
    return store.exists(_signature_key(model, version))


def versions(store: Store, model: str) -> list[str]:
    """The names of all complete versions of a model, sorted."""
    keys = store.list(f"{folder(model)}/versions")
    return [key.split("/")[-2] for key in keys if key.endswith(f"/{MANIFEST}")]


def release_of(store: Store, model: str, version: str, keys: Keys = signing.NONE) -> Release:
    """The manifest of a version.

    Raises:
        BadInput: it is not in the store or not readable, or not signed as the keys ask for.
    """
    key = manifest_key(model, version)
    found = store.tagged(key)
    if found is None:
        raise BadInput(f"{model} has no version {version}. {_there_are(store, model)}")
    if trusted := keys.trusted():
        signature = _signature(store, model, version)
        signing.check(found[0], signature, trusted, _called(model, version))
    return parse(found[0], Release, key)


def _there_are(store: Store, model: str) -> str:
    names = versions(store, model)
    return f"It has: {', '.join(names)}" if names else f"It has none in {store.url}"


def verify(store: Store, model: str, version: str, keys: Keys = signing.NONE) -> Release:
    """Read every byte of a version, and compare it with what its manifest says; the manifest.

    The bytes come from the store itself, never from a local copy. The largest file must fit into
    memory.

    Raises:
        BadInput: there is no such version, or it is damaged; names every problem. Or it is not
            signed as the keys ask for: then nothing is compared with what the manifest says.
    """
    release = release_of(store, model, version, keys)
    place = version_key(model, version)
    problems = [
        *_manifest_problems(store, release, model, version),
        *_file_problems(store, release, place),
    ]
    if problems:
        raise BadInput(
            f"version {version} of {model} is damaged: {'; '.join(problems)}. Use another version; "
            f"this one lies at {store.link(place)}"
        )
    log.info("version_verified model=%s version=%s files=%d", model, version, len(release.files))
    return release


def _manifest_problems(store: Store, release: Release, model: str, version: str) -> Iterator[str]:
    said = json.loads(store.read(manifest_key(model, version)))
    if (release.model, release.version) != (model, version):
        yield f"{MANIFEST} is that of version {release.version} of {release.model}"
    # Versions were once named by their files alone.
    elif version not in {_name(said), address(said["files"])}:
        yield f"{MANIFEST} was changed: its content does not give the name {version}"
    if MODEL_FILE not in release.files:
        yield f"{MANIFEST} names no {MODEL_FILE}"


def _file_problems(store: Store, release: Release, place: str) -> Iterator[str]:
    there = {key.removeprefix(f"{place}/") for key in store.list(place)}
    for name, expected in sorted(release.files.items()):
        if name not in there:
            yield f"{name} is missing"
            continue
        data = store.read(f"{place}/{name}")
        if digest(data) != expected:
            yield f"{name} has the SHA-256 {digest(data)} instead of {expected}"
        elif name == MODEL_FILE and not zipfile.is_zipfile(io.BytesIO(data)):
            yield f"{name} is no Keras file (a zip archive)"
    for name in sorted(there - set(release.files) - {MANIFEST, signing.SIGNATURE}):
        yield f"{name} does not belong to it"
