"""Making a profile as an action: recorded before and after, also when it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from profiled_sites import labelled, profile
from released import MODEL, promote, release

from skin_pipeline.contracts import RESULT, SiteScores, dump
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.operations import actions, audit, siting
from skin_pipeline.operations.siting import Request
from skin_pipeline.release import site_making

REQUEST = Request(MODEL, "clinic-b", "s3://clinic-b/labelled", sensitivity=0.9)


@pytest.fixture
def job(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job with a champion, whose images are scored without a network."""
    job: Job = make_job()
    made = release(job.store)
    promote(job.store, made.version)

    def scored(job: Job, model: Any, version: str, source: str) -> str:
        images = labelled(40, 80)
        rows = "\n".join(
            f"{n}.jpg,{('benign', 'malignant')[label]},{group},{n:064x},{probability!r}"
            for n, (probability, label, group) in enumerate(
                zip(images.probabilities.tolist(), images.labels, images.groups, strict=True)
            )
        )
        job.store.put("site/1/scores.csv", f"key,label,group,sha256,probability\n{rows}\n".encode())
        facts = {"model": model.name, "version": version, "model_sha256": "ab" * 32}
        counts = {"images": 120, "unreadable": 0, "known": 0, "images_sha256": "cd" * 32}
        about = {"source": source, "dataset": "ingest/1", "scores": "site/1/scores.csv"}
        job.store.put(f"site/1/{RESULT}", dump(SiteScores(**facts, **counts, **about)))
        return "site/1"

    monkeypatch.setattr(site_making, "scored", scored)
    monkeypatch.setattr(
        site_making, "_verdict", lambda *_: type("V", (), {"settings": {"target_sensitivity": 0.8}})
    )
    return job


def test_a_profile_is_made_and_recorded(job: Job) -> None:
    made = siting.make(job, REQUEST, by="alice")
    (found,) = actions.latest(job.store)
    assert (found.intent.kind, found.intent.subject, found.intent.by) == (
        *("site", "clinic-b", "alice"),
    )
    assert found.intent.plan == "clinic-b: a profile for champion, from s3://clinic-b/labelled"
    assert found.outcome
    assert found.outcome.result == siting.outcome(made)
    (row,) = audit.table(job.store, audit.Wanted(kind="action"))
    assert row.what == f"site: {found.intent.plan}"


def test_a_refusal_is_recorded_and_writes_no_profile(job: Job) -> None:
    few = REQUEST._replace(by="guaranteed", sensitivity=0.95)
    with pytest.raises(BadInput, match="40 malignant, at least 59 are needed"):
        siting.make(job, few, by="alice")
    (found,) = actions.latest(job.store)
    assert found.outcome
    assert not found.outcome.done
    assert "at least 59 are needed" in found.outcome.result
    assert not job.store.list(f"models/{MODEL}/sites")


def test_the_versions_own_aim_counts_where_none_is_given(job: Job) -> None:
    made = siting.make(job, REQUEST._replace(sensitivity=None), by="alice")
    assert (made.target_sensitivity, made.threshold_by) == (0.8, "point")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": " "}, "source is empty"),
        ({"site": "Clinic B"}, "a site is a name of lower-case letters"),
        ({"version": "nobody"}, "has no 'nobody'"),
        ({"width": 0.0}, "shares between 0 and 1"),
        ({"sensitivity": 0.0}, "shares between 0 and 1"),
        ({"sensitivity": 90.0}, "shares between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_refused(job: Job, change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        siting.make(job, REQUEST._replace(**change), by="alice")


def test_the_outcome_is_a_sentence() -> None:
    assert siting.outcome(profile()) == (
        "profile 1 of clinic-b for version 4f1a: threshold 0.200, sensitivity 90 % [85 %, 95 %], "
        "specificity 50 % [45 %, 55 %]"
    )
