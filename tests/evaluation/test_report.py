"""The report of a judged run: its section on the data."""

from __future__ import annotations

import html
import re

import pytest
from models_server import REAL, SPLIT, VALIDATION, judge, write_data

from skin_pipeline.contracts import (
    RESULT,
    Epoch,
    Evaluation,
    TrainedRun,
    Validation,
    Verdict,
    dump,
    load,
)
from skin_pipeline.evaluation import report

AT = "2026-06-30T00:00:01+00:00"


@pytest.fixture
def judged(store):
    """A store with a judged run, and the key of its verdict."""
    for run in range(2):
        epoch = Epoch(
            stage="head",
            epoch=1,
            loss=0.5,
            validation_loss=0.5,
            validation_auc=0.8,
            validation_sensitivity=0.9,
            validation_specificity=0.6,
            images_per_second=100.0,
            seconds=1.0,
        )
        trained = TrainedRun(
            run=run,
            seed=run,
            split=SPLIT,
            strategy="head",
            features=(),
            weights="w",
            held_out="h",
            table="t",
            best=epoch,
            history=(epoch,),
        )
        store.put(f"train/{run}/{RESULT}", dump(trained))
    return judge(store, REAL, "run", at=AT, accuracy=0.8, approved=True)


def rendered(store, key: str) -> str:
    verdict = load(store, key, Verdict)
    return report.render(store, verdict, load(store, verdict.evaluation, Evaluation))


def section(text: str) -> str:
    """The section on the data, as people read it."""
    part = text.split("<h2>Data</h2>")[1].split("<h2>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())


def test_the_data_has_a_section_with_all_that_was_found(store, judged):
    said = section(rendered(store, judged))
    assert "560 benign, 584 malignant, 3 quarantined." in said
    assert "12 images added, 1 removed, 2 relabelled (+ new.jpg)." in said
    assert "no two images have the same pixels: 3 found" in said
    assert "border ring colour 1144 0.790 [0.760, 0.820] at most 0.65 warning" in said
    assert "file size 1144 0.520 [0.490, 0.550] at most 0.65 passed" in said


def test_the_report_leads_to_the_data_docs_wherever_the_store_lies(store, judged):
    links = re.findall(r'href="(.*?)"', rendered(store, judged))
    assert len(links) == 2
    folder = (store.root / judged).resolve()
    assert all((folder / link).resolve().is_file() for link in links)


def test_what_comes_from_the_data_is_escaped(store, judged):
    text = rendered(store, judged)
    assert "kaggle://owner/&lt;skin&gt;" in text
    assert "<b>.jpg" not in text


def test_the_first_data_set_without_warnings_says_so(store):
    write_data(store)
    path = store.root / VALIDATION / RESULT
    quiet = load(store, VALIDATION, Validation)
    quiet = quiet.model_copy(
        update={
            "checks": quiet.checks[:1],
            "shortcuts": (),
            "changes": quiet.changes.model_copy(update={"previous": None}),
        }
    )
    path.write_bytes(dump(quiet))
    key = judge(store, REAL, "run", at=AT, accuracy=0.8, approved=True)
    verdict = load(store, key, Verdict)
    evaluation = load(store, verdict.evaluation, Evaluation).model_copy(update={"runs": ()})
    said = section(report.render(store, verdict, evaluation))
    assert "There is no previous data set to compare with." in said
    assert "No check gave a warning." in said
