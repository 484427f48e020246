"""What a person is asked before a model is promoted or a run exceeds its budget, and the answer.

    question = asking.about_model(job, request, hours=72, report="https://…")
    question.subject, question.body                        # Markdown, for Airflow's page
    asking.decide(job, request, answer)                    # writes it down, as action and approval

Text of others stands between backticks, where Markdown makes no links, images or headings of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from skin_pipeline import journal
from skin_pipeline.contracts import (
    Action,
    Approval,
    Comparison,
    Evaluation,
    Figures,
    GateCheck,
    Interval,
    Verdict,
)
from skin_pipeline.foreign import line
from skin_pipeline.job import Job
from skin_pipeline.operations import actions
from skin_pipeline.release import Registry, Request

FIGURES = ("sensitivity", "specificity", "accuracy", "auc")
WARNINGS = 20  # which are shown; the report has all


class Question(NamedTuple):
    """What a person is asked: one line, and the details in Markdown."""

    subject: str
    body: str


@dataclass(frozen=True)
class Answer:
    """The answer of a person, as Airflow has recorded it, or that nobody answered.

    Attributes:
        approved: Whether they approve.
        by: Who; empty if nobody answered in time.
        note: What they wrote beside it; if nobody answered, for how long.
        at: When.
        dag, run: The run that asked.
        asked: Names the request.
        started_by: Who triggered the run; empty for a schedule.
    """

    approved: bool
    by: str
    note: str
    at: str
    dag: str
    run: str
    asked: str
    started_by: str = ""


# --- the answer ----------------------------------------------------------------------------------


def decide(job: Job, request: Request, answer: Answer) -> Approval:
    """Writes an answer down: as an action, and as the approval without which nothing is promoted.

    Raises:
        BadInput: It must be signed, and there is no key for it.
        Unavailable: The store failed.
    """
    approval = Approval(
        **request._asdict(),
        approved=answer.approved,
        by=answer.by,
        at=answer.at,
        note=answer.note,
        dag=answer.dag,
        run=answer.run,
        asked=answer.asked,
        started_by=answer.started_by,
    )
    does = f"may replace {request.champion or 'no champion'}" if answer.approved else "stays out"
    plan = f"the model of {request.verdict} {does} as champion of {request.model}"
    with actions.recorded(job.store, _action(answer, request.model, request.verdict, plan)) as act:
        Registry.of(job.store, job.deployment).model(request.model).approvals.write(approval)
        act.result = "approved" if answer.approved else "rejected"
    return approval


def decide_budget(job: Job, split: str, answer: Answer) -> None:
    """Records the answer about a run that is expected to exceed its budget.

    Raises:
        BadInput, Unavailable: As the store does.
    """
    plan = "the run goes on" if answer.approved else "the run ends before anything is computed"
    intent = _action(answer, job.settings.released_as, split, plan)
    with actions.recorded(job.store, intent) as act:
        act.result = "approved" if answer.approved else "rejected"


def _action(answer: Answer, model: str, subject: str, plan: str) -> Action:
    return Action(
        kind="approve" if answer.approved else "reject",
        model=model,
        subject=subject,
        plan=plan,
        by=answer.by,
        reason=answer.note,
        dag=answer.dag,
        run=answer.run,
        at=answer.at,
    )


# --- the question about a model ------------------------------------------------------------------


def about_model(job: Job, request: Request, *, hours: float, report: str) -> Question:
    """Returns the question whether a model may become the champion.

    Args:
        job: The job.
        request: What it is about.
        hours: How long there is to answer.
        report: The URL of the report; "" if it is not known.

    Raises:
        BadInput: A result is missing or damaged.
    """
    judged = job.load(request.verdict, Verdict)
    evaluation = job.load(judged.evaluation, Evaluation)
    synthetic = "[synthetic data] " if evaluation.synthetic else ""
    becomes = (
        f"replace champion {request.champion}" if request.champion else "become the first champion"
    )
    parts = (
        f"**{request.model}** passed the gate. If it is approved, it is to {becomes}. If it is "
        f"rejected, or nobody answers within {hours:g} hours, nothing changes.",
        _table(evaluation.ensemble, judged.comparison),
        _compared(judged.comparison),
        _listed("Checks", map(_check, judged.checks)),
        _listed("Warnings about the data", _warnings(job, judged, evaluation)),
        f"[Report]({report})" if report else "",
        f"Verdict {code(request.verdict)} of {judged.judged_at}",
    )
    subject = f"{synthetic}Approve {request.model}? It would {becomes}."
    return Question(subject, "\n\n".join(filter(None, parts)))


def _table(figures: Figures, comparison: Comparison | None) -> str:
    """Returns the figures beside the champion's; the change is paired, on the same images."""
    head = [f"On {figures.images} test images", "This model"]
    head += ["Champion", "Change"] if comparison else []
    lines = [head, ["---"] * len(head)]
    for name in FIGURES:
        row = [name.replace("auc", "AUC"), str(getattr(figures, name))]
        if comparison:
            theirs = getattr(comparison.champion_figures, name)
            row += [str(theirs), change(getattr(comparison, name))]
        lines.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def change(item: Interval) -> str:
    """Returns a difference for people, such as `+0.025 [-0.015, +0.065]`."""
    if math.isnan(item.value):
        return "not defined"
    return f"{item.value:+.3f} [{item.low:+.3f}, {item.high:+.3f}]"


def _compared(comparison: Comparison | None) -> str:
    if comparison is None:
        return "There is no comparison with a champion."
    left_out = f"; {comparison.excluded} that it was trained on are left out"
    return (
        f"Compared with champion `{comparison.champion}` on {comparison.images} images"
        f"{left_out if comparison.excluded else ''}: {comparison.only_challenger} are right only "
        f"now, {comparison.only_champion} were right only before (p = {comparison.p_value:.3g})."
    )


def _check(check: GateCheck) -> str:
    return f"{'passed' if check.passed else '**failed**'}: {code(check.described())}"


def _warnings(job: Job, judged: Verdict, evaluation: Evaluation) -> Iterator[str]:
    found = journal.data_of(job.store, judged.validation, evaluation.split).warnings
    yield from map(code, found[:WARNINGS])
    if len(found) > WARNINGS:
        yield f"and {len(found) - WARNINGS} more, in the report"


def _listed(title: str, items: Iterator[str]) -> str:
    lines = [f"- {item}" for item in items]
    return "\n".join([f"**{title}**", "", *lines]) if lines else f"**{title}**: none"


def code(text: str) -> str:
    """Returns text of others as code in Markdown, which is shown as it is, on one line."""
    plain = line(text).replace("`", "'")
    return f"`{plain or ' '}`"


# --- the question about a budget -----------------------------------------------------------------


def about_budget(model: str, expected: str, core_hours: float, budget: float) -> Question:
    """Returns the question whether a run may take more than its budget.

    Args:
        model: The model's name.
        expected: What it is expected to take, in words.
        core_hours: The same, as the budget is given.
        budget: The budget in core-hours.
    """
    body = (
        f"The run of **{model}** is expected to take {core_hours:.3g} core-hours; the budget "
        f"(SKIN_BUDGET_CORE_HOURS) is {budget:g}. Nothing expensive has been computed yet. If it "
        "is rejected, or nobody answers in time, the run ends here, and all later tasks are "
        f"skipped.\n\n{code(expected)}"
    )
    return Question(f"Run {model}? It is expected to exceed its budget.", body)
