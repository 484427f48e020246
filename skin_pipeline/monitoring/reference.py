"""The reference of a version: what the images looked like that its threshold was set on.

    reference = of(store, registry.model("skin-resnet50"), version)
    embedding = reference.embed(pooled)             # of images that are scored

It is made of validation images only, with the probabilities by the runs that they validate: images
that a run was trained on would look too certain, and test images must stay unseen by everything
that decides. It is made when it is first needed, and written once:

```
monitoring/<model>/<version>/reference.npz
```
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import arrays, tables
from skin_pipeline.contracts import Dataset, Evaluation, Split, TrainedRun, Verdict, load
from skin_pipeline.data import manifest, splitting
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import familiarity
from skin_pipeline.evaluation import space as spaces
from skin_pipeline.monitoring.measures import NAMES, measured
from skin_pipeline.progress import reported
from skin_pipeline.release import Model
from skin_pipeline.storage import Store, scratch
from skin_pipeline.training import inputs

Floats = NDArray[np.float32]
log = logging.getLogger(__name__)

FOLDER = "monitoring"
FILE = "reference.npz"
MOST = 4000  # images in a reference: more would hardly make it sharper, and take minutes to measure
TOGETHER = 64  # images that are in memory at once
ENOUGH = 10 * spaces.DIRECTIONS  # images from which the space of the features can be found
# Strategies whose released model contains the trunk, and thus gives pooled features of any image.
WITH_TRUNK = ("head", "fine_tune")
OF_IMAGES = ("measures", "probability", "malignant", "group", "embedding", "abstained")
OF_SPACE = ("centre", "spread", "axes")


@dataclass(frozen=True)
class Reference:
    """What validation images looked like to a version, and the space that images are placed in.

    Attributes:
        measures: The measures of each image (n, measures), in the order of `measures.NAMES`.
        probability: Held-out probabilities (n,).
        malignant: 1 for malignant images (n,).
        group: A number for each group of images that belong together (n,).
        embedding: The images in the space of the trunk's features (n, k); k is 0 for versions
            whose file has no trunk.
        abstained: 1 for images that the version gives no decision on (n,).
        space: That space.
        threshold: The version's threshold.
    """

    measures: Floats
    probability: Floats
    malignant: NDArray[np.uint8]
    group: NDArray[np.int64]
    embedding: Floats
    abstained: NDArray[np.uint8]
    space: spaces.Space
    threshold: float

    def __len__(self) -> int:
        return len(self.probability)

    def embed(self, pooled: Floats) -> Floats:
        """Returns where images are in the space of the trunk's features (n, k).

        Args:
            pooled: What the layer `stem` of the released model gives for the images as they are,
                without turning or mirroring them (n, d); if it gives two arrays, the first. It
                counts only if `space.channels` is not 0.

        Raises:
            ValueError: The features are not those of this version's trunk.
        """
        return self.space.embed(pooled)


def key_of(model: str, version: str) -> str:
    """Returns the key of the reference of a version."""
    return f"{FOLDER}/{model}/{version}/{FILE}"


def of(store: Store, model: Model, version: str) -> Reference:
    """Returns the reference of a version; makes and writes it if there is none yet.

    Raises:
        BadInput: There is no such version, results that it was made from are missing, or the
            reference is damaged.
    """
    key = key_of(model.name, version)
    if not store.exists(key):
        write(store, key, make(store, model.release(version).verdict))
    return read(store, key)


def write(store: Store, key: str, reference: Reference) -> None:
    """Writes a reference, unless another process was faster."""
    values = {name: getattr(reference, name) for name in OF_IMAGES}
    values |= {name: getattr(reference.space, name) for name in OF_SPACE}
    with scratch() as folder:
        np.savez(folder / FILE, threshold=np.array([reference.threshold]), **values)
        store.put_file(key, folder / FILE)


def read(store: Store, key: str) -> Reference:
    """Returns a reference that was written. Raises `BadInput` if it is missing or damaged."""
    found = arrays.several_of(store, key)
    if "probability" in found:  # what was written before versions could abstain
        found.setdefault("abstained", np.zeros(len(found["probability"]), np.uint8))
    names = (*OF_IMAGES, *OF_SPACE, "threshold")
    if missing := [name for name in names if name not in found]:
        raise _damaged(key, f"it has no {', '.join(missing)}")
    images = {name: found[name] for name in OF_IMAGES}
    if len({len(values) for values in images.values()}) > 1:
        raise _damaged(key, "its arrays differ in length")
    if found["measures"].shape[1:] != (len(NAMES),):
        raise _damaged(key, f"its measures have the shape {found['measures'].shape}")
    space = spaces.Space(*(found[name] for name in OF_SPACE))
    return Reference(**images, space=space, threshold=float(found["threshold"][0]))


def _damaged(key: str, why: str) -> BadInput:
    return BadInput(f"{key} is not what was written there: {why}. Remove it: it is made anew")


def make(store: Store, verdict: str) -> Reference:
    """Makes the reference of the version that a verdict approved.

    Raises:
        BadInput: A result that it is made from is missing or damaged, or there is no validation
            image.
    """
    evaluation = load(store, load(store, verdict, Verdict).evaluation, Evaluation)
    source = _source(store, evaluation)
    held_out = _held_out(store, evaluation, source.table)
    rows = _chosen(source.table, np.isfinite(held_out))
    space, embedding = _space(source, evaluation, rows)
    log.info("reference images=%d directions=%d", len(rows), embedding.shape[1])
    return Reference(
        measures=_measured(source, rows),
        probability=held_out[rows].astype(np.float32),
        malignant=source.labels[rows].astype(np.uint8),
        group=pd.factorize(source.table["group"].iloc[rows])[0].astype(np.int64),
        embedding=embedding,
        abstained=_abstained(store, evaluation, source, rows, held_out[rows]),
        space=space,
        threshold=evaluation.threshold,
    )


# --- which images --------------------------------------------------------------------------------


def _source(store: Store, evaluation: Evaluation) -> inputs.Source:
    """Returns the images of an evaluation, with the cached features of its runs."""
    split = load(store, evaluation.split, Split)
    shards = load(store, split.dataset, Dataset).shards
    features = load(store, evaluation.runs[0], TrainedRun).features
    return inputs.Source(store, manifest.read_readable(store, split.table), features, shards)


def _held_out(store: Store, evaluation: Evaluation, table: pd.DataFrame) -> NDArray[np.float64]:
    """Returns the probability of each image (n,) by runs that it validates; NaN for all others.

    The split says which images are validation images, and not the table of probabilities alone:
    a test image never counts, whatever stands beside it there.
    """
    predictions = tables.read_scores(store, evaluation.predictions).set_index("key")
    found = predictions["held_out_probability"].reindex(table["key"]).to_numpy(np.float64)
    may = splitting.on_side(table, splitting.VALIDATION) & ~splitting.on_side(table, splitting.TEST)
    return np.where(may, found, np.nan)


def _chosen(table: pd.DataFrame, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the rows of the wanted images: all, or whole groups with about `MOST` images."""
    rows = familiarity.drawn(table, wanted, MOST)
    if not len(rows):
        raise BadInput(
            "the evaluation has no held-out probability of any validation image, so there is "
            "nothing to compare new images with. Train the model again"
        )
    return rows


