"""Profiles of sites, as actions that somebody started: with intent, outcome and owner."""

from __future__ import annotations

from typing import NamedTuple

from skin_pipeline.config import ThresholdBy
from skin_pipeline.contracts import CHAMPION, Action, SiteProfile
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.operations.actions import recorded
from skin_pipeline.release import Registry, predict, site_making, sites


class Request(NamedTuple):
    """What profile is asked for; `version` may be an alias. None stands for what the version was
    made with."""

    model: str
    site: str
    source: str
    version: str = CHAMPION
    sensitivity: float | None = None
    by: ThresholdBy | None = None
    width: float = sites.WIDTH

    @property
    def plan(self) -> str:
        """What will be done, in words."""
        return f"{self.site}: a profile for {self.version}, from {self.source}"


def intent(job: Job, request: Request, *, by: str, dag: str) -> Action:
    """Returns the intent of making a profile."""
    return Action(
        kind="site",
        model=request.model,
        subject=request.site,
        plan=request.plan,
        by=by,
        reason="",
        dag=dag,
        run=job.run_id,
        at=job.moment,
    )


def score(job: Job, request: Request) -> str:
    """Scores the labelled images of a site; returns the key of its `SiteScores`.

    Raises:
        BadInput: A field is empty or the site has no valid name; or as `site_making.scored`.
        Unavailable: The source or the store does not answer.
    """
    if not request.source.strip():
        raise BadInput(
            "source is empty, so there are no labelled images. Give a folder or a zip file of "
            "images with their labels, kaggle://OWNER/NAME, or s3://BUCKET/PREFIX"
        )
    model = Registry.of(job.store, job.deployment).model(request.model)
    version = predict.named(model, request.version)
    sites.Profiles.of(model, version).check_name(request.site)
    return site_making.scored(job, model, version, request.source.strip())


def fit(job: Job, request: Request, scores: str, *, by: str) -> SiteProfile:
    """Fits the profile to scored images, and writes it; raises as `site_making.made` does."""
    model = Registry.of(job.store, job.deployment).model(request.model)
    wanted = site_making.Wanted(request.site, request.sensitivity, request.by, request.width)
    return site_making.made(job, model, scores, wanted, by=by)


def make(job: Job, request: Request, *, by: str, dag: str = "command-line") -> SiteProfile:
    """Makes a profile from labelled images, and records that; see `score` and `fit`."""
    with recorded(job.store, intent(job, request, by=by, dag=dag)) as doing:
        profile = fit(job, request, score(job, request), by=by)
        doing.result = outcome(profile)
    return profile


def outcome(profile: SiteProfile) -> str:
    """Returns what came of it, in a sentence."""
    after = profile.after
    return (
        f"profile {profile.number} of {profile.site} for version {profile.version}: threshold "
        f"{profile.threshold:.3f}, sensitivity {sites.shown(after.sensitivity)}, specificity "
        f"{sites.shown(after.specificity)}"
    )
