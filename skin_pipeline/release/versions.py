"""Immutable versions of a model: a folder of files, and a manifest with their digests.

The manifest is written last, so a version without one does not exist. If versions are signed, the
signature of the manifest follows, before any alias names the version.
"""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from skin_pipeline.contracts import LABELS, Abstention, Dataset, Release, address, dump, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.provenance import SigningKeys, signing
from skin_pipeline.storage import Store, digest_file, read_back, scratch

log = logging.getLogger(__name__)

MANIFEST = signing.MANIFEST
MODEL_FILE = "model.keras"
FAMILIARITY = "familiarity.npz"
NEVER = Abstention()
Read = Callable[[str], tuple[Path, str]]
UNNAMED = {"version", "published_at"}  # fields that the name of a version is not made from


# --- keys in the store ---------------------------------------------------------------------------


def folder(model: str) -> str:
    """Returns the key below which everything about a model is kept."""
    return f"models/{model}"


def version_key(model: str, version: str) -> str:
    """Returns the key below which the files of a version are kept."""
    return f"{folder(model)}/versions/{version}"


def models(store: Store) -> list[str]:
    """Returns the names of all models that were judged or promoted, sorted."""
    return sorted({key.split("/")[1] for key in store.list("models")})


def versions(store: Store, model: str) -> list[str]:
    """Returns the names of all complete versions of a model, sorted."""
    keys = store.list(f"{folder(model)}/versions")
    return [key.split("/")[-2] for key in keys if key.endswith(f"/{MANIFEST}")]


# --- one version ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Version:
    """A version of a model, whether it is in the store yet or not.

    `keys` say with which key it is signed and checked. With `SigningKeys()` its signature is not
    checked.
    """

    store: Store
    model: str
    name: str
    keys: SigningKeys

    def __str__(self) -> str:
        """For messages: `version 4f1a of skin-resnet50`."""
        return f"version {self.name} of {self.model}"

    @property
    def key(self) -> str:
        """The key below which the files are kept."""
        return version_key(self.model, self.name)

    @property
    def manifest_key(self) -> str:
        """The key of the manifest."""
        return f"{self.key}/{MANIFEST}"

    @property
    def signature_key(self) -> str:
        """The key of the manifest's signature."""
        return f"{self.key}/{signing.SIGNATURE}"

    def is_signed(self) -> bool:
        """Returns whether there is a signature; whether it is valid is not checked."""
        return self.store.exists(self.signature_key)

    def manifest(self) -> bytes:
        """Returns the bytes of the manifest, after its signature was checked.

        Raises:
            BadInput: it is not in the store, or not signed as the keys require.
        """
        found = self.store.tagged(self.manifest_key)
        if found is None:
            raise BadInput(f"{self.model} has no version {self.name}. {self._there_are()}")
        if trusted := self.keys.trusted():
            signature = self.store.tagged(self.signature_key)
            signing.check(found[0], signature[0] if signature else None, trusted, str(self))
        return found[0]

    def release(self) -> Release:
        """Returns the manifest. Raises `BadInput` like `manifest`, or if it cannot be read."""
        return parse(self.manifest(), Release, self.manifest_key)

    def verify(self) -> Release:
        """Reads every byte and compares it with what the manifest says. Returns the manifest.

        The bytes come from the store itself, never from a local copy.

        Raises:
            BadInput: there is no such version, or it is damaged; the message names every problem.
                Or it is not signed as the keys require; then its files are not read.
            Unavailable: the store does not answer.
        """
        return parse(self.verified(), Release, self.manifest_key)

    def verified(self) -> bytes:
        """Verifies the version like `verify`. Returns the manifest's bytes."""
        manifest = self.manifest()
        release = parse(manifest, Release, self.manifest_key)
        found = chain(
            _manifest_problems(manifest, release, self),
            _file_problems(self, release, partial(_fetched, self)),
        )
        _refuse_damaged(self, found)
        files = len(release.files)
        log.info("version_verified model=%s version=%s files=%d", self.model, self.name, files)
        return manifest

    def sign(self, manifest: bytes) -> bool:
        """Writes the signature beside the manifest. Returns whether this call wrote it.

        Nothing is written if the same key has signed it already.

        Args:
            manifest: The bytes that `publish` or `verified` returned. The manifest is not read
                again, so exactly what was checked is signed.

        Raises:
            BadInput: the private key cannot be used, or there is another signature, by another key
                or of another manifest; it is left as it is.
        """
        own, key = self.keys.own(), self.signature_key
        written = not self.is_signed() and self.store.put(key, signing.sign(manifest, self.keys))
        if found := signing.problem(manifest, self.store.read(key), own):
            raise BadInput(
                f"{self} has a signature already, which is not ours: {found}. It is never "
                f"overwritten; if it is worth nothing, remove {self.store.link(key)} and sign again"
            )
        if written:
            log.info("version_signed model=%s version=%s", self.model, self.name)
        return written

    def _there_are(self) -> str:
        names = versions(self.store, self.model)
        return f"It has: {', '.join(names)}" if names else f"It has none in {self.store.url}"


