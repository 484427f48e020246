"""Scores images with a model: the probability of malignancy of each, or what is wrong with it.

    registry = Registry.of(store, read_deployment())
    model = resolve(registry.model("skin-resnet50"))        # the champion
    for image, probability, label, problem in predict(["a.jpg", "b.jpg"], model):
        …

Worker processes decode the images and bring them to the working size, with the same protection
against hostile files as in `ingest`. The rest of the model then scores them in batches.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import CHAMPION, Release, SiteProfile, parse
from skin_pipeline.data import images as reading
from skin_pipeline.data import workers
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import familiarity
from skin_pipeline.geometry import Geometry
from skin_pipeline.model_file import loading, looking, running
from skin_pipeline.provenance import SigningKeys, signing
from skin_pipeline.release.deciding import UNSURE, Deciding, Prediction, familiar_to
from skin_pipeline.release.registry import Model
from skin_pipeline.release.sites.profiles import Profiles
from skin_pipeline.release.versions import FAMILIARITY, MANIFEST, MODEL_FILE, models

__all__ = [
    "BATCH",
    "UNSURE",
    "Look",
    "Prediction",
    "Resolved",
    "Scorer",
    "beside",
    "named",
    "predict",
    "resolve",
]
BATCH = running.BATCH
VERSION = re.compile(r"[0-9a-f]{20}")
T = TypeVar("T")
Forward = Callable[[NDArray[np.uint8]], Any]
Seeing = Callable[[NDArray[np.uint8]], tuple[Any, Any]]  # see `running.Running`
Seen = Iterator[tuple[float, NDArray[np.float32] | None]]
Image = str | os.PathLike[str] | bytes


class Resolved(NamedTuple):
    """A model's manifest, the file that it describes, and the profile of the images' site, if any.

    The file's digest is compared with the manifest's when it is loaded, and not here: in between,
    the file could be exchanged. So is that of `familiarity`, which describes what is familiar.
    """

    release: Release
    path: Path
    profile: SiteProfile | None = None
    familiarity: Path | None = None

    @property
    def threshold(self) -> float:
        """The probability from which an image is classified as malignant."""
        return self.profile.threshold if self.profile else self.release.threshold


class Look(NamedTuple):
    """The row of an image, and what the network saw of it.

    Attributes:
        prediction: The row.
        sha256: Of the file's bytes; empty if they were not read.
        pixels: The working squares (regions * size, size, 3); None if the image has a problem.
        features: What the trunk makes of it (d,), pooled; None if the model has no trunk that all
            its runs share, or the image has a problem.
    """

    prediction: Prediction
    sha256: str
    pixels: NDArray[np.uint8] | None
    features: NDArray[np.float32] | None


def resolve(
    model: Model, version_or_alias: str = CHAMPION, site: str = "", number: int = 0
) -> Resolved:
    """Returns a version of a model from the store. A file in S3 is first copied to this machine.

    Args:
        model: A model of the registry, whose keys say what must be signed.
        version_or_alias: A version, `champion`, or another alias.
        site: The site that images are from, whose profile is used; "" for the version as it is.
        number: Of that profile; 0 for the newest.

    Raises:
        BadInput: there is no such model, version, alias or profile; its manifest is unusable; it is
            not signed as the keys require; or the alias is older than what was seen here.
        Unavailable: the store does not answer.
    """
    version = named(model, version_or_alias)
    release = model.release(version)
    # A signed manifest can be copied into another version's folder, with its signature.
    if (release.model, release.version) != (model.name, version):
        raise BadInput(
            f"the manifest of {model.name}, version {version}, is that of {release.model}, version "
            f"{release.version}. Use another version"
        )
    folder = model.version_key(version)
    found = _usable(release, model.store.local(f"{folder}/{MODEL_FILE}"))
    if FAMILIARITY in release.files:
        found = found._replace(familiarity=model.store.local(f"{folder}/{FAMILIARITY}"))
    if not site:
        return found
    known = Profiles.of(model, version)
    profile = known.read(site, number) if number else known.newest(site)
    return found._replace(profile=known.fits(profile, release.files[MODEL_FILE]))


def beside(path: Path, keys: SigningKeys) -> Resolved:
    """Returns a model file with the manifest beside it, as in the folder of a version.

    The signature, if there is one, must be beside them too, and what is familiar to the version if
    it abstains from unusual images. Without that file, other versions give no familiarity.

    Args:
        path: The `.keras` file.
        keys: Whether the manifest must be signed, and by which key.

    Raises:
        BadInput: the file or the manifest is missing, or the manifest is not signed as the keys
            require, or is unusable.
    """
    manifest = path.with_name(MANIFEST)
    for needed in (path, manifest):
        if not needed.is_file():
            raise BadInput(
                f"there is no file {needed}. Keep {MODEL_FILE} and {MANIFEST} of a version in one "
                "folder: the threshold is in the manifest"
            )
    content, signature = manifest.read_bytes(), path.with_name(signing.SIGNATURE)
    signed = signature.read_bytes() if signature.is_file() else None
    signing.check(content, signed, keys.trusted(), str(manifest))
    found = _usable(parse(content, Release, str(manifest)), path)
    known = path.with_name(FAMILIARITY)
    named_and_there = FAMILIARITY in found.release.files and known.is_file()
    return found._replace(familiarity=known if named_and_there else None)


def named(model: Model, version_or_alias: str) -> str:
    """Returns the version that an alias names; a version itself.

    Raises:
        BadInput: there is no such alias, or it may not be used.
    """
    if VERSION.fullmatch(version_or_alias):
        return version_or_alias
    return _pointed(model, version_or_alias)


def _pointed(model: Model, alias: str) -> str:
    """Returns the version that an alias names."""
    pointer = model.pointer(alias)
    if pointer is None:
        known = ", ".join(models(model.store)) or "none"
        raise BadInput(
            f"the model {model.name!r} has no {alias!r} in the store {model.store.url}. Promote a "
            f"version first, or name another model or version. Models there: {known}"
        )
    return pointer.version


def _usable(release: Release, path: Path) -> Resolved:
    if not release.files.get(MODEL_FILE):
        raise BadInput(
            f"the manifest of {path} does not name the SHA-256 of {MODEL_FILE}. Use "
            "another version or copy"
        )
    if not 0 <= release.threshold <= 1:
        raise BadInput(
            f"the manifest of {path} has the threshold {release.threshold}, which is no "
            "probability. Use another version or copy"
        )
    return Resolved(release, path)


def predict(
    images: Iterable[Image], model: Resolved, *, threads: int | None = None, engine: str = "auto"
) -> Iterator[Prediction]:
    """Scores images with a model. The rows come in the images' order.

    Args:
        images: Paths of image files, or their bytes. They are not all read at once, so there may be
            any number.
        model: From `resolve` or `beside`.
        threads: Threads and processes to use; by default one for each core.
        engine: What runs the model; see `running.of`.

    Raises:
        BadInput: the model is not one of this pipeline. What is wrong with an image is in its row.
        Unavailable: no worker process can be started.
    """
    return Scorer.of(model, threads or os.cpu_count() or 1, engine).predict(images)


@dataclass(frozen=True)
class Scorer:
    """A loaded model: `forward` takes packed images of uint8 to probabilities (n, 1).

    `geometry` is how an image is packed for it. `seeing` is `forward` that also gives the trunk's
    features, from the same pass. With the `profile` of a site, predictions have its probabilities
    and threshold; `forward` stays as it is.
    """

    release: Release
    forward: Forward
    geometry: Geometry
    processes: int
    seeing: Seeing | None = None
    profile: SiteProfile | None = None
    familiar: familiarity.Familiarity | None = None

    @classmethod
    def of(cls, model: Resolved, threads: int, engine: str = "auto") -> Scorer:
        """Loads a model.

        Args:
            model: From `resolve` or `beside`.
            threads: Threads and processes to use.
            engine: What runs it; see `running.of`.

        Raises:
            BadInput: it is not one of this pipeline, or not the file that its manifest names; or
                the engine is not installed.
        """
        expected = model.release.files[MODEL_FILE]
        loaded = loading.load(model.path, threads, expected)
        processes = max(1, threads // 2)  # the network takes most of the time
        forward, seeing = running.of(loaded, threads, engine)
        # Without features of an image, nothing says how familiar it is.
        known = familiar_to(model.release, model.familiarity if seeing else None)
        about = looking.geometry_of(loaded), processes, seeing, model.profile, known
        return cls(model.release, forward, *about)

    @property
    def threshold(self) -> float:
        """The probability from which an image is classified as malignant."""
        return self.deciding.threshold

    @property
    def deciding(self) -> Deciding:
        """What makes a row of a probability and of features."""
        return Deciding(self.release, self.profile, self.familiar)

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Scores images; see the function `predict`."""
        seeing = self.seeing if self.familiar and self.seeing else self._unseeing
        return (look.prediction for look in self._looks(images, seeing))

    def look(self, images: Iterable[Image]) -> Iterator[Look]:
        """Scores images as `predict` does, and gives what the network saw of each."""
        return self._looks(images, self.seeing or self._unseeing)

    def _unseeing(self, squares: NDArray[np.uint8]) -> tuple[Any, Any]:
        return self.forward(squares), None

    def see(self, squares: NDArray[np.uint8]) -> Seen:
        """Yields what the version itself says of packed images, without a profile: the probability
        of each, and the features (d,) of its trunk; None if it has none."""
        return _scores(self.seeing or self._unseeing, squares)

    def _looks(self, images: Iterable[Image], seeing: Seeing) -> Iterator[Look]:
        work = partial(_inspect, geometry=self.geometry)
        named = ((_name(image, i), image) for i, image in enumerate(images))
        for seen in _batches(workers.each(work, named, self.processes, _killed, itemgetter(0))):
            yield from self._scored(seen, seeing)

    def _scored(self, seen: list[tuple[str, reading.Inspected]], seeing: Seeing) -> Iterator[Look]:
        squares = [item.pixels for _, item in seen if item.pixels is not None]
        scores = iter(_scores(seeing, np.stack(squares)) if squares else ())
        for name, item in seen:
            if item.pixels is None:
                yield Look(Prediction(name, None, "", item.problem), item.sha256, None, None)
            else:
                score, features = next(scores)
                called = self.deciding.called(name, score, features)
                yield Look(called, item.sha256, item.pixels, features)


