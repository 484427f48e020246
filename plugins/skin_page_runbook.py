"""The page "Runbook": what to do about each alert, reason of a refusal and kind of error."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from skin_web import Route, page_link, render

if TYPE_CHECKING:
    from fastapi.responses import Response


def runbook_link(entry: str, base_url: str) -> str:
    """Returns the URL that shows an entry of the runbook inside the Airflow UI.

    Args:
        entry: Id of the entry, such as `task_failed`.
        base_url: The URL at which people reach Airflow; if it is empty, so is the link.
    """
    return page_link(f"runbook#{entry}", base_url)


@functools.cache
def _as_html() -> Any:
    """Returns a function from a line of the runbook to HTML; what looks like HTML in it is text."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    markdown = MarkdownIt("js-default")

    def html(line: str) -> Markup:
        # The other pages of the documentation are not served here: their links become text.
        here = re.sub(r"\[([^]]+)\]\((?!#)[^)]*\)", r"*\1*", line)
        return Markup(markdown.renderInline(here))

    return html


def _runbook_page() -> Response:
    from skin_pipeline.operations import runbook

    shown = runbook.sections()
    return render("runbook.html", sections=shown, html=_as_html(), slug=runbook.slug)


ROUTES = (Route("/runbook", _runbook_page),)
