"""The real kaggle client against a loopback server that plays Kaggle."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kaggle_server import SIGNATURE, STORAGE, KaggleServer

from skin_pipeline.credentials import KaggleCredentials
from skin_pipeline.data.sources import from_kaggle, kaggle_transfer
from skin_pipeline.data.sources.from_kaggle import download
from skin_pipeline.data.sources.patience import PAUSES
from skin_pipeline.errors import BadInput, PipelineError, Unavailable

DATASET = "owner/lesions"
KEY = "5ecretKey0123456789abcdef"
TOKEN = "KGAT_5ecretToken0123456789"
WRONG = "wr0ng5ecret"
GOOD = KaggleCredentials("ada", KEY)


def a_zip(size: int = 300_000) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("benign/1.jpg", os.urandom(size))
    return buffer.getvalue()


ZIP = a_zip()


@pytest.fixture
def server() -> Iterator[KaggleServer]:
    with KaggleServer({DATASET: ZIP}, key=KEY, token=TOKEN) as server:
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials, and an environment without credentials and proxies."""
    for name in list(os.environ):
        if name.startswith("KAGGLE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


def holds(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def at_once(_: float) -> None:
    """A pause that takes no time."""


def failure(call_server: KaggleServer, folder: Path, credentials: KaggleCredentials) -> Exception:
    url = call_server.url
    with pytest.raises(PipelineError) as caught:
        download(DATASET, folder, credentials=credentials, endpoint=url, pause=at_once)
    return caught.value


def test_a_data_set_arrives_as_the_zip_that_kaggle_serves(
    server: KaggleServer, folder: Path
) -> None:
    path = download(DATASET, folder, credentials=GOOD, endpoint=server.url)

    assert path == folder / "owner.lesions.zip"
    assert path.read_bytes() == ZIP
    assert holds(folder) == ["owner.lesions.zip"]


def test_an_earlier_download_is_replaced(server: KaggleServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "owner.lesions.zip").write_bytes(b"last week's")

    assert download(DATASET, folder, credentials=GOOD, endpoint=server.url).read_bytes() == ZIP


def test_the_storage_behind_kaggle_is_not_sent_the_credentials(
    server: KaggleServer, folder: Path
) -> None:
    download(DATASET, folder, credentials=GOOD, endpoint=server.url)

    asked, fetched = server.seen
    assert asked.authorization in server.accepted
    assert fetched.path == f"{STORAGE}{DATASET}"
    assert fetched.authorization == ""


# mode of the server, credentials, error, words of its message
REFUSALS = {
    "wrong key": ("ok", KaggleCredentials("ada", WRONG), BadInput, "401"),
    "wrong user": ("ok", KaggleCredentials("bob", KEY), BadInput, "401"),
    "wrong token": ("ok", KaggleCredentials(token=WRONG), BadInput, "401"),
    "origin is named": (
        "ok",
        KaggleCredentials("ada", WRONG, origin="the moon"),
        BadInput,
        "refused the credentials from the moon",
    ),
    "no key": ("ok", KaggleCredentials("ada"), BadInput, "no key and no token"),
    "nothing": ("ok", KaggleCredentials(), BadInput, "no key and no token"),
    "line break in the key": ("ok", KaggleCredentials("ada", f"{KEY}\nX: y"), BadInput, "copy"),
    "quotes in the key": ("ok", KaggleCredentials("ada", f"\u201c{KEY}\u201d"), BadInput, "copy"),
    "line break in the token": ("ok", KaggleCredentials(token=f"{TOKEN}\nX: y"), BadInput, "copy"),
    "private": ("forbidden", GOOD, BadInput, f"no data set {DATASET}"),
    "refused otherwise": ("odd", GOOD, BadInput, "418"),
    "too many requests": ("busy", GOOD, Unavailable, "429"),
    "error inside Kaggle": ("broken", GOOD, Unavailable, "500"),
    "Kaggle is down": ("down", GOOD, Unavailable, "503"),
    "no answer": ("silent", GOOD, Unavailable, "ReadTimeout"),
    "connection lost": ("dropped", GOOD, Unavailable, "ConnectionError"),
    "storage refuses": ("denied", GOOD, Unavailable, "storage answered 403"),
    "truncated": ("truncated", GOOD, Unavailable, "connection to Kaggle failed"),
    "truncated, no length": ("unannounced", GOOD, Unavailable, "not a whole zip"),
    "a login page": ("page", GOOD, Unavailable, "not a whole zip"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_each_failure_has_its_error_and_leaves_no_file_and_no_secret(
    case: str,
    server: KaggleServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    mode, credentials, error, words = REFUSALS[case]
    server.mode = mode
    if mode == "silent":
        monkeypatch.setattr(from_kaggle, "READ_SECONDS", 0.3)
    caplog.set_level(logging.DEBUG, "skin_pipeline")

    raised = failure(server, folder, credentials)

    assert type(raised) is error
    assert words in str(raised)
    assert holds(folder) == []
    printed = capfd.readouterr()
    assert printed.out == ""
    told = printed.err + caplog.text + everything(raised) + repr(credentials)
    for secret in (KEY, TOKEN, WRONG, SIGNATURE):
        assert secret not in told


def everything(error: BaseException) -> str:
    """An error as the most talkative handler would show it: chain, frames and their variables."""
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    while frames and "skin_pipeline" not in frames.tb_frame.f_code.co_filename:
        frames = frames.tb_next
    assert frames, "the error did not come from the pipeline"
    chain = [repr(link) for link in (error.__cause__, error.__context__) if link]
    report = traceback.TracebackException(type(error), error, frames, capture_locals=True)
    return "\n".join([*chain, *report.format(chain=True)])


def test_the_secret_is_nowhere_in_what_a_good_download_logs_or_prints(
    server: KaggleServer,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    download(DATASET, folder, credentials=GOOD, endpoint=server.url)

    printed = capfd.readouterr()
    assert printed.out == ""
    assert KEY not in caplog.text + printed.err
    assert f"kaggle_download_finished dataset={DATASET} bytes={len(ZIP)}" in caplog.text


def test_the_next_call_after_a_broken_one_starts_cleanly(
    server: KaggleServer, folder: Path
) -> None:
    server.mode = "truncated"
    failure(server, folder, GOOD)
    server.mode = "ok"

    assert download(DATASET, folder, credentials=GOOD, endpoint=server.url).read_bytes() == ZIP


# --- downloads that break off --------------------------------------------------------------------

N = kaggle_transfer.CHUNK  # where a download breaks off
OTHER = a_zip()
SMALL = a_zip(N // 2)


def parts_of(server: KaggleServer) -> list[str]:
    """The parts that the storage was asked for; empty for the whole."""
    return [seen.range for seen in server.seen if seen.path.startswith(STORAGE)]


# how the server is, what comes in the end, the parts that are asked for
BREAKS: dict[str, tuple[dict[str, Any], bytes, list[str]]] = {
    "never": ({}, ZIP, [""]),
    "once": ({"breaks": [N]}, ZIP, ["", f"bytes={N}-"]),
    "twice": ({"breaks": [N, N]}, ZIP, ["", f"bytes={N}-", f"bytes={2 * N}-"]),
    "before the first byte": ({"breaks": [0, N]}, ZIP, ["", "", f"bytes={N}-"]),
    "before the next byte": ({"breaks": [N, 0]}, ZIP, ["", f"bytes={N}-", f"bytes={N}-"]),
    "without an ETag": ({"breaks": [N], "tags": False}, ZIP, ["", f"bytes={N}-"]),
    "no parts there": ({"breaks": [N], "ranges": "ignored"}, ZIP, ["", f"bytes={N}-"]),
    "no parts there, twice": (
        {"breaks": [2 * N, N], "ranges": "ignored"},
        ZIP,
        ["", f"bytes={2 * N}-", f"bytes={N}-"],
    ),
    "other bytes": ({"breaks": [N], "ranges": "shifted"}, ZIP, ["", f"bytes={N}-", ""]),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_download_that_breaks_off_is_taken_up_again(
    case: str, server: KaggleServer, folder: Path
) -> None:
    behaviour, content, parts = BREAKS[case]
    vars(server).update(behaviour)
    pauses: list[float] = []

    path = download(DATASET, folder, credentials=GOOD, endpoint=server.url, pause=pauses.append)

    assert path.read_bytes() == content
    assert holds(folder) == ["owner.lesions.zip"]
    assert parts_of(server) == parts
    assert pauses == list(PAUSES[: len(parts) - 1])


# what is there after the break, whether it has an ETag, the parts that are asked for
CHANGES = {
    "same size": (OTHER, True, ["", f"bytes={N}-", ""]),
    "larger": (ZIP + OTHER, False, ["", f"bytes={N}-", ""]),
    "smaller than what came": (SMALL, True, ["", f"bytes={N}-", ""]),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_data_set_that_changes_meanwhile_is_downloaded_from_the_start(
    case: str, server: KaggleServer, folder: Path
) -> None:
    content, server.tags, parts = CHANGES[case]
    server.breaks = [N]
    server.broken = lambda: server.datasets.update({DATASET: content})

    path = download(DATASET, folder, credentials=GOOD, endpoint=server.url, pause=at_once)

    assert path.read_bytes() == content
    assert parts_of(server) == parts


# how the server is, words of the message, the parts that are asked for
GIVEN_UP: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "breaks each time": (
        {"breaks": [N, 10, 10, 10]},
        "connection to Kaggle failed",
        ["", f"bytes={N}-", f"bytes={N}-"],
    ),
    "too large a length": (
        {"surplus": 5},
        "connection to Kaggle failed",
        ["", f"bytes={4 * N}-", ""],  # the second answer shows that the first was wrong
    ),
    "too small a length": ({"surplus": -5}, "not a whole zip file", [""]),
    "encoded": ({"breaks": [N] * 3, "encoding": "br"}, "connection to Kaggle failed", ["", "", ""]),
    "few bytes each time": (
        {"breaks": [N], "ranges": "short"},
        f"{N + 2000} of {len(ZIP)} bytes came",
        ["", f"bytes={N}-", f"bytes={N + 1000}-"],
    ),
}


@pytest.mark.parametrize("case", GIVEN_UP)
def test_after_three_attempts_it_is_given_up_and_nothing_is_left(
    case: str, server: KaggleServer, folder: Path
) -> None:
    behaviour, words, parts = GIVEN_UP[case]
    vars(server).update(behaviour)

    raised = failure(server, folder, GOOD)

    assert isinstance(raised, Unavailable)
    assert words in str(raised)
    assert holds(folder) == []
    assert parts_of(server) == parts


def test_credentials_that_are_withdrawn_meanwhile_end_it(
    server: KaggleServer, folder: Path
) -> None:
    server.breaks = [N]
    server.broken = lambda: vars(server).update(key="another")

    assert "401" in str(failure(server, folder, GOOD))
    assert holds(folder) == []


def test_a_download_is_never_under_its_name_before_it_is_whole(
    server: KaggleServer, folder: Path
) -> None:
    folder.mkdir()
    (folder / "owner.lesions.zip").write_bytes(b"last week's")
    server.breaks = [N]
    seen: list[tuple[bytes, int]] = []

    def look(_: float) -> None:
        (part,) = folder.glob(".*.part")
        seen.append(((folder / "owner.lesions.zip").read_bytes(), part.stat().st_size))

    download(DATASET, folder, credentials=GOOD, endpoint=server.url, pause=look)

    assert seen == [(b"last week's", N)]
    assert (folder / "owner.lesions.zip").read_bytes() == ZIP


def test_credentials_go_to_kaggle_and_not_to_the_storage_at_each_attempt(
    server: KaggleServer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "skin_pipeline")
    server.breaks = [N, N]
    download(DATASET, folder, credentials=GOOD, endpoint=server.url, pause=at_once)

    asked = [seen.authorization for seen in server.seen if not seen.path.startswith(STORAGE)]
    assert len(asked) == 3
    assert set(asked) <= server.accepted
    assert {s.authorization for s in server.seen if s.path.startswith(STORAGE)} == {""}
    assert caplog.text.count("download_interrupted") == 2
    assert f"kaggle_download_resumed bytes={2 * N}" in caplog.text
    for secret in (KEY, SIGNATURE):
        assert secret not in caplog.text


# --- who and what is asked -----------------------------------------------------------------------


def test_nobody_listening_is_unavailable(folder: Path) -> None:
    with KaggleServer({}) as server:
        url = server.url
    with pytest.raises(Unavailable, match=r"ConnectionError.*HTTPS_PROXY"):
        download(DATASET, folder, credentials=GOOD, endpoint=url, pause=at_once)


def test_an_unknown_data_set_is_named(server: KaggleServer, folder: Path) -> None:
    with pytest.raises(BadInput, match=r"no data set owner/other .*\(404\)"):
        download("owner/other", folder, credentials=GOOD, endpoint=server.url)


@pytest.mark.parametrize(
    "dataset",
    ["", "lesions", "owner/", "/lesions", "owner/a/b", "../lesions", "owner/..", "own er/x",
     "owner/" + "x" * 101, "owner/lesions/versions/x", "owner/lesions/versions/3/versions/4",
     "kaggle://", "kaggle://owner", "https://www.kaggle.com/", "https://www.kaggle.com/owner",
     "https://www.kaggle.com/datasets/owner", "https://example.com/datasets/owner/lesions",
     "owner/lesions?select=a.csv"],
)  # fmt: skip
def test_a_name_that_is_not_owner_slash_name_is_refused_unasked(
    dataset: str, server: KaggleServer, folder: Path
) -> None:
    with pytest.raises(BadInput, match="OWNER/NAME"):
        download(dataset, folder, credentials=GOOD, endpoint=server.url)
    assert server.seen == []


@pytest.mark.parametrize(
    "dataset",
    [
        "owner/lesions",
        "kaggle://owner/lesions",
        " kaggle://owner/lesions/\n",
        "kaggle://datasets/owner/lesions",
        "https://www.kaggle.com/datasets/owner/lesions",
        "https://www.kaggle.com/datasets/owner/lesions/data?select=a.csv#top",
        "http://kaggle.com/owner/lesions/",
        "www.kaggle.com/datasets/owner/lesions",
        "HTTPS://WWW.KAGGLE.COM/datasets/owner/lesions/code",
        "kaggle://https://www.kaggle.com/datasets/owner/lesions",
        "https://www.kaggle.com/api/v1/datasets/download/owner/lesions",
    ],
)
def test_a_data_set_is_found_by_whatever_people_paste(
    dataset: str, server: KaggleServer, folder: Path
) -> None:
    assert from_kaggle.is_address(dataset) or dataset == DATASET
    path = download(dataset, folder, credentials=GOOD, endpoint=server.url)
    assert (path.name, path.read_bytes()) == ("owner.lesions.zip", ZIP)


@pytest.mark.parametrize(
    "dataset",
    [
        "kaggle://owner/lesions/versions/3",
        "https://www.kaggle.com/datasets/owner/lesions/versions/3/",
    ],
)
def test_the_version_that_is_named_is_the_one_that_comes(
    dataset: str, server: KaggleServer, folder: Path
) -> None:
    server.datasets[f"{DATASET}/versions/3"] = OTHER
    path = download(dataset, folder, credentials=GOOD, endpoint=server.url)
    assert path.read_bytes() == OTHER


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (
            "https://www.kaggle.com/competitions/siim-isic-melanoma-classification/data",
            "competition",
        ),
        ("https://www.kaggle.com/c/siim-isic-melanoma-classification", "competition"),
        ("kaggle://competitions/isic-2024-challenge", "competition"),
        ("https://www.kaggle.com/code/ada/skin-cancer", "notebook"),
        ("https://www.kaggle.com/models/ada/skin", "model"),
    ],
)
def test_what_is_no_data_set_is_named_with_the_way_out(
    place: str, kind: str, server: KaggleServer, folder: Path
) -> None:
    with pytest.raises(BadInput, match=rf"is a {kind} on Kaggle.*kaggle://OWNER/NAME"):
        download(place, folder, credentials=GOOD, endpoint=server.url)
    assert server.seen == []


@pytest.mark.parametrize(
    "place", ["/srv/kaggle.com/a", "demo", "s3://kaggle.com/a", "https://example.com/kaggle.com/a"]
)
def test_places_elsewhere_are_not_taken_for_kaggle(place: str) -> None:
    assert not from_kaggle.is_address(place)


@pytest.mark.parametrize(
    "host",
    [
        *("www.kaggle.com", "kaggle.com/api/v1", " https://www.kaggle.com ", "api.kaggle.com"),
        *("http://www.kaggle.com/api/v1/", "HTTPS://KAGGLE.COM:443", "www.kaggle.com.", "", "  "),
    ],
)
def test_kaggles_own_address_is_known_in_every_form(host: str) -> None:
    assert from_kaggle._other_server(host) == ""
    with from_kaggle._client(GOOD, from_kaggle._other_server(host)) as client:
        assert client.http_client()._endpoint == "https://api.kaggle.com"


@pytest.mark.parametrize(
    "host",
    [
        *("mirror.example", "mirror.example:8080", "ftp://mirror.example", "http://", "https:///x"),
        *("http://mirror:port", f"https://ada:{KEY}@mirror.example", f"ada:{KEY}@www.kaggle.com"),
        *("http://[bad", "http://mirror .example", "https//mirror.example", "http://mi{rr}or"),
    ],
)
def test_a_host_that_cannot_be_asked_is_bad_input_and_never_tried(host: str, folder: Path) -> None:
    with pytest.raises(BadInput, match="host of the Kaggle connection") as caught:
        download(DATASET, folder, credentials=GOOD, endpoint=host)
    assert KEY not in str(caught.value)


HEX = "0123456789abcdef" * 2
WHOLE = json.dumps({"username": "ada", "key": KEY})


@pytest.mark.parametrize(
    "given",
    [
        KaggleCredentials(key=WHOLE),
        KaggleCredentials("bob", f" {WHOLE}\n"),
        KaggleCredentials(WHOLE),
        KaggleCredentials(token=WHOLE),
        KaggleCredentials('"ada"', f"'{KEY}'"),
        KaggleCredentials("ada", TOKEN),
        KaggleCredentials("ada@example.org", TOKEN),
        KaggleCredentials("ada@example.org", "", TOKEN),
    ],
    ids=[
        *("kaggle.json as password", "beside a name", "as login", "as token", "quoted"),
        *("token as password", "token beside an e-mail address", "token with an e-mail address"),
    ],
)
def test_credentials_work_however_they_were_pasted(
    given: KaggleCredentials, server: KaggleServer, folder: Path
) -> None:
    assert download(DATASET, folder, credentials=given, endpoint=server.url).exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (KaggleCredentials("ada@example.org", HEX), "e-mail address instead of the user name"),
        (KaggleCredentials("", HEX), "a key without the user name"),
        (KaggleCredentials("ada", WHOLE[:-1], origin="the form"), "the form is not a JSON object"),
        (KaggleCredentials("ada", '{"key": 1}'), "not a JSON object with `username` and `key`"),
    ],
)
def test_credentials_that_cannot_be_right_are_told_before_kaggle_is_asked(
    given: KaggleCredentials, words: str, server: KaggleServer, folder: Path
) -> None:
    raised = failure(server, folder, given)
    assert type(raised) is BadInput
    assert words in str(raised)
    assert "Settings > API" in str(raised)
    assert KEY not in str(raised)
    assert raised.__context__ is None
    assert server.seen == []


def test_without_credentials_the_message_tells_the_ways(folder: Path, home: Path) -> None:
    with pytest.raises(BadInput) as caught:
        download(DATASET, folder)

    for way in ("`kaggle`", "login", "password", "KAGGLE_USERNAME", "KAGGLE_KEY", "Settings"):
        assert way in str(caught.value)
    assert list(home.iterdir()) == [], "looking for credentials made files"
    assert holds(folder) == []


def json_file(**entries: str) -> str:
    return json.dumps(entries)


# environment, files in the home, the Authorization that Kaggle sees
SOURCES: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "name and key": ({"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": KEY}, {}, "Basic"),
    "token": ({"KAGGLE_API_TOKEN": TOKEN}, {}, "Bearer"),
    "token beats key": (
        {"KAGGLE_API_TOKEN": TOKEN, "KAGGLE_USERNAME": "ada", "KAGGLE_KEY": WRONG},
        {},
        "Bearer",
    ),
    "key file": ({}, {".kaggle/kaggle.json": json_file(username="ada", key=KEY)}, "Basic"),
    "key file in .config": (
        {},
        {".config/kaggle/kaggle.json": json_file(username="ada", key=KEY)},
        "Basic",
    ),
    "token file": ({}, {".kaggle/access_token": f"{TOKEN}\n"}, "Bearer"),
    "token file with ending": ({}, {".kaggle/access_token.txt": TOKEN}, "Bearer"),
    "environment beats key file": (
        {"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": KEY},
        {".kaggle/kaggle.json": json_file(username="bob", key=WRONG)},
        "Basic",
    ),
    "environment completes key file": (
        {"KAGGLE_USERNAME": "ada"},
        {".kaggle/kaggle.json": json_file(username="bob", key=KEY)},
        "Basic",
    ),
}


@pytest.mark.parametrize("case", SOURCES)
def test_without_given_credentials_those_of_the_environment_are_used(
    case: str, server: KaggleServer, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, files, scheme = SOURCES[case]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text(text)

    assert download(DATASET, folder, endpoint=server.url).read_bytes() == ZIP
    assert server.seen[0].authorization.startswith(scheme)


def test_a_token_variable_may_name_a_file(
    server: KaggleServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))

    assert download(DATASET, folder, endpoint=server.url).exists()


def test_a_folder_chosen_for_the_key_file_is_read(
    server: KaggleServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kaggle.json").write_text(json_file(username="ada", key=KEY))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))

    assert download(DATASET, folder, endpoint=server.url).exists()


@pytest.mark.parametrize(
    "given",
    [
        GOOD,
        KaggleCredentials(token=TOKEN),
        KaggleCredentials("ada", WRONG, TOKEN),
        KaggleCredentials(key=TOKEN),
        KaggleCredentials(" ada", f"{KEY}\n"),
    ],
    ids=["key", "token", "token beats key", "key alone is a token", "spaces around"],
)
def test_given_credentials_beat_whatever_the_environment_holds(
    given: KaggleCredentials,
    server: KaggleServer,
    folder: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.setenv(name, WRONG)
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token").write_text(WRONG)

    assert download(DATASET, folder, credentials=given, endpoint=server.url).exists()


@pytest.mark.parametrize(
    "text",
    [f'{{"key": "{KEY}"}}', f"{KEY} is no JSON", f'["{KEY}"]', f"\udcff{KEY}"],
    ids=["no user", "no JSON", "a list", "not UTF-8"],
)
def test_a_bad_key_file_is_named_and_not_shown(text: str, folder: Path, home: Path) -> None:
    (home / ".kaggle").mkdir()
    path = home / ".kaggle" / "kaggle.json"
    path.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(BadInput, match=r"kaggle\.json") as caught:
        download(DATASET, folder)
    assert KEY not in str(caught.value)
    assert caught.value.__context__ is None


def test_half_of_the_variables_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")

    with pytest.raises(BadInput, match="KAGGLE_USERNAME and KAGGLE_KEY are both required"):
        download(DATASET, folder)


def test_a_token_longer_than_a_file_name_is_a_token(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "x" * 2000
    monkeypatch.setenv("KAGGLE_API_TOKEN", server.token)

    assert download(DATASET, folder, endpoint=server.url).exists()


def test_the_proxy_of_the_environment_is_used(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)

    download(DATASET, folder, credentials=GOOD, endpoint="http://kaggle.test")

    assert [seen.host.partition(":")[0] for seen in server.seen] == ["kaggle.test", "storage.test"]


def test_a_missing_certificate_file_is_a_persons_business(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")

    with pytest.raises(BadInput, match=r"REQUESTS_CA_BUNDLE.*/nowhere/ca\.pem"):
        download(DATASET, folder, credentials=GOOD, endpoint="https://127.0.0.1:9")


def test_a_folder_that_cannot_be_made_is_bad_input(server: KaggleServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BadInput, match="cannot be written"):
        download(DATASET, tmp_path / "file" / "x", credentials=GOOD, endpoint=server.url)


def test_the_kaggle_package_itself_is_not_imported(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "kaggle", raising=False)
    download(DATASET, folder, credentials=GOOD, endpoint=server.url)

    assert "kagglesdk" in sys.modules
    assert "kaggle" not in sys.modules, "importing it signs in, prints and asks Kaggle"