def _scores(seeing: Seeing, squares: NDArray[np.uint8]) -> Seen:
    """Yields the probability and the features of each square."""
    probabilities, features = seeing(squares)
    # The views of the images follow each other; the first one is the images as they are.
    rows = [None] * len(squares) if features is None else np.asarray(features, np.float32)
    for (probability,), row in zip(np.asarray(probabilities), rows, strict=False):
        yield float(probability), row


def _name(image: Image, number: int) -> str:
    return f"image {number}" if isinstance(image, bytes) else os.fspath(image)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch


def _inspect(item: tuple[str, Image], geometry: Geometry) -> tuple[str, reading.Inspected]:
    name, image = item
    if isinstance(image, bytes):
        return name, reading.inspect_bytes(image, name, geometry)
    path = Path(image)
    try:
        if not path.is_file():  # a pipe or a device would block for ever
            return name, _problem(f"{path.name}: there is no such file")
        data = reading.read(path)
    except (OSError, ValueError) as error:  # no permission, a NUL in its name, a disk that fails
        return name, _problem(f"{path.name}: cannot be read ({error})")
    return name, reading.inspect_bytes(data, path.name, geometry)


def _killed(item: tuple[str, Image], why: str) -> tuple[str, reading.Inspected]:
    return item[0], _problem(f"{item[0]}: {why}")


def _problem(text: str) -> reading.Inspected:
    return reading.Inspected("", 0, text)
