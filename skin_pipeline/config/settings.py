"""The settings of one run: the knobs of all sections, and how they fit together."""

from __future__ import annotations

import re
from typing import Any

from pydantic import model_validator
from pydantic_settings import SettingsConfigDict

from skin_pipeline.config.data import DEMO, REGIONS, DataKnobs, SplitKnobs
from skin_pipeline.config.environment import parts, refuse_secrets
from skin_pipeline.config.judging import JudgingKnobs
from skin_pipeline.config.training import CORRUPTIONS, LEAST, TrainingKnobs

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,48}")  # of a source of images


# Pydantic takes the fields of the last base first, so the trigger form shows the sections in the
# order in which a run needs them: data, split, training, judging.
class Settings(JudgingKnobs, TrainingKnobs, SplitKnobs, DataKnobs):
    """The knobs of one run. Frozen: a run never changes its own settings."""

    model_config = SettingsConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, values: dict[str, Any]) -> dict[str, Any]:
        return refuse_secrets(
            values,
            "Settings are kept with the results and shown to everybody who may see a run. Store "
            "the login in the Airflow connection of Kaggle (SKIN_KAGGLE_CONNECTION) or of S3 "
            "(SKIN_DATA_CONNECTION), outside Airflow in KAGGLE_USERNAME and KAGGLE_KEY or where "
            "boto3 looks, and give kaggle://OWNER/NAME or s3://BUCKET/PREFIX. What was given is "
            "known to whoever could read it: make a new key",
        )

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        for name, where in self.external_sets.items():
            if not NAME.fullmatch(name) or not where:
                raise ValueError(
                    "external must be NAME=WHERE, NAME=WHERE with names of a-z, 0-9, - and _. "
                    f"Received: {self.external!r}"
                )
        if self.min_runs > self.runs:
            raise ValueError(f"min_runs ({self.min_runs}) is more than runs ({self.runs})")
        if self.abstain_unusual and self.strategy == "full":
            raise ValueError(
                "abstain_unusual needs features that all runs share, which strategy=full has not. "
                f"Received: abstain_unusual={self.abstain_unusual}; choose abstain_near or another "
                "strategy"
            )
        if self.balance == "smote" and self.strategy != "head":
            raise ValueError(
                "balance=smote makes features, which only strategy=head trains on. "
                f"Received: strategy={self.strategy}; choose strategy=head or another balance"
            )
        if self.image_size < (least := LEAST.get(self.backbone, 0)):
            raise ValueError(
                f"backbone={self.backbone} needs image_size={least} or more. "
                f"Received: {self.image_size}"
            )
        if self.weights == "none" and not self.synthetic:
            raise ValueError(
                "weights=none (a random trunk) is for synthetic data only; "
                "give weights=imagenet or weights=FILE"
            )
        return self

    @model_validator(mode="after")
    def _has_named_sources(self) -> Settings:
        found, given = self.data_sets, self.places
        if not given:
            raise ValueError(f"data names no place. Received: {self.data!r}")
        if len(given) == 1:
            return self
        if not all(NAME.fullmatch(name) and where for name, where in found.items()):
            raise ValueError(
                "data with several sources must be NAME=WHERE, NAME=WHERE with names of a-z, 0-9, "
                "- and _; a single place whose name contains a comma is put in double quotes. "
                f"Received: {self.data!r}"
            )
        if len(found) < len(given) or len(set(found.values())) < len(given):
            raise ValueError(f"data names a source twice. Received: {self.data!r}")
        if both := sorted(found.keys() & self.external_sets.keys()):
            raise ValueError(f"data and external both name a source {both[0]}; rename one of them")
        if DEMO in found.values():
            raise ValueError("data=demo is drawn by a program, and is no source among others")
        return self

    @model_validator(mode="after")
    def _has_known_corruptions(self) -> Settings:
        if unknown := set(parts(self.corruptions)) - set(CORRUPTIONS):
            raise ValueError(
                f"corruptions must be of {', '.join(CORRUPTIONS)}. "
                f"Received: {', '.join(sorted(unknown))}"
            )
        if self.corrupted and not parts(self.corruptions):
            raise ValueError(
                f"corrupted={self.corrupted} needs corruptions, which are empty; "
                "name some, or set corrupted=0"
            )
        return self

    @model_validator(mode="after")
    def _can_be_judged(self) -> Settings:
        if self.scored_views > self.views:
            raise ValueError(f"test_views ({self.test_views}) is more than views ({self.views})")
        if not all(0 < share < 1 for share in self.prevalence_list):
            raise ValueError(
                "prevalences must be numbers between 0 and 1, as 0.02, 0.1. "
                f"Received: {self.prevalences!r}"
            )
        bounds = (self.min_slice_sensitivity, self.min_slice_auc)
        if bool(self.gated_features) != any(bound is not None for bound in bounds):
            raise ValueError(
                "gated_slices needs a bound (min_slice_sensitivity, min_slice_auc), and such a "
                f"bound needs gated_slices. Received: gated_slices={self.gated_slices!r}"
            )
        return self

    @property
    def region_count(self) -> int:
        """How many squares of each image the network is shown."""
        return 1 + REGIONS.index(self.regions)

    @property
    def packed_pixels(self) -> int:
        """How many pixels a packed image has."""
        return int(self.region_count * self.image_size**2)

    @property
    def learned_views(self) -> int:
        """The number of squares of an image that a run learns from, corrupted copies among them."""
        return int(self.views * self.region_count + self.corrupted)

    @property
    def scored_squares(self) -> int:
        """The number of squares of an image that a score is averaged over."""
        return self.scored_views * self.region_count

    @property
    def scored_views(self) -> int:
        """The number of dihedral views that a score is averaged over."""
        return self.test_views or self.views

    @property
    def stages_read(self) -> int:
        """How many of the network's stages are read: all, unless a head reads fewer."""
        return self.head_stages if self.strategy == "head" else 3

    def subset(self, *names: str) -> dict[str, Any]:
        """Returns the named knobs or properties: part of what a result's key is made from."""
        return {name: getattr(self, name) for name in names}
