"""Documents of a judged run, for tests that care about a few of their fields only."""

from __future__ import annotations

from typing import Any

from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    Calibration,
    Evaluation,
    Figures,
    Interval,
    Trunk,
    Verdict,
)

SOME = Interval(value=0.8, low=0.75, high=0.85)


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
