"""The Data Docs say what failed, and need nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sound_tables import BOUNDS, COUNT, PAIRED, divided, first, table

from skin_pipeline.data import validation


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data Docs of a set with faults, in whose names HTML is hidden."""
    folder = tmp_path_factory.mktemp("docs")
    faulty = table(
        key=["<b>0</b>", *[f"k{i}" for i in range(1, COUNT)]],
        duplicates=first("d", "d", ""),
        group=PAIRED,
        sharpness=1.0,
    )
    validation.check_manifest(faulty, folder, **BOUNDS)
    return folder


def test_data_docs_are_the_same_two_pages_whenever_they_are_made(
    docs: Path, tmp_path: Path
) -> None:
    assert {path.name for path in docs.iterdir()} == {"index.html", "checks.html"}
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        validation.check_manifest(table(), folder, **BOUNDS)
    for page in ("index.html", "checks.html"):
        assert (tmp_path / "a" / page).read_bytes() == (tmp_path / "b" / page).read_bytes()


def test_data_docs_need_nothing_from_elsewhere(docs: Path) -> None:
    for page in docs.iterdir():
        text = page.read_text()
        assert not re.search(
            r"https?:|//\w|<script|<link(?! rel=\"icon\" href=\"data:)|url\(", text
        )


def test_links_between_the_pages_lead_to_the_check(docs: Path) -> None:
    index, checks = ((docs / page).read_text() for page in ("index.html", "checks.html"))
    links = dict(re.findall(r'<a href="checks\.html#(\d+)">(.*?)</a>', index))
    titles = dict(re.findall(r'<article id="(\d+)">\n<h3>.*?</span>: (.*?)</h3>', checks))
    assert links == titles
    assert 'href="index.html"' in checks


def test_data_docs_say_what_failed_why_and_in_which_images(docs: Path) -> None:
    index, checks = ((docs / page).read_text() for page in ("index.html", "checks.html"))
    assert re.search(r"Not fit for training: \d+ checks,\s+1 failed, 2 warnings", index)
    assert "Remove the image or correct its label." in index
    assert "Images with the same duplicates must have the same label." in checks
    assert "at least 98 % of the time" in checks
    assert "k3: 1" in checks


def test_what_a_file_is_called_is_shown_as_text(docs: Path) -> None:
    text = (docs / "checks.html").read_text()
    assert "<b>0</b>" not in text
    assert "&lt;b&gt;0&lt;/b&gt;" in text


def test_every_expectation_reads_as_a_sentence(tmp_path: Path) -> None:
    validation.check_manifest(table(), tmp_path, **BOUNDS)
    manifest = (tmp_path / "checks.html").read_text()
    validation.check_split(divided(), tmp_path)
    pages = manifest + (tmp_path / "checks.html").read_text()
    sentences = re.findall(r"<p>(.*?) <span class=\"muted\">\((?:critical|warning)\)", pages)
    assert len(sentences) > 30
    for sentence in sentences:
        assert sentence.endswith("."), sentence
        assert re.search(r"\b([mM]ust|may)\b", sentence), sentence
        assert not re.search(r"\$\w|None|Rendering failed|expect_|= ,|: ?\.$", sentence), sentence
