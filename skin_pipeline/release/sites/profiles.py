"""The documents of profiles: written once, numbered, chained, signed, and checked when used.

```
models/<name>/sites/<version>/<site>/<number>.json      the newest number is the one in use
```

They are beside the version and not in its folder, whose files never change. A document is a single
object, so a profile is there or it is not. It contains its signature, as pointers and approvals do,
and the digest of the one before.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from skin_pipeline.contracts import SITE_PATTERN, SiteProfile, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.provenance import PUBLIC_KEY, SIGNING_KEY, SigningKeys
from skin_pipeline.release import pointers
from skin_pipeline.release.registry import Model
from skin_pipeline.release.versions import MODEL_FILE, folder
from skin_pipeline.storage import Store, digest

log = logging.getLogger(__name__)

KIND = "site profile 1"  # what is signed, and the version of the way it is signed
WIDTH = 0.05  # to which figures should be known, in both directions, where nothing else is asked
ATTEMPTS = 20  # a profile is given up when other processes were faster so many times
# What differs between two profiles that are the same but for when, and by whom, they were made.
OF_WRITING = {"number", "previous_sha256", "made_at", "by", "store", "signature"}
NOT_VALIDATED = (
    "the threshold is that of the images the version was trained with, and is not validated for "
    "images of another origin; a profile of their site (`python -m skin_pipeline site make`) says "
    "what it reaches there"
)


def log_threshold(own: float, profile: SiteProfile | None) -> None:
    """Logs which threshold is used, and whether it is known to hold for the images.

    Args:
        own: That of the version itself.
        profile: Of the site of the images; None if it is not known.
    """
    if profile is None:
        log.warning('threshold_not_validated threshold=%.6f why="%s"', own, NOT_VALIDATED)
        return
    log.info(
        "threshold_of_site site=%s profile=%d threshold=%.6f",
        *(profile.site, profile.number, profile.threshold),
    )


def named_sites(store: Store, model: str) -> dict[str, list[str]]:
    """Returns the names of the sites that have profiles, by version."""
    found: dict[str, list[str]] = {}
    for key in store.list(f"{folder(model)}/sites"):
        *_, version, site, _ = key.split("/")
        names = found.setdefault(version, [])
        names += [site] if site not in names else []
    return found


@dataclass(frozen=True)
class Profiles:
    """The profiles of a version of a model, and the keys that sign and check them."""

    store: Store
    model: str
    version: str
    keys: SigningKeys

    @classmethod
    def of(cls, model: Model, version: str) -> Profiles:
        """Returns the profiles of a version, with the keys of its registry."""
        return cls(model.store, model.name, version, model.keys)

    def sites(self) -> list[str]:
        """Returns the names of the sites that have a profile, sorted."""
        return sorted(named_sites(self.store, self.model).get(self.version, []))

    def newest(self, site: str) -> SiteProfile:
        """Returns the profile of a site that is in use.

        Raises:
            BadInput: There is none, it is damaged or belongs elsewhere, or it is not signed as the
                keys require.
        """
        numbers = self._numbers(site)
        if not numbers:
            known = ", ".join(self.sites()) or "none"
            raise BadInput(
                f"version {self.version} of {self.model} has no profile of a site {site!r}. Sites "
                f"with one: {known}. Make one: python -m skin_pipeline site make {self.model} "
                "SITE IMAGES"
            )
        return self.read(site, numbers[-1])

    def read(self, site: str, number: int) -> SiteProfile:
        """Returns a profile by its number; raises what `newest` does."""
        key = self._key(site, number)
        content = self.store.read(key)
        profile = parse(content, SiteProfile, key)
        said = (profile.model, profile.version, profile.site, profile.number)
        if said != (self.model, self.version, site, number):
            raise BadInput(f"{key} is not what it says: it is {_called(profile)}. {_FORGED}")
        if trusted := self.keys.trusted():
            here = pointers.identity(self.store)
            args = (_called(profile), content, profile, KIND, trusted, here)
            if problem := pointers.seal_problem(*args):
                raise BadInput(f"{problem}. {_FORGED}")
        return profile

    def history(self, site: str) -> Iterator[SiteProfile]:
        """Yields all profiles of a site, newest first; raises what `newest` does."""
        later = ""
        for number in reversed(self._numbers(site)):
            key = self._key(site, number)
            if later and digest(self.store.read(key)) != later:
                raise BadInput(f"{key} is not what the profile after it followed. {_FORGED}")
            profile = self.read(site, number)
            later = profile.previous_sha256
            yield profile

    def add(self, profile: SiteProfile) -> SiteProfile:
        """Writes a profile as the newest of its site, signed if there is a private key.

        One that says the same as the newest is not written again.

        Args:
            profile: Its number and its link to the one before are set here.

        Returns:
            The profile as it was written, now or before.

        Raises:
            BadInput: It must be signed and cannot be, or the newest profile is not to be trusted.
            Unavailable: Others wrote profiles of the site each time before this call could.
        """
        self._check_writer()
        for _ in range(ATTEMPTS):
            numbers = self._numbers(profile.site)
            before = numbers[-1] if numbers else 0
            if before and _same(newest := self.read(profile.site, before), profile):
                return newest
            last = digest(self.store.read(self._key(profile.site, before))) if before else ""
            chained: dict[str, Any] = {"number": before + 1, "previous_sha256": last}
            content = pointers.sealed(
                self.store, profile.model_copy(update=chained), self.keys, KIND
            )
            if self.store.put(self._key(profile.site, before + 1), content):
                log.info(
                    "site_profile model=%s version=%s site=%s number=%d threshold=%.6f",
                    *(self.model, self.version, profile.site, before + 1, profile.threshold),
                )
                return self.read(profile.site, before + 1)
        raise Unavailable(
            f"others wrote profiles of {profile.site} {ATTEMPTS} times meanwhile; try again"
        )

    def in_use(self, site: str, model_sha256: str) -> SiteProfile:
        """Returns the profile of a site for a model file; see `newest`.

        Raises:
            BadInput: Also if it was made with another file.
        """
        return self.fits(self.newest(site), model_sha256)

    def fits(self, profile: SiteProfile, model_sha256: str) -> SiteProfile:
        """Returns a profile; raises `BadInput` if it was made with another model file."""
        if profile.model_sha256 != model_sha256:
            raise BadInput(
                f"{_called(profile)} was made with another {MODEL_FILE}: its SHA-256 was "
                f"{profile.model_sha256}, and the version's is {model_sha256}. {_FORGED}"
            )
        return profile

    def check_name(self, site: str) -> None:
        """Raises `BadInput` if a site cannot have this name."""
        self._folder(site)

    def _check_writer(self) -> None:
        self.keys.check()
        if self.keys.public and not self.keys.private:
            raise BadInput(
                f"{PUBLIC_KEY} is set, so that a profile of a site must be signed, but "
                f"{SIGNING_KEY} is not; nothing was written. Set {SIGNING_KEY} to the private key, "
                "or make the profile where that key is"
            )

    def _numbers(self, site: str) -> list[int]:
        names = (key.rpartition("/")[2] for key in self.store.list(self._folder(site)))
        return sorted(int(name[:-5]) for name in names if re.fullmatch(r"[0-9]{6}\.json", name))

    def _folder(self, site: str) -> str:
        if not re.fullmatch(SITE_PATTERN, site):
            raise BadInput(
                "a site is a name of lower-case letters, digits, - and _, such as clinic-b, of at "
                f"most 49. Received: {site!r}"
            )
        return f"{folder(self.model)}/sites/{self.version}/{site}"

    def _key(self, site: str, number: int) -> str:
        return f"{self._folder(site)}/{number:06}.json"


_FORGED = (
    "Somebody who can write to the store may have changed it. Nothing of it was used: find out who "
    "did, and make the profile again"
)


def _called(profile: SiteProfile) -> str:
    return (
        f"profile {profile.number} of site {profile.site} for version {profile.version} of "
        f"{profile.model}"
    )


def _same(one: SiteProfile, other: SiteProfile) -> bool:
    return one.model_dump(exclude=OF_WRITING) == other.model_dump(exclude=OF_WRITING)