# --- what they look like -------------------------------------------------------------------------


def _measured(source: inputs.Source, rows: NDArray[np.int64]) -> Floats:
    starts = range(0, len(rows), TOGETHER)
    told = reported(starts, "batches measured", len(starts))
    parts = (source.squares(rows[start : start + TOGETHER]) for start in told)
    return np.concatenate([measured(squares) for squares in parts])


def _abstained(
    store: Store,
    evaluation: Evaluation,
    source: inputs.Source,
    rows: NDArray[np.int64],
    held_out: NDArray[np.float64],
) -> NDArray[np.uint8]:
    rule, known = evaluation.abstention, np.full(len(rows), np.nan)
    if rule.familiarity:
        usual = familiarity.of_store(store, evaluation.familiarity)
        known = familiarity.of_rows(usual, source, rows)
    return familiarity.abstained(rule, held_out, known, evaluation.threshold).astype(np.uint8)


def _space(
    source: inputs.Source, evaluation: Evaluation, rows: NDArray[np.int64]
) -> tuple[spaces.Space, Floats]:
    """Returns the space of the trunk's features, and the images of the reference in it.

    The space is fitted on training images that are not in the reference, where there are enough of
    them, so that the reference lies in it as new images do.
    """
    if evaluation.strategy not in WITH_TRUNK:
        return spaces.nowhere(), np.zeros((len(rows), 0), np.float32)
    test = splitting.on_side(source.table, splitting.TEST)
    others = splitting.on_side(source.table, splitting.TRAIN) & ~test
    others[rows] = False
    fitting = _chosen(source.table, others) if others.sum() >= ENOUGH else rows
    channels = _channels(source, evaluation)
    space = spaces.fitted(familiarity.pooled_of(source, fitting)[:, :channels])
    return space, space.embed(familiarity.pooled_of(source, rows)[:, :channels])


def _channels(source: inputs.Source, evaluation: Evaluation) -> int:
    """Returns how many pooled features, from the first, the released model's stem gives."""
    if evaluation.strategy == "head":
        return int(familiarity.pooled_of(source, np.zeros(1, np.int64)).shape[1])
    from skin_pipeline.training import backbone, networks, runtime

    # The number of channels is the same for images of any size.
    name = evaluation.trunk.backbone
    size = networks.BACKBONES[name].least
    network = backbone.Network.untrained(runtime.keras_on(1), name, size)
    return int(network.shallow)
