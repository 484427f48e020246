"""What a workflow run has made so far, so that people find it from the run, even from a failed one.

    note(store, run_id, validation="validate/4f1a…")   # a step, as soon as its result exists
    made = of_run(store, run_id)                       # the pages and alerts
    data = data_of(store, made.validation, made.split)
    data.warnings                                      # what people should know about the data

A journal contains keys and nothing else: the results themselves are where the keys say.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from skin_pipeline.contracts import (
    Check,
    Contract,
    Dataset,
    Split,
    Validation,
    Verdict,
    address,
    load,
    parse,
    revise,
)
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)


class Journal(Contract):
    """The keys of the results of a workflow run; empty for steps that it has not reached.

    `unchanged` is true if an earlier run came to the same verdict, so that nothing changed.
    """

    run: str
    noted_at: str
    validation: str = ""
    split: str = ""
    verdict: str = ""
    unchanged: bool = False


NOTICES = 20  # of one kind that people are shown: a folder may contain thousands of other files


@dataclass(frozen=True)
class Noticed:
    """Notices of one kind about what was not used: the first lines, and how many more there are."""

    title: str
    lines: tuple[str, ...]
    more: int


@dataclass(frozen=True)
class Data:
    """The data of a workflow run, and what was found out about it.

    `split` is None if the run has not reached it. `external` are the sets of another origin, by
    name.
    """

    dataset: Dataset
    validation: Validation
    split: Split | None = None
    external: Mapping[str, Dataset] = field(default_factory=dict)

    @property
    def checks(self) -> tuple[Check, ...]:
        """All checks of the images and of the split."""
        return self.validation.checks + (self.split.checks if self.split else ())

    @property
    def faults(self) -> tuple[str, ...]:
        """The critical checks that failed, in words."""
        return self._failed("critical")

    @property
    def warning_names(self) -> tuple[str, ...]:
        """The warnings, each by its name only: an alert has room for no more."""
        checks = (c.name for c in self.checks if not c.passed and c.severity == "warning")
        return (
            *checks,
            *(f"shortcut: {s.name}" for s in self.validation.shortcuts if not s.passed),
            *(f"{n.title.lower()}: {len(n.lines) + n.more}" for n in self.noticed),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings in words: failed checks first, then shortcuts."""
        shortcuts = (s.described() for s in self.validation.shortcuts if not s.passed)
        return (*self._failed("warning"), *shortcuts)

    def _failed(self, severity: str) -> tuple[str, ...]:
        failed = (c for c in self.checks if not c.passed and c.severity == severity)
        return tuple(check.described() for check in failed)

    @property
    def noticed(self) -> tuple[Noticed, ...]:
        """The notices about what was not used, by kind, in the order of the data sets."""
        kinds: dict[str, list[str]] = {}
        for notice in self.dataset.notices:
            kinds.setdefault(notice.kind, []).append(str(notice))
        for name, dataset in self.external.items():
            for notice in dataset.notices:
                kinds.setdefault(notice.kind, []).append(f"{name}: {notice}")
        return tuple(
            Noticed(_title(kind), tuple(lines[:NOTICES]), max(0, len(lines) - NOTICES))
            for kind, lines in kinds.items()
        )


def _title(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


def note(store: Store, run: str, **keys: str | bool) -> None:
    """Adds keys to a run's journal; nothing is written if they are in it.

    Args:
        store: The store of the journal.
        run: Airflow's id of the run.
        keys: Some of `validation`, `split`, `verdict`, `unchanged`.

    Raises:
        BadInput, Unavailable: as the store does.
    """

    # Steps of one run may note their keys at the same time. If another step was faster, its
    # journal is read and added to, so that no key is lost.
    def noted(old: Journal | None) -> Journal | None:
        known = (old or Journal(run=run, noted_at="")).model_dump()
        if keys.items() <= known.items():
            return None
        now = datetime.now(timezone.utc).isoformat()
        return Journal(**{**known, **keys, "noted_at": now})

    revise(store, _key(run), Journal, noted)


def of_run(store: Store, run: str) -> Journal | None:
    """Returns the journal of a run, or None if it has made nothing yet."""
    found = store.tagged(_key(run))
    return parse(found[0], Journal, _key(run)) if found else None


def changed_nothing(store: Store, run: str) -> bool:
    """Returns whether an earlier run came to the same verdict as this one."""
    made = of_run(store, run)
    return made is not None and made.unchanged


def log_verdict(verdict: Verdict) -> None:
    """Logs the checks of the gate, and the verdict."""
    for check in verdict.checks:
        log.log(
            logging.INFO if check.passed else logging.WARNING,
            'gate check="%s" value="%s" bound="%s" verdict="%s"',
            check.name,
            check.value,
            check.bound,
            "passed" if check.passed else "failed",
        )
    log.info("verdict approved=%s model=%s", verdict.approved, verdict.released_as)


def data_of(store: Store, validation: str, split: str = "") -> Data:
    """Returns the data that a validation is about, with the split if there is one.

    Raises:
        BadInput: there is no such result, or another version wrote it.
    """
    checked = load(store, validation, Validation)
    parts = load(store, split, Split) if split else None
    external = {name: load(store, key, Dataset) for name, key in checked.external.items()}
    return Data(load(store, checked.dataset, Dataset), checked, parts, external)


def _key(run: str) -> str:
    return f"runs/{address({'run': run})}.json"
