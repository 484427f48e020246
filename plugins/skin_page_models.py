"""The page "Models", and a page for each model: aliases, alerts, judged runs, moves.

Lists are short here, and go on page by page. The figures of an alias are those of its version on
the test set that it was judged on.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import skin_costs
from skin_reading import attempt, page_model, page_number, page_store
from skin_status import Alerts, next_runs, open_alerts
from skin_web import Route, render

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from fastapi.responses import Response

    from skin_pipeline.contracts import (
        Batch,
        Figures,
        Incident,
        Judgement,
        Pointer,
        Verdict,
    )
    from skin_pipeline.operations import reading
    from skin_pipeline.release import Document, Model

log = logging.getLogger(__name__)
guard(__name__)

LAST_RUNS = 20  # judged runs in the table
LAST_DRAWN = 50  # judged runs in the drawing
LAST_MOVES = 10  # moves of an alias in the table
LAST_BATCHES = 10  # among which the last one of each alias is looked for
A_PAGE = 25  # lines of a list that goes on page by page
NAMES_A_PAGE = 100  # versions of which only the name is shown


@dataclass(frozen=True)
class Named:
    """What the page shows about an alias and the version that it names.

    Attributes:
        alias: Its name.
        pointer: What it names; None if that cannot be read.
        verdict: The verdict on the version.
        figures: The version's figures on its test set.
        synthetic: Whether it was made from synthetic data.
        trust: What is known of the signature of the pointer, after "its pointer is".
        refused: Why the version must not be used; empty if it may be.
        batch: The last batch that was scored with the alias.
        problem: Why something of it cannot be read.
    """

    alias: str
    pointer: Pointer | None = None
    verdict: Verdict | None = None
    figures: Figures | None = None
    synthetic: bool = False
    trust: str = ""
    refused: str = ""
    batch: Batch | None = None
    problem: str = ""


@dataclass(frozen=True)
class Judged:
    """A line of the history: a judged run, or why its document cannot be read."""

    key: str
    run: Judgement | None
    problem: str = ""


@dataclass(frozen=True)
class Moves:
    """The latest moves of an alias, newest first, each with the state of its signature."""

    alias: str
    moves: tuple[tuple[Pointer, str], ...]
    problem: str = ""


@dataclass(frozen=True)
class ModelView:
    """What the pages show about one model name.

    Attributes:
        name: The model's name.
        synthetic: Whether the model was made from synthetic data.
        aliases: Its aliases, the champion first.
        alerts: What people were alerted to and is not over.
        judged: Judged runs, newest first.
        runs: How many there are in all.
        history: A drawing of the latest judged runs; empty until there are two.
        moves: The latest moves of each alias that was moved more than once.
        versions: How many versions there are.
        costs: What the latest judged runs took; None where none recorded it.
    """

    name: str
    synthetic: bool = False
    aliases: tuple[Named, ...] = ()
    alerts: tuple[Incident, ...] = ()
    judged: tuple[Judged, ...] = ()
    runs: int = 0
    history: str = ""
    moves: tuple[Moves, ...] = ()
    versions: int = 0
    costs: skin_costs.Costs | None = None

    @property
    def champion(self) -> Named | None:
        """The alias `champion`, if there is one."""
        return next((item for item in self.aliases if item.alias == "champion"), None)


# --- what is shown -------------------------------------------------------------------------------


def overview(store: reading.Reading, alerts: Alerts | None = None) -> list[ModelView]:
    """Returns all models of the store, synthetic ones last.

    A damaged document affects only the part of the page that it belongs to.

    Raises:
        PipelineError: The store cannot be listed.
    """
    from skin_pipeline.config import read_deployment
    from skin_pipeline.release import Registry

    registry = Registry.of(store, read_deployment())
    alerts = alerts or Alerts()
    views = [view(registry.model(name), store, alerts) for name in registry.models()]
    return sorted(views, key=lambda view: view.synthetic)


def view(
    model: Model, store: reading.Reading, alerts: Alerts, *, page: int = 1, lines: int = LAST_RUNS
) -> ModelView:
    """Returns what is shown about a model.

    Args:
        model: The model.
        store: Its store.
        alerts: All that are not over.
        page: Of the list of judged runs, from 1.
        lines: Judged runs on a page.
    """
    from skin_pipeline.config import SYNTHETIC

    keys = model.judged_keys()[::-1]
    drawn, shown = keys[:LAST_DRAWN], keys[(page - 1) * lines : page * lines]
    store.fetch([*drawn, *shown])
    judged = {key: _judged(model, key) for key in dict.fromkeys((*drawn, *shown))}
    aliases = tuple(named(model, store, alias) for alias in _ordered(_alias_names(model)))
    champion = next((a.pointer.version for a in aliases if a.pointer and a.alias == "champion"), "")
    readable = tuple(judged[key].run for key in drawn)
    return ModelView(
        model.name,
        model.name.endswith(SYNTHETIC) or any(item.synthetic for item in aliases),
        aliases,
        alerts.of(model.name),
        _each_once([judged[key] for key in shown]),
        len(keys),
        _history(_once([run for run in readable if run]), champion),
        tuple(filter(_is_told, (_moves(model, item.alias) for item in aliases))),
        len(model.versions()),
        attempt(lambda: skin_costs.of_model(model), None)[0],
    )


def _alias_names(model: Model) -> list[str]:
    """Returns the names of all aliases that exist, were once moved, or were seen here."""
    names, problem = attempt(model.aliases, list[str]())
    # What this machine has seen cannot be read, which `_trust` reports.
    return model.unverified.pointing() if problem else names


def _ordered(names: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: (name != "champion", name))


def named(model: Model, store: reading.Reading, alias: str) -> Named:
    """Returns what is shown about an alias."""
    pointer, problem = attempt(lambda: model.unverified.pointer(alias), None)
    trust, refused = _trust(model, alias)
    shown = Named(alias, pointer, trust=trust, refused=refused, problem=problem)
    if pointer is None:
        return shown
    return _with_batch(_with_figures(shown, model, pointer.version), store, model.name)


def _with_figures(item: Named, model: Model, version: str) -> Named:
    """Returns an alias with the verdict on its version and the figures, or why there are none."""
    from skin_pipeline.contracts import Evaluation, Verdict, load

    def read() -> Named:
        release = model.unverified.release(version)
        verdict = load(model.store, release.verdict, Verdict)
        made = load(model.store, verdict.evaluation, Evaluation)
        return replace(item, verdict=verdict, figures=made.ensemble, synthetic=made.synthetic)

    shown, problem = attempt(read, item)
    return replace(shown, problem=problem)


def _with_batch(item: Named, store: reading.Reading, model: str) -> Named:
    """Returns an alias with the last batch that was scored with it."""
    from skin_pipeline.monitoring import score_log

    def read() -> Batch | None:
        found = score_log.batches(store, model, LAST_BATCHES)
        return next((batch for batch in found if batch.alias == item.alias), None)

    batch, problem = attempt(read, None)
    return replace(item, batch=batch, problem=item.problem or problem)


def _trust(model: Model, alias: str) -> tuple[str, str]:
    """Returns the state of an alias's signature, and why its version must not be used.

    The second is empty if it may be used.
    """
    from skin_pipeline.provenance import PUBLIC_KEY

    if not model.keys.public:
        return f"not verified, as {PUBLIC_KEY} is not set here", ""
    _, problem = attempt(lambda: model.pointer(alias), None)
    return ("not trusted", problem) if problem else ("signed with the trusted key", "")


def _moves(model: Model, alias: str) -> Moves:
    """Returns the latest moves of an alias, each with the state of its signature."""
    from skin_pipeline.provenance import SigningKeys
    from skin_pipeline.release import Registry

    none: list[Document] = []
    history, problem = attempt(lambda: model.unverified.documents(alias, last=LAST_MOVES), none)
    words, broken = attempt(lambda: model.signatures(history), list[str]())
    if broken:  # the public key cannot be read, which `_trust` reports
        words = Registry(model.store, SigningKeys()).model(model.name).signatures(history)
    moves = ((document.move, word) for document, word in zip(history, words, strict=True))
    return Moves(alias, tuple(moves), problem)


def _is_told(moves: Moves) -> bool:
    return len(moves.moves) > 1 or bool(moves.problem)


def _judged(model: Model, key: str) -> Judged:
    run, problem = attempt(lambda: model.judgement(key), None)
    return Judged(key, run, problem)


def _each_once(newest_first: Sequence[Judged]) -> tuple[Judged, ...]:
    """Returns judged runs with one judgement for each version: the first.

    Stores of older releases also contain runs that made an approved version again.
    """
    kept = {id(run) for run in _once([item.run for item in newest_first if item.run])}
    return tuple(item for item in newest_first if item.run is None or id(item.run) in kept)


def _once(newest_first: Sequence[Judgement]) -> tuple[Judgement, ...]:
    known: set[str | None] = set()
    kept = []
    for item in reversed(newest_first):
        if item.version is None or item.version not in known:
            kept.append(item)
        known.add(item.version)
    return tuple(reversed(kept))


@functools.lru_cache(maxsize=64)  # drawing takes as long as all the rest of the page
def _history(judged: tuple[Judgement, ...], champion: str) -> str:
    """Returns the figures of judged runs over time as an `<svg>` element; "" for fewer than two."""
    if len(judged) < 2:
        return ""
    from markupsafe import Markup

    from skin_pipeline.evaluation import plots

    return Markup(plots.history(judged, champion))


# --- pages ---------------------------------------------------------------------------------------


def _models_page() -> Response:
    store = page_store()
    alerts = open_alerts(store)
    return render(
        "models.html",
        models=overview(store, alerts),
        alerts=alerts,
        scheduled=next_runs(),
        last=LAST_RUNS,
        last_moves=LAST_MOVES,
        store=store.url,
    )


def _model_page(name: str, page: str = "1", names: str = "1") -> Response:
    store, number = page_store(), page_number(page)
    model = page_model(store, name)
    shown = view(model, store, open_alerts(store), page=number, lines=A_PAGE)
    versions, start = model.versions(), (page_number(names) - 1) * NAMES_A_PAGE
    return render(
        "model.html",
        model=shown,
        scheduled=next_runs(),
        last_moves=LAST_MOVES,
        page=number,
        pages=math.ceil(shown.runs / A_PAGE),
        versions=versions[start : start + NAMES_A_PAGE],
        names=page_number(names),
        names_pages=math.ceil(len(versions) / NAMES_A_PAGE),
    )


ROUTES = (
    Route("/", _models_page),
    Route("/model/{name}", _model_page),
)
