"""The page that compares versions, and the images on it."""

from __future__ import annotations

import html
import io
import json
import re
from pathlib import Path
from typing import Any

import hand_made
import numpy as np
import pytest
import skin_page_comparison
from many_versions import Images, put_images, write
from PIL import Image
from released import opened

from skin_pipeline import tables
from skin_pipeline.contracts import Evaluation, Verdict, load
from skin_pipeline.operations import comparing, reading
from skin_pipeline.storage import FolderStore

HOSTILE = "<script>alert('x')</script>"
ESCAPED = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"


@pytest.fixture
def images(empty: FolderStore) -> Images:
    """Few images, in the configured store."""
    return put_images(empty, count=60)


@pytest.fixture
def two(empty: FolderStore, images: Images) -> list[str]:
    """Two versions of one model, the champion last."""
    return write(empty, versions=2, images=images)


def compared(client: Any, *versions: str, model: str = "skin") -> Any:
    """The answer to a comparison."""
    query = "&".join(f"version={version}" for version in versions)
    return client.get(f"/compare/{model}?{query}")


def part(text: str, name: str) -> str:
    """The section of a page with this heading."""
    (found,) = re.findall(rf'<section aria-labelledby="{name}">.*?</section>', text, re.DOTALL)
    return str(found)


def damage(store: FolderStore, key: str, content: bytes = b"{}") -> None:
    """Overwrite an object."""
    path = store.root / key
    assert path.is_file()
    path.write_bytes(content)


def change(store: FolderStore, key: str, **fields: Any) -> None:
    """Overwrite fields of a document, as somebody may who writes into the store."""
    path = store.root / key / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def verdict_of(version: str) -> str:
    return f"gate/{version}"


# --- what is compared ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 5])
def test_two_to_five_versions_are_compared_with_the_champion_first(
    client: Any, empty: FolderStore, images: Images, count: int
) -> None:
    versions = write(empty, versions=count, images=images)
    page = compared(client, *versions)
    assert page.status_code == 200
    figures = part(page.text, "figures")
    each, differences = re.findall(r"<tbody.*?</tbody>", figures, re.DOTALL)
    assert re.findall(r'/version/skin/(\w+)"', each) == [versions[-1], *versions[:-1]]
    assert re.findall(r'/version/skin/(\w+)"', differences) == versions[:-1]
    assert f"Differences are those from version <code>{versions[-1]}</code>" in page.text
    tests = int(images.is_test.sum())
    assert f"{tests} images, " in figures


@pytest.mark.parametrize(
    ("chosen", "received"), [([], 0), ([0], 1), ([0, 0, 0], 1), ([0, 1, 2, 3, 4, 5], 6)]
)
def test_fewer_than_two_or_more_than_five_different_versions_are_refused(
    client: Any, empty: FolderStore, images: Images, chosen: list[int], received: int
) -> None:
    versions = write(empty, versions=6, images=images)
    page = compared(client, *(versions[number] for number in chosen))
    assert page.status_code == 422
    assert "Choose 2 to 5 different versions" in page.text
    assert f"Received: {received}." in page.text
    assert "<table" not in page.text


def test_a_version_that_is_ticked_twice_is_compared_once(client: Any, two: list[str]) -> None:
    page = compared(client, two[0], two[1], two[0])
    assert page.status_code == 200
    assert part(page.text, "figures") == part(compared(client, *two).text, "figures")


@pytest.mark.parametrize(
    "other", ["0" * 64, "none", "..", "%2e%2e%2f%2e%2e", "%3Cb%3E", "a%2Fmanifest.json", ""]
)
def test_a_version_that_is_not_there_is_named_and_nothing_is_compared(
    client: Any, two: list[str], other: str
) -> None:
    page = compared(client, two[0], other, two[1])
    if other == "":  # which a browser may send, and which names nothing
        assert page.status_code == 200
        return
    assert page.status_code == 404
    assert "no version" in page.text
    assert "<b>" not in page.text.split("<main")[1]
    assert "<table" not in page.text


@pytest.mark.parametrize("model", ["other", "%2e%2e", "skin%2Fversions", "SKIN", "<b>"])
def test_a_model_that_is_not_there_is_refused(client: Any, two: list[str], model: str) -> None:
    page = compared(client, *two, model=model)
    assert page.status_code == 404
    assert "<b>" not in page.text


# --- what differs --------------------------------------------------------------------------------


