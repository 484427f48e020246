"""What all drawings share: colours, type, and the way from a figure to an `<svg>` element."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart with any colour vision, and seen on white as on black.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
INK = "#010203"  # stands for the page's text colour, for which matplotlib has no name
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
    """A figure as an `<svg>` element, the same bytes each time.

    Args:
        title: What is drawn, for readers that cannot see. The names of the element's parts come
            from it, so that drawings of different titles may stand in one page.
        draw: Makes the figure.
    """
    written = io.StringIO()
    # Not what a matplotlibrc of the machine asks for.
    with matplotlib.style.context(["default", {**STYLE, "svg.hashsalt": title}]):
        draw().savefig(written, format="svg", transparent=True, metadata={"Title": title})
    return _element(written.getvalue())


def _element(svg: str) -> str:
    """The element out of an SVG file, without the date and what else is said of the file. HTML
    knows the namespaces by itself, and without them the page holds no address at all."""
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # figure_1, axes_1, …: every drawing has them
    return svg.replace("<svg", '<svg role="img"', 1).replace(INK, "currentColor")


def limits(values: Iterable[float]) -> tuple[float, float]:
    """Ends of an axis that holds the values, from one tenth to another. NaN are left out."""
    finite = [value for value in values if math.isfinite(value)] or [0.5]
    low = math.floor(10 * min(finite)) / 10
    high = max(math.ceil(10 * max(finite)) / 10, low + 0.1)
    edge = 0.05 * (high - low)
    return low - edge, high + edge
