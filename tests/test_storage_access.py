"""How S3 is reached: sessions that end, certificates, servers that heed less than AWS does."""

from __future__ import annotations

import datetime
import ipaddress
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import boto3
import faulty
import pytest
from botocore.config import Config
from servers import S3Server

from skin_pipeline import storage
from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.storage import Bucket, Named, S3Access, S3Object, Store, open_store

ALWAYS = range(1, sys.maxsize)
MIB = 1 << 20
NAMED = Named()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of any server; a large file is one of 11 MiB; no setting of boto3's own."""
    monkeypatch.setattr(storage, "_CONDITIONAL", set())
    monkeypatch.setattr(storage, "PARTS_FROM_BYTES", 5 * MIB)
    monkeypatch.setattr(storage, "PART_BYTES", 5 * MIB)
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def url(s3_server: S3Server) -> str:
    """An empty place in S3."""
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (11 * MIB // 256))
    return path


@pytest.fixture
def at(url: str, tmp_path: Path) -> Callable[[S3Access], Store]:
    """Opens the place as an access says, with a cache of its own each time."""

    def opened(access: S3Access) -> Store:
        return open_store(url, access=access, cache=tmp_path / uuid.uuid4().hex)

    return opened


@pytest.fixture
def direct(at: Callable[[S3Access], Store], s3_server: S3Server) -> Store:
    """The place without anything in between."""
    return at(S3Access(s3_server.endpoint, s3_server.credentials))


@pytest.fixture
def names(s3_server: S3Server, url: str) -> Callable[[], list[str]]:
    """The names of all objects below the place, hidden ones too."""
    prefix = url.split("/", 3)[3]
    client = boto3.client("s3", endpoint_url=s3_server.endpoint, **s3_server.credentials)

    def found() -> list[str]:
        page = client.list_objects_v2(Bucket=s3_server.bucket, Prefix=f"{prefix}/")
        return [item["Key"].removeprefix(f"{prefix}/") for item in page.get("Contents", ())]

    return found


def every_call(store: Store, large: Path) -> dict[str, Callable[[], Any]]:
    """A call of each kind, in an order in which all of them succeed, if only the server does."""

    def moved() -> bool:
        found = store.tagged("pointer")
        return store.swap("pointer", uuid.uuid4().bytes, found[1] if found else None)

    return {
        "put": partial(store.put, uuid.uuid4().hex, b"x"),
        "put_file": partial(store.put_file, uuid.uuid4().hex, large),
        "swap": moved,
        "read": partial(store.read, "there"),
        "tagged": partial(store.tagged, "there"),
        "exists": partial(store.exists, "there"),
        "list": partial(store.list, ""),
        "local": partial(store.local, "there"),
        "remove": partial(store.remove, "gone"),
    }


CALLS = ["put", "put_file", "swap", "read", "tagged", "exists", "list", "local", "remove"]


# --- sessions that end ---------------------------------------------------------------------------


class Issuer:
    """Gives credentials: the first ones that it is told, the second ones when asked again."""

    def __init__(self, endpoint: str, first: dict[str, str], second: dict[str, str]) -> None:
        self.access = S3Access(endpoint, first, renew=self.renew)
        self.second = second
        self.asked = 0

    def renew(self) -> S3Access:
        self.asked += 1
        return replace(self.access, credentials=self.second)


@pytest.fixture
def front(s3_server: S3Server) -> Iterator[faulty.Front]:
    with faulty.faulty(s3_server.endpoint) as front:
        yield front


@pytest.fixture
def issuer(front: faulty.Front, s3_server: S3Server) -> Issuer:
    return Issuer(front.endpoint, s3_server.credentials, s3_server.second_credentials)


def ended(server: S3Server, code: str = "ExpiredToken", status: int = 400) -> faulty.Fault:
    return faulty.expiring(server.access_key, status, code)


@pytest.mark.parametrize("name", CALLS)
def test_a_session_that_ended_is_renewed_and_the_call_goes_on(
    name: str,
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    direct: Store,
    large: Path,
) -> None:
    direct.put("there", b"x")
    store = at(issuer.access)
    front.strike(ended(s3_server), ALWAYS)

    assert every_call(store, large)[name]() is not False
    assert issuer.asked == 1
    assert store.read("there") == b"x"
    assert issuer.asked == 1  # the new credentials are kept


@pytest.mark.parametrize("code", storage.EXPIRED)
@pytest.mark.parametrize("status", [400, 403])
def test_every_word_for_an_ended_session_is_understood(
    code: str,
    status: int,
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
) -> None:
    front.strike(ended(s3_server, code, status), ALWAYS)
    assert at(issuer.access).list("") == []
    assert issuer.asked == 1

    issuer.second = s3_server.credentials  # nobody has others
    with pytest.raises(Unavailable, match=rf"session token has expired.*\({code}\)"):
        at(issuer.access).list("")


@pytest.mark.parametrize("first", [2, 4, 5])
def test_a_session_that_ends_within_a_large_file_does_not_break_it(
    first: int,
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    large: Path,
) -> None:
    store = at(issuer.access)
    front.strike(ended(s3_server), range(first, sys.maxsize))

    assert store.put_file("model", large)
    assert store.local("model").read_bytes() == large.read_bytes()
    assert front.struck
    assert 1 <= issuer.asked <= front.struck


def test_requests_that_meet_an_ended_session_at_once_share_one_look_up(
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    direct: Store,
) -> None:
    direct.put("there", b"x")
    store = at(issuer.access)
    together = threading.Barrier(6)

    def refuse(exchange: faulty.Exchange) -> None:
        if f"Credential={s3_server.access_key}/" in exchange.headers["Authorization"]:
            together.wait(300)
        ended(s3_server)(exchange)

    front.strike(refuse, ALWAYS)
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(store.read, ["there"] * 6)) == {b"x"}
    assert issuer.asked == 1


