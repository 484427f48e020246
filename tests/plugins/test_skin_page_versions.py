"""The page of a version: where it comes from, its files, its model card, its moves."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from many_versions import Images, put_images, write
from models_server import REAL, fill
from profiled_sites import profile
from released import moves, opened

from skin_pipeline.contracts import Verdict, load
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Rollback
from skin_pipeline.release.sites import Profiles
from skin_pipeline.storage import FolderStore, digest

HOSTILE = "<img src=x onerror=alert(1)>"
CHANGED = "was changed: its SHA-256 is"


@pytest.fixture
def images(empty: FolderStore) -> Images:
    """Few images, in the configured store."""
    return put_images(empty, count=60)


@pytest.fixture
def two(empty: FolderStore, images: Images) -> list[str]:
    """Two versions of one model, the champion last."""
    return write(empty, versions=2, images=images)


def page_of(client: Any, version: str, model: str = "skin") -> str:
    """The page of a version, which must be there."""
    answer = client.get(f"/version/{model}/{version}")
    assert answer.status_code == 200
    return str(answer.text)


def part(text: str, start: str) -> str:
    """The section of a page that starts with this attribute."""
    (found,) = re.findall(rf"<section {start}>.*?</section>", text, re.DOTALL)
    return str(found)


def rewrite(store: FolderStore, key: str, **fields: Any) -> None:
    """Overwrite fields of a JSON document, as somebody may who writes into the store."""
    path = store.root / key
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def manifest(version: str) -> str:
    return f"models/skin/versions/{version}/manifest.json"


@pytest.mark.parametrize(
    "path", ["skin/" + "0" * 12, "skin/none", "skin/%2e%2e", "skin/a%2Fb", "other/0", "%2e%2e/0"]
)
def test_a_version_that_is_not_there_is_told_so(client: Any, two: list[str], path: str) -> None:
    assert client.get(f"/version/{path}").status_code == 404


# --- where it comes from -------------------------------------------------------------------------


def test_the_graph_leads_from_the_data_set_to_the_version_and_each_link_works(
    client: Any, two: list[str]
) -> None:
    graph = part(page_of(client, two[0]), 'aria-labelledby="provenance"')
    assert re.findall(r"<h3>(.*?)</h3>", graph) == [
        *("Data set", "Validation", "Split", "Runs", "Evaluation", "Verdict", "Version"),
    ]
    links = re.findall(r'href="(.*?)"', graph)
    ours = [link.removeprefix("../../") for link in links if "/dags/" not in link]
    assert "document/ingest/01/result.json" in ours
    assert "document/train/01_1/result.json" in ours
    assert f"view/gate/{two[0]}/report.html" in ours
    assert "view/validate/01/docs/index.html" in ours
    assert "view/split/01/docs/index.html" in ours
    for link in ours:
        assert client.get(f"/{link}").status_code == 200, link
    assert [link for link in links if "/dags/" in link] == [
        "../../../dags/skin_training/runs/scheduled__0"
    ]


@pytest.mark.parametrize("content", ["{}", "", "[" * 9000, '"\\ud800"'])
@pytest.mark.parametrize(
    ("stage", "unknown"),
    [
        ("ingest/01", 0),
        ("validate/01", 0),
        ("split/01", 0),
        ("train/01_0", 0),
        ("evaluate", 2),  # the split and the runs: only it names them
        ("gate", 5),  # everything
    ],
)
def test_a_damaged_document_spoils_its_own_part_of_the_graph(
    client: Any, empty: FolderStore, two: list[str], stage: str, unknown: int, content: str
) -> None:
    evaluation = load(empty, f"gate/{two[0]}", Verdict).evaluation
    key = {"evaluate": evaluation, "gate": f"gate/{two[0]}"}.get(stage, stage)
    (empty.root / key / "result.json").write_text(content)
    text = page_of(client, two[0])
    graph = part(text, 'aria-labelledby="provenance"')
    broken = re.findall(r'<div class="node broken">.*?</div>\s*</div>', graph, re.DOTALL)
    assert len(broken) == 1 + unknown
    assert sum(key in node for node in broken) == 1
    assert f'document/{key}/result.json"' not in graph
    assert "Files of the version" in text
    assert "97 of 116" in text
    assert "Moves to it" in text


def test_a_damaged_manifest_leaves_the_moves_of_the_version(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    (empty.root / manifest(two[0])).write_text("{}")
    text = page_of(client, two[0])
    assert "This version cannot be shown." in text
    assert "passed the gate" in part(text, 'aria-label="Moves"')
    assert "Download" not in text
    assert "This version cannot be shown" not in page_of(client, two[1])


def test_words_of_others_are_escaped(client: Any, empty: FolderStore, two: list[str]) -> None:
    rewrite(empty, f"gate/{two[0]}/result.json", reasons=[HOSTILE])
    rewrite(empty, "ingest/01/result.json", source=HOSTILE, classes={HOSTILE: 1})
    (empty.root / f"models/skin/versions/{two[0]}/{HOSTILE}").write_text("x")
    text = page_of(client, two[0])
    assert "<img" not in text
    assert text.count(html.escape(HOSTILE)) == 4


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "offered"),
    [(name, True) for name in ("report.html", "card.md", "card.json", "metrics.json")]
    + [("verdict.json", True), ("model.keras", False), ("predictions.csv", False)]
    + [("manifest.json", False), ("manifest.json.sig", False), ("none", False), ("", False)]
    + [("..%2fmanifest.json", False), ("%2e%2e%2f%2e%2e", False), ("card.md%00", False)]
    + [("report.html%2F..%2Fmodel.keras", False), ("REPORT.HTML", False)],
)
def test_only_papers_of_a_version_are_handed_out_never_the_model(
    client: Any, empty: FolderStore, two: list[str], file: str, offered: bool
) -> None:
    assert (f'/file/skin/{two[0]}/{file}"' in page_of(client, two[0])) is offered
    answer = client.get(f"/file/skin/{two[0]}/{file}")
    assert answer.status_code == (200 if offered else 404)
    if not offered:
        return
    assert answer.content == empty.read(f"models/skin/versions/{two[0]}/{file}")
    saved = f'attachment; filename="skin-{two[0][:12]}-{file}"'
    assert answer.headers["Content-Disposition"] == saved
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_a_file_that_the_manifest_does_not_name_is_shown_and_not_handed_out(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    files = {"model.keras": "0" * 64, "gone.txt": "1" * 64}
    rewrite(empty, manifest(two[0]), files=files)
    table = part(page_of(client, two[0]), 'aria-label="Files"')
    rows = {
        re.findall(r"<span>(.*?)</span>", row)[0]: row
        for row in re.findall(r"<tr role.*?</tr>", table.split("</thead>")[1], re.DOTALL)
    }
    assert "not in the manifest" in rows["report.html"]
    assert "not in the manifest" not in rows["manifest.json"]
    assert ">missing<" in rows["gone.txt"]
    assert "href" not in table
    assert client.get(f"/file/skin/{two[0]}/report.html").status_code == 404


def test_a_file_that_was_changed_is_refused_and_not_shown(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    (empty.root / f"models/skin/versions/{two[0]}/card.md").write_text("# All is well")
    answer = client.get(f"/file/skin/{two[0]}/card.md")
    assert answer.status_code == 404
    assert CHANGED in answer.text
    text = page_of(client, two[0])
    assert "The model card cannot be shown." in text
    assert "All is well" not in text
    assert client.get(f"/file/skin/{two[0]}/card.json").status_code == 200


def test_a_file_that_is_gone_is_told_so(client: Any, empty: FolderStore, two: list[str]) -> None:
    (empty.root / f"models/skin/versions/{two[0]}/report.html").unlink()
    assert client.get(f"/file/skin/{two[0]}/report.html").status_code == 404
    assert ">missing<" in page_of(client, two[0])


# --- the model card ------------------------------------------------------------------------------


def card(client: Any, store: FolderStore, version: str, text: str) -> str:
    """How a model card is shown."""
    (store.root / f"models/skin/versions/{version}/card.md").write_text(text)
    path = store.root / manifest(version)
    files = json.loads(path.read_text())["files"]
    rewrite(store, manifest(version), files={**files, "card.md": digest(text.encode())})
    return part(page_of(client, version), 'aria-labelledby="card"')


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "[a link](javascript:alert(1))",
        "[a link](https://example.org/)",
        "![a picture](https://example.org/seen.png)",
        "<https://example.org/>",
        "[a]: https://example.org/\n\n[a]",
        "| a |\n|---|\n| <b onclick=alert(1)>x</b> |",
        "```<script>\nx\n```",
        '```"><script>alert(1)</script>\nx\n```',
    ],
)
def test_a_model_card_brings_no_markup_no_link_and_no_picture(
    client: Any, empty: FolderStore, two: list[str], text: str
) -> None:
    shown = card(client, empty, two[0], text)
    assert not re.findall(r"<(?:script|img|a|b|iframe)\b", shown)


def test_a_model_card_is_laid_out(client: Any, empty: FolderStore, two: list[str]) -> None:
    shown = card(
        client, empty, two[0], "# Card\n\n> Not for patients.\n\n| a | b |\n|---|---|\n|1|2|"
    )
    for tag in ("<h1>Card</h1>", "<blockquote>", "<td>2</td>"):
        assert tag in shown


# --- aliases and signatures ----------------------------------------------------------------------


def test_moves_to_it_and_away_from_it_are_told_the_latest_first(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    now, before = moves(empty)[:2]
    back = Rollback(before.version, now.version)
    assert opened(empty).carry_out(back, by="ops", reason=f"alarms {HOSTILE}").rollback
    text = page_of(client, two[0])
    shown = part(text, 'aria-label="Moves"')
    assert re.findall(r"to it|away, to", shown.split("<tbody")[1]) == ["to it", "away, to", "to it"]
    assert shown.count("rolled back on purpose") == 1
    assert html.escape(HOSTILE) in shown
    assert '<span class="badge plain">champion</span>' in text
    assert '<span class="badge plain">champion</span>' not in page_of(client, two[1])


def test_only_a_version_that_is_not_the_champion_is_compared_or_rolled_back_to(
    client: Any, two: list[str]
) -> None:
    other, champion = page_of(client, two[0]), page_of(client, two[1])
    (link,) = re.findall(r'href="../../(compare/.*?)"', other)
    assert client.get(f"/{html.unescape(link)}").status_code == 200
    assert f"act/rollback?model=skin&amp;version={two[0]}" in other
    assert "Compare with the champion" not in champion
    assert "act/rollback" not in champion
    assert "act/alias" in champion


def test_without_a_key_a_manifest_is_not_verified(client: Any, two: list[str]) -> None:
    text = page_of(client, two[0])
    assert "Its manifest is not signed." in text
    assert "Do not use this version." not in text


def test_with_a_key_a_version_that_is_not_signed_must_not_be_used(
    client: Any, two: list[str], keys: SigningKeys
) -> None:
    text = page_of(client, two[0])
    assert "Do not use this version." in text
    assert "Its manifest is not trusted." in text


def test_a_version_of_which_little_is_left_is_shown(client: Any, empty: FolderStore) -> None:
    fill(empty)  # its versions have no files
    now = moves(empty, model=REAL)[0]
    text = page_of(client, now.version, REAL)
    assert "This version has no model card." in text


# --- documents -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "models/skin/champion.json",
        "weights/private.html",
        "gate/../models/skin/champion.json",
        "gate/%2e%2e/weights/result.json",
        "gate/x/report.html",
        "gate/none/result.json",
        "/gate/x/result.json",
        "incidents/result.json",
        "gate/x/again_/result.json",
        "",
    ],
)
def test_only_results_of_steps_are_shown_as_documents(
    client: Any, empty: FolderStore, key: str
) -> None:
    for name in ("models/skin/champion.json", "weights/private.html", "gate/x/report.html"):
        empty.put(name, b'"not for the page"')
    empty.put("weights/result.json", b'"not for the page"')
    empty.put("gate/x/result.json", b'{"a": 1}')
    assert client.get("/document/gate/x/result.json").status_code == 200
    answer = client.get(f"/document/{key}")
    assert answer.status_code == 404
    assert "not for the page" not in answer.text


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b'{"a": {"b": 1}}', "&#34;b&#34;: 1"),
        (b"not JSON \xff", "not JSON"),
        (b'"<script>alert(1)</script>"', "&lt;script&gt;alert(1)&lt;/script&gt;"),
        (b'"\\ud800"', "\\ud800"),
        (b"[" * 100_000, "[[[["),
        (b'"\\u202e\\u0000"', "\\u202e"),
        (b"1" * 5000, "1111"),
        (b"", "result.json"),
    ],
)
def test_any_document_is_shown_as_text(
    client: Any, empty: FolderStore, content: bytes, shown: str
) -> None:
    empty.put("gate/x/result.json", content)
    page = client.get("/document/gate/x/result.json")
    assert page.status_code == 200
    assert shown in page.text
    assert "<script>alert" not in page.text
    assert "longer than what is shown" not in page.text


def test_a_long_document_is_cut(client: Any, empty: FolderStore) -> None:
    empty.put("gate/x/result.json", json.dumps(["x" * 70] * 9000).encode())
    page = client.get("/document/gate/x/result.json")
    assert "The document is longer than what is shown." in page.text
    assert page.text.count("x" * 70) < 3000


# --- sites ---------------------------------------------------------------------------------------


def test_a_version_without_profiles_says_that_its_threshold_is_not_validated(
    client: Any, two: list[str]
) -> None:
    shown = part(page_of(client, two[0]), 'aria-labelledby="sites"')
    assert "For images of another origin" in shown
    assert 'href="../../../dags/skin_site"' in shown


def test_the_newest_profile_of_each_site_is_shown_with_its_intervals(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    known = Profiles.of(opened(empty), two[0])
    known.add(profile(version=two[0], threshold=0.9))
    known.add(profile(version=two[0]))
    known.add(profile("clinic-c", version=two[0], by=HOSTILE))
    shown = part(page_of(client, two[0]), 'aria-labelledby="sites"')
    assert re.findall(r"<h3>(.*?)</h3>", shown) == ["clinic-b", "clinic-c"]
    assert "profile 2, for version" in shown
    assert "threshold 0.200" in shown
    assert "0.900" not in shown.partition("Sensitivity")[0]
    assert "sensitivity 90 % [85 %, 95 %]" in shown
    assert "<img" not in shown
    assert "clinic-b" not in part(page_of(client, two[1]), 'aria-labelledby="sites"')


def test_a_profile_that_was_changed_is_shown_as_one_not_to_use(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    Profiles.of(opened(empty), two[0]).add(profile(version=two[0]))
    rewrite(empty, f"models/skin/sites/{two[0]}/clinic-b/000001.json", site="clinic-z")
    shown = part(page_of(client, two[0]), 'aria-labelledby="sites"')
    assert "Do not use this profile." in shown
    assert "is not what it says" in html.unescape(shown)


def test_a_version_says_on_which_images_it_gives_no_decision(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    assert "The model gives a decision on every image." in page_of(client, two[-1])
    rule = {"margin": 0.5, "near": 0.1, "familiarity": 0.05, "schema_version": 1}
    rewrite(empty, manifest(two[-1]), abstention=rule)
    said = part(page_of(client, two[-1]), 'aria-labelledby="figures"')
    assert "no decision (unsure) on images with a probability between" in said
    assert "as 10 % of the validation images have" in said
    assert "all but 5 % of the validation images" in said
