"""Drawings for the report and for the page "Models", as SVG inside the page.

Each function returns one `<svg>` element. Importing them imports matplotlib, which takes a second.
"""

from skin_pipeline.evaluation.plots.answering import answering
from skin_pipeline.evaluation.plots.history import history
from skin_pipeline.evaluation.plots.reliability import reliability
from skin_pipeline.evaluation.plots.roc import roc
from skin_pipeline.evaluation.plots.spread import spread
from skin_pipeline.evaluation.plots.training import training_curves

__all__ = ["answering", "history", "reliability", "roc", "spread", "training_curves"]
