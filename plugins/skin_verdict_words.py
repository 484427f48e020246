"""What the alerts say that are about a verdict, and about the data that a run found.

A verdict is told with its figures and reasons; of the data, the warnings that the run before did
not have.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from skin_alerts import MEANS, NOTHING, TO_DO, Place, Words, data_url, model_of, one_line

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from skin_pipeline.contracts import Interval, Pointer, Verdict
    from skin_pipeline.journal import Data
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

GATE = "gate"  # the task that returns the key of the verdict
REJECT = "reject"  # the task that returns the key of the verdict that it recorded as refused
AGAIN = "nothing, if that was meant; to be asked again, clear the task `approve` of the run."
JUDGEMENTS = 20  # among which the run before this one is looked for


# --- verdicts ------------------------------------------------------------------------------------


def judged(context: Any, place: Place) -> Words:
    """Returns the text about a verdict, without its figures if the store cannot be read."""
    try:
        return _verdict_words(context, place)
    except Exception as error:
        log.warning("verdict_unreadable error=%s", type(error).__name__)
        model, synthetic = model_of(context)
        text = "Its verdict could not be read; see the page Models in Airflow."
        subject = f"{model} {place.run_id}"
        return Words(subject, f"{model or 'A model'} was judged", (text,), model, synthetic)


def _verdict_words(context: Any, place: Place) -> Words:
    from skin_connections import open_configured_store
    from skin_models import report_link
    from skin_web import airflow_url

    from skin_pipeline import journal
    from skin_pipeline.contracts import CHAMPION, Evaluation, Verdict, load
    from skin_pipeline.release import Unverified

    refused = place.task_id == REJECT
    store = open_configured_store()
    key = context["ti"].xcom_pull(task_ids=REJECT if refused else GATE)
    verdict = load(store, key, Verdict)
    by_person = _rejection(store, key, verdict) if refused and verdict.approved else ""
    evaluation = load(store, verdict.evaluation, Evaluation)
    # It needs no verified signature, since nothing is decided by it: it is only shown.
    champion = Unverified(store, verdict.released_as).pointer(CHAMPION)
    unchanged = journal.changed_nothing(store, place.run_id)
    outcome, *lines = _outcome(verdict, champion, unchanged, by_person)
    figures = evaluation.ensemble
    lines.insert(
        1,
        f"On {figures.images} test images: accuracy {_with_interval(figures.accuracy)}, "
        f"sensitivity {_with_interval(figures.sensitivity)}.",
    )
    lines[2:2] = _data_warnings(store, verdict.validation, evaluation.split)
    return Words(
        # A promotion is a moment; a refusal lasts until the model is judged again.
        verdict.released_as if refused else f"{verdict.released_as} {key}",
        f"{verdict.released_as} {outcome}",
        tuple(lines),
        verdict.released_as,
        evaluation.synthetic,
        {"Report": report_link(verdict.report, airflow_url()), "Data": data_url(place)},
        verdict=key,
    )


def _data_warnings(store: Store, validation: str, split: str) -> list[str]:
    """Returns a line that names the warnings about the data, or no line if there are none."""
    from skin_pipeline import journal

    names = journal.data_of(store, validation, split).warning_names
    return [f"Warnings about the data: {one_line('; '.join(names))}."] if names else []


def _rejection(store: Store, key: str, verdict: Verdict) -> str:
    """Returns in words how a person, or nobody, decided about a model that passed the gate."""
    from skin_pipeline.config import read_deployment
    from skin_pipeline.release import Registry

    model = Registry.of(store, read_deployment()).model(verdict.released_as)
    return model.approvals.refusal(key)


def _outcome(
    verdict: Verdict, champion: Pointer | None, unchanged: bool, by_person: str = ""
) -> list[str]:
    """Returns the end of the headline, then lines: what became of the champion, and why."""
    version = f"version {champion.version}" if champion else "none"
    same = [f"Nothing changed: an earlier run came to the same verdict on {verdict.judged_at}."]
    if by_person:
        before = ", as before" if unchanged else ""
        return [
            f"was refused{before}: {one_line(by_person)}",
            f"It passed the gate. The champion stays as it was: {version}.",
            f"{TO_DO}{AGAIN}",
        ]
    if not verdict.approved:
        return [
            "was refused, as before" if unchanged else "was refused",
            f"The champion stays as it was: {version}.",
            *(same if unchanged else []),
            *(
                f"Failed: {one_line(item.described())}{f' ({item.advice})' if item.advice else ''}."
                for item in verdict.checks
                if not item.passed
            ),
        ]
    if unchanged:
        again = f"The run produced the present champion again: {version}."
        return ["is unchanged", again, *same, f"{MEANS}the champion goes on.", TO_DO + NOTHING]
    return ["was promoted", f"The champion is now {version}."]


def _with_interval(item: Interval) -> str:
    return f"{item.value:.3f} (95 % interval {item.low:.3f} to {item.high:.3f})"


# --- warnings about the data ---------------------------------------------------------------------


def data_warning(context: Any, place: Place) -> Words | None:
    """Returns the text about warnings that the run before did not have; None if there are none."""
    from skin_connections import open_configured_store

    from skin_pipeline import journal

    store = open_configured_store()
    made = journal.of_run(store, place.run_id)
    model, synthetic = model_of(context)
    if made is None:
        return None
    data = journal.data_of(store, made.validation, made.split)
    known = _known_warnings(store, model, place.run_id)
    new = [name for name in data.warning_names if name not in known]
    if not new:
        return None
    return Words(
        f"{model} {made.validation} {made.split}",
        f"New warnings about the data of {model}",
        (
            f"New since the run before: {one_line('; '.join(new))}.",
            *(f"Warning: {one_line(item)}." for item in _described_warnings(data, new)),
        ),
        model,
        synthetic,
        {"Data": data_url(place)},
    )


def _known_warnings(store: Store, model: str, run: str) -> frozenset[str]:
    """Returns the warnings about the data of the judged run before this one."""
    from skin_pipeline import journal
    from skin_pipeline.config import read_deployment
    from skin_pipeline.release import Registry

    for judged in Registry.of(store, read_deployment()).model(model).judgements(JUDGEMENTS):
        made = journal.of_run(store, judged.run) if judged.run != run else None
        if made and made.validation:
            return frozenset(journal.data_of(store, made.validation, made.split).warning_names)
    return frozenset()


def _described_warnings(data: Data, new: list[str]) -> list[str]:
    """Returns the new warnings in words: the figures of a check are in no other place of a mail."""
    checks = [c.described() for c in data.checks if not c.passed and c.name in new]
    shortcuts = (s for s in data.validation.shortcuts if not s.passed)
    return [*checks, *(s.described() for s in shortcuts if f"shortcut: {s.name}" in new)]
