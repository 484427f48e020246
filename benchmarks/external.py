"""How well a logistic probe on frozen features does inside its set, and on a set from elsewhere.

A configuration says what the network is shown of an image (`--regions`, `--views`, and training
`--copies` that are corrupted) and which features are read (`--stages`). Inside, the probe is
cross-validated by group; outside, it learns from the whole set, and images that both sets contain
are left out. It is compared on the same images, by a bootstrap over groups, with the plain probe:
features of the last stage of the squashed image. The AUCs among images that agree in something
count pairs of images with which that says nothing of the label (`evaluation.slices`).

Then the sets change sides, and both are learned from at once; each is judged on folds that were not
learned from. Features that were computed are found again in `--store`.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from looks import REGIONS
from measuring import folder_of, parser, report
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from workflow import Workflow

from skin_pipeline import arrays, steps
from skin_pipeline.config import CORRUPTIONS
from skin_pipeline.contracts import Dataset, Interval, Trunk, Validation, Views, load
from skin_pipeline.data import audit, manifest
from skin_pipeline.data import images as reading
from skin_pipeline.evaluation import scoring, slices
from skin_pipeline.intervals import Floats, Ints, auc_statistic, independent, resampled, share
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import scratch
from skin_pipeline.training import backbone, cache, features, models, pretrained, views

SEED, FOLDS = 0, 5
PENALTY = 1e-3  # scikit-learn's C; a tenth and ten times of it gave the same within .01
OUTSIDE = "outside"
AGREEING = ("border ring colour", "original size")


class Configuration(NamedTuple):
    """What the probe reads of an image.

    Attributes:
        regions: Of `looks.REGIONS`. The probe learns from each; its scores of them are averaged.
        stages: Of the network, from 1 (ResNet50: conv3, conv4, conv5).
        views: Dihedral views of each region, over which features are averaged.
        copies: Corrupted copies of each training image that are learned from too: of one region
            after the other.
        corruptions: What differs in them.
    """

    regions: tuple[str, ...] = ("squashed",)
    stages: tuple[int, ...] = (3,)
    views: int = 1
    copies: int = 0
    corruptions: tuple[str, ...] = CORRUPTIONS


PLAIN = Configuration()


class Images(NamedTuple):
    """A set of images: its folder, and its rows (n) with `key`, `label` and `group`."""

    folder: Path
    table: pd.DataFrame

    @property
    def labels(self) -> Ints:
        """1 for malignant (n,)."""
        return manifest.labels(self.table)

    @property
    def groups(self) -> NDArray[Any]:
        """What each image belongs to (n,)."""
        return self.table["group"].to_numpy(str)


class Read(NamedTuple):
    """What is read of a set: of each region of the images, and of each copy of it (n, channels)."""

    regions: list[Floats]
    copies: list[Floats]
    labels: Ints

    def learned(self, rows: Ints | slice = slice(None)) -> tuple[Floats, Ints]:
        """Returns what a probe learns from: some rows of regions and copies, with labels."""
        parts = [*self.regions, *self.copies]
        values = np.concatenate([part[rows] for part in parts])
        return values, np.tile(self.labels[rows], len(parts))


class Bench:
    """Features of sets of images, as the workflow computes and caches them."""

    def __init__(self, job: Job, network: backbone.Network, trunk: Trunk) -> None:
        self._job, self._network, self._trunk = job, network, trunk
        self._forward = features.forward_of(network, ["pooled"])

    def read(self, images: Images, made: Configuration) -> Read:
        """Returns what a probe reads of a set."""
        ends = np.cumsum([0, *(int(end.shape[-1]) for end in self._network.ends)])
        columns = np.concatenate([np.arange(ends[one - 1], ends[one]) for one in made.stages])
        found = [
            [part[:, columns] for part in self._region(images, number, made)]
            for number in range(len(made.regions))
        ]
        copies = [copy for _, *copies in found for copy in copies]
        return Read([region for region, *_ in found], copies, images.labels)

    def _region(self, images: Images, number: int, made: Configuration) -> list[Floats]:
        """Returns the features of a region of the images, and of its corrupted copies."""
        cut = REGIONS[made.regions[number]]
        squares = np.stack([
            cut(upright(images.folder / key), self._network.image_size)
            for key in images.table["key"]
        ])
        shown = Views(
            dihedral=made.views,
            regions=len(made.regions),
            copies=made.copies,
            corruptions=made.corruptions,
        )
        # Each region is computed alone here, as the only one of its images.
        own = [view._replace(region=0) for view in views.views_of(shown) if view.region == number]
        each = self._pooled(squares, own)
        return [each[: made.views].mean(axis=0), *each[made.views :]]

    def _pooled(self, pixels: NDArray[np.uint8], shown: list[views.View]) -> Floats:
        """Returns the features (views, n, channels) of squares (n, size, size, 3)."""
        ids, kinds = cache.ids_of(pixels), ["pooled"]
        known = cache.FeatureCache(self._job.store, self._trunk, self._network.image_size, ids)
        with scratch() as folder:
            features.compute(
                self._forward, pixels, ids, known, kinds=kinds, views=shown, folder=folder
            )
        found = [known.find("pooled", view.name, ids) for view in shown]
        named = {block for view in found for block, _ in view}
        blocks = {block: arrays.loaded(self._job.store, block) for block in named}
        each = [[blocks[block][row] for block, row in view] for view in found]
        return np.array(each, np.float64)


def upright(path: Path) -> Image.Image:
    """Returns an image as the workflow decodes it."""
    return reading.decode(path.read_bytes(), path.suffix).image


# --- probes ---------------------------------------------------------------------------------------


def probed(learned: list[tuple[Floats, Ints]], read: list[Floats]) -> Floats:
    """Returns the mean score (n,) that a probe gives to what is read of each region (n, channels).

    Args:
        learned: Of each source; each weighs the same, however many images it has.
        read: Of the images to score, for each region.
    """
    weights = np.concatenate([np.full(len(labels), 1 / len(labels)) for _, labels in learned])
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=500))
    probe.fit(
        np.concatenate([values for values, _ in learned]),
        np.concatenate([labels for _, labels in learned]),
        logisticregression__sample_weight=weights * len(weights) / len(learned),
    )
    return np.asarray(np.mean([probe.decision_function(region) for region in read], axis=0))


def folds_of(images: Images) -> list[tuple[Ints, Ints]]:
    """Returns rows to learn from and rows to score; no group is on both sides."""
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
    return list(folds.split(images.labels, images.labels, images.groups))


def crossed(read: Read, folds: list[tuple[Ints, Ints]], beside: Read | None = None) -> Floats:
    """Returns each image's score (n,) from a probe that has seen no image of its group.

    Args:
        read: Of the set.
        folds: Of the set.
        beside: Of another set, from which each probe learns too.
    """
    scores = np.zeros(len(read.labels))
    others = [beside.learned()] if beside else []
    for learned, scored in folds:
        seen = [region[scored] for region in read.regions]
        scores[scored] = probed([read.learned(learned), *others], seen)
    return scores


# --- figures --------------------------------------------------------------------------------------


def strata_of(table: pd.DataFrame, folds: list[tuple[Ints, Ints]], name: str) -> Ints:
    """Returns the fifth of a shortcut's score that each image is in (n,)."""
    scores = np.zeros(len(table))
    for _, scored in folds:
        out = np.zeros(len(table), bool)
        out[scored] = True
        scores[out] = audit.scores(table, out, [name], SEED)[name]
    return slices.strata(scores)


