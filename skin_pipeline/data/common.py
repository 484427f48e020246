"""Structure that many images of a set have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, binary_dilation

from skin_pipeline.data import surround

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
SAMPLE = 768
CROWD = 12
AGREE = 4
AGREED = 0.7
NEARBY = 2.5
MOST = 0.85

def structure(light: NDArray[np.uint8], field: Mask) -> Float:
    images = surround.filled(light.astype(np.float32), field)
    blur = lambda x, s: gaussian_filter(x, (0, s, s))
    band = blur(images, .7) - blur(images, 2.5)
    return (band / np.sqrt(blur(band * band, 6.) + 1) * field).astype(np.float32)

def references(ours: Any, theirs: Any) -> NDArray[np.uint8]:
    sides = [ours] if ours is theirs else [ours, theirs]
    out = []
    for side in sides:
        index = side.readable.index.to_numpy()
        count = min(len(index), SAMPLE // len(sides))
        out.append(side.images(index[np.linspace(0, len(index) - 1, count).astype(int)]))
    return np.concatenate(out)


class Shared(NamedTuple):
    layers: NDArray[np.float16]
    thumbs: NDArray[np.uint8]

    @classmethod
    def of(cls, images):
        return cls(structure(images, surround.field(images)).astype(np.float16), images)

    def without(self, light: NDArray[np.uint8], field: Mask) -> Mask:
        out = field.copy()
        layers = structure(light, field)
        refs = self.layers.reshape(len(self.layers), -1).astype(np.float32)
        norm = np.linalg.norm(refs, axis=1) + 1e-6
        for i, layer in enumerate(layers):
            score = refs @ layer.ravel() / norm
            score[(self.thumbs == light[i]).all((1, 2))] = -9
            near = np.argsort(-score)[:CROWD]
            near = near[score[near] > 0]
            if len(near) < AGREE: continue
            maps = agreement(layer, refs[near].reshape(-1, 64, 64))
            common = (maps > AGREED).sum(0) >= AGREE
            common = binary_dilation(common, iterations=2) & field[i]
            if common.sum() <= MOST * field[i].sum():
                out[i] &= ~common
        return out

def agreement(a: Float, others: Float) -> Float:
    blur = lambda x: gaussian_filter(x, (0, NEARBY, NEARBY))
    return blur(others * a) / np.sqrt(blur(others**2) * blur((a * a)[None]) + 1e-2)
