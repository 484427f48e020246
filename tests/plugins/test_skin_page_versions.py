"""The page of a version: files, provenance, card, moves, and what may be downloaded."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import key_pairs
import many_versions
import pytest
from released import opened

from skin_pipeline.provenance import SigningKeys
from skin_pipeline.storage import FolderStore, digest


@pytest.fixture
def versions(empty: FolderStore) -> list[str]:
    """The names of three versions in the configured store, oldest first; the last is champion."""
    return many_versions.write(empty, versions=3)


def test_a_version_is_told_with_files_and_digests(
    client: Any, versions: list[str], empty: FolderStore
) -> None:
    page = client.get(f"/version/skin/{versions[1]}")
    assert page.status_code == 200
    for name in ("model.keras", "card.md", "report.html", "manifest.json"):
        content = empty.read(f"models/skin/versions/{versions[1]}/{name}")
        assert f">{name}</span>" in page.text
        assert name == "manifest.json" or digest(content) in page.text
    assert "1.2 kB" in page.text  # the model
    assert "Its manifest is not signed." in page.text
    assert re.findall(r"<h3>(.*?)</h3>", page.text)[:7] == [
        *("Data set", "Validation", "Split", "Runs", "Evaluation", "Verdict", "Version")
    ]
    assert 'role="alert"' not in page.text


def test_every_link_of_the_page_leads_somewhere(client: Any, versions: list[str]) -> None:
    page = f"/version/skin/{versions[1]}"
    links = {
        html.unescape(link) for link in re.findall(r'href="(\.\./.*?)"', client.get(page).text)
    }
    ours = {link for link in links if "../dags/" not in link}
    assert any("document/evaluate" in link for link in ours)
    assert "../../../dags/skin_training/runs/scheduled__1" in links
    for link in sorted(ours):
        path = link.removeprefix("../../")
        if not path.startswith(("act/", "audit", "monitoring")):  # these ask Airflow's database
            assert client.get(f"/{path}").status_code == 200, path


def test_moves_to_a_version_and_away_from_it_are_told(client: Any, versions: list[str]) -> None:
    text = client.get(f"/version/skin/{versions[1]}").text.split("When it was in use")[1]
    assert text.count("to it, from") == 1
    assert text.count("away, to") == 1
    text = client.get(f"/version/skin/{versions[2]}").text
    assert '<span class="badge plain">champion</span>' in text
    assert "Roll back to it" not in text


def test_the_card_is_shown_as_text_without_script_or_link(client: Any, versions: list[str]) -> None:
    text = client.get(f"/version/skin/{versions[0]}").text.split("Model card</h2>")[1]
    assert "<h1>skin: model card</h1>" in text
    assert "<td>97 of 116</td>" in text
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert 'example.org/"' not in text


def test_a_card_that_was_changed_is_not_shown(
    client: Any, versions: list[str], empty: FolderStore
) -> None:
    key = f"models/skin/versions/{versions[0]}"
    (empty.root / f"{key}/card.md").write_text("# Approved for patients")
    page = client.get(f"/version/skin/{versions[0]}")
    assert page.status_code == 200
    assert "Approved for patients" not in page.text
    assert "card.md of version" in page.text
    assert client.get(f"/file/skin/{versions[0]}/card.md").status_code == 404


def test_a_missing_file_and_a_foreign_one_are_seen(
    client: Any, versions: list[str], empty: FolderStore
) -> None:
    key = f"models/skin/versions/{versions[0]}"
    empty.remove(f"{key}/metrics.json")
    empty.put(f"{key}/<b>foreign", b"x")
    text = client.get(f"/version/skin/{versions[0]}").text
    assert ">missing</span>" in text
    assert "not in the manifest" in text
    assert "&lt;b&gt;foreign" in text


@pytest.mark.parametrize("step", ["ingest", "validate", "split", "train", "evaluate", "gate"])
def test_a_damaged_document_spoils_its_own_part(
    client: Any, versions: list[str], empty: FolderStore, step: str
) -> None:
    for path in (empty.root / step).rglob("result.json"):
        path.write_text("{}")
    page = client.get(f"/version/skin/{versions[0]}")
    assert page.status_code == 200
    assert 'class="node broken"' in page.text
    assert "Files of the version" in page.text
    assert "Moves to it and away from it" in page.text


def test_a_damaged_manifest_leaves_the_moves(
    client: Any, versions: list[str], empty: FolderStore
) -> None:
    (empty.root / f"models/skin/versions/{versions[0]}/manifest.json").write_text("{}")
    page = client.get(f"/version/skin/{versions[0]}")
    assert page.status_code == 200
    assert "This version cannot be shown." in page.text
    assert "Moves to it and away from it" in page.text


def test_the_signature_is_told(
    client: Any, versions: list[str], empty: FolderStore, keys: SigningKeys, tmp_path: Path
) -> None:
    page = f"/version/skin/{versions[0]}"
    text = client.get(page).text
    assert "Do not use this version." in text
    assert "Its manifest is not trusted" in text
    other = replace(key_pairs.write(tmp_path, "theirs"), state="")
    manifest = empty.read(f"models/skin/versions/{versions[0]}/manifest.json")
    opened(empty, other)._version(versions[0]).sign(manifest)
    assert "Do not use this version." in client.get(page).text
    empty.remove(f"models/skin/versions/{versions[0]}/manifest.json.sig")
    opened(empty, keys)._version(versions[0]).sign(manifest)
    assert "Its manifest is signed with the trusted key." in client.get(page).text


@pytest.mark.parametrize(
    "path", ["skin/0123456789ab", "other/0123456789ab", "skin/..", "skin/0a%2f..", "skin/<b>"]
)
def test_what_is_not_there_is_said_so(client: Any, versions: list[str], path: str) -> None:
    page = client.get(f"/version/{path}")
    assert page.status_code == 404
    assert "<b>" not in page.text


# --- downloads and documents ---------------------------------------------------------------------


def test_report_and_card_are_handed_out_as_they_were_published(
    client: Any, versions: list[str], empty: FolderStore
) -> None:
    for name in ("report.html", "card.md", "card.json", "metrics.json", "verdict.json"):
        answer = client.get(f"/file/skin/{versions[0]}/{name}")
        assert answer.content == empty.read(f"models/skin/versions/{versions[0]}/{name}")
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "name",
    [
        "model.keras",
        "predictions.csv",
        "manifest.json",
        "other",
        "..%2f..%2fchampion.json",
        "%2e%2e",
        "card.md%00",
    ],
)
def test_no_other_file_is_handed_out(client: Any, versions: list[str], name: str) -> None:
    assert client.get(f"/file/skin/{versions[0]}/{name}").status_code == 404


def test_the_document_of_a_result_is_shown_as_text(client: Any, versions: list[str]) -> None:
    page = client.get("/document/ingest/01/result.json")
    assert page.status_code == 200
    assert "kaggle://owner/&lt;skin&gt;" in page.text
    assert "<skin>" not in page.text


@pytest.mark.parametrize(
    "key",
    [
        "models/skin/champion.json",
        "incidents/0.json",
        "ingest/../weights/result.json",
        "ingest/01/proofs/result.json",
        "evaluate/1/predictions.csv",
        "weights/1/result.json",
        "ingest/none/result.json",
        "ingest/01/result.json/..",
    ],
)
def test_no_other_object_is_shown(client: Any, versions: list[str], key: str) -> None:
    assert client.get(f"/document/{key}").status_code == 404