def test_the_answer_to_head_that_says_nothing_is_taken_for_an_ended_session(
    front: faulty.Front, issuer: Issuer, s3_server: S3Server, at: Callable[[S3Access], Store]
) -> None:
    store = at(issuer.access)
    assert store.put("a", b"x")

    def only_head(exchange: faulty.Exchange) -> None:
        (ended(s3_server) if exchange.command == "HEAD" else faulty.pass_on)(exchange)

    front.strike(only_head, ALWAYS)
    assert not store.put("a", b"y")  # whose it is shows by HEAD
    assert issuer.asked == 1


def test_credentials_that_nobody_can_renew_are_unavailable_and_tell_what_to_do(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store]
) -> None:
    front.strike(ended(s3_server), ALWAYS)
    store = at(S3Access(front.endpoint, s3_server.credentials))
    with pytest.raises(Unavailable, match=r"If it stays so: Change the Airflow connection"):
        store.list("")
    assert front.requests == 1


def test_what_goes_wrong_in_a_look_up_is_told(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store]
) -> None:
    def refuse() -> S3Access:
        raise BadInput("the role is gone")

    front.strike(ended(s3_server), ALWAYS)
    store = at(S3Access(front.endpoint, s3_server.credentials, renew=refuse))
    with pytest.raises(BadInput, match="the role is gone"):
        store.list("")


def test_a_file_of_credentials_that_another_program_renews_is_read_again(
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    write_credentials(file, s3_server.credentials)
    store = at(S3Access(front.endpoint))
    assert store.list("") == []

    front.strike(ended(s3_server), ALWAYS)
    with pytest.raises(Unavailable, match="session token has expired"):
        store.list("")
    write_credentials(file, s3_server.second_credentials)
    assert store.put("a", b"x")


def write_credentials(file: Path, credentials: dict[str, str]) -> None:
    lines = [f"{name} = {credentials[name]}" for name in storage.CREDENTIALS[:2]]
    file.write_text("\n".join(["[default]", *lines]))


def test_images_of_others_are_listed_and_read_across_the_end_of_a_session(
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    url: str,
    direct: Store,
    tmp_path: Path,
) -> None:
    direct.put("a", b"image")
    bucket = Bucket(url, issuer.access, NAMED)
    front.strike(ended(s3_server), ALWAYS)
    (item,) = bucket.objects(bucket.prefix)
    assert bucket.fetch(item, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"image"
    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("RequestTimeTooSkewed", BadInput, "clock"),
        ("SignatureDoesNotMatch", BadInput, "credentials are wrong"),
        ("AccessDenied", BadInput, "do not allow it"),
    ],
)
def test_other_refusals_ask_for_no_new_credentials(
    code: str,
    kind: type[PipelineError],
    words: str,
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
) -> None:
    front.strike(ended(s3_server, code, 403), ALWAYS)
    with pytest.raises(kind, match=words):
        at(issuer.access).list("")
    assert issuer.asked == 0


