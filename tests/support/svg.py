"""Reading a drawing: what is written in it, and where its lines and marks are."""

from __future__ import annotations

import re
from xml.etree import ElementTree

Point = tuple[float, float]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def strokes(svg: str, style: str) -> list[list[Point]]:
    """The points of each line whose style has this in it, with those of the legend at the end."""
    paths = ElementTree.fromstring(svg).iter("path")
    drawn = [path.get("d", "") for path in paths if style in path.get("style", "")]
    found = (re.findall(r"[ML] (\S+) (\S+)", line) for line in drawn)
    return [[(float(x), float(y)) for x, y in line] for line in found if line]


def marks(svg: str, style: str) -> list[Point]:
    """Where marks stand whose style has this in it, with those of the legend at the end."""
    uses = ElementTree.fromstring(svg).iter("use")
    found = (use for use in uses if style in use.get("style", ""))
    return [(float(use.get("x", "nan")), float(use.get("y", "nan"))) for use in found]


def shapes(svg: str, style: str) -> list[list[Point]]:
    """The corners of each filled shape whose style has this in it."""
    root = ElementTree.fromstring(svg)
    corners = {path.get("id"): path.get("d", "") for path in root.iter("path")}
    found = []
    for use in (use for use in root.iter("use") if style in use.get("style", "")):
        x, y = float(use.get("x", "nan")), float(use.get("y", "nan"))
        drawn = re.findall(r"[ML] (\S+) (\S+)", corners[use.get("href", "").removeprefix("#")])
        found.append([(x + float(right), y + float(down)) for right, down in drawn])
    return found
