"""Parts of the work that several tasks share: near-duplicates of a bucket, features of a shard, and
logits of some shards.

    made = Parts(job)
    made.of_runs(split, runs, shards)          # one part, on any worker
    made.all_of_runs(split, runs)              # all parts; those that nobody made are made now

The steps in `steps` use it; it knows neither their order nor who calls them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from skin_pipeline import sharding
from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    Features,
    ImageBuckets,
    Logits,
    NearDuplicates,
    Split,
    TrainedRun,
    Trunk,
    Views,
    features_of,
)
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job, Work
from skin_pipeline.versions import VERSIONS

log = logging.getLogger(__name__)


def succeeded(trained: Iterable[str]) -> tuple[str, ...]:
    """Returns the keys of trained runs in order.

    Raises:
        BadInput: There is none.
    """
    runs = tuple(sorted(trained))
    if not runs:
        raise BadInput("evaluate: no training run succeeded; see the logs of the train tasks")
    return runs


@dataclass(frozen=True)
class Parts:
    """Makes parts in a job; whoever asks for the same part gets the same result.

    Attributes:
        job: The job.
    """

    job: Job

    def count_of_buckets(self, dataset: str) -> int:
        """Returns into how many buckets the images of a set are sorted, by their number alone."""
        from skin_pipeline.data import layout

        settings, images = self.job.settings, self.job.load(dataset, Dataset).images
        return layout.Layout.of(images, settings).buckets(images)

    def buckets(self, dataset: str) -> str:
        """Sorts the images of a set by their fingerprints; returns the key."""
        count = self.count_of_buckets(dataset)

        def make(work: Work) -> ImageBuckets:
            from skin_pipeline.data import tasks

            return tasks.buckets(work, dataset, count)

        inputs = {"dataset": dataset, "count": count}
        return self.job.once("buckets", VERSIONS["buckets"], inputs, make, apart=True)

    def searches(
        self, dataset: str, external: Mapping[str, str], most: int
    ) -> list[list[list[str]]]:
        """Returns the searches for near-duplicates for each task that makes some beforehand.

        A search is the key of a data set and the number of one of its buckets. There is none where
        each set is a single bucket, which `validate` searches by itself.

        Args:
            dataset: Key of the data set.
            external: Keys of the external sets, by name.
            most: Most tasks that Airflow may make of it, at least 1.
        """
        sets = dict.fromkeys((dataset, *external.values()))
        counts = {key: self.count_of_buckets(key) for key in sets}
        if max(counts.values()) == 1:
            return []
        for key in sets:
            self.buckets(key)
        all_of_them = [[key, str(number)] for key in sets for number in range(counts[key])]
        return sharding.divided(all_of_them, most)

    def near(self, ours: str, theirs: str, number: int) -> str:
        """Finds the near-duplicates of a bucket of a set in another set, or in itself."""
        return self._near(*self._both(ours, theirs), number)

    def all_near(self, ours: str, theirs: str) -> list[str]:
        """Returns the keys of the near-duplicates of all buckets of a set."""
        both, count = self._both(ours, theirs), self.count_of_buckets(theirs)
        return [self._near(*both, number) for number in range(count)]

    def _both(self, ours: str, theirs: str) -> tuple[str, str]:
        first = self.buckets(ours)
        return first, (first if theirs == ours else self.buckets(theirs))

    def _near(self, first: str, second: str, number: int) -> str:
        def make(work: Work) -> NearDuplicates:
            from skin_pipeline.data import tasks

            return tasks.near(work, first, second, number)

        inputs = {"ours": first, "theirs": second, "number": number}
        return self.job.once("duplicates", VERSIONS["duplicates"], inputs, make, apart=True)

    def features(
        self, dataset: Dataset, shard: int, trunk: Trunk, strategy: str, views: Views
    ) -> str:
        """Computes the activations of one shard of any set that the models of a strategy read."""
        from skin_pipeline.training import engines, strategies

        trunk = engines.here(trunk)
        kinds = strategies.CACHED[strategy]
        inputs = {
            "images": dataset.shards[shard],
            "trunk": trunk.recipe,
            "kinds": kinds,
            "views": views.model_dump(),
        }

        def make(work: Work) -> Features:
            from skin_pipeline.training import tasks

            return tasks.features(work, dataset, shard, trunk, kinds, views)

        return self.job.once("features", VERSIONS["features"], inputs, make, apart=True)

    def features_for(self, evaluation: str, dataset: str, shards: Sequence[int]) -> list[str]:
        """Computes the activations of some shards of a set that an evaluation's models read.

        Raises:
            BadInput: The models need other squares of the images than the data set has.
        """
        model, images = self.job.load(evaluation, Evaluation), self.job.load(dataset, Dataset)
        made_for = self.job.load(model.dataset, Dataset)
        unlike = [
            name
            for name in ("image_size", "field_of_view")
            if getattr(made_for, name) != getattr(images, name)
        ]
        # A model that sees the centre only finds it in images that are packed with more.
        unlike += ["regions"] if made_for.regions > images.regions else []
        if unlike:
            theirs, ours = (getattr(one, unlike[0]) for one in (made_for, images))
            raise BadInput(f"its {unlike[0]} is {theirs}, that of the images here {ours}")
        views = Views(dihedral=model.views, regions=made_for.regions)
        return [
            self.features(images, shard, model.trunk, model.strategy, views) for shard in shards
        ]

    def all_features_for(self, evaluation: str, dataset: str) -> list[str]:
        """Computes the activations of a whole set that an evaluation's models read."""
        shards = range(len(self.job.load(dataset, Dataset).shards))
        return self.features_for(evaluation, dataset, shards)

    def of_runs(self, split: str, runs: tuple[str, ...], shards: Sequence[int]) -> str:
        """Scores the images of consecutive shards by the runs of a split; returns the key."""
        found = features_of(self.job.store, self.job.load(runs[0], TrainedRun))
        features, views = [found[shard] for shard in shards], self.job.settings.scored_squares
        return self._logits("split", split, runs, shards, features, views)

    def all_of_runs(self, split: str, runs: tuple[str, ...]) -> list[str]:
        """Returns the keys of the runs' logits of all images."""
        return [self.of_runs(split, runs, shards) for shards in sharding.parts(self.job, split)]

    def of_champion(self, evaluation: str, split: str, shards: Sequence[int]) -> str:
        """Scores the test images of consecutive shards by the models of another evaluation."""
        dataset = self.job.load(split, Split).dataset
        model = self.job.load(evaluation, Evaluation)
        features = self.features_for(evaluation, dataset, shards)
        return self._logits("split", split, model.runs, shards, features, self._squares(model))

    def of_present_champion(self, split: str, shards: Sequence[int]) -> str:
        """Does the same by the champion of now; returns "" where `champion` needs no such part."""
        from skin_pipeline.release import tasks

        evaluation = tasks.evaluation_of_champion(self.job)
        if not evaluation or self.job.load(evaluation, Evaluation).split == split:
            return ""
        try:
            return self.of_champion(evaluation, split, shards)
        except BadInput as error:
            log.warning('champion_not_scored evaluation=%s problem="%s"', evaluation, error)
            return ""

    def all_of_champion(self, evaluation: str, split: str) -> list[str]:
        """Returns the keys of a champion's logits of a whole test set."""
        parts = sharding.parts(self.job, split)
        return [self.of_champion(evaluation, split, shards) for shards in parts]

    def of_external(self, evaluation: str, dataset: str, shards: Sequence[int]) -> str:
        """Scores the images of consecutive shards of an external set by an evaluation's models."""
        model = self.job.load(evaluation, Evaluation)
        features = self.features_for(evaluation, dataset, shards)
        return self._logits("dataset", dataset, model.runs, shards, features, self._squares(model))

    def all_of_external(self, evaluation: str, dataset: str) -> list[str]:
        """Returns the keys of what an evaluation's models say of a whole external set."""
        parts = sharding.external_parts(self.job, evaluation, dataset)
        return [self.of_external(evaluation, dataset, shards) for shards in parts]

    def _squares(self, model: Evaluation) -> int:
        """Returns how many squares of an image an evaluation's models average a score over."""
        return model.views * self.job.load(model.dataset, Dataset).regions

    def _logits(
        self,
        kind: str,
        images: str,
        runs: tuple[str, ...],
        shards: Sequence[int],
        features: Sequence[str],
        views: int,
    ) -> str:
        """Scores images by runs, given their features; `images` is the key of a `split`, or of the
        `dataset` that is an external set."""
        inputs = {
            **{kind: images, "runs": runs, "views": views},
            **{"shards": list(shards), "features": list(features)},
        }

        def make(work: Work) -> Logits:
            from skin_pipeline.evaluation import logits

            score = {"split": logits.of_shards, "dataset": logits.of_external}[kind]
            return score(work, images, runs, shards, features, views)

        return self.job.once("logits", VERSIONS["logits"], inputs, make, apart=True)
