"""The knobs of the judging: lists, and bounds that require nothing where they are empty."""

from __future__ import annotations

from skin_pipeline.config import Settings, read_settings


def test_lists_are_read_from_text() -> None:
    assert Settings().prevalence_list == (0.02, 0.1, 0.5)
    assert Settings(prevalences="").prevalence_list == ()
    gated = Settings(gated_slices="sex, original size,", min_slice_auc=0.6)
    assert gated.gated_features == ("sex", "original size")


def test_a_bound_that_is_emptied_requires_nothing() -> None:
    assert Settings().min_accuracy is not None
    assert read_settings({"min_accuracy": ""}).min_accuracy is None
    assert Settings(min_auc_change=None).min_auc_change is None
