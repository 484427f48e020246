"""The table of scores: what a stranger's file names and model write into it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skin_pipeline.config import Deployment
from skin_pipeline.data.sources import SourceFile
from skin_pipeline.release import scores
from skin_pipeline.release.predict import Prediction


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("=cmd|'/c calc'!A1.jpg", "'=cmd|'/c calc'!A1.jpg"),
        ("-1.jpg", "'-1.jpg"),
        ("@x.jpg", "'@x.jpg"),
        ("\uff1d1.jpg", "'\uff1d1.jpg"),
        ("\t=1.jpg", "\\t=1.jpg"),
        ("a;=1.jpg", "a;'=1.jpg"),
        ("gpj.\u202eexe.jpg", "gpj.\\u202eexe.jpg"),
        ("\x1b[2J.jpg", "\\x1b[2J.jpg"),
        ("a\nb.jpg", "a\\nb.jpg"),
        ("\udcff.jpg", "\\udcff.jpg"),
        ("lesions/1.jpg", "lesions/1.jpg"),
    ],
)
def test_a_file_name_is_no_formula_and_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, written: Any
) -> None:
    row = Prediction(name, None, "", f"{Path(name).name}: damaged")
    told: dict[str, Any] = {}

    def predicted(*_: Any, **more: Any) -> Any:
        told.update(more)
        return iter([row])

    monkeypatch.setattr(scores, "predict", predicted)
    job: Any = SimpleNamespace(threads=3, deployment=Deployment(scoring_engine="openvino"))
    files = [SourceFile(name, Path("x"))]
    sheet = io.StringIO()
    scores._to_csv(scores._rows(job, files, cast(Any, None), Counter()), sheet)
    header, cells = csv.reader(io.StringIO(sheet.getvalue()))
    assert header == list(Prediction._fields)
    assert cells[0] == written
    assert told == {"threads": 3, "engine": "openvino"}
    assert all(cell.isprintable() for cell in cells)
    assert not [cell for cell in cells if cell[:1] in {"=", "+", "-", "@", "\t"}]
