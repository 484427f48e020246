"""What a verdict says beside its checks: the comparison with the champion, costs and pages."""

from __future__ import annotations

import json
import platform
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version

from skin_pipeline import tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    COST,
    Comparison,
    Cost,
    Evaluation,
    Scored,
    Split,
    TrainedRun,
    Validation,
    Verdict,
    load,
    parse,
)
from skin_pipeline.data import manifest
from skin_pipeline.evaluation import card, comparison, report
from skin_pipeline.evaluation.comparison import Calls
from skin_pipeline.storage import Store

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn", "great-expectations")


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a verdict depends on."""
    return {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}}


def put_pages(store: Store, verdict: Verdict, evaluation: Evaluation) -> None:
    """Writes the report and the model card where the verdict names them."""
    told = card.data(store, verdict, evaluation)
    store.put(verdict.card, card.markdown(told).encode())
    store.put(verdict.card_data, (json.dumps(told, indent=2, ensure_ascii=False) + "\n").encode())
    store.put(verdict.report, report.render(store, verdict, evaluation).encode())


def compared(
    store: Store, settings: Settings, challenger: Evaluation, key: str, champion: Scored | None
) -> Comparison | None:
    """Challenger and champion on the images that both may be judged on; None if there are none."""
    if champion is None or champion.problem or champion.evaluation == key:
        return None
    ours = tables.read_scores(store, challenger.predictions).set_index("key")
    theirs = tables.read_scores(store, champion.predictions).set_index("key")
    rows = ours.loc[theirs.index]
    model = load(store, champion.evaluation, Evaluation)
    return comparison.compare(
        Calls(rows["probability"].to_numpy(), challenger.threshold),
        Calls(theirs["probability"].to_numpy(), model.threshold),
        manifest.labels(rows),
        rows["group"].to_numpy(object),
        version=champion.name,
        excluded=champion.excluded,
        seed=settings.seed,
        prevalences=settings.prevalence_list,
    )


def seconds(
    store: Store, evaluation: str, validation: str, champion: str, external: tuple[str, ...]
) -> dict[str, float]:
    """Wall time of each step that led to a verdict, over all its tasks; whenever it was spent."""
    spent: dict[str, float] = defaultdict(float)
    scored = filter(None, (champion, *external))
    for key in (*_steps(store, evaluation, validation), *scored):
        spent[key.split("/")[0]] += _cost(store, key)
    return {name: round(value, 1) for name, value in spent.items()}


def _steps(store: Store, evaluation: str, validation: str) -> Iterator[str]:
    judged = load(store, evaluation, Evaluation)
    checked = load(store, validation, Validation)
    yield from (load(store, judged.split, Split).dataset, validation, judged.split)
    yield from load(store, judged.runs[0], TrainedRun).features
    yield from (*judged.runs, evaluation)
    yield from sorted(checked.external.values())


def _cost(store: Store, key: str) -> float:
    """Of one result; 0 where it was not noted."""
    place = f"{key}/{COST}"
    return parse(store.read(place), Cost, place).seconds if store.exists(place) else 0.0
