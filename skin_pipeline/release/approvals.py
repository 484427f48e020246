"""Approvals: a person's decisions on verdicts, and whether one of them holds for a promotion.

```
approvals/<digest of the verdict's key>/<request>.json      written once
```

    approvals = Approvals(store, SigningKeys.of(deployment), Rule.of(deployment))
    approvals.check("skin-resnet50", "gate/4f1a…", champion)     # raises unless one holds

Whoever promotes asks here, at the moment of the promotion, whatever Airflow says about its tasks.
The documents are signed like pointers, as another kind: who can write to the store but has no
private key can approve nothing. Taking a rejection away brings back an approval before it, if the
champion has not moved since; nobody can make one up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from skin_pipeline.config import Deployment
from skin_pipeline.contracts import Approval, Pointer, address, parse
from skin_pipeline.errors import BadInput, Rejected
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import pointers
from skin_pipeline.storage import Store

FOLDER = "approvals"
KIND = "approval 1"  # what is signed, and the version of the way it is signed
ASK_AGAIN = (
    "Nothing was promoted. In Airflow clear the task `approve` of the run: it asks again, about "
    "what is true now. On the command line, start the DAG skin_training with the same settings: it "
    "finds all results and asks; then try again"
)


@dataclass(frozen=True)
class Rule:
    """When a person must approve a model before it becomes the champion, and who may approve.

    Attributes:
        when: `never`, `always`, or `first`: only for the first champion of a model.
        approvers: The users who may; empty: every one whom Airflow lets answer.
    """

    when: Literal["never", "always", "first"] = "never"
    approvers: tuple[str, ...] = ()

    @classmethod
    def of(cls, deployment: Deployment) -> Rule:
        """Returns the rule of a deployment."""
        names = (name.strip() for name in deployment.approvers.split(","))
        return cls(deployment.approval, tuple(filter(None, names)))

    def asks(self, champion: Pointer | None) -> bool:
        """Returns whether a person must approve what is to replace this champion."""
        return self.when == "always" or (self.when == "first" and champion is None)

    def allows(self, user: str) -> bool:
        """Returns whether a user may approve."""
        return bool(user) and (not self.approvers or user in self.approvers)


NO_RULE = Rule()


class Request(NamedTuple):
    """What a person is asked to approve: a verdict, against the champion of this moment."""

    model: str
    verdict: str
    champion: str  # its version; empty if there is none
    champion_move: int

    @classmethod
    def about(cls, model: str, verdict: str, champion: Pointer | None) -> Request:
        """Returns the request about a verdict, where `champion` is what it would replace."""
        return cls(model, verdict, *_place(champion))


@dataclass(frozen=True)
class Approvals:
    """The decisions in a store, the keys that sign and check them, and the rule they are for."""

    store: Store
    keys: SigningKeys
    rule: Rule

    def write(self, approval: Approval) -> bool:
        """Writes a decision, signed if there is a private key. Returns whether it is new.

        Raises:
            BadInput: a signature is required, and there is no key to sign with.
        """
        self.keys.check_mover()
        content = pointers.sealed(self.store, approval, self.keys, KIND)
        return self.store.put(_key(approval), content)

    def decisions(self, verdict: str) -> list[Approval]:
        """Returns all decisions on a verdict, newest first.

        Raises:
            BadInput: one is damaged, belongs elsewhere, or is not signed as the keys require.
        """
        trusted = self.keys.trusted()
        found = [self._read(key, trusted) for key in self.store.list(_folder(verdict))]
        return sorted(found, key=lambda approval: approval.at, reverse=True)

    def newest(self, verdict: str) -> Approval | None:
        """Returns the newest decision on a verdict, which counts; None if there is none."""
        return next(iter(self.decisions(verdict)), None)

    def refusal(self, verdict: str) -> str:
        """Returns in words the newest decision on a verdict, if it is a rejection; else ""."""
        found = self.newest(verdict)
        return refusal(found) if found and not found.approved else ""

    def check(self, model: str, verdict: str, champion: Pointer | None) -> Approval | None:
        """Returns the approval by which a model may become the champion; None if none is needed.

        Args:
            model: The model's name.
            verdict: The key of the verdict on it.
            champion: What it is to replace.

        Raises:
            BadInput: an approval is needed, and there is none that holds.
            Rejected: a person rejected the model, or nobody answered in time.
        """
        if not self.rule.asks(champion):
            return None
        found = self.newest(verdict)
        if found is None:
            raise BadInput(
                f"{model} passed the gate, but a person must approve it (SKIN_APPROVAL="
                f"{self.rule.when}), and nobody has decided about {verdict}. {ASK_AGAIN}"
            )
        if not found.approved:
            raise Rejected(refusal(found))
        if problem := self._problem(found, Request.about(model, verdict, champion)):
            raise BadInput(f"{problem}. {ASK_AGAIN}")
        return found

    def settles(self, request: Request, *, again: bool) -> bool:
        """Returns whether nobody needs to be asked, because the newest decision answers this.

        An approval does while it holds. So does a person's rejection, unless it is asked `again`.
        """
        found = self.newest(request.verdict)
        if found is None or self._problem(found, request):
            return False
        return found.approved or not again

    def _problem(self, found: Approval, asked: Request) -> str:
        """Returns why an approval does not hold; "" if it does."""
        what = f"the approval of {found.verdict} by {found.by or 'nobody'} ({found.at})"
        if not self.rule.allows(found.by):
            named = ", ".join(self.rule.approvers) or "any user of Airflow"
            return f"{what} does not count: SKIN_APPROVERS names {named}"
        if found.model != asked.model:
            return f"{what} is for the model {found.model}, not for {asked.model}"
        before = (found.champion, found.champion_move)
        if before != (asked.champion, asked.champion_move):
            return (
                f"{what} does not hold any more: the champion was {_called(*before)}, and is "
                f"{_called(asked.champion, asked.champion_move)} now"
            )
        return ""

    def _read(self, key: str, trusted: bytes | None) -> Approval:
        content = self.store.read(key)
        approval = parse(content, Approval, key)
        if _key(approval) != key:
            raise BadInput(f"{key} is not what it says: it is about {approval.verdict}. {_FORGED}")
        if trusted is not None:
            here = pointers.identity(self.store)
            called = f"the decision {key} on {approval.verdict}"
            if problem := pointers.seal_problem(called, content, approval, KIND, trusted, here):
                raise BadInput(f"{problem}. {_FORGED}")
        return approval


_FORGED = (
    "Somebody who can write to the store may have made it up. Nothing was promoted: find out who "
    "did, remove it, and ask again"
)


def refusal(decision: Approval) -> str:
    """Returns why a person's decision refuses a model, for people."""
    if not decision.by:
        return decision.note or "nobody approved in time"
    note = f": {decision.note}" if decision.note else ""
    return f"rejected by {decision.by}{note}"


def consent(approval: Approval) -> str:
    """Returns who approved a model, and what they noted, for the history of the champion."""
    own = ", who started the run" if approval.by == approval.started_by else ""
    note = f": {approval.note}" if approval.note else ""
    return f"approved by {approval.by}{own}{note}"


def _place(champion: Pointer | None) -> tuple[str, int]:
    return (champion.version, champion.number) if champion else ("", 0)


def _called(version: str, number: int) -> str:
    return f"{version} (move {number})" if version else "none"


def _folder(verdict: str) -> str:
    return f"{FOLDER}/{address({'verdict': verdict})}"


def _key(approval: Approval) -> str:
    return f"{_folder(approval.verdict)}/{approval.asked}.json"
