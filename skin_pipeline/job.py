"""What every step is given: the settings, the store, and the rule that a result is made once."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from skin_pipeline import timing
from skin_pipeline.config import Deployment, Settings, threads
from skin_pipeline.contracts import COST, RESULT, Contract, Cost, dump
from skin_pipeline.data.kaggle import KaggleCredentials
from skin_pipeline.roots import ANYWHERE, Roots
from skin_pipeline.storage import S3Access, Store

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
    place: Deployment
    store: Store
    kaggle: KaggleCredentials | None = None
    kaggle_endpoint: str = ""
    data_access: Callable[[], S3Access] | None = None
    roots: Roots = ANYWHERE
    run_id: str = "command-line"
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    allow: Callable[[float, str], None] | None = None

    @property
    def moment(self) -> str:
        """When the run started, for people and machines: UTC, to the second."""
        return self.started.strftime("%Y-%m-%dT%H:%M:%SZ")

    def expect(self, work: str, images: int, passes: int = 1) -> None:
        """Says how much work begins now, so that it gets its time; see `timing.allowed`."""
        if self.allow:
            size = f"{work} of {images} images" + (f", {passes} times each" if passes > 1 else "")
            self.allow(timing.allowed(work, images, passes) * self.place.time_factor, size)

    def fetch(self) -> None:
        """Says that a set of images is fetched now, of which no size is known."""
        if self.allow:
            self.allow(timing.FETCH * self.place.time_factor, "fetching a set of images")

    def once(
        self, step: str, version: int, inputs: dict[str, Any], make: Callable[[str], Contract]
    ) -> str:
        """The key of a step's result, made now unless it exists.

        Args:
            step: Name of the step, the first part of the key.
            version: Version of the step's code; raised when the same inputs give another result.
            inputs: All that the result is made from; JSON-serialisable.
            make: Writes the result's files below the key that it is given, returns the document.
        """
        # Called so that an input of this name is an error, and does not hide the version.
        key = f"{step}/{address(dict(version=version, **inputs))}"
        if self.store.exists(f"{key}/{RESULT}"):
            log.info("cached key=%s", key)
            return key
        log.info("started key=%s", key)
        started = time.monotonic()
        made = make(key)
        cost = self._cost(time.monotonic() - started)
        self.store.put(f"{key}/{COST}", dump(cost))
        self.store.put(f"{key}/{RESULT}", dump(made))
        log.info("finished key=%s seconds=%.1f", key, cost.seconds)
        return key

    def _cost(self, seconds: float) -> Cost:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return Cost(seconds=round(seconds, 2), cores=threads(self.place), finished_at=now)


def address(inputs: dict[str, Any]) -> str:
    """A short digest of JSON-serialisable inputs: the same for the same inputs, anywhere."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@contextmanager
def scratch() -> Generator[Path, None, None]:
    """A temporary folder that is gone afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="skin-") as folder:
        yield Path(folder)
