"""What every step is given: the settings, the store, and the rule that a result is made once.

A `Job` is one run of the workflow. A `Work` is the making of one result of it: where its files go,
and what it is made from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from skin_pipeline import metering, timing
from skin_pipeline.config import Deployment, Settings, threads
from skin_pipeline.contracts import COST, RESULT, Contract, Cost, address, dump, load
from skin_pipeline.credentials import KaggleCredentials
from skin_pipeline.metering import Meter
from skin_pipeline.provenance import ProvenStore, Record, SigningKeys, TakenError, another_folder
from skin_pipeline.roots import ANYWHERE, Roots
from skin_pipeline.storage import S3Access, Store, digest

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

COMMAND_LINE = "command-line"  # the name of each run outside Airflow

C = TypeVar("C", bound=Contract)


def no_note(needed: float) -> None:
    """Forgets what memory is needed: where nobody would be told. A function, so that a job can be
    copied to another process."""


@dataclass(frozen=True)
class Job:
    """One run of the workflow, as the steps see it.

    Attributes:
        settings: The settings of this run.
        deployment: The settings of the installation.
        store: The store. It is wrapped, so that what is read from it is proven.
        kaggle: Credentials for Kaggle, where the source is a Kaggle data set.
        kaggle_endpoint: A server other than Kaggle's; empty: Kaggle's own.
        data_access: Looks up how S3 buckets with images are reached; it is called only when there
            is one. Without it boto3 searches for credentials by itself.
        roots: The folders below which paths in the settings must be.
        run_id: Names the run in a model's history; a retry must bring the same one.
        started: When the run started; a retry must bring the same time.
        allow: Is given how many seconds the work that begins now may take, and a description of
            it; the caller of the step ends the step when they are over.
        observe: Is told of each result of this run: this job, the result's key, and what it took;
            None for a result that was found. For metrics and lineage; it must raise nothing.
        note_memory: Is given how many bytes of memory the work that begins now is expected to take;
            if the step is killed, the alert says it.
    """

    settings: Settings
    deployment: Deployment
    store: Store
    kaggle: KaggleCredentials | None = None
    kaggle_endpoint: str = ""
    data_access: Callable[[], S3Access] | None = None
    roots: Roots = ANYWHERE
    run_id: str = COMMAND_LINE
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    allow: Callable[[float, str], None] | None = None
    observe: Callable[[Job, str, Cost | None], None] | None = None
    note_memory: Callable[[float], None] = no_note

    def __post_init__(self) -> None:
        keys = SigningKeys.of(self.deployment)
        object.__setattr__(self, "store", ProvenStore.of(self.store, keys))

    @property
    def proven(self) -> ProvenStore:
        """The store, which proves the results that are read from it."""
        assert isinstance(self.store, ProvenStore)
        return self.store

    @property
    def keys(self) -> SigningKeys:
        """The keys of the deployment, which sign and check."""
        return self.proven.keys

    @property
    def threads(self) -> int:
        """The number of cores that the step may use."""
        return threads(self.deployment)

    @property
    def moment(self) -> str:
        """The time at which the run started, for people and machines: UTC, to the second."""
        return self.started.strftime("%Y-%m-%dT%H:%M:%SZ")

    def load(self, key: str, kind: type[C]) -> C:
        """Returns the document of a result; see `contracts.load`."""
        return load(self.store, key, kind)

    def expect(self, work: str, images: int, passes: int = 1) -> None:
        """Reports how much work begins now, so that it gets its time; see `timing.allowed`."""
        metering.note(work=work, units=images * passes)
        if self.allow:
            size = f"{work} of {images} images" + (f", {passes} times each" if passes > 1 else "")
            self.allow(timing.allowed(work, images, passes) * self.deployment.time_factor, size)

    def fetch(self) -> None:
        """Reports that a set of images of unknown size is fetched now."""
        if self.allow:
            self.allow(timing.FETCH * self.deployment.time_factor, "fetching a set of images")

    def once(
        self,
        step: str,
        version: int,
        inputs: dict[str, Any],
        make: Callable[[Work], Contract],
        *,
        apart: bool = False,
    ) -> str:
        """Returns the key of a step's result, which is made now unless it exists.

        Args:
            step: Name of the step, the first part of the key.
            version: Version of the step's code; raised when the same inputs give another result.
            inputs: All that the result is made from; JSON-serialisable.
            make: Writes the files of the result and returns its document.
            apart: Whether its cost is its own alone, where another result is made around it.

        Raises:
            BadInput: There is such a result, but it is not what its step wrote, or not signed as
                the keys of the deployment require.
        """
        # By this call, an input with the name `version` raises an error instead of replacing it.
        inputs = dict(version=version, **inputs, **self.proven.signed_by)
        key = f"{step}/{address(inputs)}"
        if self.store.exists(f"{key}/{RESULT}"):
            self.proven.prove(key)
            log.info("cached key=%s", key)
            self._tell(key, None)
            return key
        log.info("started key=%s", key)
        with metering.metered(self.proven.traffic, apart=apart) as meter:
            made, record = self._made(key, make)
        cost = self._cost(meter)
        if self.store.put(f"{key}/{COST}", content := dump(cost)):
            record.files[f"{key}/{COST}"] = digest(content)
        result = dump(made)
        self.proven.keep(record.proof(inputs, result), result)
        log.info(
            "finished key=%s seconds=%.1f core_seconds=%.1f peak_mib=%.0f",
            *(key, cost.seconds, cost.core_seconds, cost.peak_mib),
        )
        self._tell(key, cost)
        return key

    def _made(self, key: str, make: Callable[[Work], Contract]) -> tuple[Contract, Record]:
        """Returns the document of a new result, and a record of what it was made from."""
        folder = self.proven.folder_for(key)
        try:
            with self.proven.recording(key, folder) as record:
                return make(Work(self, folder)), record
        except TakenError as other:  # another process makes the same result at the same time
            log.warning("made_elsewhere key=%s taken=%s", key, other)
        folder = another_folder(key)
        with self.proven.recording(key, folder) as record:
            return make(Work(self, folder)), record

    def _cost(self, meter: Meter) -> Cost:
        measured = asdict(meter)
        del measured["apart"]
        for name in ("seconds", "core_seconds", "peak_mib"):
            measured[name] = round(measured[name], 2)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return Cost(**measured, cores=self.threads, finished_at=now, run=self.run_id)

    def _tell(self, key: str, cost: Cost | None) -> None:
        if self.observe:
            self.observe(self, key, cost)


@dataclass(frozen=True)
class Work:
    """The making of one result: reads the results that it is made from, writes its files.

    Documents never change, so each is read from the store once. They are remembered for one
    result only: the proof of a result lists all results that were read for it.

    Attributes:
        job: The run of the workflow.
        key: The key below which the files of the result go.
    """

    job: Job
    key: str
    _documents: dict[str, Contract] = field(default_factory=dict, repr=False, compare=False)

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
        return self.job.settings

    @property
    def store(self) -> Store:
        """The store, which notes what is read and written."""
        return self.job.store

    @property
    def threads(self) -> int:
        """The number of cores that the work may use."""
        return self.job.threads

    def load(self, key: str, kind: type[C]) -> C:
        """Returns the document of a result; see `contracts.load`."""
        if not isinstance(self._documents.get(key), kind):
            self._documents[key] = load(self.store, key, kind)
        return cast(C, self._documents[key])

    def put(self, name: str, data: bytes) -> str:
        """Writes a file of the result; returns its key."""
        self.store.put(f"{self.key}/{name}", data)
        return f"{self.key}/{name}"

    def put_file(self, name: str, path: Path) -> str:
        """Writes a copy of a file as a file of the result; returns its key."""
        self.store.put_file(f"{self.key}/{name}", path)
        return f"{self.key}/{name}"

    def put_table(self, name: str, table: pd.DataFrame | Iterable[pd.DataFrame]) -> str:
        """Writes a table as a file of the result, `….parquet` or `….csv`; returns its key.

        Parquet may be given in parts; see `tables.write`.
        """
        from skin_pipeline import tables  # imports pandas, which a step that is cached never needs

        return tables.write(self.store, f"{self.key}/{name}", table)

    def put_folder(self, name: str, folder: Path) -> str:
        """Writes copies of all files below a folder; returns the key of the folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put_file(f"{name}/{path.relative_to(folder).as_posix()}", path)
        return f"{self.key}/{name}"
