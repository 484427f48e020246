"""
### Move an alias to a published version

Makes an alias, such as `canary` or `champion`, name a published version of a model.

* *Start it* with **Trigger**: the model, the alias, the version, and the reason, which stays in the
  history. An alias that does not exist yet is made.
* Every byte of the version is compared with its manifest *before* anything moves; it must be signed
  if `SKIN_PUBLIC_KEY` is set.
* The *champion* may only name a version that it named before, or that passed the gate (and was
  approved, if `SKIN_APPROVAL` asks for that). Any other alias may name any version.
* To go back to the version before, take `skin_rollback`: it finds that version, and no training run
  promotes the one that was given up again.
"""

from __future__ import annotations

from airflow.sdk import Param, dag
from skin_acting import model_in, move_intent, mover, recorded, refusals_recorded
from skin_airflow import airflow_store, step, tries
from skin_assets import RELEASED, announce_move
from skin_form import OPTIONAL, answers, model_field

from skin_pipeline.config import read_settings, with_blanks
from skin_pipeline.errors import BadInput
from skin_pipeline.release import ALIAS_PATTERN

NOTHING = "nothing"  # what an alias names that does not exist yet
DEFAULTS = {
    "model": read_settings({}).model_name,
    "alias": "",
    "version": "",
    "instead_of": "",
    "reason": "",
}
PARAMS = {
    "model": model_field(DEFAULTS["model"]),
    "alias": Param(
        title="Alias",
        type="string",
        pattern=with_blanks(ALIAS_PATTERN),
        description_md="The alias that is to name the version, such as *canary* or *champion*.",
    ),
    "version": Param(
        title="Version",
        type="string",
        pattern=r"\S",
        description_md="A published version.",
    ),
    "instead_of": Param(
        DEFAULTS["instead_of"],
        title="Instead of",
        type=OPTIONAL,
        description_md="The version that the alias must still name, *nothing* if it must not exist "
        "yet; empty for whichever it is.",
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
    Compares every byte of the version with its manifest, and checks that the alias may name it.
    Moves nothing. Returns the version, and the one that the alias names now.

    *Fails at once* when there is no such version, it is damaged or not signed as it must be, or the
    champion must not name it; *tries again* when the store does not answer.
    """
    given = answers(DEFAULTS)
    words = f"to version {given['version']}"
    with airflow_store() as store, refusals_recorded(store, move_intent("move", given, words)):
        model = model_in(store, given)
        model.verify(given["version"])
        model.check_by_hand(given["version"], given["alias"])
        pointer = model.pointer(given["alias"])
        now = pointer.version if pointer else NOTHING
        if given["instead_of"] not in {"", now}:
            raise BadInput(
                f"{given['alias']} of {model.name} names {now} by now, and not "
                f"{given['instead_of']}; nothing was moved. Look at it and decide again"
            )
    return [given["version"], now]


# A task of its own: if it also looked what the alias names now, a second try could overwrite what
# somebody else decided between the two.
@step(outlets=[RELEASED])
def move(plan: list[str]) -> str:
    """
    Moves the alias to the version that was verified. A second try does not move it again. The asset
    `skin-model/MODEL/ALIAS` then changed, so that DAGs of others can start.

    *Fails at once* when the alias was moved meanwhile, by a training run or a person.
    """
    given, (version, now) = answers(DEFAULTS), plan
    words = f"from {now if now == NOTHING else f'version {now}'} to version {version}"
    with airflow_store() as store, recorded(store, move_intent("move", given, words)) as doing:
        model, expected = model_in(store, given), None if now == NOTHING else now
        model.check_by_hand(version, given["alias"])  # once more: much may have passed since
        if not model.move(
            version, given["alias"], by=mover(), reason=given["reason"], expected=expected
        ):
            raise BadInput(
                f"{given['alias']} of {model.name} was moved meanwhile; nothing was done. Look at "
                "the version that it names now and decide again"
            )
        doing.result = f"{given['alias']} of {model.name} names version {version}"
        if version != now:
            announce_move(model, given["alias"])
    return version


@dag(
    dag_id="skin_alias",
    dag_display_name="Skin-cancer screening: move an alias",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    doc_md=__doc__,
    tags=["skin", "release"],
    is_paused_upon_creation=False,  # it has no schedule: a run is always one that somebody wants
    default_args=tries(),
)
def skin_alias() -> None:
    """Connects the two tasks: the plan that `verify` returns is what `move` carries out."""
    move(verify())


dag_object = skin_alias()
