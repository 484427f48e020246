"""Parts of the work that several tasks share: features of a shard, and logits of some shards.

    made = Parts(job, versions)
    made.of_runs(split, runs, shards)          # one part, on any worker
    made.all_of_runs(split, runs)              # all parts; those that nobody made are made now

The steps in `steps` use it; it knows neither their order nor who calls them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from skin_pipeline import sharding
from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    Features,
    Logits,
    Split,
    TrainedRun,
    Trunk,
    features_of,
)
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job, Work


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
        versions: The versions of the steps' code, by their names.
    """

    job: Job
    versions: Mapping[str, int]

    def features(
        self, dataset: Dataset, shard: int, trunk: Trunk, strategy: str, views: int
    ) -> str:
        """Computes the activations of one shard of any set that the models of a strategy read."""
        from skin_pipeline.training import strategies

        kinds = strategies.CACHED[strategy]
        inputs = {
            "images": dataset.shards[shard],
            "trunk": trunk.model_dump(),
            "kinds": kinds,
            "views": views,
        }

        def make(work: Work) -> Features:
            from skin_pipeline.training import tasks

            return tasks.features(work, dataset, shard, trunk, kinds, views)

        return self.job.once("features", self.versions["features"], inputs, make)

    def features_for(
        self, evaluation: str, dataset: str, shards: Sequence[int] | None = None
    ) -> list[str]:
        """Computes the activations of some or all shards of a set that an evaluation's models read.

        Raises:
            BadInput: The models need other squares of the images than the data set has.
        """
        model, images = self.job.load(evaluation, Evaluation), self.job.load(dataset, Dataset)
        made_for = self.job.load(model.dataset, Dataset)
        for name in ("image_size", "field_of_view"):
            theirs, ours = getattr(made_for, name), getattr(images, name)
            if theirs != ours:
                raise BadInput(f"its {name} is {theirs}, that of the images here {ours}")
        return [
            self.features(images, shard, model.trunk, model.strategy, model.views)
            for shard in (range(len(images.shards)) if shards is None else shards)
        ]

    def of_runs(self, split: str, runs: tuple[str, ...], shards: Sequence[int]) -> str:
        """Scores the images of consecutive shards by the runs of a split; returns the key."""
        found = features_of(self.job.store, self.job.load(runs[0], TrainedRun))
        features = [found[shard] for shard in shards]
        return self._logits(split, runs, shards, features, self.job.settings.scored_views)

    def all_of_runs(self, split: str, runs: tuple[str, ...]) -> list[str]:
        """Returns the keys of the runs' logits of all images."""
        return [self.of_runs(split, runs, shards) for shards in sharding.parts(self.job, split)]

    def of_champion(self, evaluation: str, split: str, shards: Sequence[int]) -> str:
        """Scores the test images of consecutive shards by the models of another evaluation."""
        dataset = self.job.load(split, Split).dataset
        model = self.job.load(evaluation, Evaluation)
        features = self.features_for(evaluation, dataset, shards)
        return self._logits(split, model.runs, shards, features, model.views)

    def all_of_champion(self, evaluation: str, split: str) -> list[str]:
        """Returns the keys of a champion's logits of a whole test set."""
        parts = sharding.parts(self.job, split)
        return [self.of_champion(evaluation, split, shards) for shards in parts]

    def _logits(
        self,
        split: str,
        runs: tuple[str, ...],
        shards: Sequence[int],
        features: Sequence[str],
        views: int,
    ) -> str:
        inputs = {
            **{"split": split, "runs": runs, "views": views},
            **{"shards": list(shards), "features": list(features)},
        }

        def make(work: Work) -> Logits:
            from skin_pipeline.evaluation import logits

            return logits.of_shards(work, split, runs, shards, features, views)

        return self.job.once("logits", self.versions["logits"], inputs, make, apart=True)
