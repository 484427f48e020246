"""The reference at a site: the labelled images that its profile was made from.

Images of another clinic differ from a version's validation images from the first day on, which is
why there is a profile. So what is scored there is compared with the labelled images of the site:
their looks, where they are in the space of the version's features, and their probabilities and
threshold by the profile. It is made when it is first needed, and written once:

```
monitoring/<model>/<version>/sites/<site>-<number>.npz
```
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import tables
from skin_pipeline.contracts import Dataset, SiteProfile, SiteScores, load
from skin_pipeline.data import manifest
from skin_pipeline.evaluation import space as spaces
from skin_pipeline.geometry import region
from skin_pipeline.monitoring import reference
from skin_pipeline.monitoring.measures import measured
from skin_pipeline.monitoring.reference import FOLDER, TOGETHER, Floats, Reference
from skin_pipeline.progress import reported
from skin_pipeline.release import Model, predict, sites
from skin_pipeline.storage import Store
from skin_pipeline.training import inputs

log = logging.getLogger(__name__)


class _Seen(NamedTuple):
    """The measures of an image, where it is in the space of the features, and its label."""

    measures: Floats
    embedding: Floats
    label: str


def key_of(profile: SiteProfile) -> str:
    """Returns the key of the reference of a profile."""
    name = f"{profile.site}-{profile.number:06}.npz"
    return f"{FOLDER}/{profile.model}/{profile.version}/sites/{name}"


def of(store: Store, model: Model, profile: SiteProfile, threads: int = 1) -> Reference:
    """Returns the reference of a profile; makes and writes it if there is none yet.

    Args:
        store: The store.
        model: The model, whose keys say what must be signed.
        profile: Of a site, as `Profiles` gives it.
        threads: To see the images with, where the reference must be made.

    Raises:
        BadInput: The images, the version or what it was made from are not there any more, or the
            reference is damaged.
    """
    key = key_of(profile)
    if not store.exists(key):
        reference.write(store, key, _made(store, model, profile, threads))
    return reference.read(store, key)


def _made(store: Store, model: Model, profile: SiteProfile, threads: int) -> Reference:
    space = reference.of(store, model, profile.version).space
    table = tables.read_scores(store, load(store, profile.scores, SiteScores).scores)
    by = predict.resolve(model, profile.version)._replace(profile=profile)
    scorer = predict.Scorer.of(by, threads)
    seen = list(_looked_at(store, profile, table, scorer, space))
    log.info("site_reference site=%s profile=%d images=%d", profile.site, profile.number, len(seen))
    probabilities = table["probability"].to_numpy(np.float64)
    return Reference(
        measures=np.array([one.measures for one in seen], np.float32),
        probability=sites.Recalibration.of_profile(profile).of(probabilities).astype(np.float32),
        malignant=manifest.labels(table).astype(np.uint8),
        group=pd.factorize(table["group"])[0].astype(np.int64),
        embedding=np.stack([one.embedding for one in seen]),
        abstained=np.array([one.label == predict.UNSURE for one in seen], np.uint8),
        space=space,
        threshold=profile.threshold,
    )


def _looked_at(
    store: Store,
    profile: SiteProfile,
    table: pd.DataFrame,
    scorer: predict.Scorer,
    space: spaces.Space,
) -> Iterator[_Seen]:
    """Yields what is seen of each image of a table of scores."""
    dataset = load(store, profile.dataset, Dataset)
    rows = _rows(manifest.read_readable(store, dataset.table, ["key"])["key"], table["key"])
    squares = inputs.Squares(store, dataset.shards)
    starts = range(0, len(rows), TOGETHER)
    for start in reported(starts, "batches looked at", len(starts)):
        pixels = squares.pixels(rows[start : start + TOGETHER])
        for measures, (score, features) in zip(
            measured(region(pixels)), scorer.see(pixels), strict=True
        ):
            label = scorer.deciding.called(profile.site, score, features).label
            yield _Seen(measures, _embedded(space, features), label)


def _embedded(space: spaces.Space, features: NDArray[np.float32] | None) -> Floats:
    if not space.channels or features is None:
        return np.zeros(0, np.float32)
    return np.asarray(space.embed(features[None])[0])


def _rows(there: pd.Series[str], wanted: pd.Series[str]) -> NDArray[np.int64]:
    """Returns at which place each of the wanted keys is."""
    return np.asarray(pd.Index(there).get_indexer(pd.Index(wanted)), np.int64)
