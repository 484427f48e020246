"""What passes between the steps of batch scoring: its plan, its chunks and what became of them.

Times are ISO 8601 in UTC. The result that lasts is a `Batch` of `operations`.
"""

from __future__ import annotations

from pydantic import Field

from skin_pipeline.contracts.document import Contract, SafeText


class ScoringChunk(Contract):
    """Images that one task scores, and by which version: `version` is what `alias` named when the
    batch was planned.

    `images` has a row for each image: its name in the source, what the source itself calls it, and
    its state, which changes whenever its bytes may have changed. `profile` is the number of the
    profile of `site` that was the newest when the batch was planned; 0 without a site.
    """

    model: str
    alias: str
    version: str
    source: str
    run: str
    began_at: str
    images: tuple[tuple[str, str, str], ...]
    site: str = ""
    profile: int = Field(0, ge=0)


class ScoringPlan(Contract):
    """A batch of scoring before anything is scored: written once for each run.

    `chunks` are the keys of its chunks, and `images` how many images these have in all. `known`
    counts the images that were scored earlier and have not changed since, and `skipped` says which
    files are no images. `site` and `profile` are those of its chunks.
    """

    model: str
    alias: str
    version: str
    source: str
    run: str
    began_at: str
    chunks: tuple[str, ...]
    images: int = Field(ge=0)
    known: int = Field(ge=0)
    skipped: tuple[SafeText, ...] = ()
    site: str = ""
    profile: int = Field(0, ge=0)


class ScoredChunk(Contract):
    """Result of a chunk, written last.

    An image's id is the SHA-256 of its bytes, or its place if they could not be read; its place is
    the digest of its source, name and state.

    - `rows` is the key of the Parquet file with its rows, and empty if it has none; `ids` are the
      ids of the rows, in order.
    - `seen` has the place and the id of every image that was read.
    - `counts`: rows by label, and `unreadable`; images that are `known`, as their bytes were scored
      earlier or are in the chunk twice; and those that are `gone`, as they were removed or changed
      after the batch was planned.
    """

    rows: str
    ids: tuple[str, ...]
    seen: tuple[tuple[str, str], ...]
    counts: dict[str, int]


class Ledger(Contract):
    """Which images a version has scored: the keys of the files that list them, and how often this
    was changed."""

    changes: int = Field(0, ge=0)
    parts: tuple[str, ...] = ()
