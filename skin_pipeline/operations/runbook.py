"""The runbook: an entry for each alert, each reason of a refusal and each kind of error.

    entry_of(error)                  # "credentials": the entry about an error that was raised
    entry_of_check("accuracy")       # "figure_below_bound": about a check of the gate that failed
    sections()                       # all entries, for the page "Runbook"

The text is `runbook.md` beside this file, so that it is installed wherever the code is. The section
"Runbook" of docs/operating.md is written from it by `make docs`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from types import TracebackType

from skin_pipeline.config import with_part
from skin_pipeline.errors import PipelineError

UNEXPECTED = "unexpected"

# Where an error is raised says what kind it is. The longest prefix of the module's name counts.
RAISED_IN = {
    "skin_pipeline.arrays": "document",
    "skin_pipeline.cli": "settings",
    "skin_pipeline.config": "settings",
    "skin_pipeline.contracts": "document",
    "skin_pipeline.data.disk": "machine",
    "skin_pipeline.data.exporting": "settings",
    "skin_pipeline.data.foreign_tables": "labels",
    "skin_pipeline.data.images": "images",
    "skin_pipeline.data.label_files": "returned_labels",
    "skin_pipeline.data.manifest": "images",
    "skin_pipeline.data.metadata": "labels",
    "skin_pipeline.data.sources": "source",
    "skin_pipeline.data.sources.classes": "labels",
    "skin_pipeline.data.sources.from_zip": "archive",
    "skin_pipeline.data.sources.kaggle_credentials": "credentials",
    "skin_pipeline.data.sources.zip_archive": "archive",
    "skin_pipeline.data.splitting": "data_unfit",
    "skin_pipeline.data.uniting": "images",
    "skin_pipeline.data.workers": "images",
    "skin_pipeline.evaluation.familiarity": "document",
    "skin_pipeline.evaluation.threshold": "training",
    "skin_pipeline.evaluation.rejudging": "tampering",
    "skin_pipeline.model_file": "model_file",
    "skin_pipeline.monitoring": "operations",
    "skin_pipeline.monitoring.labels": "returned_labels",
    "skin_pipeline.operations": "operations",
    "skin_pipeline.operations.labelling": "returned_labels",
    "skin_pipeline.operations.siting": "site",
    "skin_pipeline.parquet": "document",
    "skin_pipeline.parting": "training",
    "skin_pipeline.provenance": "tampering",
    "skin_pipeline.provenance.pem": "settings",
    "skin_pipeline.release": "release",
    "skin_pipeline.release.approvals": "operations",
    "skin_pipeline.release.chain": "tampering",
    "skin_pipeline.release.history": "tampering",
    "skin_pipeline.release.pointers": "tampering",
    "skin_pipeline.release.seen": "tampering",
    "skin_pipeline.release.site_making": "site",
    "skin_pipeline.release.sites": "site",
    "skin_pipeline.release.trust": "tampering",
    "skin_pipeline.roots": "source",
    "skin_pipeline.sandbox": "confinement",
    "skin_pipeline.steps": "data_unfit",
    "skin_pipeline.storage": "store",
    "skin_pipeline.storage.digests": "tampering",
    "skin_pipeline.training.balance": "training",
    "skin_pipeline.training.cache": "machine",
    "skin_pipeline.training.engines": "machine",
    "skin_pipeline.training.networks": "weights",
    "skin_pipeline.training.pretrained": "weights",
    "skin_pipeline.training.probing": "machine",
    "skin_pipeline.training.resources": "machine",
    "skin_pipeline.training.runs": "training",
    "skin_pipeline.training.runtime": "machine",
    "skin_pipeline.training.weight_files": "weights",
    "skin_airflow": "settings",
    "skin_alias": "operations",
    "skin_connections": "credentials",
    "skin_form": "settings",
    "skin_page_versions": "release",
    "skin_rollback": "operations",
    "skin_site": "site",
    "skin_watch": "store",
}

# The checks of the gate, by the pattern of their names.
CHECKS = (
    (r"bounds", "no_bounds"),
    (r"champion", "champion_not_scored"),
    (r"successful runs", "too_few_runs"),
    (r"saved model agrees with the evaluation", "file_disagrees"),
    (r"approval|rejected by .+|nobody approved.*", "not_approved"),
    (r"rolled back before", "given_up"),
    (r"change of .+", "not_better"),
    (r".+ by .+", "slice_below_bound"),
    (r"external sets?\b.*|.+ on .+", "external_below_bound"),
    (r".+", "figure_below_bound"),
)


@dataclass(frozen=True)
class Entry:
    """What a person on call needs to know about one thing; `points` are pairs of title and text."""

    id: str
    title: str
    points: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Section:
    """Entries of one kind."""

    title: str
    entries: tuple[Entry, ...]


@functools.cache
def text() -> str:
    """Returns the runbook as Markdown."""
    return (resources.files(__package__) / "runbook.md").read_text(encoding="utf-8")


@functools.cache
def sections() -> tuple[Section, ...]:
    """Returns all entries, by section."""
    parts = re.split(r"^## ", text(), flags=re.MULTILINE)[1:]
    divided = (part.partition("\n") for part in parts)
    return tuple(Section(title.strip(), tuple(_entries(body))) for title, _, body in divided)


def _entries(body: str) -> Iterator[Entry]:
    for part in re.split(r"^### ", body, flags=re.MULTILINE)[1:]:
        head, _, rest = part.partition("\n")
        name, _, title = head.partition(": ")
        points = re.findall(r"^- \*\*(.+?)\.\*\* (.+)$", rest, flags=re.MULTILINE)
        yield Entry(name, title, tuple(points))


def entries() -> dict[str, Entry]:
    """Returns all entries, by id."""
    return {entry.id: entry for section in sections() for entry in section.entries}


def entry_of(error: BaseException | None) -> str:
    """Returns the id of the entry about an error; that of unexpected errors for all others.

    Airflow's own errors are looked through: what counts is the pipeline's error behind them.
    """
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, PipelineError):
        if isinstance(seen, TimeoutError) or "Timeout" in type(seen).__name__:
            return "timed_out"
        seen = seen.__cause__ or seen.__context__
    if seen is None:
        return UNEXPECTED
    return next((found for name in _raised_in(seen) if (found := _entry_in(name))), UNEXPECTED)


def _raised_in(error: BaseException) -> list[str]:
    """Returns the modules through which an error came, the one that raised it first."""
    names: list[str] = []
    at: TracebackType | None = error.__traceback__
    while at is not None:
        names.insert(0, str(at.tb_frame.f_globals.get("__name__", "")))
        at = at.tb_next
    return names


def _entry_in(module: str) -> str | None:
    """Returns the entry for errors that are raised in a module, or None if it has none."""
    while module:
        if found := RAISED_IN.get(module):
            return found
        module = module.rpartition(".")[0]
    return None


def entry_of_check(name: str) -> str:
    """Returns the id of the entry about a check of the gate that failed.

    Args:
        name: The name of the check, such as `sensitivity` or `change of AUC`.
    """
    return next(entry for pattern, entry in CHECKS if re.fullmatch(pattern, name))


def written_into(page: str) -> str:
    """Returns a page of the documentation with the runbook of now between its marks.

    Raises:
        ValueError: The page has no marks.
    """
    return with_part(page, "runbook", _for_page())


def _for_page() -> str:
    """Returns the runbook one level deeper, with links as the headings of the page have them."""
    deeper = re.sub(r"^(#+) ", r"#\1 ", text(), flags=re.MULTILINE)
    titled = re.sub(r"^(#### )\w+: (.+)$", r"\1\2", deeper, flags=re.MULTILINE)
    named = entries()

    def link(found: re.Match[str]) -> str:
        entry = named.get(found[1])
        return f"](#{slug(entry.title)})" if entry else found[0]

    return re.sub(r"\]\(#([\w-]+)\)", link, titled.replace("](operating.md#", "](#"))


def slug(title: str) -> str:
    """Returns the anchor that a heading gets on GitHub."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