def test_only_settings_that_differ_are_shown_with_the_value_of_each_version(
    client: Any, empty: FolderStore, images: Images
) -> None:
    first, last = write(
        empty, versions=2, images=images, settings={"min_accuracy": 0.61, "odd": HOSTILE}
    )
    settings = part(compared(client, first, last).text, "settings")
    rows = re.findall(r"<tr.*?</tr>", settings.split("</thead>")[1], re.DOTALL)
    assert [re.findall(r"<span>(\w+)", row)[0] for row in rows] == ["min_accuracy", "odd"]
    values = [re.findall(r'<span class="value">(.*?)</span>', row) for row in rows]
    assert values == [["0.61", "0.75"], [ESCAPED, "\N{EN DASH}"]]
    assert settings.count(">differs</span>") == 2


def test_equal_settings_are_not_listed(client: Any, two: list[str]) -> None:
    assert "No difference." in part(compared(client, *two).text, "settings")


def test_versions_on_other_data_say_what_differs_and_compare_only_what_they_share(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    others = put_images(empty, "02", seed=1, count=60)
    (other,) = write(empty, versions=1, images=others, since=2)
    page = compared(client, two[0], other)
    data = part(page.text, "data")
    row = next(row for row in re.findall(r"<tr.*?</tr>", data, re.DOTALL) if "data set" in row)
    assert re.findall(r'"value">(.*?)<', row) == ["ingest/02", "ingest/01"]
    assert "differs" in row
    assert "No test image is left that all versions share." in part(page.text, "figures")
    assert "no test image is common to all versions" in part(page.text, "changed")
    assert "<img" not in page.text


def test_images_that_are_called_differently_have_both_probabilities_and_a_picture(
    client: Any, empty: FolderStore, images: Images, two: list[str]
) -> None:
    champion, other = two[1], two[0]
    scores = [
        tables.read_scores(
            empty,
            load(empty, load(empty, verdict_of(v), Verdict).evaluation, Evaluation).predictions,
        ).set_index("key")["probability"]
        for v in (champion, other)
    ]
    calls = [score[images.table.loc[images.is_test, "key"]] >= 0.4 for score in scores]
    differ = set(calls[0].index[calls[0] != calls[1]])
    assert differ
    shown = part(compared(client, *two).text, "changed")
    items = re.findall(r"<li><figure>.*?</figure>", shown, re.DOTALL)
    assert {re.findall(r'name">(.*?)<', item)[0] for item in items} == differ
    rows = images.table.set_index("key")
    for item in items:
        (key,) = re.findall(r'name">(.*?)<', item)
        seen = re.findall(r"</code> ([\d.]+) ", item)
        assert seen == [f"{score[key]:.3f}" for score in scores]
        row = rows.loc[key]
        assert f"/thumbnail/skin/{champion}/{row['shard']}/{row['row']}" in item
        good = [(s[key] >= 0.4) == (row["label"] == "malignant") for s in scores]
        badges = re.findall(r'badge (good|bad)">', item)
        assert badges == ["good" if right else "bad" for right in good]


def test_names_of_images_and_packages_are_escaped(
    client: Any, empty: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hostile_rows(*given: Any) -> Any:
        table = rows(*given)
        return table.assign(key=[f'"><img src=x>{key}' for key in table["key"]])

    rows = hand_made.rows
    monkeypatch.setattr(hand_made, "rows", hostile_rows)
    versions = write(empty, versions=2, images=put_images(empty, count=60))
    change(empty, verdict_of(versions[0]), versions={HOSTILE: HOSTILE})
    text = compared(client, *versions).text
    assert "<img src=x>" not in text
    assert html.escape('"><img src=x>image-0') in text.replace("&#34;", "&quot;")
    assert "<script>alert" not in text
    assert ESCAPED in part(text, "code")


# --- damage --------------------------------------------------------------------------------------


def test_a_damaged_manifest_leaves_the_other_versions_compared(
    client: Any, empty: FolderStore, images: Images
) -> None:
    versions = write(empty, versions=3, images=images)
    damage(empty, f"models/skin/versions/{versions[0]}/manifest.json")
    page = compared(client, *versions)
    assert page.status_code == 200
    assert versions[0] in re.findall(r'role="alert">(.*?)</p>', page.text, re.DOTALL)[0]
    assert len(re.findall(r"<tbody", part(page.text, "figures"))) == 2


@pytest.mark.parametrize("content", [b"{}", b"\xff\xfe", b"key,test\n1,2,3\n4"])
@pytest.mark.parametrize("what", ["verdict", "evaluation", "split", "predictions", "table"])
def test_damage_of_a_version_s_documents_leaves_the_rest_of_the_page(
    client: Any, empty: FolderStore, images: Images, two: list[str], what: str, content: bytes
) -> None:
    verdict = load(empty, verdict_of(two[0]), Verdict)
    evaluation = load(empty, verdict.evaluation, Evaluation)
    damage(
        empty,
        {
            "verdict": f"{verdict_of(two[0])}/result.json",
            "evaluation": f"{verdict.evaluation}/result.json",
            "split": f"{images.split}/result.json",
            "predictions": evaluation.predictions,
            "table": f"{images.split}/manifest.parquet",
        }[what],
        content,
    )
    page = compared(client, *two)
    assert page.status_code == 200
    assert 'role="alert"' in part(page.text, "figures")
    for name in ("data", "settings", "code"):
        assert part(page.text, name)
    keras = re.findall(r"<span>keras.*?</tr>", part(page.text, "code"), re.DOTALL)
    assert "3.15.1" in keras[0]


# --- thumbnails ----------------------------------------------------------------------------------


def picture(answer: Any) -> Any:
    assert answer.status_code == 200
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)


def test_a_thumbnail_is_the_image_of_the_version_s_own_data_set(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    others = put_images(empty, "02", seed=1, count=60)
    (other,) = write(empty, versions=1, images=others, since=2)
    for version, name in ((two[0], "01"), (other, "02")):
        for shard, row in ((0, 0), (1, 29)):
            answer = client.get(f"/thumbnail/skin/{version}/{shard}/{row}")
            square = np.load(empty.root / f"images/{name}-{shard}.npy")[row].astype(int)
            assert np.abs(picture(answer) - square).mean() < 12  # what JPEG takes of the noise
            assert answer.headers["Content-Type"] == "image/jpeg"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
            assert answer.headers["Cache-Control"].startswith("private")


def test_a_large_image_becomes_a_small_picture(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    sink = io.BytesIO()
    np.save(sink, np.zeros((1, 500, 500, 3), np.uint8))
    damage(empty, "images/01-0.npy", sink.getvalue())
    assert picture(client.get(f"/thumbnail/skin/{two[0]}/0/0")).shape == (128, 128, 3)


@pytest.mark.parametrize(
    "place",
    [
        "2/0",
        "0/30",
        "-1/0",
        "0/-1",
        "0/1e1",
        "0/%D9%A1",
        "0/0x1",
        "12345678/0",
        "0/12345678",
        "0/0%0A",
        "0/",
        "..%2f..%2fweights/0",
        "%2e%2e/0",
        "0/..%2f..%2fprivate.npy",
        "0/0/0",
        "a/b",
    ],
)
def test_what_is_no_image_of_the_data_set_is_not_there(
    client: Any, empty: FolderStore, two: list[str], place: str
) -> None:
    hand_made.put_array(empty, "weights/private.npy", np.zeros((9, 64, 64, 3), np.uint8))
    assert client.get(f"/thumbnail/skin/{two[0]}/0/0").status_code == 200
    answer = client.get(f"/thumbnail/skin/{two[0]}/{place}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] != "image/jpeg"


@pytest.mark.parametrize(
    ("model", "version"),
    [("other", None), ("skin", "0" * 64), ("skin", "%2e%2e"), ("..%2fmodels%2fskin", None)],
)
def test_thumbnails_are_only_those_of_a_version_that_is_there(
    client: Any, two: list[str], model: str, version: str | None
) -> None:
    assert client.get(f"/thumbnail/{model}/{version or two[0]}/0/0").status_code == 404


@pytest.mark.parametrize(
    "key",
    [
        "weights/private.npy",
        "images/../weights/private.npy",
        "/etc/passwd",
        "images/sub/a.npy",
        "images/.npy",
        "images/a.npy\n",
        "split/01/manifest.parquet",
    ],
)
def test_a_data_set_that_names_other_files_of_the_store_shows_none_of_them(
    client: Any, empty: FolderStore, two: list[str], key: str
) -> None:
    hand_made.put_array(empty, "weights/private.npy", np.zeros((9, 64, 64, 3), np.uint8))
    hand_made.put_array(empty, "images/sub/a.npy", np.zeros((9, 64, 64, 3), np.uint8))
    change(empty, "ingest/01", shards=[key, "images/01-1.npy"])
    assert client.get(f"/thumbnail/skin/{two[0]}/0/0").status_code == 404


def saved(array: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=True)
    return sink.getvalue()


def zipped() -> bytes:
    sink = io.BytesIO()
    np.savez(sink, a=np.zeros((1, 64, 64, 3), np.uint8))
    return sink.getvalue()


def claims(shape: str) -> bytes:
    """The header of a file that claims to have an array of this shape, without the array."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (118 - len(text) - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


BROKEN = {
    "empty": b"",
    "no array": b"not an array",
    "half an array": saved(np.zeros((60, 64, 64, 3), np.uint8))[:2000],
    "pickle": saved(np.array([{"a": 1}], dtype=object)),
    "archive": zipped(),
    "half an archive": zipped()[:40],
    "numbers": saved(np.zeros((9, 64, 64, 3), np.float32)),
    "grey": saved(np.zeros((9, 64, 64), np.uint8)),
    "four channels": saved(np.zeros((9, 64, 64, 4), np.uint8)),
    "no pixels": saved(np.zeros((9, 0, 0, 3), np.uint8)),
    "no images": saved(np.zeros((0, 64, 64, 3), np.uint8)),
    "a claim": claims("(1, 90000, 90000, 3)"),
    "a huge claim": claims(f"({10**18}, 9, 9, 3)"),
    "a negative claim": claims("(-1, 9, 9, 3)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_image_file_that_is_damaged_or_hostile_shows_nothing(
    client: Any, empty: FolderStore, two: list[str], name: str
) -> None:
    damage(empty, "images/01-0.npy", BROKEN[name])
    assert client.get(f"/thumbnail/skin/{two[0]}/0/0").status_code == 404
    assert client.get(f"/thumbnail/skin/{two[0]}/1/0").status_code == 200  # another file


def test_images_that_are_larger_than_any_of_ours_are_not_read(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    """As long as their file claims, but sparse: a gigabyte would be copied."""
    damage(empty, "images/01-0.npy", claims("(1, 20000, 20000, 3)"))
    with (empty.root / "images/01-0.npy").open("r+b") as file:
        file.truncate(128 + 20_000 * 20_000 * 3)
    assert client.get(f"/thumbnail/skin/{two[0]}/0/0").status_code == 404


def test_a_file_of_images_that_is_gone_shows_nothing(
    client: Any, empty: FolderStore, two: list[str]
) -> None:
    (empty.root / "images/01-0.npy").unlink()
    assert client.get(f"/thumbnail/skin/{two[0]}/0/0").status_code == 404
    assert compared(client, *two).status_code == 200


def test_a_link_to_another_file_is_not_followed(
    client: Any, empty: FolderStore, two: list[str], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.npy"
    np.save(secret, np.zeros((9, 64, 64, 3), np.uint8))
    (empty.root / "images/01-0.npy").unlink()
    (empty.root / "images/01-0.npy").symlink_to(secret)
    answer = client.get(f"/thumbnail/skin/{two[0]}/0/0")
    assert answer.status_code in (404, 503)
    assert answer.headers["Content-Type"] != "image/jpeg"


# --- what is kept in the memory ------------------------------------------------------------------


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Has the number of versions of each comparison that was computed."""
    found: list[int] = []
    compare = comparing.compare

    def counted(store: Any, origins: Any) -> Any:
        found.append(len(origins))
        return compare(store, origins)

    monkeypatch.setattr(comparing, "compare", counted)
    return found


def test_a_comparison_is_computed_once_for_the_same_versions(
    client: Any, empty: FolderStore, images: Images, times: list[int]
) -> None:
    versions = write(empty, versions=3, images=images)
    first = compared(client, *versions).text
    assert compared(client, *versions).text == first
    assert times == [3]
    compared(client, *versions[:2])
    assert times == [3, 2]


def test_a_comparison_with_a_damaged_document_is_computed_again(
    client: Any, empty: FolderStore, two: list[str], times: list[int]
) -> None:
    damage(empty, f"{verdict_of(two[0])}/result.json")
    compared(client, *two)
    compared(client, *two)
    assert times == [2, 2]


def test_the_memory_of_pictures_is_bounded(
    client: Any, two: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = reading.Memory(whole=6_000)
    monkeypatch.setattr(reading, "MEMORY", memory)
    made: list[int] = []
    draw = skin_page_comparison._jpeg

    def counted(store: Any, key: str, row: int) -> bytes:
        made.append(row)
        return draw(store, key, row)

    monkeypatch.setattr(skin_page_comparison, "_jpeg", counted)
    for row in (*range(20), 19, 0):
        assert client.get(f"/thumbnail/skin/{two[0]}/0/{row}").status_code == 200
        assert memory._bytes <= 6_000
    assert made == [*range(20), 0]  # the last one was kept, and the first one was not


def test_the_champion_of_another_model_is_not_that_of_this_one(
    client: Any, empty: FolderStore, images: Images, two: list[str]
) -> None:
    write(empty, "other", versions=1, images=images)
    text = compared(client, *two).text
    assert text.count('<span class="badge plain">champion</span>') == 2  # the head, and the figures
    assert opened(empty).champion.version == two[1]
