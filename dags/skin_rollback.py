"""
### Point the champion back to an earlier version

Moves an alias, mostly `champion`, back to a version that it named before.

* *Start it* with **Trigger**: the model, the version or `previous`, and the reason, which stays in
  the history.
* `previous` is the version before the one that is named now. After a rollback it is the version
  before that, so that two rollbacks never lead back to the version that was given up.
* Every byte of the version is compared with its manifest *before* anything moves. A version that
  is damaged or not there is refused, with the versions that there are; so is one that is not
  signed, if `SKIN_PUBLIC_KEY` is set. The alias must then be signed too, as its own rollback will
  be: set `SKIN_SIGNING_KEY` where this runs.
* A version that the champion never named must have passed the gate.
* A training run does not promote the version again that was given up. To do that, move the alias by
  hand, with `skin_alias`.
* If a training run promotes a model meanwhile, nothing moves and the task says so: look at the new
  model and decide again.

The versions and the history: `python -m skin_pipeline models show MODEL`.
"""

from __future__ import annotations

from airflow.sdk import Param, dag
from skin_acting import alert, model_in, move_intent, mover, person, recorded, refusals_recorded
from skin_airflow import airflow_store, step, tries
from skin_assets import RELEASED, announce_move
from skin_form import OPTIONAL, answers, model_field

from skin_pipeline.config import read_settings, with_blanks
from skin_pipeline.contracts import CHAMPION
from skin_pipeline.errors import BadInput
from skin_pipeline.release import ALIAS_PATTERN, PREVIOUS, Rollback

DEFAULTS = {
    "model": read_settings({}).model_name,
    "version": PREVIOUS,
    "alias": CHAMPION,
    "instead_of": "",
    "reason": "",
}
PARAMS = {
    "model": model_field(DEFAULTS["model"]),
    "version": Param(
        DEFAULTS["version"],
        title="Version",
        type=OPTIONAL,
        description_md="A version, or *previous* for the one that was named before.",
    ),
    "alias": Param(
        DEFAULTS["alias"],
        title="Alias",
        type=OPTIONAL,
        pattern=with_blanks(ALIAS_PATTERN),
        description_md="The alias that is to name the version: *champion*, or another one.",
    ),
    "instead_of": Param(
        DEFAULTS["instead_of"],
        title="Instead of",
        type=OPTIONAL,
        description_md="The version that the alias must still name; empty for whichever it is.",
    ),
    "reason": Param(
        title="Reason",
        type="string",
        pattern=r"\S",
        description_md="Why. It stays in the history.",
    ),
}


@step()
def verify() -> list[str]:
    """
    Finds the version and compares every byte of it with its manifest. Moves nothing.

    *Fails at once* when there is no such version, it is damaged or not signed as it must be;
    *tries again* when the store does not answer.
    """
    given = answers(DEFAULTS)
    action = move_intent("rollback", given, f"to version {given['version']}")
    with airflow_store() as store, refusals_recorded(store, action):
        model = model_in(store, given)
        plan = model.plan_rollback(given["version"], given["alias"])
        model.check_by_hand(plan.version, given["alias"])
        check_instead_of(plan, given)
    return list(plan)


# A task of its own: if it also searched for the version, a second try would find one further back.
@step(outlets=[RELEASED])
def rollback(plan: list[str]) -> str:
    """
    Moves the alias to the version that was verified. A second try does not move it again. The asset
    `skin-model/MODEL/ALIAS` then changed, so that DAGs of others can start.

    *Fails at once* when the alias was moved meanwhile, by a training run or a person.
    """
    given, planned = answers(DEFAULTS), Rollback(*plan)
    words = f"from version {planned.instead_of} to version {planned.version}"
    with airflow_store() as store, recorded(store, move_intent("rollback", given, words)) as doing:
        model = model_in(store, given)
        now = model.carry_out(planned, given["alias"], by=mover(), reason=given["reason"])
        doing.result = f"{now.alias} of {now.model} names version {now.version}"
        if planned.version != planned.instead_of:
            announce_move(model, given["alias"])
    if now.alias == CHAMPION:
        tell(planned, given, now.number)
    return now.version


@dag(
    dag_id="skin_rollback",
    dag_display_name="Skin-cancer screening: rollback",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    doc_md=__doc__,
    tags=["skin", "release"],
    is_paused_upon_creation=False,  # it has no schedule: a run is always one that somebody wants
    default_args=tries(),
)
def skin_rollback() -> None:
    """Connects the two tasks: the plan that `verify` returns is what `rollback` carries out."""
    rollback(verify())


def check_instead_of(plan: Rollback, given: dict[str, str]) -> None:
    """Raises `BadInput` if the alias no longer names the version that the person saw."""
    if given["instead_of"] not in {"", plan.instead_of}:
        raise BadInput(
            f"{given['alias']} of {given['model']} names version {plan.instead_of} by now, and not "
            f"{given['instead_of']}; nothing was moved. Look at the new version and decide again"
        )


def tell(plan: Rollback, given: dict[str, str], number: int) -> None:
    """Alerts people to a champion that was rolled back."""
    alert(
        "rolled_back",
        f"{given['model']} move {number}",
        model=given["model"],
        headline=f"{given['model']}: rolled back to version {plan.version}",
        text=[
            f"{person() or 'Somebody'} rolled the champion back from version {plan.instead_of} "
            f"to version {plan.version}.",
            f"Reason: {given['reason']}",
            "What it means: whoever uses the champion gets the earlier version from now on. No "
            "training run promotes the version that was given up again; to do that, move the alias "
            "by hand.",
        ],
    )


dag_object = skin_rollback()
