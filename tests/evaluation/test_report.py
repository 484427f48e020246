"""The report of a judged run: its sections on the data and on the training."""

from __future__ import annotations

import base64
import html
import re
import subprocess
import sys

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


def history(seconds: float = 1.0) -> tuple[Epoch, ...]:
    """Two epochs of a head and three of fine-tuning, the second of which is the best."""
    lines = (
        ("head", 1, 0.7, 9000.0),
        ("head", 2, 0.8, 9000.0),
        ("fine_tune", 1, 0.83, 2.0),
        ("fine_tune", 2, 0.876, 14.5),
        ("fine_tune", 3, 0.85, 1014.5),
    )
    return tuple(
        Epoch(
            stage=stage,
            epoch=number,
            loss=0.5,
            validation_loss=0.6,
            validation_auc=auc,
            validation_sensitivity=0.9,
            validation_specificity=0.6,
            images_per_second=speed,
            seconds=seconds,
        )
        for stage, number, auc, speed in lines
    )


def write_run(store, run: int, lines: tuple[Epoch, ...]) -> None:
    trained = TrainedRun(
        run=run,
        seed=70 + run,
        split=SPLIT,
        strategy="fine_tune",
        features=(),
        weights="w",
        held_out="h",
        table=f"train/{run}/history.csv",
        best=max(lines, key=lambda line: line.validation_auc),
        history=lines,
    )
    store.put(trained.table, table(run))
    store.put(f"train/{run}/{RESULT}", dump(trained))


def table(run: int) -> bytes:
    return f"stage,epoch,loss\nhead,1,0.{run}\n".encode()


@pytest.fixture
def judged(store):
    """A store with a judged run, and the key of its verdict."""
    for run in range(2):
        write_run(store, run, history())
    return judge(store, REAL, "run", at=AT, accuracy=0.8, approved=True)


def rendered(store, key: str) -> str:
    verdict = load(store, key, Verdict)
    return report.render(store, verdict, load(store, verdict.evaluation, Evaluation))


def section(text: str, name: str = "Data") -> str:
    """A section as people read it."""
    part = text.split(f"<h2>{name}</h2>")[1].split("<h2>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())


def test_the_data_has_a_section_with_all_that_was_found(store, judged):
    said = section(rendered(store, judged))
    assert "560 benign, 584 malignant, 3 quarantined." in said
    assert "12 images added, 1 removed, 2 relabelled (+ new.jpg)." in said
    assert "no two images have the same pixels: 3 found" in said
    assert "border ring colour 1144 0.790 [0.760, 0.820] at most 0.65 warning" in said
    assert "file size 1144 0.520 [0.490, 0.550] at most 0.65 passed" in said


def test_the_report_leads_to_the_data_docs_wherever_the_store_lies(store, judged):
    links = re.findall(r'href="(\.\./.*?)"', rendered(store, judged))
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


def test_each_run_has_a_line_with_its_kept_epoch(store, judged):
    said = section(rendered(store, judged), "Training")
    assert "0 70 700 200 5 2 of fine_tune 0.876 14.5 5 s CSV" in said
    assert "1 71 700 200 5 2 of fine_tune 0.876 14.5 5 s CSV" in said


@pytest.mark.parametrize(
    ("seconds", "words"), [(8.4, "42 s"), (37.4, "3 min 07 s"), (1500, "2 h 05 min")]
)
def test_the_time_of_a_run_is_told_in_units_that_people_use(store, seconds, words):
    for run in range(2):
        write_run(store, run, history(seconds))
    key = judge(store, REAL, "run", at=AT, accuracy=0.8, approved=True)
    assert f" 14.5 {words} CSV" in section(rendered(store, key), "Training")


def test_the_history_of_each_run_can_be_taken_out_of_the_report(store, judged):
    links = re.findall(
        r'href="data:text/csv;base64,(.*?)" download="(.*?)"', rendered(store, judged)
    )
    assert [name for _, name in links] == ["run_0.csv", "run_1.csv"]
    assert [base64.b64decode(content) for content, _ in links] == [table(0), table(1)]


def test_the_training_curves_stand_in_the_page_with_a_caption(store, judged):
    (figure,) = re.findall(r"<figure>.*?</figure>", rendered(store, judged), re.DOTALL)
    assert "<svg " in figure  # as markup, not as escaped text
    assert "Run 0" in figure
    assert "Run 1" in figure
    assert "Look for runs whose validation loss climbs" in figure


def test_no_request_leaves_the_page(store, judged):
    text = rendered(store, judged)
    assert "http" not in text
    assert not re.findall(r"\bsrc=|@import|<(?:script|link|iframe|object|embed|base)\b", text)
    targets = re.findall(r"(?:\bhref=\"|\burl\()(.{3})", text)
    assert {target[0] if target[0] == "#" else target for target in targets} == {"#", "../", "dat"}


def test_a_step_that_finds_its_result_does_not_wait_for_matplotlib():
    code = (
        "import sys; from skin_pipeline import steps; from skin_pipeline.evaluation import report;"
        "sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
