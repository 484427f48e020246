"""
### Make the profile of a site

On images of another clinic a model's threshold does not hold: it finds nearly everything and
excludes nearly nothing, or the reverse. From 50 to 200 labelled images of the site, this finds the
threshold that holds there, recalibrates the probabilities, and says with intervals what that will
reach.

* *Start it* with **Trigger**: the labelled images, a name for the site, and the model.
* *Draw the images as they come*: if more of them are malignant than usual there, the threshold is
  right all the same, but the probabilities are too high.
* *Too few images* of a class are refused, with how many are needed. Images that the version's own
  data contains are left out.
* *The version stays as it is.* The profile is a document beside it, signed if versions are; one
  that it replaces stays in the history.

Then `predict --site`, `score --site` and the field *Site* of `skin_scoring` use it, and
`skin_monitoring` watches the site by itself. The page of the version shows what was found.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag
from skin_acting import intent, mover, recorded, refusals_recorded
from skin_airflow import airflow_deployment, airflow_job, step, tries
from skin_form import OPTIONAL, answers, model_field

from skin_pipeline.config import read_settings, with_blanks
from skin_pipeline.contracts import CHAMPION, SITE_PATTERN
from skin_pipeline.errors import BadInput

deployment = airflow_deployment()
# A slot of the pool is a core: tasks share the cores through it, instead of slowing each other.
computing: dict[str, Any] = {"pool": deployment.pool, "pool_slots": deployment.threads}
AS_MADE = "as the version was made"
DEFAULTS = {
    "source": "",
    "site": "",
    "model": read_settings({}).model_name,
    "version": CHAMPION,
    "sensitivity": "",
    "threshold_by": AS_MADE,
    "width": "0.05",
}
PARAMS = {
    "source": Param(
        title="Labelled images",
        type="string",
        pattern=r"\S",
        description_md="As for sets of another origin: a folder or a zip file below one that "
        "*SKIN_PATHS* names, *kaggle://OWNER/NAME*, or *s3://BUCKET/PREFIX*.",
    ),
    "site": Param(
        title="Site",
        type="string",
        pattern=with_blanks(SITE_PATTERN),
        description_md="A name of yours for where the images are from, such as *clinic-b*.",
    ),
    "model": model_field(DEFAULTS["model"]),
    "version": Param(
        DEFAULTS["version"],
        title="Version",
        type=OPTIONAL,
        description_md="A version, or an alias such as *champion*.",
    ),
    "sensitivity": Param(
        DEFAULTS["sensitivity"],
        title="Sensitivity to aim at",
        type=OPTIONAL,
        description_md="The share of malignant images to be found at the site, such as *0.9*. "
        "Empty: what the version was made for.",
    ),
    "threshold_by": Param(
        DEFAULTS["threshold_by"],
        title="What must reach it",
        type=OPTIONAL,
        enum=[AS_MADE, "point", "lower_bound", "guaranteed", None],
        values_display={"null": f"(empty: {AS_MADE})"},
        description_md="The share that is found (*point*), the lower end of its 95 % interval, or "
        "the sensitivity on new patients with 95 % confidence (*guaranteed*).",
    ),
    "width": Param(
        DEFAULTS["width"],
        title="Width of the intervals",
        type=OPTIONAL,
        description_md="To how much, in both directions, sensitivity and specificity should be "
        "known. How many images that takes is told.",
    ),
}


def asked() -> Any:
    """Returns what the form of the running task asks for."""
    from skin_pipeline.operations import siting

    given = answers(DEFAULTS)
    by: Any = None if given["threshold_by"] == AS_MADE else given["threshold_by"]
    sensitivity = number(given, "sensitivity") if given["sensitivity"] else None
    names = {name: given[name] for name in ("model", "site", "source", "version")}
    return siting.Request(**names, sensitivity=sensitivity, by=by, width=number(given, "width"))


def number(given: dict[str, str], name: str) -> float:
    """Returns a field of the form as a number; raises `BadInput` if it is none."""
    try:
        return float(given[name])
    except ValueError:
        raise BadInput(f"{name} is a number such as 0.9. Received: {given[name]!r}") from None


def intended(request: Any) -> Any:
    """Returns the intent of making a profile."""
    return intent("site", model=request.model, subject=request.site, plan=request.plan, reason="")


@step(**computing)
def score_site() -> str:
    """
    Fetches and decodes the labelled images, leaves out those that the version knows, and scores the
    others by the version as it is.

    *Fails at once* when there is no such version, or no labelled images; *tries again* when the
    source or the store does not answer.
    """
    from skin_pipeline.operations import siting

    with airflow_job(kaggle=True, settings={}) as job:
        request = asked()
        with refusals_recorded(job.store, intended(request)):
            return siting.score(job, request)


@step()
def make_profile(scores: str) -> str:
    """
    Fits intercept, slope and threshold, and writes the profile. A second try writes no second one.

    *Fails at once* when there are too few images of a class, or the version cannot tell the classes
    apart at this site.
    """
    from skin_pipeline.operations import siting

    with airflow_job(settings={}) as job:
        request = asked()
        with recorded(job.store, intended(request)) as doing:
            profile = siting.fit(job, request, scores, by=mover())
            doing.result = siting.outcome(profile)
    return doing.result


@dag(
    dag_id="skin_site",
    dag_display_name="Skin-cancer screening: profile of a site",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    doc_md=__doc__,
    tags=["skin", "release"],
    is_paused_upon_creation=False,  # it has no schedule: a run is always one that somebody wants
    default_args=tries(),
)
def skin_site() -> None:
    """Connects the two tasks: the images are scored once, whatever is then asked of a profile."""
    make_profile(score_site())


dag_object = skin_site()
