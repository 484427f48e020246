"""Writes the Data Docs: two pages without scripts, which load nothing from elsewhere.

Great Expectations' own pages load their style and scripts from other hosts, which a hospital's
network may not reach. These pages are made from its results and its sentences instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from skin_pipeline.contracts import Check
from skin_pipeline.foreign import on_page

TEMPLATES = Path(__file__).parent / "templates"
PAGES = ("index.html", "checks.html")


@dataclass(frozen=True)
class Finding:
    """A check with what only the Data Docs show: the expectation in words, why, and examples."""

    check: Check
    sentence: str
    why: str
    examples: tuple[str, ...]


def write(
    folder: Path, title: str, facts: Mapping[str, str], findings: Sequence[Finding], made_by: str
) -> None:
    """Writes the pages into an existing folder; `index.html` links to the other one."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=on_page,  # file names of strangers may contain anything
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for page in PAGES:
        html = environment.get_template(page).render(
            title=title, facts=facts, findings=findings, made_by=made_by
        )
        (folder / page).write_text(html, encoding="utf-8")
