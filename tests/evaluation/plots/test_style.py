"""What all drawings have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import judged_run
import matplotlib
import numpy as np
import pytest

from skin_pipeline.contracts import Bin, Calibration, Judgement
from skin_pipeline.evaluation import plots

LABELS, RUNS = judged_run.scores(2)
FIGURES = judged_run.figures(LABELS, RUNS[0])
PER_RUN = {run: judged_run.figures(LABELS, row) for run, row in enumerate(RUNS)}
UNDEFINED = judged_run.UNDEFINED
BLANK = FIGURES.model_copy(update=dict.fromkeys(("sensitivity", "specificity", "auc"), UNDEFINED))
CALIBRATION = judged_run.calibration(LABELS, RUNS[0])
JUDGEMENT = Judgement(
    model="m",
    run="r",
    judged_at="2026-11-24T12:00:00Z",
    approved=True,
    version="v",
    reasons=(),
    accuracy=FIGURES.accuracy,
    sensitivity=FIGURES.sensitivity,
    auc=UNDEFINED,
    report="",
)
DRAWINGS: dict[str, Callable[[], str]] = {
    "ROC curve on 240 images: sensitivity against 1 - specificity": lambda: plots.roc(
        LABELS, RUNS[0], FIGURES, {"each run alone": RUNS}
    ),
    "Reliability: share of malignant images against their mean probability": lambda: (
        plots.reliability(CALIBRATION)
    ),
    "Ensemble and 2 runs alone: Accuracy, Sensitivity, Specificity, AUC": lambda: plots.spread(
        FIGURES, PER_RUN
    ),
    "Accuracy, sensitivity and AUC of judged runs by date: 1": lambda: plots.history(
        [JUDGEMENT], "v"
    ),
    "Training curves by epoch: run 0, run 1": lambda: plots.training_curves([
        judged_run.trained(0),
        judged_run.trained(1),
    ]),
}


@pytest.fixture(params=DRAWINGS)
def title(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_reader_that_cannot_see_is_told_what_is_drawn(title: str) -> None:
    svg = ElementTree.fromstring(DRAWINGS[title]())
    assert svg.get("role") == "img"
    assert svg[0].tag == "title"
    assert svg[0].text == title


def test_text_has_the_colour_of_the_page(title: str) -> None:
    drawn = ElementTree.fromstring(DRAWINGS[title]()).iter("text")
    styles = [element.get("style", "") for element in drawn]
    assert styles
    assert all("fill: currentColor" in style for style in styles)


def test_the_drawing_names_no_address(title: str) -> None:
    svg = DRAWINGS[title]()
    assert svg.startswith("<svg ")
    assert "http" not in svg
    assert "xmlns" not in svg
    assert set(re.findall(r"(?:href=\"|url\()(.)", svg)) == {"#"}


def test_the_same_is_drawn_with_the_same_bytes_whatever_the_machine_s_settings(
    title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = DRAWINGS[title]()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    with matplotlib.rc_context({"xtick.labelsize": 30, "svg.hashsalt": "x"}):
        assert DRAWINGS[title]() == once
        assert matplotlib.rcParams["svg.hashsalt"] == "x"  # nor does it change them


def test_drawings_in_one_page_share_no_name() -> None:
    names = [set(re.findall(r'\bid="([^"]*)"', draw())) for draw in DRAWINGS.values()]
    assert all(names)
    assert sum(map(len, names)) == len(set.union(*names))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.roc(LABELS, np.full(len(LABELS), np.nan), BLANK, {"champion": RUNS[0]}),
        lambda: plots.spread(BLANK, {0: BLANK}),
        lambda: plots.reliability(
            CALIBRATION.model_copy(
                update={"bins": (Bin(images=0, probability=0.5, malignant=UNDEFINED),)}
            )
        ),
        lambda: plots.history([JUDGEMENT.model_copy(update={"accuracy": UNDEFINED})], None),
    ],
    ids=["roc", "spread", "reliability", "history"],
)
def test_a_figure_that_is_not_defined_leaves_a_gap(draw: Callable[[], str]) -> None:
    svg = draw()
    ElementTree.fromstring(svg)
    assert not re.search(r"\b(nan|inf)\b", svg, re.IGNORECASE)


def test_a_calibration_without_bins_is_drawn() -> None:
    empty: Calibration = CALIBRATION.model_copy(update={"bins": ()})
    assert plots.reliability(empty)