# --- conditions that are not heeded --------------------------------------------------------------

CONDITIONS = {
    "both": (("if-match", "if-none-match"), "ignores If-None-Match and If-Match"),
    "If-Match": (("if-match",), "ignores If-Match"),
    "If-None-Match": (("if-none-match",), "ignores If-None-Match"),
}


@pytest.mark.parametrize("case", CONDITIONS)
def test_a_server_that_ignores_conditions_is_refused_before_the_first_pointer_moves(
    case: str,
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    direct: Store,
    names: Callable[[], list[str]],
) -> None:
    headers, words = CONDITIONS[case]
    assert direct.swap("champion.json", b"old", None)
    found = direct.tagged("champion.json")
    assert found
    store = at(S3Access(front.endpoint, s3_server.credentials))
    front.strike(faulty.forgetful(headers, s3_server.credentials), ALWAYS)

    for tag in (found[1], None, found[1]):  # it is not trusted the second time either
        with pytest.raises(BadInput, match=rf"{words}, by which .*proxy.*SKIN_S3_ENDPOINT"):
            store.swap("champion.json", b"new", tag)
    assert direct.read("champion.json") == b"old"
    assert names() == ["champion.json"]


def test_a_server_that_heeds_conditions_is_tried_once(
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    names: Callable[[], list[str]],
) -> None:
    access = S3Access(front.endpoint, s3_server.credentials)
    front.strike(faulty.pass_on, ALWAYS)
    assert at(access).swap("a", b"1", None)
    first = front.requests
    assert at(access).swap("b", b"1", None)  # of another store object, too
    assert (first, front.requests) == (5, 6)
    assert names() == ["a", "b"]


def test_the_trial_of_a_server_leaves_no_version_behind(
    s3_server: S3Server, tmp_path: Path
) -> None:
    client = boto3.client("s3", endpoint_url=s3_server.endpoint, **s3_server.credentials)
    bucket = f"test-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    where = {"endpoint": s3_server.endpoint, "credentials": s3_server.credentials}
    assert open_store(f"s3://{bucket}/x", cache=tmp_path, **where).swap("a", b"1", None)
    listed = client.list_object_versions(Bucket=bucket)
    assert [item["Key"] for item in listed["Versions"]] == ["x/a"]
    assert "DeleteMarkers" not in listed


def test_a_key_that_does_not_fit_is_refused_before_anything_is_tried(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store]
) -> None:
    store = at(S3Access(front.endpoint, s3_server.credentials))
    with pytest.raises(BadInput, match="a key is a relative path"):
        store.swap("../a", b"", None)
    assert front.requests == 0


# --- checksums that are not known ----------------------------------------------------------------

# What servers are known to answer.
ANSWERS = {
    "Backblaze": (
        400,
        "InvalidArgument",
        "Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call.",
    ),
    "Cloudflare": (501, "NotImplemented", "Header 'x-amz-checksum-sha256' not implemented"),
    "Google": (
        501,
        "NotImplemented",
        "A header you provided implies functionality that is not implemented.",
    ),
    "Ceph": (400, "XAmzContentSHA256Mismatch", "UnknownError"),
    "Scality": (400, "BadRequest", "trailing checksum is not supported"),
    "a signature": (403, "SignatureDoesNotMatch", "The signature does not match"),
    "no words": (400, "400", " "),
}
SETTING = "AWS_REQUEST_CHECKSUM_CALCULATION.*when_required.*config_kwargs"


@pytest.mark.parametrize("case", ANSWERS)
def test_a_server_that_knows_no_checksums_is_told_with_the_setting_that_helps(
    case: str,
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    names: Callable[[], list[str]],
    large: Path,
) -> None:
    store = at(S3Access(front.endpoint, s3_server.credentials))
    front.strike(faulty.without_checksums(*ANSWERS[case]), ALWAYS)
    for name in ("put", "put_file", "swap"):
        with pytest.raises(BadInput, match=rf"know the checksums of newer clients.*{SETTING}"):
            every_call(store, large)[name]()
    assert names() == []


