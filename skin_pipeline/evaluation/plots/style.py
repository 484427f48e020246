"""What all drawings share: colours, fonts, and how a figure becomes an `<svg>` element."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

# Okabe and Ito's colours can be told apart with any colour vision, and seen on white and on black.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
INK = "#010203"  # is replaced by the page's text colour, for which matplotlib has no name
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
}
DOT: dict[str, Any] = {"marker": "o", "markersize": 6, "linestyle": "none", "clip_on": False}


def drawn(title: str, draw: Callable[[], Figure]) -> str:
    """Returns a figure as an `<svg>` element, the same bytes each time.

    Args:
        title: Describes the drawing to readers who cannot see it. The ids of the element's parts
            are made from it, so that a page can contain drawings of different titles.
        draw: Makes the figure.
    """
    written = io.StringIO()
    # From matplotlib's defaults: a matplotlibrc of the machine would change the drawing.
    with matplotlib.style.context(["default", {**STYLE, "svg.hashsalt": title}]):
        draw().savefig(written, format="svg", transparent=True, metadata={"Title": title})
    return _element(written.getvalue())


def _element(svg: str) -> str:
    """Returns the element of an SVG file, without the date and other data about the file.

    The namespaces are removed too: HTML does not need them, and without them the page contains no
    address that might be mistaken for a request.
    """
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # figure_1, axes_1, …: every drawing has them
    return svg.replace("<svg", '<svg role="img"', 1).replace(INK, "currentColor")


def limits(values: Iterable[float]) -> tuple[float, float]:
    """Returns the ends of an axis that contains the values, from one tenth to another; NaN are
    ignored."""
    finite = [value for value in values if math.isfinite(value)] or [0.5]
    low = math.floor(10 * min(finite)) / 10
    high = max(math.ceil(10 * max(finite)) / 10, low + 0.1)
    edge = 0.05 * (high - low)
    return low - edge, high + edge
