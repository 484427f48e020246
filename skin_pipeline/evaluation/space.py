"""The space in which images are compared: a few directions of the trunk's pooled features.

space = fitted(pooled)               # of training images (n, d)
embedding = space.embed(pooled)      # of any images (n, k)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIRECTIONS = 12  # those in which skin images differ most
FLOOR = 1e-6  # of a spread that is divided by

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Space:
    """Directions of the trunk's features.

    Attributes:
        centre: Means of the pooled features (d,).
        spread: Standard deviations of the pooled features (d,).
        axes: Directions of the standardised features (d, k - 1), scaled so that images have the
            standard deviation 1 along each.
    """

    centre: Floats
    spread: Floats
    axes: Floats

    @property
    def channels(self) -> int:
        """How many pooled features an image has here; 0 if there is no space."""
        return len(self.centre)

    def embed(self, pooled: Floats) -> Floats:
        """Returns where images are in this space (n, k).

        All columns but the last are whitened principal components. The last is the logarithm of
        the distance to the space that they span: it is high for an image that shows what no image
        showed that the space was fitted on.

        Args:
            pooled: Pooled features (n, d).

        Raises:
            ValueError: The features have another shape.
        """
        if not self.channels:
            return np.zeros((len(pooled), 0), np.float32)
        if pooled.ndim != 2 or pooled.shape[1] != self.channels:
            raise ValueError(
                f"pooled features must have the shape (n, {self.channels}). Received: "
                f"shape={pooled.shape}"
            )
        standard = (pooled.astype(np.float32) - self.centre) / self.spread
        along = standard @ self.axes
        lengths = np.linalg.norm(self.axes, axis=0)
        within = ((along / lengths) ** 2).sum(axis=1)
        left = np.maximum((standard**2).sum(axis=1) - within, FLOOR)
        return np.column_stack([along, np.log(left) / 2]).astype(np.float32)


def nowhere() -> Space:
    """Returns the space of models that have no trunk: every image is embedded in no dimension."""
    none = np.zeros(0, np.float32)
    return Space(none, none, none.reshape(0, 0))


def fitted(pooled: Floats, most: int = DIRECTIONS) -> Space:
    """Returns the space in which pooled features (n, d) differ most, with at most `most` axes.

    The axes are the principal components of the standardised features, so that no stage of the
    trunk counts for more because its activations are larger.
    """
    from sklearn.decomposition import PCA

    centre, spread = pooled.mean(axis=0), np.maximum(pooled.std(axis=0), FLOOR)
    count = max(1, min(most, len(pooled) - 1, pooled.shape[1]))
    found = PCA(count, svd_solver="randomized", random_state=0).fit((pooled - centre) / spread)
    axes = found.components_.T / np.sqrt(np.maximum(found.explained_variance_, FLOOR))
    return Space(*(np.asarray(values, np.float32) for values in (centre, spread, axes)))