# --- publication ---------------------------------------------------------------------------------


def describe(
    store: Store,
    model: str,
    sources: Mapping[str, str],
    *,
    verdict: str,
    threshold: float,
    dataset: Dataset,
    known: Mapping[str, str] = {},
    abstention: Abstention = NEVER,
) -> Release:
    """Returns the manifest of a new version. The version's name is made from its other fields.

    Args:
        store: Where the files are.
        model: The model's name.
        sources: Maps each file name to the key that its bytes are copied from.
        verdict: Key of the verdict.
        threshold: Probability from which an image is classified as malignant.
        dataset: What the model was trained and judged on.
        known: The SHA-256 of files, by name, as far as they are known; the other files are read.
        abstention: When the model gives no decision.
    """
    release = Release(
        model=model,
        version="",
        verdict=verdict,
        synthetic=dataset.synthetic,
        content_digest=dataset.content_digest,
        labels=LABELS,
        threshold=threshold,
        abstention=abstention,
        files={
            name: known.get(name) or digest_file(store.local(key)) for name, key in sources.items()
        },
    )
    name = _name(json.loads(dump(release)))
    return release.model_copy(update={"version": name})


def _name(manifest: dict[str, Any]) -> str:
    """Returns the name of a manifest's version.

    It is made from the JSON as it was written: fields that later code adds must not change the
    names of old versions.
    """
    return address({name: value for name, value in manifest.items() if name not in UNNAMED})


def publish(
    version: Version,
    release: Release,
    sources: Mapping[str, str],
    approve: Callable[[Path], object] = lambda model: None,
) -> bytes:
    """Writes a version: its files first, all read back and compared, the manifest last.

    If it was interrupted, call it again: it writes only what is missing. Each file has a copy in a
    private folder, where no other process can exchange it, with the digest that the manifest says;
    these copies are tried, and the store gave back the same bytes.

    Args:
        version: The version to write.
        release: The manifest from `describe`; `files` maps a file name to its SHA-256.
        sources: Maps each file name to the key that its bytes are copied from.
        approve: Called with the private copy of the model file, unless the version exists already.
            If it raises, the manifest is not written, so the version does not exist.

    Returns:
        The manifest as it is in the store, for `Version.sign`.

    Raises:
        BadInput: a file is not what the manifest says, or the version exists already and its
            manifest is damaged.
        Unavailable: what was read back is not what was written.
    """
    store, found = version.store, {}
    with scratch() as copies:
        for name, expected in release.files.items():
            key = f"{version.key}/{name}"
            found[name] = copies / name, _placed(store, sources[name], key, copies / name, expected)
        _check_written(version, release, found.__getitem__)
        if not store.exists(version.manifest_key):
            approve(copies / MODEL_FILE)
    return _put_manifest(version, release)


def _placed(store: Store, source: str, key: str, copy: Path, expected: str) -> str:
    """Has a file of a version in the store, and the bytes that it must have in a private copy.

    If the store copies the file by itself, then what it gives back is that private copy: so the
    bytes come here once, and go nowhere. Where it cannot, or what it copied was exchanged, a copy
    that was compared here is what is sent.

    Returns:
        The SHA-256 of what the store has under `key` now.

    Raises:
        BadInput: the source is not what was expected.
    """
    if store.copy(source, key, expected):
        if read_back(store, key, copy) == expected:
            return expected
        store.remove(key)
        copy.unlink()
    read_back(store, source, copy, expected)
    store.put_file(key, copy, expected)
    with Path(os.devnull).open("wb") as nowhere:
        return store.read_into(key, nowhere)


