"""The settings of a run: how the knobs of all sections fit together."""

from __future__ import annotations

from typing import Any

import pytest

from skin_pipeline.config import Deployment, Settings, read_settings
from skin_pipeline.errors import BadInput


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"runs": 0}, "runs: Input should be greater than or equal to 1. Received: 0"),
        ({"views": 3}, "views: Input should be 1, 2, 4 or 8. Received: 3"),
        ({"model_name": "Not A Name"}, "model_name: "),
        ({"balance": "magic"}, "balance: "),
        ({"external": "/data/isic"}, "external must be NAME=WHERE, NAME=WHERE"),
        ({"external": "a=/x, B c=/y"}, "external must be NAME=WHERE, NAME=WHERE"),
        ({"external": "a="}, "external must be NAME=WHERE, NAME=WHERE"),
        ({"columns": 'label="dx, final'}, "columns: Value error, a quote is never closed"),
        ({"malignant_values": '"'}, "malignant_values: Value error, a quote is never closed"),
        ({"colour": "red"}, "colour is no setting. Received: 'red'"),
        ({"image_siz": 64}, "image_siz is no setting; the nearest is image_size. Received: 64"),
        ({"imagesize": 64}, "the nearest is image_size"),
        ({"Min-Accuracy": 0.7}, "the nearest is min_accuracy"),
        ({"sensitivity": 0.7}, "the nearest is min_sensitivity"),
        (
            {"abstain_unusual": 0.1, "strategy": "full"},
            "abstain_unusual needs features that all runs share",
        ),
        ({"runs": 2}, "min_runs (6) is more than runs (2)"),
        ({"weights": "none"}, "weights=none (a random trunk) is for synthetic data only"),
        ({"learning_rate": "fast"}, "learning_rate: "),
        ({"views": 2, "test_views": 4}, "test_views (4) is more than views (2)"),
        ({"prevalences": "0.1, few"}, "prevalences must be numbers between 0 and 1"),
        ({"prevalences": "0.1, 1"}, "Received: '0.1, 1'"),
        ({"gated_slices": "sex"}, "gated_slices needs a bound"),
        ({"min_slice_auc": 0.7}, "such a bound needs gated_slices. Received: gated_slices=''"),
        ({"min_auc": 1.5}, "min_auc: Input should be less than or equal to 1"),
        ({"min_auc_change": -2}, "min_auc_change: "),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_received(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as error:
        read_settings(values)
    assert message in str(error.value)


def test_a_part_of_the_settings_has_their_values_by_name() -> None:
    settings = Settings(views=8, test_views=2)
    assert settings.subset("views", "scored_views") == {"views": 8, "scored_views": 2}


@pytest.mark.parametrize(
    ("values", "views"),
    [({}, 1), ({"views": 8}, 1), ({"test_views": 0}, 2), ({"views": 8, "test_views": 2}, 2)],
)
def test_a_score_is_averaged_over_as_many_views_as_there_are_or_fewer(
    values: dict[str, Any], views: int
) -> None:
    assert Settings(**values).scored_views == views
    assert Settings(**values).scored_squares == 2 * views
    assert Settings(**values, regions="centre").scored_squares == views


def test_no_knob_has_the_name_of_a_deployment_variable() -> None:
    assert not Settings.model_fields.keys() & Deployment.model_fields.keys()


def test_sections_come_in_the_order_in_which_a_run_needs_them() -> None:
    """Results are found by keys that are made from settings, and forms show them in this order."""
    names = list(Settings.model_fields)
    firsts = ("data", "test_fraction", "backbone", "target_sensitivity", "min_accuracy")
    assert [name for name in names if name in firsts] == list(firsts)
    assert (names[0], names[-1]) == ("data", "min_runs")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("/lesions", {"": "/lesions"}),
        ("s3://bucket/year=2026/month=1/", {"": "s3://bucket/year=2026/month=1/"}),
        ("clinic=/lesions", {"": "clinic=/lesions"}),  # a folder may be called so
        ('"/lesions, old"', {"": "/lesions, old"}),
        (
            'clinic="/lesions, old", isic=kaggle://owner/name',
            {"clinic": "/lesions, old", "isic": "kaggle://owner/name"},
        ),
        ("a=s3://bucket/year=2026/,\nb=/b,", {"a": "s3://bucket/year=2026/", "b": "/b"}),
    ],
)
def test_data_is_one_place_or_several_with_names(data: str, found: dict[str, str]) -> None:
    assert Settings(data=data).data_sets == found


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("/lesions, /others", "NAME=WHERE, NAME=WHERE"),
        ("/lesions, old", "put in double quotes"),
        ("a=/a, B!=/b", "NAME=WHERE"),
        ("a=/a, b=", "NAME=WHERE"),
        ("a=/a, a=/b", "twice"),
        ("a=/a, b=/a", "twice"),
        ("a=/a, isic=/b", "both name a source isic"),
        ("a=/a, b=demo", "demo"),
        (",", "names no place"),
        ('a=/a, b="/b', "never closed"),
    ],
)
def test_sources_that_cannot_be_told_apart_are_refused(data: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Settings(data=data, external="isic=/elsewhere")