def interval(statistic: Any, images: Images) -> Interval:
    """Returns a figure with its interval, by a bootstrap over groups."""
    drawn = resampled(statistic, images.groups, SEED)
    return share(drawn, independent(images.labels, images.groups))


def compared(
    names: tuple[str, str], images: Images, scores: Floats, plain: Floats
) -> dict[str, Interval]:
    """Returns the AUC, and by how much it is above that of a plainer probe, by these names."""
    ours, theirs = (auc_statistic(one, images.labels) for one in (scores, plain))
    drawn = resampled(lambda times: ours(times) - theirs(times), images.groups, SEED)
    low, high = np.nanquantile(drawn[1:], [0.025, 0.975])
    gain = Interval(value=float(drawn[0]), low=float(low), high=float(high))
    return dict(zip(names, (interval(ours, images), gain), strict=True))


def measured(
    bench: Bench, ours: Images, theirs: Images, made: Configuration
) -> dict[str, Interval]:
    """Returns all figures of a configuration."""
    folds, their_folds = folds_of(ours), folds_of(theirs)
    inside, outside = (bench.read(images, made) for images in (ours, theirs))
    plain, plain_outside = (bench.read(images, PLAIN) for images in (ours, theirs))
    scores, their_scores = crossed(inside, folds), crossed(outside, their_folds)
    found = compared(("in_set_auc", "in_set_gain"), ours, scores, crossed(plain, folds))
    for name in AGREEING:
        strata = strata_of(ours.table, folds, name)
        statistic = slices.auc_within(strata, scores, ours.labels == 1)
        found[f"agreeing_in_{name.replace(' ', '_')}"] = interval(statistic, ours)
    away = probed([inside.learned()], outside.regions)
    plainly = probed([plain.learned()], plain_outside.regions)
    found |= compared(("external_auc", "gain"), theirs, away, plainly)
    back = auc_statistic(probed([outside.learned()], inside.regions), ours.labels)
    found["reversed_auc"] = interval(back, ours)
    both, theirs_too = crossed(inside, folds, outside), crossed(outside, their_folds, inside)
    found |= compared(("both_in_set_auc", "both_in_set_gain"), ours, both, scores)
    names = ("both_external_auc", "both_external_gain")
    return found | compared(names, theirs, theirs_too, their_scores)


