"""The model card, for people and for programs."""

from __future__ import annotations

import json
import math
from typing import Any

import judged_run
import pandas as pd
import pytest
from judged_run import VALIDATION, Judged, put, scored, write, write_all

from skin_pipeline.contracts import Abstention, Answered, Slice
from skin_pipeline.evaluation import card
from skin_pipeline.storage import FolderStore


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """A run of which there is everything to tell."""
    return write_all(FolderStore(tmp_path_factory.mktemp("card")))


def written(judged: Judged) -> str:
    return card.markdown(card.data(*judged))


def limits(judged: Judged) -> str:
    return "\n".join(card.data(*judged)["limits"])


def test_the_card_is_plain_json_and_reads_the_same_from_it(judged: Judged) -> None:
    told = card.data(*judged)
    text = json.dumps(told, allow_nan=False)
    assert json.loads(text) == told
    assert card.markdown(json.loads(text)) == card.markdown(told)


def test_a_figure_that_is_not_defined_is_null_and_not_defined(judged: Judged) -> None:
    ensemble = judged.evaluation.ensemble.model_copy(update={"auc": judged_run.UNDEFINED})
    blank = judged._replace(
        evaluation=judged.evaluation.model_copy(update={"ensemble": ensemble, "slices": ()})
    )
    assert card.data(*blank)["figures"]["auc"] == {"value": None, "low": None, "high": None}
    assert "| AUC | not defined |" in written(blank)
    assert math.isnan(ensemble.auc.value)


def test_the_card_says_what_the_model_is_for_and_for_whom_not(judged: Judged) -> None:
    text = written(judged)
    assert text.startswith("# skin-resnet50: model card\n\n> For research")
    assert "It is not a medical device and gives no diagnosis." in text
    for heading in ("Intended use", "Not intended for", "Limits", "Provenance"):
        assert f"\n## {heading}\n\n" in text


def test_figures_stand_with_their_intervals_and_in_counts(judged: Judged) -> None:
    figures, text = judged.evaluation.ensemble, written(judged)
    calls = figures.confusion
    assert f"{calls['tp']} of 116: sensitivity {figures.sensitivity}" in text
    assert f"{calls['tn']} of 124: specificity {figures.specificity}" in text
    assert f"| Brier score | {figures.brier} |" in text
    assert f"| 2 % | {figures.predictive[0].ppv} | {figures.predictive[0].npv} |" in text


def test_the_threshold_and_how_many_images_it_was_tried_on_come_first(judged: Judged) -> None:
    text = " ".join(written(judged).split())
    assert "with a probability of 0.412 or more is classified as malignant." in text
    assert "on 240 test images of 120 groups" in text
    assert card.data(*judged)["threshold"] == {
        "value": judged.evaluation.threshold,
        "target_sensitivity": judged.verdict.settings["target_sensitivity"],
        "by": "point",
    }


def test_how_it_was_made_and_chosen_is_told(judged: Judged) -> None:
    text = " ".join(written(judged).split())
    assert "6 ResNet50 networks (strategy fine_tune)" in text
    assert "divided by 1.37, a temperature that was fitted on 904 validation images" in text
    assert "validation images so that the sensitivity there reaches 0.9." in text
    assert "560 benign, 584 malignant, 3 not readable" in text
    assert "240 groups of images" in text


def test_the_threshold_says_if_the_lower_end_was_required(judged: Judged) -> None:
    settings = {**judged.verdict.settings, "threshold_by": "lower_bound"}
    verdict = judged.verdict.model_copy(update={"settings": settings})
    assert "the lower end of the 95 % interval of" in written(judged._replace(verdict=verdict))


def test_the_threshold_says_what_is_guaranteed_and_for_whom(judged: Judged) -> None:
    settings = {**judged.verdict.settings, "threshold_by": "guaranteed"}
    text = written(
        judged._replace(verdict=judged.verdict.model_copy(update={"settings": settings}))
    )
    assert "one of each patient, so that with 95 % confidence" in text
    assert "new patients of the same origin reaches 0.9." in text
    assert "so that the" not in text


def test_other_origins_are_told_beside_the_test_set(store: FolderStore) -> None:
    sets = (
        scored(store, "clinic-b", 1),
        scored(store, "broken", 2, figures=None, problem="no pixels"),
    )
    judged = write(store, external=sets)
    text = written(judged)
    assert f"| 240 | {sets[0].figures.accuracy} | {sets[0].figures.sensitivity} |" in text
    assert "| not scored: no pixels |" in text
    assert "scored from clinic-b only" in limits(judged)


