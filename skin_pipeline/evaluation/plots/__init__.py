"""Drawings for the report and the page "Models", as SVG that stands in the page itself.

Each function returns one `<svg>` element. The package takes a second to import.
"""

from skin_pipeline.evaluation.plots.history import history
from skin_pipeline.evaluation.plots.reliability import reliability
from skin_pipeline.evaluation.plots.roc import roc
from skin_pipeline.evaluation.plots.spread import spread
from skin_pipeline.evaluation.plots.training import training_curves

__all__ = ["history", "reliability", "roc", "spread", "training_curves"]
