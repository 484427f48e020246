"""The page "Runbook": each entry has an address that alerts lead to."""

from __future__ import annotations

import re

import skin_page_runbook
from skin_page_runbook import runbook_link

from skin_pipeline.operations import runbook


def page() -> str:
    body: str = bytes(skin_page_runbook._runbook_page().body).decode()
    return body


def test_each_entry_is_on_the_page_under_its_id() -> None:
    ids = re.findall(r'<section id="(\w+)"', page())
    assert ids == list(runbook.entries())


def test_every_link_leads_to_something_on_the_page() -> None:
    links = re.findall(r"<main>.*</main>", page(), flags=re.DOTALL)[0]
    for target in re.findall(r'href="([^"]*)"', links):
        assert target.startswith("#"), target
        assert f'id="{target[1:]}"' in page(), target


def test_code_in_the_text_is_shown_as_code_and_markup_as_text() -> None:
    assert "<code>SKIN_DEADLINE_HOURS</code>" in page()
    html = skin_page_runbook._as_html()
    assert html("<script>x</script>") == "&lt;script&gt;x&lt;/script&gt;"
    assert html("see [settings](settings.md)") == "see <em>settings</em>"


def test_an_alert_links_to_its_entry() -> None:
    link = runbook_link("drift", "https://airflow.example/base/")
    assert link.endswith("/base/skin-models/runbook#drift")
    assert runbook_link("drift", "") == ""
