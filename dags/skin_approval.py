"""The tasks that ask a person: `approve` before a promotion, `budget` before an expensive run.

They wait in Airflow's page *Required Actions* (state `awaiting_input`, without a process), until
somebody answers or the time is over, which rejects. `approve` writes the answer into the store as
Airflow recorded it; the step `promote` looks for it there, and trusts no state of a task and no
XCom. The DAG has these tasks only where the installation's settings can make them ask.
"""

from __future__ import annotations

import inspect
import logging
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Param
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import TaskAwaitingInput
from skin_airflow import MINUTE, airflow_deployment, airflow_job, placed
from skin_notifier import alert, recovered

from skin_pipeline import decisions, timing
from skin_pipeline.config import Deployment
from skin_pipeline.contracts import Verdict, address
from skin_pipeline.operations import asking
from skin_pipeline.release import Request, Rule

if TYPE_CHECKING:
    from skin_pipeline.job import Job

    Asked = tuple[asking.Question, dict[str, Any]]  # and what `answered` needs of the request

log = logging.getLogger(__name__)

NOTE = "note"
# An auth manager whose users have their names as ids. Others, such as FAB, number them, so that
# Airflow cannot compare them with the names in SKIN_APPROVERS: the task does it.
BY_NAME = "SimpleAuthManager"


class Asking(ApprovalOperator):
    """A task that asks a person about the result of an earlier task, if `question` says so.

    Args:
        about: The key of that result, which the earlier task returns.
    """

    template_fields = (*ApprovalOperator.template_fields, "about")

    def __init__(self, *, about: Any, task_id: str, **options: Any) -> None:
        deployment = airflow_deployment()
        note = Param(
            None, title="Note", type=["null", "string"], maxLength=500, description_md=ABOUT_NOTE
        )
        options["params"] = {NOTE: note}  # instead of the DAG's, which Airflow gives every task
        super().__init__(
            task_id=task_id,
            subject="Nothing is asked",  # until `execute` knows what
            defaults=self.REJECT,
            response_timeout=timedelta(hours=deployment.approval_hours),
            execution_timeout=timing.longest(task_id, deployment.time_factor) + MINUTE,
            assigned_users=_assigned(deployment),
            doc_md=inspect.cleandoc(type(self).__doc__ or ""),
            ignore_downstream_trigger_rules=True,
            **{**placed(task_id, deployment), **options},
        )
        self.about = about

    def question(self, job: Job, *, again: bool) -> Asked | None:
        """Returns what to ask, and about what; None if nothing.

        Args:
            job: The job of the run.
            again: Whether the task was cleared, or is tried again.
        """
        raise NotImplementedError

    def answered(self, job: Job, request: dict[str, Any], answer: asking.Answer) -> None:
        """Writes the answer down."""
        raise NotImplementedError

    def execute(self, context: Any) -> None:
        """Asks and waits, or returns at once if nobody has to be asked."""
        again = context["ti"].try_number > 1
        context["params"].pop(NOTE, None)  # a field of the answer, and no setting of the run
        with airflow_job() as job:
            asked = self.question(job, again=again)
        if asked is None:
            log.info("not_asked task=%s", self.task_id)
            return
        (self.subject, self.body), request = asked
        try:
            super().execute(context)
        except TaskAwaitingInput as waiting:
            # Airflow keeps it in the row of the task, which people cannot change, unlike an XCom.
            waiting.kwargs = {"request": request}
            self._tell(context, job)
            raise

    def _tell(self, context: Any, job: Job) -> None:
        """Alerts people that they are asked."""
        from skin_alerts import place_of

        until = datetime.now(timezone.utc) + timedelta(hours=job.deployment.approval_hours)
        url = place_of(context).url
        who = job.deployment.approvers or "all who may act on the DAG"
        alert(
            "approval_waiting",
            _subject(context),
            model=job.settings.released_as,
            headline=self.subject.removeprefix("[synthetic data] "),  # which the alert adds
            text=[
                f"It waits for: {who}.",
                f"Without an answer it is rejected at {until:%F %R} UTC.",
            ],
            links={"Answer": f"{url}/required_actions"} if url else {},
            context=context,
            synthetic=job.settings.synthetic,
        )

    def execute_complete(self, context: Any, event: dict[str, Any], **request: Any) -> Any:
        """Goes on with the answer, or asks again if it is by somebody who may not answer."""
        # Not ApprovalOperator's: what a rejection leads to is for the subclass to say.
        HITLOperator.execute_complete(self, context, event)
        answer = _answer(context, event, approved=event["chosen_options"] == [self.APPROVE])
        if answer.by and not Rule.of(airflow_deployment()).allows(answer.by):
            log.warning('answer_ignored by="%s" reason="not in SKIN_APPROVERS"', answer.by)
            self.execute(context)
            return
        context["params"].pop(NOTE, None)
        with airflow_job() as job:
            self.answered(job, request["request"], answer)
        words = f"{'approved' if answer.approved else 'rejected'} by {answer.by or 'nobody'}"
        recovered("approval_waiting", _subject(context), text=[f"It was {words}."], context=context)
        log.info('answered result="%s" note="%s"', words, answer.note)