def test_another_refusal_is_not_blamed_on_checksums(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store]
) -> None:
    store = at(S3Access(front.endpoint, s3_server.credentials))

    def refuse(exchange: faulty.Exchange) -> None:
        exchange.asked()
        exchange.refuse(501, "NotImplemented")

    front.strike(refuse, ALWAYS)
    with pytest.raises(BadInput, match="does not know conditional writes"):
        store.put("a", b"")


WITHOUT = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


@pytest.mark.parametrize("by", ["environment", "connection"])
def test_with_that_setting_such_a_server_is_used_and_damage_is_still_noticed(
    by: str,
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    direct: Store,
    large: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if by == "environment":
        for name, value in WITHOUT.items():
            monkeypatch.setenv(f"AWS_{name.upper()}", value)
    config = Config(**WITHOUT) if by == "connection" else None
    store = at(S3Access(front.endpoint, s3_server.credentials, config=config))
    front.strike(faulty.without_checksums(400, "InvalidArgument", "no checksums here"), ALWAYS)

    direct.put("there", b"x")
    for call in every_call(store, large).values():
        assert call() is not False
    assert store.put("a", b"good bytes")
    assert front.struck

    client = boto3.client("s3", endpoint_url=s3_server.endpoint, **s3_server.credentials)
    place = {"Bucket": s3_server.bucket, "Key": store.link("a").split("/", 3)[3]}
    metadata = client.head_object(**place)["Metadata"]
    client.put_object(**place, Body=b"evil bytes", Metadata=metadata)
    with pytest.raises(Unavailable, match="did not arrive whole"):
        store.read("a")


def test_a_server_that_refuses_to_tell_checksums_is_told_so_too(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store], direct: Store
) -> None:
    direct.put("a", b"x")

    def refuse(exchange: faulty.Exchange) -> None:
        if "x-amz-checksum-mode" in exchange.headers:
            exchange.refuse(400, "InvalidArgument", "Unsupported header 'x-amz-checksum-mode'")
        else:
            faulty.pass_on(exchange)

    front.strike(refuse, ALWAYS)
    access = S3Access(front.endpoint, s3_server.credentials)
    with pytest.raises(BadInput, match="AWS_RESPONSE_CHECKSUM_VALIDATION to when_required"):
        at(access).read("a")
    assert at(replace(access, config=Config(**WITHOUT))).read("a") == b"x"


