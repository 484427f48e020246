"""Removal of old versions that no alias names or named before.

Of a version the manifest is removed first: a version without one does not exist, so a half-removed
one is never used. Before that a mark `models/<name>/removals/<version>` is written. If a pruning is
killed, the next one finds the mark and removes the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from skin_pipeline.errors import BadInput
from skin_pipeline.progress import reported
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import aliases, trust
from skin_pipeline.release.pointers import Alias
from skin_pipeline.release.rollback import trusted_history
from skin_pipeline.release.versions import Version, folder, versions
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pruning:
    """The removal of old versions of a model.

    A pointer that the keys do not trust stops it: after an old pointer was put back, the true
    champion would look unused and be removed.
    """

    store: Store
    model: str
    keys: SigningKeys

    def candidates(self, keep: int) -> list[str]:
        """Returns the names of the versions to remove, oldest first.

        What an alias names, and what it named before, is kept, and so are the newest versions and
        those whose manifest cannot be read.

        Args:
            keep: How many of the newest versions are kept, by the time of their publication.

        Raises:
            BadInput: `keep` is negative, or a pointer cannot be read or trusted.
        """
        if keep < 0:
            raise BadInput(f"keep must be 0 or more. Received: {keep}")
        kept, dated = set(self._kept()), self._by_age()
        oldest = dated[: max(0, len(dated) - keep)]
        return [version for version in oldest if version not in kept]

    def remove(self, candidates: list[str]) -> list[str]:
        """Removes versions. Returns the names of those that were removed.

        Do not move an alias to an old version while this runs.
        """
        for mark in self.store.list(self._removals):  # what a killed pruning left
            self._sweep(self._version(mark.rsplit("/", 1)[1]))
        told = reported(candidates, "versions removed", len(candidates))
        return [name for name in told if self._remove(self._version(name))]

    def _kept(self) -> Iterator[str | None]:
        """Yields what aliases name, and what they named before."""
        # An alias that was removed is still among the watched ones, and `trust.pointer` refuses it.
        for name in aliases.watched(self.store, self.model, self.keys):
            alias = Alias(self.store, self.model, name, self.keys)
            if found := trust.pointer(alias):
                yield found.move.version
                yield found.move.previous
                yield aliases.before(trusted_history(alias))

    def _by_age(self) -> list[str]:
        """Returns the versions whose manifests can be read, oldest publication first."""
        found, every = [], versions(self.store, self.model)
        for name in reported(every, "versions looked at", len(every)):
            try:
                found.append((self._version(name).release().published_at, name))
            except BadInput as error:
                row = (self.model, name, error)
                log.warning('version_unreadable model=%s version=%s error="%s"', *row)
        return [name for _, name in sorted(found)]

    def _remove(self, version: Version) -> bool:
        """Removes a version unless an alias names it by now. Returns whether it was removed."""
        content = self.store.read(version.manifest_key)
        self.store.put(f"{self._removals}/{version.name}", b"")
        self.store.remove(version.manifest_key)
        # Without a manifest no alias can be moved to this version any more. If one was moved to it
        # just before, that is noticed now, and the version is restored.
        stays = version.name in self._named_now()
        if stays:
            self.store.put(version.manifest_key, content)
        self._sweep(version)
        log.info(
            "version_kept model=%s version=%s" if stays else "version_removed model=%s version=%s",
            version.model,
            version.name,
        )
        return not stays

    def _named_now(self) -> set[str]:
        """Returns the versions that aliases name, whether their pointers are trusted or not.

        A forged pointer can only keep a version too many. A refusal would be worse: it would leave
        the version without its manifest.
        """
        found = (
            Alias(self.store, self.model, name, SigningKeys()).read()
            for name in aliases.pointing(self.store, self.model)
        )
        return {document.move.version for document in found if document}

    def _sweep(self, version: Version) -> None:
        """Removes the files of a version without a manifest, and the mark of its removal."""
        if not self.store.exists(version.manifest_key):
            for key in self.store.list(version.key):
                self.store.remove(key)
        self.store.remove(f"{self._removals}/{version.name}")

    @property
    def _removals(self) -> str:
        """The key below which each version that is being removed has a mark."""
        return f"{folder(self.model)}/removals"

    def _version(self, name: str) -> Version:
        """Returns a version that need not be signed: unsigned ones may be removed too."""
        return Version(self.store, self.model, name, SigningKeys())