class Approve(Asking):
    """
    Asks a person whether the model may become the champion, where SKIN_APPROVAL says so: in
    *Required Actions*, with the figures and the change against the champion. Nothing to do when
    the gate refused, or the model is the champion already.

    Nobody answers in time: rejected. Rejected: the run is green, `promote` is skipped and `reject`
    records who rejected. *Clear this task* to be asked again.
    """

    def question(self, job: Job, *, again: bool) -> Asked | None:
        """Returns the question about the model, unless no approval is needed or one holds."""
        from skin_models import report_link
        from skin_web import airflow_url

        request = decisions.pending(job, self.about, again=again)
        if request is None:
            return None
        report = report_link(job.load(request.verdict, Verdict).report, airflow_url())
        hours = job.deployment.approval_hours
        return asking.about_model(job, request, hours=hours, report=report), request._asdict()

    def answered(self, job: Job, request: dict[str, Any], answer: asking.Answer) -> None:
        """Writes the approval, or the rejection, of the verdict that was asked about."""
        asking.decide(job, Request(**request), answer)


class Budget(Asking):
    """
    Asks a person whether the run may go on, if it is expected to take more core-hours than
    SKIN_BUDGET_CORE_HOURS, before anything expensive is computed.

    Rejected, or nobody answers in time: all later tasks are skipped, and the run is green.
    """

    def question(self, job: Job, *, again: bool) -> Asked | None:
        """Returns the question about the run, if it is expected to exceed the budget."""
        from skin_pipeline.operations import costs

        budget = job.deployment.budget_core_hours
        expected = costs.estimate(job, self.about)
        log.info("budget core_hours=%.3g allowed=%g", expected.core_hours, budget)
        if not budget or expected.core_hours <= budget:
            return None
        model = job.settings.released_as
        asked = asking.about_budget(model, expected.in_words(), expected.core_hours, budget)
        return asked, {"split": self.about}

    def answered(self, job: Job, request: dict[str, Any], answer: asking.Answer) -> None:
        """Records the answer."""
        asking.decide_budget(job, request["split"], answer)

    def execute_complete(self, context: Any, event: dict[str, Any], **request: Any) -> Any:
        """Goes on with the answer; a rejection skips all later tasks."""
        super().execute_complete(context, event, **request)
        if event["chosen_options"] != [self.APPROVE]:
            log.warning('over_budget reason="nobody approved it, so all later tasks are skipped"')
            self.skip(ti=context["ti"], tasks=self.get_flat_relatives(upstream=False))


ABOUT_NOTE = "Why. It stays in the history of the model."


def _answer(context: Any, event: dict[str, Any], *, approved: bool) -> asking.Answer:
    """Returns an answer as Airflow recorded it, or that the time was over."""
    user, run, hours = event["responded_by_user"], context["dag_run"], _hours()
    by = (user["name"] or user["id"]) if user else ""
    note = str((event["params_input"] or {}).get(NOTE) or "").strip()
    when: datetime = event["responded_at"]
    return asking.Answer(
        # Without a person, nothing is approved, whatever was chosen.
        approved=approved and bool(by),
        by=by,
        note=note if by else f"nobody approved within {hours:g} hours",
        at=when.astimezone(timezone.utc).isoformat(timespec="microseconds"),
        dag=context["dag"].dag_id,
        run=context["run_id"],
        asked=address({"task": str(context["ti"].id), "at": when.isoformat()}),
        started_by=run.triggering_user_name or "",
    )


def _subject(context: Any) -> str:
    """Returns what names the waiting of a task in an alert, and in its recovery."""
    ti = context["ti"]
    return f"{ti.dag_id} {ti.task_id} {ti.run_id}"


def _hours() -> float:
    return airflow_deployment().approval_hours


def _assigned(deployment: Deployment) -> list[Any] | None:
    """Returns the users whose answers Airflow takes; None if it takes those of all who may act."""
    if not conf.get("core", "auth_manager").endswith(BY_NAME):
        return None
    return [{"id": name, "name": name} for name in Rule.of(deployment).approvers] or None