def _check_written(version: Version, release: Release, read: Read) -> None:
    """Raises `Unavailable` unless the store gave back what was just written."""
    if problems := list(_file_problems(version, release, read)):
        raise Unavailable(
            f"{version} does not read back as written: {'; '.join(problems)}. If it stays so, "
            f"remove {version.store.link(version.key)}"
        )


def _put_manifest(version: Version, release: Release) -> bytes:
    """Writes the manifest unless it is there already. Returns the one that is there.

    Both must say the same; only the time of publication may differ.
    """
    store = version.store
    _drop_stale_signature(version)
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    store.put(version.manifest_key, dump(release.model_copy(update={"published_at": now})))
    # Read without keys: the signature is only written afterwards, by `Version.sign`.
    manifest = replace(version, keys=SigningKeys()).manifest()
    published = parse(manifest, Release, version.manifest_key)
    # Meanwhile a pruning may have continued an interrupted removal of this version.
    found = [
        *_manifest_problems(manifest, published, version),
        *_name_problems(published, _there(version)),
    ]
    if not found and published.model_copy(update={"published_at": release.published_at}) != release:
        found = [f"{MANIFEST} says something else than was published"]
    _refuse_damaged(version, found)
    return manifest


def _drop_stale_signature(version: Version) -> None:
    """Removes a signature without a manifest, which is left if a pruning was killed in between.

    The signature is looked up before the manifest. A process that publishes the same version at the
    same time writes the manifest first, so its new signature is never taken for a stale one.
    """
    if version.is_signed() and not version.store.exists(version.manifest_key):
        version.store.remove(version.signature_key)


# --- what is wrong with a version ----------------------------------------------------------------


def _refuse_damaged(version: Version, problems: Iterable[str]) -> None:
    if told := "; ".join(problems):
        raise BadInput(
            f"{version} is damaged: {told}. Use another version; this one is at "
            f"{version.store.link(version.key)}"
        )


def _manifest_problems(manifest: bytes, release: Release, version: Version) -> Iterator[str]:
    said = json.loads(manifest)
    if (release.model, release.version) != (version.model, version.name):
        yield f"{MANIFEST} is that of version {release.version} of {release.model}"
    # Versions of old stores were named by their files alone.
    elif version.name not in {_name(said), address(said["files"])}:
        yield f"{MANIFEST} was changed: its content does not give the name {version.name}"
    if MODEL_FILE not in release.files:
        yield f"{MANIFEST} names no {MODEL_FILE}"


def _file_problems(version: Version, release: Release, read: Read) -> Iterator[str]:
    """Yields what is wrong with the files; `read` gives one, and the SHA-256 that it has in the
    store, by its name."""
    there = _there(version)
    yield from _name_problems(release, there)
    for name in sorted(release.files.keys() & there):
        path, found = read(name)
        if found != release.files[name]:
            yield f"{name} has the SHA-256 {found} instead of {release.files[name]}"
        elif name == MODEL_FILE and not zipfile.is_zipfile(path):
            yield f"{name} is no Keras file (a zip archive)"


def _name_problems(release: Release, there: set[str]) -> Iterator[str]:
    for name in sorted(release.files.keys() - there):
        yield f"{name} is missing"
    for name in sorted(there - release.files.keys() - {MANIFEST, signing.SIGNATURE}):
        yield f"{name} does not belong to it"


def _there(version: Version) -> set[str]:
    """Returns the names of the files in a version's folder."""
    return {key.removeprefix(f"{version.key}/") for key in version.store.list(version.key)}


def _fetched(version: Version, name: str) -> tuple[Path, str]:
    """Returns a file and its SHA-256, as the store has them now: not a copy from the cache."""
    store, key = version.store, f"{version.key}/{name}"
    path = store.local(key, fresh=True)
    try:
        return path, digest_file(path)
    except OSError as error:
        raise Unavailable(f"{store.link(key)} cannot be read: {error.strerror}") from error
