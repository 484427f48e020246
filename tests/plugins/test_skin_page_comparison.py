"""The page that compares versions, and the images that it shows."""

from __future__ import annotations

import html
import io
import re
from typing import Any

import hand_made
import many_versions
import numpy as np
import pytest
from PIL import Image
from released import opened

from skin_pipeline.contracts import Dataset, dump, load
from skin_pipeline.storage import FolderStore


@pytest.fixture
def versions(empty: FolderStore) -> list[str]:
    """The names of three versions in the configured store, oldest first; the last is champion."""
    return many_versions.write(empty, versions=3)


def address(*versions: str, model: str = "skin") -> str:
    return f"/compare/{model}?" + "&".join(f"version={version}" for version in versions)


def test_versions_are_compared_with_the_champion(client: Any, versions: list[str]) -> None:
    page = client.get(address(*versions))
    assert page.status_code == 200
    assert f"those from version <code>{versions[-1]}</code>" in page.text
    assert "80 images" in page.text
    for table in ("Figures of each version", f"Differences from {versions[-1][:12]}"):
        assert table in page.text
    assert 'role="alert"' not in page.text
    assert "No difference." in page.text  # of their settings
    assert "3.15.1" in page.text


def test_without_a_champion_among_them_the_first_is_compared_with(
    client: Any, versions: list[str]
) -> None:
    text = client.get(address(versions[1], versions[0])).text
    assert f"those from version <code>{versions[1]}</code>" in text


@pytest.mark.parametrize("count", [0, 1, 6])
def test_two_to_five_versions_are_asked_for(client: Any, versions: list[str], count: int) -> None:
    names = [*versions, "0a", "0b", "0c"][:count]
    page = client.get(address(*names))
    assert page.status_code == 422
    assert "Choose 2 to 5 different versions" in page.text
    assert f"Received: {count}." in page.text


def test_the_same_version_twice_is_one(client: Any, versions: list[str]) -> None:
    assert client.get(address(versions[0], versions[0])).status_code == 422


def test_a_version_that_cannot_be_read_leaves_the_others(
    client: Any, versions: list[str], empty: FolderStore
) -> None:
    text = client.get(address(*versions[1:], "0123456789ab")).text
    assert "skin has no version 0123456789ab" in text
    assert "Figures of each version" in text
    (empty.root / f"evaluate/{versions[0]}/result.json").write_text("{}")
    text = html.unescape(client.get(address(versions[0], versions[1])).text)
    assert "A document of a version cannot be read." in text
    assert "Figures of each version" not in text
    assert "ingest/01" in text  # what is known of the data is there


@pytest.mark.parametrize("version", ["..", "%2e%2e", "../../weights", "0a/../0b", "<b>", "0a%00"])
def test_no_version_leads_out_of_the_folder_of_the_model(
    client: Any, versions: list[str], version: str
) -> None:
    assert client.get(address(versions[0], version)).status_code == 404


def test_the_form_of_the_page_of_the_model_leads_here(client: Any, versions: list[str]) -> None:
    text = client.get("/model/skin").text
    (form,) = re.findall(r'<form action="(.*?)" method="get">', text)
    assert form == "../compare/skin"
    offered = re.findall(r'name="version" value="(.*?)"', text)
    assert set(offered) == set(versions)


# --- thumbnails ----------------------------------------------------------------------------------


def test_images_whose_call_changed_are_shown(
    client: Any, versions: list[str], empty: FolderStore
) -> None:
    page = client.get(address(*versions[:2]))
    sources = re.findall(r'<img src="\.\./(.*?)"', page.text)
    assert sources
    data = load(empty, "ingest/01", Dataset)
    for source in sources[:3]:
        answer = client.get(f"/{source}")
        shard, row = map(int, source.split("/")[-2:])
        squares = np.load(empty.local(data.shards[shard]))
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.format == "JPEG"
            seen = np.asarray(picture.convert("RGB"), float)
        assert abs(seen - squares[row]).mean() < 12
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert answer.headers["Cache-Control"].startswith("private")
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
    assert "img-src 'self' data:" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "place", ["0/120", "2/0", "0/-1", "-1/0", "0/x", "x/0", "0/99999999", "../0", "0/%2e%2e"]
)
def test_nothing_but_images_of_the_version_is_shown(
    client: Any, versions: list[str], place: str
) -> None:
    assert client.get(f"/thumbnail/skin/{versions[0]}/{place}").status_code == 404


def test_an_image_of_another_version_s_data_set_is_not_shown(
    client: Any, versions: list[str], empty: FolderStore
) -> None:
    other = many_versions.put_images(empty, "02", seed=5, count=400)
    (version,) = many_versions.write(empty, versions=1, images=other, since=9)
    assert client.get(f"/thumbnail/skin/{version}/0/150").status_code == 200
    assert client.get(f"/thumbnail/skin/{versions[0]}/0/150").status_code == 404


@pytest.mark.parametrize(
    "key", ["weights/private.npy", "images/../weights/private.npy", "images/a/b.npy"]
)
def test_a_document_that_was_changed_shows_no_other_object_of_the_store(
    client: Any, versions: list[str], empty: FolderStore, key: str
) -> None:
    squares = np.zeros((2, 8, 8, 3), np.uint8)
    hand_made.put_array(empty, "weights/private.npy", squares)
    changed = load(empty, "ingest/01", Dataset).model_copy(update={"shards": (key,)})
    (empty.root / "ingest/01/result.json").write_bytes(dump(changed))
    assert client.get(f"/thumbnail/skin/{versions[0]}/0/0").status_code == 404


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x80\x04.", b"not an array"])
def test_a_file_that_is_no_array_is_not_shown(
    client: Any, versions: list[str], empty: FolderStore, content: bytes
) -> None:
    (empty.root / "images/01-0.npy").write_bytes(content)
    assert client.get(f"/thumbnail/skin/{versions[0]}/0/0").status_code == 404


def test_an_array_of_something_else_is_not_shown(
    client: Any, versions: list[str], empty: FolderStore
) -> None:
    empty.remove("images/01-0.npy")
    hand_made.put_array(empty, "images/01-0.npy", np.zeros((4, 8)))
    assert client.get(f"/thumbnail/skin/{versions[0]}/0/0").status_code == 404


def test_names_of_images_and_aliases_are_escaped(
    client: Any, versions: list[str], empty: FolderStore
) -> None:
    table = many_versions.put_images(empty, "03", seed=6)
    named = table.table.assign(key=[f"<b>{n}</b>.jpg" for n in range(len(table.table))])
    key = many_versions.tables.write(empty, "split/03/other.csv", named)
    split = empty.root / "split/03/result.json"
    split.write_text(split.read_text().replace("split/03/manifest.csv", key))
    images = table._replace(table=named)
    two = many_versions.write(empty, versions=2, images=images, since=20)
    text = client.get(address(*two)).text
    assert "&lt;b&gt;" in text
    assert "<b>0" not in re.sub(r"<b>(?:benign|malignant)</b>", "", text)
    assert opened(empty).champion
