"""The results of `features`, `index`, `train` and `logits`."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from skin_pipeline.contracts.document import Contract, load
from skin_pipeline.storage import Store


class Trunk(Contract):
    """The frozen part of a network of keras.applications, and its weights.

    `source` is `imagenet`, `none`, or the key of a file under `weights/`; `digest` is theirs.
    `stages` is how many of the network's three stages are read. `engine` computes it, in
    `precision`.
    """

    backbone: str
    source: str
    digest: str
    stages: int = 3
    engine: str = "tensorflow"
    precision: str = "float32"

    @property
    def recipe(self) -> dict[str, Any]:
        """What activations depend on; without what is as it always was."""
        return self.model_dump(exclude_defaults=True)


class EngineProbe(Contract):
    """Result of `engine`: which engine computes a network, as measured on one kind of machine.

    `rates` are images a second, and `agreement` the share of the features' variance that is the
    same as with TensorFlow in single precision; both by `engine:precision`.
    """

    engine: str
    precision: str
    rates: dict[str, float]
    agreement: dict[str, float]


class Graph(Contract):
    """Result of `graph`: a frozen network as engines other than TensorFlow read it.

    `file` is the key of a frozen graph. The activations of one view of an image take
    `activation_bytes`, and a task that computes them takes `memory` bytes.
    """

    file: str
    activation_bytes: int
    memory: float


class Views(Contract):
    """What a network is shown of each image: so many dihedral views, then corrupted copies.

    Each dihedral view is taken of each of the `regions` of an image; copies are of one after the
    other. `corruptions` are the kinds that each copy differs in.
    """

    dihedral: int
    regions: int = 1
    copies: int = 0
    corruptions: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_a_number(cls, value: Any) -> Any:
        """Accepts the number of views that documents of earlier versions have."""
        return {"dihedral": value} if isinstance(value, int) else value


class Features(Contract):
    """Result of `features` for one shard: where the feature cache has its images' activations.

    Both dicts are by kind: `pooled`, arrays (n, channels) of float32, and `maps`, arrays (n,
    height, width, channels) of float16. `blocks` are the keys of such arrays. `places` is the key
    of an array (views, n, 2) which gives, for each view of each image of the shard, the number of
    its block and its row in that block.
    """

    shard: str
    trunk: Trunk
    views: Views
    blocks: dict[str, tuple[str, ...]]
    places: dict[str, str]


class FeatureIndex(Contract):
    """Result of `index`: where the activations of all images of a data set are.

    `features` are the keys of the features of all shards, in the shards' order. `blocks` and
    `places` are those of `Features`, for the images of all shards as one.
    """

    features: tuple[str, ...]
    trunk: Trunk
    views: Views
    blocks: dict[str, tuple[str, ...]]
    places: dict[str, str]


class Epoch(Contract):
    """One line of a run's training history. Sensitivity and specificity are those at 0.5."""

    stage: str
    epoch: int
    loss: float
    validation_loss: float
    validation_auc: float
    validation_sensitivity: float
    validation_specificity: float
    images_per_second: float
    seconds: float


class TrainedRun(Contract):
    """Result of `train`: what one run learned.

    - `features` is the key of the index of the features that it read. Earlier versions of this code
      wrote the keys of the features of all shards.
    - `weights` is the key of an `.npz` with the model's weights: `w0`, `w1`, …, in the order of the
      strategy's model.
    - `held_out` is the key of a `.npy` of logits (n,): those of the run's validation images, in the
      table's order.
    - `table` is the history as CSV, and `best` the epoch whose weights were kept.
    """

    run: int
    seed: int
    split: str
    strategy: str
    features: str | tuple[str, ...]
    weights: str
    held_out: str
    table: str
    best: Epoch
    history: tuple[Epoch, ...]


def features_of(store: Store, run: TrainedRun) -> tuple[str, ...]:
    """Returns the keys of the features of all shards that a run read, in the shards' order."""
    if isinstance(run.features, str):
        return load(store, run.features, FeatureIndex).features
    return run.features


class Logits(Contract):
    """Result of `logits`: what runs say of the images of some consecutive shards.

    - `split` is the key of the split that the images are of, and empty for an external set.
    - `dataset` is the key of the external set, and empty where there is a split, which names its
      own. Documents from earlier versions are all of a split.
    - `first` is the row of the first of these images among all readable ones.
    - `values` is the key of a `.npy` of logits (runs, n), averaged over views, in the order of
      `runs`; it is NaN for images that say nothing of a run, as those that it was trained on.
    """

    split: str
    dataset: str = ""
    runs: tuple[str, ...]
    views: int
    first: int
    images: int
    values: str
