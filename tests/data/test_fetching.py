"""The images of a source before they are decoded, and what their data set is made from."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import documents
import pytest

from skin_pipeline.contracts import Notice
from skin_pipeline.data.fetching import fetched, log_news
from skin_pipeline.job import Job

MakeJob = Callable[..., Job]


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A folder with an image of each class; what is in a file does not matter yet."""
    for label in ("benign", "malignant"):
        (tmp_path / "set" / label).mkdir(parents=True)
        (tmp_path / "set" / label / f"{label}.jpg").write_bytes(label.encode())
    return str(tmp_path / "set")


def inputs(job: Job) -> dict[str, object]:
    with fetched(job, job.settings.data, job.settings) as found:
        return found.inputs


def test_a_data_set_is_made_from_the_images_and_the_meaning_of_labels(
    make_job: MakeJob, source: str
) -> None:
    first = inputs(make_job(weights="imagenet", data=source))
    assert first == inputs(make_job(weights="imagenet", data=source, seed=7))
    assert first["synthetic"] is False
    named = inputs(make_job(weights="imagenet", data=source, malignant_values="bad"))
    assert {name for name in first if first[name] != named[name]} == {"labelling"}
    (Path(source) / "benign/more.jpg").write_bytes(b"more")
    more = inputs(make_job(weights="imagenet", data=source))
    assert {name for name in first if first[name] != more[name]} == {"content"}


def test_what_is_beside_the_images_and_was_not_there_before_is_logged(
    make_job: MakeJob, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    (Path(source) / "notes.docx").write_bytes(b"beside")
    job = make_job(weights="imagenet", data=source)
    with fetched(job, source, job.settings) as found, caplog.at_level(logging.WARNING):
        (notice,) = found.images.notices
        assert isinstance(notice, Notice)
        # As an earlier version of this code worded it.
        older = notice.model_copy(update={"reason": "is not read"})
        log_news(
            found.images.notices,
            documents.dataset("ingest/a").model_copy(update={"notices": (older,)}),
        )
        assert "beside_the_images" not in caplog.text
        log_news(
            found.images.notices, documents.dataset("ingest/a").model_copy(update={"notices": ()})
        )
        assert "beside_the_images" in caplog.text


def test_nothing_heavy_is_imported_to_find_what_a_data_set_is_made_from() -> None:
    heavy = {"numpy", "pandas", "PIL", "scipy", "sklearn", "jinja2", "great_expectations"}
    code = f"import sys, skin_pipeline.data.fetching; print({heavy!r} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
