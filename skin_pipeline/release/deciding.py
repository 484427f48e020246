"""What a version says of an image: from the network's output to a probability and a label.

deciding = Deciding(release, profile, known)
deciding.called("a.jpg", 0.62, features)        # malignant, benign, or unsure
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import Release, SiteProfile
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import familiarity
from skin_pipeline.release.sites.recalibration import Recalibration
from skin_pipeline.release.versions import FAMILIARITY
from skin_pipeline.storage import copied_file, scratch

UNSURE = "unsure"  # the label of an image from which a model abstains


class Prediction(NamedTuple):
    """The row of an image. If it has no probability, it has a `problem` and no label.

    The label is `unsure` where the model abstains. The familiarity is the share of validation
    images that are at least as unusual, above 0 and at most 1; None if the model knows none.
    """

    image: str
    probability: float | None
    label: str
    problem: str
    familiarity: float | None = None


@dataclass(frozen=True)
class Deciding:
    """How a version decides, at a site if there is a profile.

    Attributes:
        release: The version's manifest.
        profile: Of the site that images are from; None for the version as it is.
        familiar: What is familiar to the version; None if it knows none.
    """

    release: Release
    profile: SiteProfile | None = None
    familiar: familiarity.Familiarity | None = None

    @property
    def threshold(self) -> float:
        """The probability from which an image is classified as malignant."""
        return self.profile.threshold if self.profile else self.release.threshold

    def called(
        self, name: str, probability: float, features: NDArray[np.float32] | None = None
    ) -> Prediction:
        """Returns the row of an image.

        Args:
            name: Of the image.
            probability: What the model gave; one that is none becomes a problem.
            features: What its trunk made of the image (d,); None if it has none.
        """
        if not 0 <= probability <= 1:
            return Prediction(name, None, "", f"the model gave no probability: {probability}")
        known = self._familiarity(features)
        rule = self.release.abstention
        if self.profile:
            made = Recalibration.of_profile(self.profile)
            probability = made.one(probability)
            # Near is what is near the site's threshold. The slope stretches logits, and with them
            # the margin, so that it is as wide as before among the version's own probabilities.
            rule = rule.model_copy(update={"margin": rule.margin * made.slope})
        label: str = self.release.labels[probability >= self.threshold]
        seen = np.array([probability]), np.array([np.nan if known is None else known])
        if familiarity.abstained(rule, *seen, self.threshold)[0]:
            label = UNSURE
        return Prediction(name, probability, label, "", known)

    def _familiarity(self, features: NDArray[np.float32] | None) -> float | None:
        if self.familiar is None or features is None:
            return None
        return float(self.familiar.of(features[None])[0])


def familiar_to(release: Release, path: Path | None) -> familiarity.Familiarity | None:
    """Returns what is familiar to a version; None if it knows none, or its file is not needed.

    The file is compared with the manifest's digest and read as data only.

    Args:
        release: The version's manifest.
        path: The file; None if there is none.

    Raises:
        BadInput: The file is missing and the version abstains by it, or it is not the one that the
            manifest names, or damaged.
    """
    if path is None:
        if release.abstention.familiarity:
            raise BadInput(
                f"version {release.version} of {release.model} gives no decision on unusual "
                f"images, and there is no {FAMILIARITY} to know them by. Keep that file of the "
                "version beside its model, or use another version"
            )
        return None
    with scratch() as folder:
        copy = folder / FAMILIARITY
        if copied_file(path, copy) != release.files.get(FAMILIARITY):
            raise BadInput(
                f"{path} is not the file that the manifest of version {release.version} names. "
                "Restore it, or use another version"
            )
        try:
            return familiarity.read(copy)
        except ValueError as error:
            raise BadInput(f"{path} is damaged: {error}. Use another version") from None
