"""Reads the tables beside the images: the classes, if there are no class folders, and the metadata.

    reader = Reader(Labelling.of(settings))
    images = find(folder, reader.labels)  # of `data.sources`
    known = reader.read(images)
    known.table["patient_id"]

A table may be about other images, repeat itself, or contradict the folders. Only what can be
understood in exactly one way is used. A notice names what is not used, and the setting that would
use it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from skin_pipeline.data.metadata.columns import METADATA
from skin_pipeline.data.metadata.labelling import Labelling
from skin_pipeline.data.metadata.statements import Statements
from skin_pipeline.data.sources.found import Found, Images

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class Known(NamedTuple):
    """The images that can be used, with notices of the others, and a table of their metadata."""

    images: Images
    table: pd.DataFrame


class Reader:
    """Reads the tables beside one set of images. Both methods need them; they are read once.

    Args:
        labelling: The settings about labels and columns.
    """

    def __init__(self, labelling: Labelling) -> None:
        self.labelling = labelling
        self._statements: Statements | None = None

    def labels(self, tables: Sequence[Path], keys: Sequence[str]) -> list[str]:
        """Returns the class of each image according to the tables, "" if it is left out.

        Args:
            tables: Files that may be tables.
            keys: Path of each image below their common folder.

        Raises:
            BadInput: A table about the images is broken or contradicts another, no table has a
                column that the labelling names, or there are no labels of one of the classes.
        """
        files = [Found("", key, Path(key)) for key in keys]
        self._statements = Statements.of(tables, files, self.labelling)
        return self._statements.labels_alone()

    def read(self, images: Images) -> Known:
        """Returns the images that have a class, and their metadata.

        Returns:
            The images with notices of what is not used, and a frame with the index 0 to n - 1, in
            the order of the images, and the columns `METADATA`: strings, "" if nothing is known.

        Raises:
            BadInput: As `labels`, or a table contradicts the class folders.
        """
        import pandas as pd

        said = self._statements
        if said is None:  # `labels` was not called, because there are class folders
            said = Statements.of(images.tables, images.files, self.labelling)
            said.compare_with_folders()
        number = {item.key: at for at, item in enumerate(said.files)}
        left_out = said.left_out
        files = [item for item in images.files if number[item.key] not in left_out]
        rows = [[said.facts[number[item.key]].get(kind, "") for kind in METADATA] for item in files]
        table = pd.DataFrame(rows, columns=list(METADATA), dtype=str)
        counts = " ".join(f"{kind}={int((table[kind] != '').sum())}" for kind in METADATA)
        log.info("metadata_known images=%d %s", len(files), counts)
        notices = (*images.notices, *said.notices, *said.left_out_notices())
        return Known(Images(tuple(files), images.tables, notices), table)
