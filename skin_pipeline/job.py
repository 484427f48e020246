"""What every step is given: the settings, the store, and the rule that a result is made once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from skin_pipeline import timing
from skin_pipeline.config import Deployment, Settings, threads
from skin_pipeline.contracts import COST, RESULT, Contract, Cost, address, dump
from skin_pipeline.credentials import KaggleCredentials
from skin_pipeline.provenance import ProvenStore, Record, SigningKeys, TakenError, another_place
from skin_pipeline.roots import ANYWHERE, Roots
from skin_pipeline.storage import S3Access, Store, digest, scratch

__all__ = ["Job", "address", "scratch"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One run of the workflow, as the steps see it.

    `data_access` looks up how S3 buckets with images are reached; it is called only when there is
    one. Without it boto3 searches for credentials by itself. `roots` are the folders below which
    paths in the settings must lie. `run_id` and `started` name the run in a model's history; a
    retry must bring the same ones. `allow` is told how many seconds what begins now may take, and
    for which work, in words; who runs the step ends it then.
    """

    settings: Settings
    deployment: Deployment
    store: Store
    kaggle: KaggleCredentials | None = None
    kaggle_endpoint: str = ""
    data_access: Callable[[], S3Access] | None = None
    roots: Roots = ANYWHERE
    run_id: str = "command-line"
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    allow: Callable[[float, str], None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "store", ProvenStore.of(self.store, SigningKeys.of(self.deployment))
        )

    @property
    def proven(self) -> ProvenStore:
        """The store, which proves the results that are read from it."""
        assert isinstance(self.store, ProvenStore)
        return self.store

    @property
    def moment(self) -> str:
        """When the run started, for people and machines: UTC, to the second."""
        return self.started.strftime("%Y-%m-%dT%H:%M:%SZ")

    def expect(self, work: str, images: int, passes: int = 1) -> None:
        """Says how much work begins now, so that it gets its time; see `timing.allowed`."""
        if self.allow:
            size = f"{work} of {images} images" + (f", {passes} times each" if passes > 1 else "")
            self.allow(timing.allowed(work, images, passes) * self.deployment.time_factor, size)

    def fetch(self) -> None:
        """Says that a set of images is fetched now, of which no size is known."""
        if self.allow:
            self.allow(timing.FETCH * self.deployment.time_factor, "fetching a set of images")

    def once(
        self, step: str, version: int, inputs: dict[str, Any], make: Callable[[str], Contract]
    ) -> str:
        """The key of a step's result, made now unless it exists.

        Args:
            step: Name of the step, the first part of the key.
            version: Version of the step's code; raised when the same inputs give another result.
            inputs: All that the result is made from; JSON-serialisable.
            make: Writes the result's files below the key that it is given, returns the document.

        Raises:
            BadInput: there is such a result, and it is not what its step wrote, or not signed as
                the keys of the deployment ask for.
        """
        # Called so that an input of this name is an error, and does not hide the version.
        inputs = dict(version=version, **inputs, **self.proven.signed_by)
        key = f"{step}/{address(inputs)}"
        if self.store.exists(f"{key}/{RESULT}"):
            self.proven.prove(key)
            log.info("cached key=%s", key)
            return key
        log.info("started key=%s", key)
        started = time.monotonic()
        made, record = self._made(key, make)
        cost = self._cost(time.monotonic() - started)
        if self.store.put(f"{key}/{COST}", content := dump(cost)):
            record.files[f"{key}/{COST}"] = digest(content)
        result = dump(made)
        self.proven.keep(record.proof(inputs, result), result)
        log.info("finished key=%s seconds=%.1f", key, cost.seconds)
        return key

    def _made(self, key: str, make: Callable[[str], Contract]) -> tuple[Contract, Record]:
        """The document of a result, its files written, and a record of what it was made from."""
        place = self.proven.place_for(key)
        try:
            with self.proven.recording(key, place) as record:
                return make(place), record
        except TakenError as other:  # somebody makes the same result at the same time
            log.warning("made_elsewhere key=%s taken=%s", key, other)
        place = another_place(key)
        with self.proven.recording(key, place) as record:
            return make(place), record

    def _cost(self, seconds: float) -> Cost:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return Cost(seconds=round(seconds, 2), cores=threads(self.deployment), finished_at=now)