@pytest.mark.parametrize(
    ("verdict", "evaluation", "sentence"),
    [
        ({}, {}, "No images of another origin were scored"),
        (
            {},
            {"slices": ()},
            "Not known for these images, so that there are no figures by: sex, age, site.",
        ),
        ({}, {}, "Too few test images to judge: age 75 and over, age under 30"),
        ({}, {}, "Skin tones are not known"),
        ({}, {}, "Border ring colour alone predicts the label (AUC 0.790 [0.760, 0.820])"),
        ({}, {}, "48 % of the test images are malignant."),
        ({}, {"synthetic": True}, "The images were drawn by a program"),
        ({}, {}, "whether patients benefit"),
    ],
)
def test_a_limit_is_told_where_it_holds(
    store: FolderStore, verdict: Any, evaluation: Any, sentence: str
) -> None:
    assert sentence in limits(write(store, evaluation=evaluation, **verdict))


def test_limits_that_do_not_hold_are_not_told(store: FolderStore) -> None:
    put(store, VALIDATION, judged_run.validation(shortcuts=()))
    judged = write(store, external=(scored(store, "clinic-b", 1),))
    base = judged.evaluation.slices[0]
    slices = tuple(
        Slice(**{**dict(base), "feature": name, "small": False})
        for name in ("sex", "age", "site", "Fitzpatrick skin type")
    )
    evaluation = judged.evaluation.model_copy(update={"slices": slices})
    said = limits(judged._replace(evaluation=evaluation))
    for words in ("alone predicts", "No images of another", "Skin tones", "Not known", "Too few"):
        assert words not in said


def test_patients_that_are_not_known_are_a_limit(store: FolderStore) -> None:
    judged = write_all(store)
    assert "Patients are not known." not in limits(judged)
    path = store.root / judged.evaluation.predictions
    path.write_text(path.read_text().replace("patient_id:", "key:"))
    assert "Patients are not known." in limits(judged)


def test_images_whose_label_came_back_are_a_selection(store: FolderStore) -> None:
    judged = write(store)
    assert "verification bias" not in limits(judged)
    (key,) = [key for key in store.list("ingest") if key.endswith("result.json")]
    content = json.loads(store.read(key))
    (store.root / key).write_text(json.dumps({**content, "returned": 12}))
    assert "12 of the images were scored by an earlier model first" in limits(judged)
    assert "verification bias" in written(judged)


def test_what_comes_from_the_data_is_no_markup(judged: Judged) -> None:
    links = "[ref]: http://evil.example www.evil.example _x_ &lt; \u202e ~~x~~ $x$ @all"
    hostile = judged.evaluation.slices[0].model_copy(
        update={"feature": "a|b<script>", "value": f"*x* [y](z)\n# head {links}"}
    )
    evaluation = judged.evaluation.model_copy(update={"slices": (hostile,)})
    text = written(judged._replace(evaluation=evaluation))
    shown = (
        r"| a\|b\<script>: \*x\* \[y](z) # head \[ref]: http\://evil.example www\.evil.example "
        r"\_x\_ \&lt; \\u202e \~\~x\~\~ \$x\$ \@all | 80 |"
    )
    assert shown in text
    assert r"From kaggle://owner/\<skin>:" in text


def test_an_approved_model_s_card_has_no_reasons(store: FolderStore) -> None:
    text = written(write(store, approved=True, reasons=()))
    assert "**Approved** by the gate at 2026-06-30T00:00:01+00:00.\n\n## In short" in text


def test_synthetic_data_is_told_at_the_top(store: FolderStore) -> None:
    text = written(write(store, evaluation={"synthetic": True}))
    assert text.index("**Synthetic data.**") < text.index("## In short")


def test_groups_are_counted_of_all_images_and_of_those_tested_on(store: FolderStore) -> None:
    judged = write_all(store)
    path = store.root / judged.evaluation.predictions
    table = pd.read_csv(path)
    tested = table["test"].astype(bool)
    table.loc[tested, "group"] = [f"patient_id:{i // 3}" for i in range(int(tested.sum()))]
    table.to_csv(path, index=False)
    images = card.data(*judged)["images"]
    assert images["test_groups"] == 80
    assert images["groups"] == len(set(table["group"])) > 80


def test_the_card_says_on_which_images_the_model_gives_no_decision(store: FolderStore) -> None:
    assert "The model gives a decision on every image. All figures" in written(write(store))
    rule = Abstention(margin=0.3, near=0.1)
    sure = judged_run.figures(*judged_run.scores(1)[:1], judged_run.scores(1)[1][0]).sensitivity
    own = Answered(way="set", share=0.87, images=209, sensitivity=sure, specificity=sure)
    text = written(write(store, evaluation={"abstention": rule, "answered": (own,)}))
    assert "no decision (unsure) on images with a probability between 0.342 and 0.486" in text
    assert f"It decides on 87 % of the test images; on these, sensitivity is {sure}" in text
