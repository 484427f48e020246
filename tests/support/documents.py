"""Documents of a judged run, for tests that care about a few of their fields only."""

from __future__ import annotations

from typing import Any

from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    Calibration,
    Changes,
    Check,
    Dataset,
    Evaluation,
    Figures,
    Interval,
    Shortcut,
    Trunk,
    Validation,
    Verdict,
)

SOME = Interval(value=0.8, low=0.75, high=0.85)
DUPLICATES = Check(
    name="no two images have the same pixels",
    severity="warning",
    observed="3 found (a.jpg = <b>.jpg)",
    bound="none",
    passed=False,
)


def dataset(key: str, **known: Any) -> Dataset:
    """A data set of the usual size, with a name that must be escaped."""
    usual = {
        "source": "kaggle://owner/<skin>",
        "synthetic": False,
        "content_digest": "53b1c0ffee",
        "table": f"{key}/manifest.parquet",
        "shards": (),
        "thumbnails": (),
        "golden": {},
        "image_size": 224,
        "field_of_view": 0.8,
        "classes": {"benign": 560, "malignant": 584},
        "unreadable": 3,
    }
    return Dataset(**{**usual, **known})


def shortcut(name: str, auc: float, *, passed: bool) -> Shortcut:
    """A line of the audit."""
    around = Interval(value=auc, low=auc - 0.03, high=auc + 0.03)
    return Shortcut(name=name, images=1144, auc=around, bound=0.65, passed=passed)


def validation(key: str, dataset: str, **known: Any) -> Validation:
    """A validation with a warning, a shortcut, and what changed."""
    usual = {
        "dataset": dataset,
        "external": {},
        "overlaps": {},
        "table": f"{key}/manifest.parquet",
        "quarantine": f"{key}/quarantine.csv",
        "anchors": f"{key}/anchors.csv",
        "checks": (DUPLICATES,),
        "shortcuts": (
            shortcut("border ring colour", 0.79, passed=False),
            shortcut("file size", 0.52, passed=True),
        ),
        "changes": Changes(
            previous="ingest/00", added=12, removed=1, relabelled=2, examples=("+ new.jpg",)
        ),
        "docs": f"{key}/docs/index.html",
    }
    return Validation(**{**usual, **known})


def figures(**known: Any) -> Figures:
    """Figures on 232 images that are .8 where nothing else is said."""
    names = (
        *("accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1"),
        *("auc", "brier", "calibration_error"),
    )
    usual = {
        "images": 232,
        "threshold": 0.4,
        "confusion": {"tp": 99, "fn": 17, "fp": 36, "tn": 80},
        "predictive": (),
        **dict.fromkeys(names, SOME),
    }
    return Figures(**{**usual, **known})


def evaluation(**known: Any) -> Evaluation:
    """Two runs and their ensemble."""
    usual = {
        "dataset": "ingest/1",
        "split": "split/1",
        "synthetic": False,
        "trunk": Trunk(backbone="ResNet50", source="imagenet", digest="w"),
        "strategy": "head",
        "views": 1,
        "runs": ("train/0", "train/1"),
        "seeds": {0: 1, 1: 2},
        "threshold": 0.4,
        "ensemble": figures(),
        "per_run": {0: figures(), 1: figures()},
        "calibration": Calibration(
            temperature=1.0, images=200, bins=(), brier=SOME, calibration_error=SOME
        ),
        "slices": (),
        "within": (),
        "mistakes": (),
        "predictions": "evaluate/1/predictions.csv",
        "model": "evaluate/1/model.keras",
        "smoke_difference": 0.0,
    }
    return Evaluation(**{**usual, **known})


def verdict(**known: Any) -> Verdict:
    """An approval without a champion."""
    usual = {
        "evaluation": "evaluate/1",
        "validation": "validate/1",
        "champion": "",
        "external": (),
        "released_as": "skin-resnet50",
        "approved": True,
        "checks": (),
        "reasons": (),
        "comparison": None,
        "settings": Settings().model_dump(),
        "versions": {},
        "seconds": {},
        "judged_at": "2026-11-01T12:00:00Z",
        "report": "gate/1/report.html",
        "card": "gate/1/card.md",
        "card_data": "gate/1/card.json",
    }
    return Verdict(**{**usual, **known})
