"""The report of a judged run, as text and as a page that stands alone."""

from __future__ import annotations

import base64
import html
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import judged_run
import numpy as np
import pytest
import svg as svg_reader
from judged_run import CHAMPION, EVALUATION, RUNS, VALIDATION, Judged, put, scored, write, write_all

from skin_pipeline import tables
from skin_pipeline.contracts import RESULT, Abstention, Answered, GateCheck, Notice, StepCost, dump
from skin_pipeline.evaluation import plots, report
from skin_pipeline.evaluation.answering import curve
from skin_pipeline.evaluation.metrics import Predictions
from skin_pipeline.storage import FolderStore


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """A run of which there is everything to tell."""
    return write_all(FolderStore(tmp_path_factory.mktemp("report")))


@pytest.fixture(scope="module")
def page(judged: Judged) -> str:
    return report.render(*judged)


def section(page: str, name: str) -> str:
    """A section as people read it."""
    part = page.split(f'<section id="{name}">')[1].split("</section>")[0]
    part = re.sub(r"<svg.*?</svg>", "", part, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[Judged, str], str]:
    """A section of the report without its drawings, which have tests of their own."""
    names = ("answering", "roc", "reliability", "spread", "training")
    monkeypatch.setattr(report, "_drawings", lambda *_: dict.fromkeys(names, ""))
    return lambda judged, name: section(report.render(*judged), name)


# --- the verdict ---------------------------------------------------------------------------------


def test_the_verdict_comes_first_with_reasons_and_what_would_help(page: str) -> None:
    said = section(page, "verdict")
    assert said.startswith("Refused on 2026-06-30 at 00:00 UTC accuracy: 0.790 [0.740, 0.840]")
    assert "What would help: accuracy: 240 images: 193 correct would show 0.75, 189 were." in said
    assert "successful runs 6 at least 6 passed" in said
    assert page.index('id="verdict"') < page.index('id="figures"')


def test_an_approval_has_no_reasons_and_no_advice(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    check = GateCheck(name="accuracy", value="0.8", bound="at least 0.75", passed=True, advice="x")
    said = told(write(store, approved=True, reasons=(), checks=(check,)), "verdict")
    assert said.startswith("Approved on 2026-06-30")
    assert "What would help" not in said


# --- figures -------------------------------------------------------------------------------------


def test_every_figure_of_the_ensemble_stands_with_its_interval(judged: Judged, page: str) -> None:
    said = section(page, "figures")
    figures = judged.evaluation.ensemble
    for name in ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1"):
        assert str(getattr(figures, name)) in said
    for name in ("auc", "brier", "calibration_error"):
        assert str(getattr(figures, name)) in said
    assert f"2 % {figures.predictive[0].ppv} {figures.predictive[0].npv}" in said
    assert "48 % of the test images are malignant" in said
    calls = figures.confusion
    assert f"malignant {calls['tp']} {calls['fn']} benign {calls['fp']} {calls['tn']}" in said


def test_a_figure_that_is_not_defined_says_so(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    figures = judged_run.figures(*_scores()).model_copy(update={"auc": judged_run.UNDEFINED})
    said = told(write(store, evaluation={"ensemble": figures}), "figures")
    assert "than a benign one not defined" in said


def _scores() -> tuple[Any, Any]:
    labels, (probabilities,) = judged_run.scores(1)
    return labels, probabilities


def test_each_run_alone_stands_beside_the_ensemble_with_its_calls(
    judged: Judged, page: str
) -> None:
    said = section(page, "runs")
    for run, figures in judged.evaluation.per_run.items():
        calls = figures.confusion
        assert f"Run {run} {figures.accuracy} {figures.sensitivity}" in said
        assert f"malignant {calls['tp']} {calls['fn']} benign {calls['fp']} {calls['tn']}" in said
    assert f"Ensemble {judged.evaluation.ensemble.accuracy}" in said
    assert "so the best run is not a result." in said


def test_calibration_is_told_with_and_without_temperature(page: str) -> None:
    said = section(page, "calibration")
    assert "Brier score 0.171 [0.151, 0.191] 0.1" in said
    assert "a temperature of 1.370, fitted on 904 validation images" in said


# --- the champion and other origins --------------------------------------------------------------


def test_differences_to_the_champion_stand_with_their_intervals(page: str) -> None:
    said = section(page, "champion")
    assert "on the same 236 test images. 4 more were left out" in said
    assert "+0.025 [-0.015, +0.065] may be chance" in said
    assert "+0.060 [+0.010, +0.110] higher" in said
    assert "-0.050 [-0.070, -0.030] lower" in said
    assert "17 images were classified correctly by this model only, 11 by the champion only" in said
    assert "p\xa0=\xa00.34 (McNemar" in page.replace("&nbsp;", "\xa0")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (None, "There is no champion to compare with yet."),
        ({"problem": "its image_size is 128"}, "could not be scored on this test set: its image_"),
        ({"evaluation": EVALUATION}, "This model is the champion already, version 8c1f."),
        ({}, "The champion, version 8c1f, was not compared."),
    ],
)
def test_without_a_comparison_the_report_says_why(
    store: FolderStore, changes: Any, sentence: str, told: Callable[[Judged, str], str]
) -> None:
    champion = None if changes is None else scored(store, "8c1f", **changes)
    assert sentence in told(write(store, champion=champion), "champion")


