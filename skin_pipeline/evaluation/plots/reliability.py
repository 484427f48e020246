"""Draws the reliability diagram: are as many images malignant as the probabilities predict?"""

from __future__ import annotations

from matplotlib.figure import Figure

from skin_pipeline.contracts import Calibration
from skin_pipeline.evaluation.plots.style import BLUE, DOT, INK, drawn

SIZE = 4.4, 4.95  # inches


def reliability(calibration: Calibration) -> str:
    """Draws the share of malignant test images against their mean probability, by bin (Bröcker &
    Smith 2007). The bars are 95 % intervals."""
    title = "Reliability: share of malignant images against their mean probability"
    return drawn(title, lambda: _diagram(calibration))


def _diagram(calibration: Calibration) -> Figure:
    figure = Figure(SIZE, layout="constrained")
    axes = figure.add_subplot(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.plot((0, 1), (0, 1), color=INK, linestyle=":", linewidth=0.8, label="perfect calibration")
    means = [item.probability for item in calibration.bins]
    shares = [item.malignant for item in calibration.bins]
    lows, highs = [share.low for share in shares], [share.high for share in shares]
    axes.vlines(means, lows, highs, color=BLUE, linewidth=1.2)
    label = "test images, 95 % interval"
    axes.plot(means, [share.value for share in shares], **DOT, color=BLUE, label=label)
    axes.set(xlabel="Mean probability", ylabel="Share of malignant images")
    figure.legend(loc="outside lower left", ncols=2, columnspacing=1.2, handlelength=2)
    return figure