# --- rows -----------------------------------------------------------------------------------------


def sets_of(job: Job, ours: Path, theirs: Path) -> tuple[Dataset, str, Images, Images]:
    """Ingests and validates both sets; returns the data set, the weights, and both, without what
    they share."""
    ingested = steps.ingest(job)
    checked = load(job.store, steps.validate(job, ingested.dataset, ingested.external), Validation)
    dataset = load(job.store, ingested.dataset, Dataset)
    known = manifest.read_readable(job.store, checked.table)
    elsewhere = Images(theirs, elsewhere_of(job, checked))
    return dataset, ingested.weights, Images(ours, known), elsewhere


def elsewhere_of(job: Job, checked: Validation) -> pd.DataFrame:
    """Returns the images of the other set, without what both sets share."""
    table = scoring.external_table(Work(job, "external/bench"), checked.external[OUTSIDE])
    shared = set(manifest.read(job.store, checked.overlaps[OUTSIDE])["key"])
    return table[~table["key"].isin(shared)].reset_index(drop=True)


def outside_parser(description: str) -> argparse.ArgumentParser:
    """Flags of a benchmark that also looks at another set."""
    flags = parser(description)
    flags.add_argument("--external", type=Path, required=True, help="folder of the other set")
    flags.add_argument("--store", type=Path, help="keep results here, and find them again")
    return flags


def arguments_of() -> argparse.Namespace:
    """Returns the flags of this call."""
    flags = outside_parser(str(__doc__))
    flags.add_argument("--regions", default="centre", help=f"of {', '.join(REGIONS)}")
    flags.add_argument("--stages", default="1,2,3")
    flags.add_argument("--views", type=int, default=1, choices=[1, 2, 4, 8])
    flags.add_argument("--copies", type=int, default=0, help="corrupted ones of each image")
    flags.add_argument("--corruptions", default=",".join(CORRUPTIONS), help="what differs in them")
    flags.add_argument("--backbone", default="ResNet50", help="of which --weights are")
    flags.add_argument("--image-size", type=int, default=224, help="side in pixels")
    return flags.parse_args()


def main() -> None:
    """Measures a configuration."""
    given = arguments_of()
    made = Configuration(
        tuple(given.regions.split(",")),
        tuple(int(one) for one in given.stages.split(",")),
        *(given.views, given.copies),
        tuple(given.corruptions.split(",")),
    )
    logging.disable(logging.INFO)
    with folder_of(given.data) as (data, name), tempfile.TemporaryDirectory() as folder:
        known = {"backbone": given.backbone, "image_size": given.image_size}
        known["external"] = f"{OUTSIDE}={given.external}"
        job = Workflow.on(given.store or Path(folder), data, given.weights, **known).job
        dataset, weights, ours, theirs = sets_of(job, data, given.external)
        trunk = pretrained.trunk_of(job.settings.backbone, weights)
        bench = Bench(job, models.network_on(job, dataset, trunk), trunk)
        found = measured(bench, ours, theirs, made)
    report(
        [(key.replace("_", " "), str(value)) for key, value in found.items()],
        name="external",
        value=round(found["external_auc"].value, 4),
        unit="AUC",
        against="the plain probe: the last stage of the squashed image",
        data=name,
        **{key: known[key] for key in ("backbone", "image_size")},
        **{
            f"{key}{end}": round(getattr(value, part), 4)
            for key, value in found.items()
            for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
        },
        **made._asdict(),
    )


if __name__ == "__main__":
    main()