# --- certificates, and what a connection says beside ---------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[SSLContext, Path]:
    """A context of a server with a certificate that nobody signed but itself, and its file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509
        .CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_a_certificate_is_checked_as_the_connection_says(
    certificate: tuple[SSLContext, Path],
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    large: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage, "ATTEMPTS", 1)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    context, file = certificate
    with faulty.faulty(s3_server.endpoint, context) as front:
        access = S3Access(front.endpoint, s3_server.credentials)
        with pytest.raises(BadInput, match=r"certificate is not signed by .*`verify`"):
            at(access).put("a", b"x")
        assert at(replace(access, verify=str(file))).put("a", b"x")
        assert at(replace(access, verify=False)).read("a") == b"x"
        monkeypatch.setenv("AWS_CA_BUNDLE", str(file))
        assert at(access).put("b", b"x")


def test_a_file_of_certificates_that_is_not_there_is_told(
    at: Callable[[S3Access], Store],
) -> None:
    with pytest.raises(BadInput, match=r"verify names /no/such\.pem, which is not there"):
        at(S3Access("https://localhost:1", verify="/no/such.pem"))


def test_the_config_of_a_connection_goes_before_ours(
    at: Callable[[S3Access], Store], s3_server: S3Server
) -> None:
    theirs = Config(read_timeout=7, s3={"addressing_style": "path"}, region_name="eu-west-3")
    config = at(S3Access(s3_server.endpoint, config=theirs))._client.meta.config
    assert (config.read_timeout, config.connect_timeout) == (7, storage.CONNECT_SECONDS)
    assert config.s3 == {"addressing_style": "path"}
    assert config.retries["total_max_attempts"] == storage.ATTEMPTS


@pytest.mark.parametrize(
    "config",
    [
        Config(request_checksum_calculation="sometimes"),
        {"AWS_REQUEST_CHECKSUM_CALCULATION": "sometimes"},
        {"AWS_CONFIG_FILE": "broken"},
    ],
)
def test_a_setting_of_boto3_that_does_not_fit_is_told_as_such(
    config: Any,
    at: Callable[[S3Access], Store],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.chdir(tmp_path)
    Path("broken").write_text("no section")
    if isinstance(config, dict):
        for name, value in config.items():
            monkeypatch.setenv(name, value)
        config = None
    with pytest.raises(BadInput, match=r"a setting of boto3's does not fit.*~/.aws/config"):
        at(S3Access("http://localhost:1", config=config))


# --- a public bucket -----------------------------------------------------------------------------


@pytest.fixture
def public(s3_server: S3Server, url: str) -> Iterator[str]:
    """The endpoint of a server that lets everybody read, as long as nobody says who he is."""

    def answer(exchange: faulty.Exchange) -> None:
        if "Authorization" in exchange.headers:
            exchange.refuse(403, "InvalidAccessKeyId")
        else:
            signed(exchange)

    signed = faulty.forgetful((), s3_server.reader_credentials)
    with faulty.faulty(s3_server.endpoint) as front:
        front.strike(answer, ALWAYS)
        yield front.endpoint


def test_a_public_bucket_is_read_without_credentials_if_asked_for(
    public: str,
    direct: Store,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    direct.put("a.jpg", b"image")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    bucket = Bucket(url, S3Access(public, anonymous=True), NAMED)
    (item,) = bucket.objects(bucket.prefix)
    assert bucket.fetch(item, tmp_path / "a")

    from skin_pipeline.data.sources.from_bucket import IMAGES

    with pytest.raises(BadInput, match="For a public bucket, set SKIN_DATA_ANONYMOUS to true"):
        list(Bucket(url, S3Access(public), IMAGES).objects(""))


def test_credentials_are_not_sent_to_a_public_bucket(
    public: str, direct: Store, url: str, s3_server: S3Server
) -> None:
    direct.put("a.jpg", b"image")
    access = S3Access(public, s3_server.credentials, anonymous=True)
    found = list(Bucket(url, access, NAMED).objects(url.split("/", 3)[3]))
    assert [type(item) for item in found] == [S3Object]


def test_a_marker_of_an_empty_folder_is_an_object_of_no_bytes(
    s3_server: S3Server, url: str, direct: Store, tmp_path: Path
) -> None:
    prefix = url.split("/", 3)[3]
    direct.put("benign/a.jpg", b"image")
    client = boto3.client("s3", endpoint_url=s3_server.endpoint, **s3_server.credentials)
    client.put_object(Bucket=s3_server.bucket, Key=f"{prefix}/malignant_$folder$", Body=b"")
    client.put_object(Bucket=s3_server.bucket, Key=f"{prefix}/malignant/", Body=b"")
    bucket = Bucket(url, S3Access(s3_server.endpoint, s3_server.credentials), NAMED)
    found = {item.key.removeprefix(f"{prefix}/"): item.bytes for item in bucket.objects(prefix)}
    assert found == {"benign/a.jpg": 5, "malignant_$folder$": 0, "malignant/": 0}
    assert direct.list("") == ["benign/a.jpg", "malignant_$folder$"]


@pytest.mark.parametrize(
    ("endpoint", "anonymous", "warned"),
    [
        ("http://s3.example.org:9000", False, True),
        ("http://s3.example.org:9000", True, False),  # nothing is signed
        ("https://s3.example.org", False, False),
        ("http://store:8333", False, False),  # a service of Docker Compose
        ("http://127.0.0.1:8333", False, False),
    ],
)
def test_credentials_that_cross_networks_unencrypted_are_remarked_on_once(
    caplog, endpoint, anonymous, warned
):
    storage._warn_of_plain_http.cache_clear()
    known = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "eu-west-1"}
    for _ in range(2):
        storage.open_store("s3://bucket/x", access=S3Access(endpoint, known, anonymous=anonymous))
    told = [record for record in caplog.records if record.message.startswith("plain_http ")]
    assert len(told) == int(warned)
