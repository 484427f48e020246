"""Profiles of sites without a model, and scores of a site as a model might give them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from released import MODEL
from scipy.special import expit

from skin_pipeline.contracts import Interval, SiteFigures, SiteProfile
from skin_pipeline.release.sites.operating import Labelled

SHIFT, STEEPNESS = 2.5, 1.6  # of the logits at the site


def interval(value: float, half: float = 0.05) -> Interval:
    """An interval around a value, within 0…1."""
    return Interval(value=value, low=max(0.0, value - half), high=min(1.0, value + half))


def labelled(
    malignant: int, benign: int, seed: int = 0, *, each: int = 1, apart: float = 1.6
) -> Labelled:
    """Images of a site at which every logit is too high; patients have `each` images of a class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [malignant, benign])
    logits = rng.normal(apart * labels - apart / 2, 1.0)
    groups: NDArray[Any] = np.array([f"{label} {i // each}" for i, label in enumerate(labels)])
    return Labelled(np.asarray(expit(STEEPNESS * logits + SHIFT)), labels, groups.astype(object))


def figures(**known: Any) -> SiteFigures:
    """Figures of a threshold that finds most and excludes half."""
    usual = {
        "sensitivity": interval(0.9),
        "specificity": interval(0.5),
        "brier": interval(0.2),
        "calibration_error": interval(0.04),
    }
    return SiteFigures(**{**usual, **known})


def profile(site: str = "clinic-b", **known: Any) -> SiteProfile:
    """A profile as `site_making` makes it, before it has a number."""
    usual = {
        "model": MODEL,
        "version": "4f1a",
        "model_sha256": "ab" * 32,
        "site": site,
        "number": 1,
        "intercept": -2.0,
        "slope": 0.5,
        "threshold": 0.2,
        "target_sensitivity": 0.9,
        "threshold_by": "point",
        "malignant": 20,
        "benign": 80,
        "malignant_patients": 20,
        "benign_patients": 75,
        "unreadable": 1,
        "known": 2,
        "auc": interval(0.84),
        "before": figures(sensitivity=interval(0.98), specificity=interval(0.2)),
        "after": figures(),
        "width": 0.05,
        "needed_malignant": 141,
        "needed_benign": 385,
        "source": "s3://clinic-b/labelled",
        "dataset": "ingest/1",
        "scores": "site/1",
        "images_sha256": "cd" * 32,
        "made_at": "2026-11-27T08:00:00+00:00",
        "by": "alice",
    }
    return SiteProfile(**{**usual, **known})