def test_a_champion_without_scores_has_no_curve(store: FolderStore) -> None:
    there = report.render(*write(store, champion=scored(store, "8c1f")))
    assert "champion 8c1f</text>" in there
    problem = scored(store, "8c1f", predictions="", figures=None, problem="too old")
    (store.root / CHAMPION / RESULT).write_bytes(dump(problem))
    gone = report.render(*write(store, champion=problem))
    assert "champion 8c1f</text>" not in gone
    assert "each run alone</text>" in gone


def test_sets_of_another_origin_stand_beside_the_test_set(judged: Judged, page: str) -> None:
    said = section(page, "external")
    assert "Figure Test images clinic-b phone Images 240 240 240" in said
    theirs = scored(judged.store, "clinic-b", 1).figures
    assert f"Accuracy {judged.evaluation.ensemble.accuracy} {theirs.accuracy} " in said


def test_a_set_that_could_not_be_scored_says_why_and_the_others_are_shown(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    broken = scored(store, "broken", 1, figures=None, problem="its pixels are gone")
    good = scored(store, "good", 2, excluded=7)
    said = told(write(store, external=(broken, good)), "external")
    assert "broken could not be scored: its pixels are gone" in said
    assert "Test images good Images 240 240; 7 more left out, which our own data contain" in said


def test_without_sets_of_another_origin_the_report_says_what_is_not_known(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    assert "in other clinics and on other people is not known" in told(write(store), "external")


def test_the_roc_curves_are_of_the_test_images_alone(
    judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some others have probabilities too: those on which a saved model is tried."""
    table = tables.read_scores(judged.store, judged.evaluation.predictions)
    table.loc[~table["test"], ["probability", "run_0"]] = 0.5
    judged.store.put("golden.csv", table.to_csv(index=False).encode())
    evaluation = judged.evaluation.model_copy(update={"predictions": "golden.csv"})
    drawn = []
    monkeypatch.setattr(plots, "roc", lambda *given: drawn.append(given) or "")
    champion = scored(judged.store, "8c1f")
    report._drawings(judged.store, evaluation, [judged_run.trained(0)], champion, {})
    ((labels, probabilities, figures, others),) = drawn
    test = table[table["test"]]
    assert (labels == (test["label"] == "malignant")).all()
    assert probabilities == pytest.approx(test["probability"].to_numpy())
    assert figures == evaluation.ensemble
    runs = others["each run alone"]
    assert runs == pytest.approx(test[[f"run_{run}" for run in range(RUNS)]].to_numpy().T)
    theirs = tables.read_scores(judged.store, champion.predictions)
    known = test["key"].isin(theirs["key"]).to_numpy()
    assert np.isnan(others["champion 8c1f"][~known]).all()
    assert others["champion 8c1f"][known] == pytest.approx(theirs["probability"].to_numpy())
    assert (~known).sum() == 4


# --- mistakes and slices -------------------------------------------------------------------------


def test_each_mistake_is_shown_with_what_spoke_for_it(judged: Judged, page: str) -> None:
    pictures = re.findall(r'<img src="data:image/jpeg;base64,(.*?)"', page)
    wanted = [key for item in judged.evaluation.mistakes for key in (item.square, item.saliency)]
    assert [base64.b64decode(picture) for picture in pictures] == [
        judged.store.read(key) for key in wanted
    ]
    assert page.count("<img ") == page.count(' alt="') == len(wanted) == 16
    said = section(page, "mistakes")
    assert (
        "True class: malignant. Predicted probability of malignancy: 0.040. "
        "malignant/ISIC_0000000.jpg"
    ) in said


def test_a_run_without_mistakes_says_so(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    said = told(write(store, evaluation={"mistakes": ()}), "mistakes")
    assert said.endswith("All test images were classified correctly.")


def test_slices_with_few_images_are_greyed_and_not_hidden(judged: Judged, page: str) -> None:
    few = [item for item in judged.evaluation.slices if item.small]
    assert page.count('<tr class="few">') == len(few) == 8
    said = section(page, "slices")
    assert all(f"{item.feature}: {item.value}" in said for item in judged.evaluation.slices)
    assert "age: under 30 (few) 9 0" in said
    assert "not defined" in said


def test_the_auc_where_a_shortcut_cannot_help_stands_below_the_plain_one(
    judged: Judged, page: str
) -> None:
    said = section(page, "slices")
    assert f"all 100 % {judged.evaluation.ensemble.auc} that agree in border ring colour" in said
    assert "(5 strata) 31 % 0.810 [0.760, 0.860]" in said


def test_a_run_of_which_nothing_more_is_known_has_a_report(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    bare = {"slices": (), "within": (), "mistakes": ()}
    said = told(write(store, evaluation=bare), "slices")
    assert said.endswith("Nothing is known about the images by which they could be divided.")


# --- data ----------------------------------------------------------------------------------------


def test_the_data_has_a_section_with_all_that_was_found(page: str) -> None:
    said = section(page, "data")
    assert "560 benign, 584 malignant, 3 quarantined." in said
    assert "12 images added, 1 removed, 2 relabelled (+ new.jpg)." in said
    assert "no two images have the same pixels: 3 found" in said
    assert "border ring colour 1144 0.790 [0.760, 0.820] at most 0.65 warning" in said
    assert "file size 1144 0.520 [0.490, 0.550] at most 0.65 passed" in said


def test_what_was_found_and_not_used_is_listed_the_first_twenty_of_each_kind(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    found = [
        Notice(kind="table_not_used", subject=f"t{number}.csv", reason="no column fits")
        for number in range(25)
    ]
    put(store, judged_run.DATASET, judged_run.dataset(notices=tuple(found)))
    said = told(write(store), "data")
    assert "Found but not used: table not used." in said
    assert said.count("no column fits") == 20
    assert "t0.csv: no column fits" in said
    assert "and 5 more, which are in the log of ingest" in said


def test_the_report_leads_to_the_data_docs_from_where_it_lies(page: str) -> None:
    links = re.findall(r'href="\.\./\.\./(.*?)"', page)
    assert links == ["validate/01/docs/index.html", "split/01/docs/index.html"]


def test_what_comes_from_the_data_is_escaped(page: str) -> None:
    assert "kaggle://owner/&lt;skin&gt;" in page
    assert "<b>.jpg" not in page


def test_the_first_data_set_without_warnings_says_so(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    changes = judged_run.validation().changes.model_copy(update={"previous": None})
    quiet = judged_run.validation(checks=(), shortcuts=(), changes=changes)
    put(store, VALIDATION, quiet)
    said = told(write(store), "data")
    assert "There is no previous data set to compare with." in said
    assert "No check gave a warning." in said


def test_synthetic_data_is_told_before_the_verdict(store: FolderStore) -> None:
    page = report.render(*write(store, evaluation={"synthetic": True}))
    assert page.index("Synthetic data.") < page.index("Refused")


# --- training ------------------------------------------------------------------------------------


def test_each_run_has_a_line_with_its_kept_epoch(page: str) -> None:
    said = section(page, "training")
    assert "0 70 700 200 15 2 of fine_tune 0.846 14.5 15 s CSV" in said
    assert "1 71 700 200 15 2 of fine_tune 0.850 14.5 15 s CSV" in said


@pytest.mark.parametrize(
    ("seconds", "words"), [(2.8, "42 s"), (12.467, "3 min 07 s"), (500, "2 h 05 min")]
)
def test_the_time_of_a_run_is_told_in_units_that_people_use(
    store: FolderStore, seconds: float, words: str, told: Callable[[Judged, str], str]
) -> None:
    for run in range(RUNS):
        put(store, f"train/{run}", judged_run.trained(run, seconds))
    assert f" 14.5 {words} CSV" in told(write(store), "training")


def test_the_history_of_each_run_can_be_taken_out_of_the_report(judged: Judged, page: str) -> None:
    links = re.findall(r'href="data:text/csv;base64,(.*?)" download="(.*?)"', page)
    assert [name for _, name in links] == [f"run_{run}.csv" for run in range(RUNS)]
    histories = [judged.store.read(f"train/{run}/history.csv") for run in range(RUNS)]
    assert [base64.b64decode(content) for content, _ in links] == histories


def test_the_training_curves_stand_in_the_page_with_a_caption(page: str) -> None:
    part = page.split('id="training"')[1].split("</section>")[0]
    (figure,) = re.findall(r"<figure>.*?</figure>", part, re.DOTALL)
    assert "<svg " in figure  # as markup, not as escaped text
    assert "Run 5</text>" in figure
    assert "Look for runs whose validation loss rises" in figure


# --- provenance ----------------------------------------------------------------------------------


def test_where_the_model_comes_from_can_be_read_off(page: str) -> None:
    said = section(page, "provenance")
    for fact in ("53b1c0ffee", "c5293a0d176309d0", EVALUATION, "keras 3.14.0", "2026-06-30T00:"):
        assert fact in said
    assert "train 15 min 02 s evaluate 49 s all 21 min 22 s" in said  # 1282.5


def test_settings_other_than_the_default_come_first_and_all_follow(
    judged: Judged, page: str
) -> None:
    said = section(page, "provenance")
    first, rest = said.split(f"All {len(judged.verdict.settings)} settings")
    assert re.search(r"\bseed 7 0\b", first)
    assert not re.search(r"\bimage_size\b", first)
    assert all(re.search(rf"\b{name}\b", rest) for name in judged.verdict.settings)
    assert re.search(r"\bexternal empty\b", rest)


def test_a_run_with_default_settings_says_so(
    judged: Judged, told: Callable[[Judged, str], str]
) -> None:
    verdict = judged.verdict.model_copy(update={"settings": {"seed": 0, "external": ""}})
    said = told(judged._replace(verdict=verdict), "provenance")
    assert "All settings have their default values." in said


# --- the page ------------------------------------------------------------------------------------


def test_nothing_but_the_data_docs_is_asked_for(page: str) -> None:
    assert "http" not in page
    assert not re.findall(r"@import|<(?:script|iframe|object|embed|base)\b", page)
    targets = re.findall(r"(?:\b(?:href|src)=\"|\burl\()(#|data:|\.\./\.\./|.{0,20})", page)
    assert set(targets) == {"#", "data:", "../../"}


def test_every_link_within_the_page_leads_somewhere(page: str) -> None:
    names = re.findall(r'\bid="([^"]*)"', page)
    assert len(names) == len(set(names))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(names)
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(names)


def test_a_step_that_finds_its_result_does_not_wait_for_matplotlib() -> None:
    code = (
        "import sys; from skin_pipeline import steps; from skin_pipeline.evaluation import report;"
        "sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- cost ----------------------------------------------------------------------------------------


def test_each_step_has_what_it_took_in_this_run(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    costs = {
        "ingest": StepCost(results=1, found=1),
        "features": StepCost(
            **{"results": 5, "found": 2, "seconds": 90, "core_seconds": 187, "peak_mib": 1566},
            **{"bytes_read": 3_700_000, "bytes_written": 512, "cached": 30, "computed": 70},
        ),
        "train": StepCost(
            results=6, seconds=60, core_seconds=13, peak_mib=3400, bytes_read=100_000
        ),
    }
    said = told(write(store, costs=costs), "provenance")
    assert "ingest 1 1 0 s 0 s 0 MiB 0 B 0 B features" in said
    features = "features 5 2 1 min 30 s 3 min 07 s 1,566 MiB 3.7 MB 512 B 30 of 100"
    assert features in said
    assert "all 12 3 2 min 30 s 3 min 20 s 3,400 MiB 3.8 MB 512 B 30 of 100" in said


def test_a_verdict_of_an_earlier_version_has_no_table_of_costs(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    assert "Cost of this run" not in told(write(store), "provenance")


# --- abstention ----------------------------------------------------------------------------------


def answered(seed: int, rule: Abstention) -> tuple[Answered, ...]:
    labels, (probabilities,) = judged_run.scores(1, seed)
    familiarity = np.random.default_rng(seed).uniform(size=len(labels))
    return curve(Predictions(probabilities, judged_run.THRESHOLD), labels, familiarity, rule)


def test_what_a_model_reaches_if_it_abstains_is_told_for_each_set(store: FolderStore) -> None:
    rule = Abstention(margin=0.3, near=0.1, familiarity=0.05)
    clinic = scored(store, "clinic-b", 1, answered=answered(1, rule))
    ours: dict[str, Any] = {"abstention": rule, "answered": answered(0, rule)}
    page = report.render(*write(store, external=(clinic,), evaluation=ours))
    said = section(page, "abstention")
    assert said.startswith(
        "If the model may abstain The model gives no decision (unsure) on images"
    )
    assert "with a probability between 0.342 and 0.486, as 10 % of the validation images" in said
    assert "more unusual to the model than all but 5 % of the validation images" in said
    assert "each figure of the gate, counts all images" in said
    for name, points in (("Test images", ours["answered"]), ("clinic-b", clinic.answered)):
        own = points[-1]
        row = f"{name} {100 * own.share:.0f} % what its settings say {own.images} {own.sensitivity}"
        assert row in said
        all_of_them = points[0]
        assert f"{name} 100 % none {all_of_them.images} {all_of_them.sensitivity}" in said
        assert said.count(f"{name} 90 % the most unusual images") == 1
    assert said.count("100 %") == 2
    (drawing,) = re.findall(
        r"<svg.*?</svg>", page.split('id="abstention"')[1].split("</section>")[0], flags=re.DOTALL
    )
    assert "clinic-b" in svg_reader.texts(drawing)


def test_an_evaluation_of_before_says_that_it_was_not_computed(
    store: FolderStore, told: Callable[[Judged, str], str]
) -> None:
    said = told(write(store), "abstention")
    assert "The model gives a decision on every image." in said
    assert "was not computed: an earlier version of this code made the evaluation" in said
