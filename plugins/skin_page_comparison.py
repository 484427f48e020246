"""The page that compares two to five versions of a model, with the images they call differently."""

from __future__ import annotations

import io
import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from skin_reading import attempt, checked_version, chosen, not_there, page_model, page_store
from skin_web import HEADERS, Route, render

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi.responses import Response
    from numpy.typing import NDArray

    from skin_pipeline.contracts import Dataset, Release
    from skin_pipeline.operations import reading
    from skin_pipeline.release import Model

log = logging.getLogger(__name__)
guard(__name__)

SIDE, QUALITY = 128, 80  # of a thumbnail: pixels, and how well JPEG keeps them
LARGEST_SIDE = 2048  # pixels of an image that is read: ours are smaller
SHARD_KEY = re.compile(r"images/[0-9A-Za-z_-]+\.npy")
PICTURE_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'",
    "Cache-Control": "private, max-age=86400, immutable",
}
ABOUT_BYTES = 50_000  # that a comparison takes in the memory


def _comparison_page(name: str) -> Response:
    """Returns the comparison of the versions in the address: `?version=a&version=b`."""
    from skin_pipeline.operations import comparing

    store = page_store()
    model = page_model(store, name)
    wanted = [checked_version(version) for version in chosen("version")]
    if not comparing.FEWEST <= len(wanted) <= comparing.MOST:
        return _choose_again(name, wanted)
    for version in wanted:
        if not store.list(model.version_key(version)):
            not_there(f"{name} has no version {version}.")
    named = _named(model)
    versions = sorted(wanted, key=lambda version: "champion" not in named.get(version, ()))
    releases, problems = _releases(model, versions)
    values = _compared(store, name, releases) if len(releases) > 1 else {}
    return render(
        "comparison.html",
        **{"compared": None, **values},
        model=name,
        versions=[release.version for release in releases],
        named=named,
        problems=problems,
        most=comparing.MOST,
    )


def _choose_again(name: str, wanted: Sequence[str]) -> Response:
    from skin_pipeline.operations import comparing

    problem = (
        f"Choose {comparing.FEWEST} to {comparing.MOST} different versions: tick them on the page "
        f"of the model, and press Compare. Received: {len(wanted)}."
    )
    return render(
        "comparison.html", 422, compared=None, model=name, versions=[], named={}, problems=[problem]
    )


def _named(model: Model) -> dict[str, list[str]]:
    """Returns the aliases that name each version, as far as they can be read."""
    found: dict[str, list[str]] = {}
    for alias in model.unverified.pointing():
        pointer, _ = attempt(partial(model.unverified.pointer, alias), None)
        if pointer:
            found.setdefault(pointer.version, []).append(alias)
    return found


def _releases(model: Model, versions: Sequence[str]) -> tuple[list[Release], list[str]]:
    """Returns the manifests of versions, and why others cannot be read."""
    read = [attempt(partial(model.unverified.release, version), None) for version in versions]
    return [release for release, _ in read if release], [problem for _, problem in read if problem]


def _compared(store: reading.Reading, name: str, releases: Sequence[Release]) -> dict[str, Any]:
    """Returns what the page shows, computed once: what versions are made from never changes."""
    from skin_pipeline.operations import comparing, reading

    origins = comparing.origins(store, releases)
    problems = [problem for origin in origins for problem in origin.problems.values()]

    def found() -> dict[str, Any]:
        return {
            "compared": comparing.compare(store, origins),
            "data": comparing.data_rows(origins),
            "settings": comparing.setting_rows(origins),
            "code": comparing.code_rows(store, origins),
        }

    versions = (f"{release.version} {release.verdict}" for release in releases)
    place = store.of_this_store("compared", name, *versions)
    values = found() if problems else reading.MEMORY.kept(place, found, lambda _: ABOUT_BYTES)
    return {**values, "unreadable": problems}


# --- thumbnails ----------------------------------------------------------------------------------


def _thumbnail(name: str, version: str, shard: str, row: str) -> Response:
    """Returns an image of the data set that a version was made from, as a small JPEG."""
    from fastapi.responses import Response

    from skin_pipeline.operations import reading

    if not all(re.fullmatch(r"[0-9]{1,7}", number) for number in (shard, row)):
        not_there("There is no such image.")
    store = page_store()
    model = page_model(store, name)
    shards = _dataset(store, model, checked_version(version)).shards
    key = shards[int(shard)] if int(shard) < len(shards) else ""
    if not SHARD_KEY.fullmatch(key):
        not_there("There is no such image.")
    picture = reading.MEMORY.kept(
        store.of_this_store(key, row), lambda: _jpeg(store, key, int(row)), len
    )
    return Response(picture, 200, PICTURE_HEADERS, "image/jpeg")


def _dataset(store: reading.Reading, model: Model, version: str) -> Dataset:
    from skin_pipeline.operations import lineage

    release, _ = attempt(lambda: model.unverified.release(version), None)
    dataset = lineage.origin_of(store, release).dataset if release else None
    return dataset or not_there("The images of this version are not in the store.")


def _jpeg(store: reading.Reading, key: str, row: int) -> bytes:
    import numpy as np
    from PIL import Image

    from skin_pipeline.errors import BadInput

    try:  # a file of strangers is only data: this reads no pickles and no archives
        squares = np.lib.format.open_memmap(store.local(key), mode="r")
    except (BadInput, ValueError, OSError, OverflowError):
        not_there("The images of this version cannot be read.")
    if not _fits(squares) or row >= len(squares):
        not_there("There is no such image.")
    picture, sink = Image.fromarray(np.array(squares[row])), io.BytesIO()
    picture.thumbnail((SIDE, SIDE))
    picture.save(sink, "JPEG", quality=QUALITY)
    return sink.getvalue()


def _fits(squares: NDArray[Any]) -> bool:
    """Returns whether an array has colour images of a size that is not too large to be shown."""
    if squares.dtype != "uint8" or squares.ndim != 4 or squares.shape[-1] != 3:
        return False
    return all(0 < side <= LARGEST_SIDE for side in squares.shape[1:3])


ROUTES = (
    Route("/compare/{name}", _comparison_page),
    Route("/thumbnail/{name}/{version}/{shard}/{row}", _thumbnail),
)
