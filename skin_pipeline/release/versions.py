"""Immutable model versions: a folder of files, and a manifest with their digests, written last.

If versions are signed, the signature of the manifest follows, before any alias names the version.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

from skin_pipeline.contracts import LABELS, Dataset, Release, address, dump, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.provenance import SigningKeys, signing
from skin_pipeline.storage import Store, copied, digest_file, scratch

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
    known: Mapping[str, str] = {},
) -> Release:
    """The manifest of a version; its name is made from all else that it says.

    Args:
        store: Where the files lie.
        model: The model's name.
        sources: Maps each file name to the key that its bytes are copied from.
        verdict: Key of the verdict.
        threshold: Probability from which an image is called malignant.
        dataset: What the model was trained and judged on.
        known: The SHA-256 of files that are known already, by name; the others are read.
    """
    release = Release(
        model=model,
        version="",
        verdict=verdict,
        synthetic=dataset.synthetic,
        content_digest=dataset.content_digest,
        labels=LABELS,
        threshold=threshold,
        files={
            name: known.get(name) or digest_file(store.local(key)) for name, key in sources.items()
        },
    )
    name = _name(json.loads(dump(release)))
    return release.model_copy(update={"version": name})


def _name(manifest: dict[str, Any]) -> str:
    """The name of the version of a manifest; from its JSON, which later fields do not change."""
    return address({name: value for name, value in manifest.items() if name not in UNNAMED})


def publish(
    store: Store,
    release: Release,
    sources: dict[str, str],
    approve: Callable[[Path], object] = lambda model: None,
) -> bytes:
    """Write a version: its files first, all read back and compared, the manifest last.

    When this returns, `verify` would find nothing wrong. It can be repeated, and then writes only
    what is missing. What is written and tried are private copies of the files, which were compared
    with their digests first.

    Args:
        store: The store.
        release: The version; `files` maps a file name to its sha256.
        sources: Maps each file name to the key that its bytes are copied from.
        approve: Called with a private copy of the model's file, of the digest that the version
            names, unless the version is there already; what it raises keeps the version from being
            there.

    Returns:
        The manifest as it stands in the store, for `sign_manifest`: what is signed is what was
        checked here.

    Raises:
        BadInput: a file is not what the version says, or there is such a version, and its manifest
            is damaged.
        Unavailable: what was read back is not what was written.
    """
    place = version_key(release.model, release.version)
    with scratch() as folder:
        for name, expected in release.files.items():
            copied(store, sources[name], folder / name, expected)
        for name in release.files:
            store.put_file(f"{place}/{name}", folder / name)
        _check_written(store, release, place)
        if not store.exists(f"{place}/{MANIFEST}"):
            approve(folder / MODEL_FILE)
    return _put_manifest(store, release, place)


def _check_written(store: Store, release: Release, place: str) -> None:
    if problems := list(_file_problems(store, release, place)):
        raise Unavailable(
            f"version {release.version} of {release.model} does not read back as written: "
            f"{'; '.join(problems)}. If it stays so, remove {store.link(place)}"
        )


def _put_manifest(store: Store, release: Release, place: str) -> bytes:
    """Write the manifest, unless somebody did; the one that is there, which says the same."""
    model, version = release.model, release.version
    _drop_stale_signature(store, model, version)
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    store.put(f"{place}/{MANIFEST}", dump(release.model_copy(update={"published_at": now})))
    manifest = _manifest(store, model, version)
    published = parse(manifest, Release, f"{place}/{MANIFEST}")
    # A pruning that goes on where another was stopped may have taken files meanwhile.
    found = [
        *_manifest_problems(manifest, published, model, version),
        *_name_problems(published, _there(store, place)),
    ]
    if not found and published.model_copy(update={"published_at": release.published_at}) != release:
        found = [f"{MANIFEST} says something else than was published"]
    _refuse_damaged(store, place, found)
    return manifest


def _drop_stale_signature(store: Store, model: str, version: str) -> None:
    """Remove the signature of a manifest that is gone: a pruning was killed between the two.

    It is looked for first, since whoever publishes at the same time writes the manifest before it.
    """
    key = _signature_key(model, version)
    if store.exists(key) and not store.exists(manifest_key(model, version)):
        store.remove(key)


def sign_manifest(
    store: Store, model: str, version: str, keys: SigningKeys, manifest: bytes
) -> bool:
    """Write the signature of a published version beside its manifest; whether this call did.

    Nothing is written where the same key signed before.

    Args:
        store: The store.
        model: The model's name.
        version: A version of it.
        keys: The private key is used.
        manifest: Its manifest, as it was checked: see `publish` and `verified`.

    Raises:
        BadInput: the key cannot be used, there is no such version, or there is a signature that is
            not that of this manifest by this key; it is left as it is.
    """
    own = keys.own()
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


def release_of(store: Store, model: str, version: str, keys: SigningKeys = signing.NONE) -> Release:
    """The manifest of a version.

    Raises:
        BadInput: it is not in the store or not readable, or not signed as the keys ask for.
    """
    return parse(_manifest(store, model, version, keys), Release, manifest_key(model, version))


def _manifest(store: Store, model: str, version: str, keys: SigningKeys = signing.NONE) -> bytes:
    found = store.tagged(manifest_key(model, version))
    if found is None:
        raise BadInput(f"{model} has no version {version}. {_there_are(store, model)}")
    if trusted := keys.trusted():
        signature = _signature(store, model, version)
        signing.check(found[0], signature, trusted, _called(model, version))
    return found[0]


def _there_are(store: Store, model: str) -> str:
    names = versions(store, model)
    return f"It has: {', '.join(names)}" if names else f"It has none in {store.url}"


def verify(store: Store, model: str, version: str, keys: SigningKeys = signing.NONE) -> Release:
    """Read every byte of a version, and compare it with what its manifest says; the manifest.

    The bytes come from the store itself, never from a local copy.

    Raises:
        BadInput: there is no such version, or it is damaged; names every problem. Or it is not
            signed as the keys ask for: then nothing is compared with what the manifest says.
        Unavailable: the store does not answer.
    """
    return parse(verified(store, model, version, keys), Release, manifest_key(model, version))


def verified(store: Store, model: str, version: str, keys: SigningKeys = signing.NONE) -> bytes:
    """The bytes of a manifest with which every byte of its version was compared; see `verify`."""
    manifest = _manifest(store, model, version, keys)
    release = parse(manifest, Release, manifest_key(model, version))
    place = version_key(model, version)
    found = chain(
        _manifest_problems(manifest, release, model, version),
        _file_problems(store, release, place),
    )
    _refuse_damaged(store, place, found)
    log.info("version_verified model=%s version=%s files=%d", model, version, len(release.files))
    return manifest


def _refuse_damaged(store: Store, place: str, problems: Iterable[str]) -> None:
    if told := "; ".join(problems):
        _, model, _, version = place.split("/")
        raise BadInput(
            f"version {version} of {model} is damaged: {told}. Use another version; this one lies "
            f"at {store.link(place)}"
        )


def _manifest_problems(
    manifest: bytes, release: Release, model: str, version: str
) -> Iterator[str]:
    said = json.loads(manifest)
    if (release.model, release.version) != (model, version):
        yield f"{MANIFEST} is that of version {release.version} of {release.model}"
    # Versions were once named by their files alone.
    elif version not in {_name(said), address(said["files"])}:
        yield f"{MANIFEST} was changed: its content does not give the name {version}"
    if MODEL_FILE not in release.files:
        yield f"{MANIFEST} names no {MODEL_FILE}"


def _file_problems(store: Store, release: Release, place: str) -> Iterator[str]:
    there = _there(store, place)
    yield from _name_problems(release, there)
    for name in sorted(release.files.keys() & there):
        path, found = _read_back(store, f"{place}/{name}")
        if found != release.files[name]:
            yield f"{name} has the SHA-256 {found} instead of {release.files[name]}"
        elif name == MODEL_FILE and not zipfile.is_zipfile(path):
            yield f"{name} is no Keras file (a zip archive)"


def _name_problems(release: Release, there: set[str]) -> Iterator[str]:
    for name in sorted(release.files.keys() - there):
        yield f"{name} is missing"
    for name in sorted(there - release.files.keys() - {MANIFEST, signing.SIGNATURE}):
        yield f"{name} does not belong to it"


def _there(store: Store, place: str) -> set[str]:
    """The names of the files that lie in a version's folder."""
    return {key.removeprefix(f"{place}/") for key in store.list(place)}


def _read_back(store: Store, key: str) -> tuple[Path, str]:
    """A file as the store has it now, and its SHA-256."""
    path = store.local(key, fresh=True)
    try:
        return path, digest_file(path)
    except OSError as error:
        raise Unavailable(f"{store.link(key)} cannot be read: {error.strerror}") from error
