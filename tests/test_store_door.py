"""The store of docker-compose.yaml, started as it stands there: only S3 gets out, to who has keys.

Its commands are read from the file; only ports and folders are others. What a neighbour in the
network could reach is tried from another address than the one that the server calls its own.
"""

from __future__ import annotations

import configparser
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import boto3
import compose_secrets
import psutil
import pytest
import requests
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from models_server import REAL, judge, promote
from servers import HOST, PORTS, START_SECONDS, Process, S3Server, free_ports

from skin_pipeline.errors import BadInput
from skin_pipeline.operations.reading import Reading
from skin_pipeline.storage import S3Access, open_store

CHECKOUT = Path(__file__).resolve().parents[1]
SERVICES: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yaml").read_text())[
    "services"
]
SECRETS = "/run/secrets/"
# Where neighbours come from: every address of this machine but the loopback's own, and another of
# the loopback's, which a server on 127.0.0.1 does not have either.
OTHERS = sorted(
    {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and address.address != HOST
    }
    | ({"127.0.0.2"} if sys.platform == "linux" else set())
)


@dataclass(frozen=True)
class Store:
    """The two services as they run: the server, its door, and where that is."""

    server: psutil.Process
    door: psutil.Process
    port: int
    secrets: dict[str, str]

    def url(self, host: str = HOST) -> str:
        return f"http://{host}:{self.port}"

    def keys(self, name: str) -> dict[str, str]:
        """Keys as the containers get them, in a credentials file."""
        file = configparser.ConfigParser()
        file.read_file(StringIO(self.secrets[name]))
        return {**dict(file["default"]), "region_name": "us-east-1"}

    def client(self, name: str, host: str = HOST, **other: str) -> Any:
        settings = Config(retries={"total_max_attempts": 1})
        return boto3.client(
            "s3", endpoint_url=self.url(host), config=settings, **{**self.keys(name), **other}
        )


def command(name: str, places: dict[str, str]) -> list[str]:
    """What the service runs, with some of its words exchanged."""
    service = SERVICES[name]
    words = [*service.get("entrypoint", []), *service["command"]]
    for inside, outside in places.items():
        assert any(inside in word for word in words), f"{name} has no {inside}"
        words = [word.replace(inside, outside) for word in words]
    programs = {"weed": str(Path(sys.executable).with_name("weed")), "python": sys.executable}
    return [programs.get(words[0], words[0]), *words[1:]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Both services, up, with new secrets."""
    root = tmp_path_factory.mktemp("store")
    secrets = compose_secrets.made()
    for name in SERVICES["store"]["secrets"]:
        (root / name).write_text(secrets[name])
    (root / "data").mkdir()
    ports = dict(zip((*PORTS, "door"), free_ports(len(PORTS) + 1), strict=True))
    inner = ports["s3"], ports.pop("door")
    server = command(
        "store",
        {
            "-dir=/data": f"-dir={root}/data",
            SECRETS: f"{root}/",
            "/run/s3/s3.sock": f"{root}/s3.sock",
            "-s3.port=8333": f"-s3.port={inner[0]}",
        },
    )
    elsewhere = [f"-{name}.port={port}" for name, port in ports.items() if name != "s3"]
    elsewhere += [f"-filer.localSocket={root}/filer.sock", "-volume.preStopSeconds=0"]
    door = command(
        "s3",
        {
            "8333": str(inner[1]),
            "/run/s3/s3.sock": f"{root}/s3.sock",
            "scripts/": f"{CHECKOUT}/scripts/",
        },
    )
    with Process([*server, *elsewhere], root / "log") as one, Process(door, root / "door") as two:
        found = Store(
            psutil.Process(one._popen.pid), psutil.Process(two._popen.pid), inner[1], secrets
        )
        wait(found, one, two)
        yield found


def wait(store: Store, *processes: Process) -> None:
    """Until an object can be kept."""
    deadline = time.monotonic() + START_SECONDS
    while all(process.runs() for process in processes) and time.monotonic() < deadline:
        with suppress(Exception):  # refused, or answered with an error, until it is up
            store.client("s3_writer").put_object(Bucket="models", Key="ready", Body=b"x")
            return
        time.sleep(0.1)
    raise RuntimeError("\n".join(process.last_words() for process in processes))


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    """Addresses and ports that a process and its children listen on."""
    family = [process, *process.children(recursive=True)]
    return sorted(
        (connection.laddr.ip, connection.laddr.port)
        for each in family
        for connection in each.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    )


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True


def test_the_server_keeps_all_its_ports_to_itself(store: Store) -> None:
    assert SERVICES["store"]["network_mode"] == "none"
    ports = listening(store.server)
    assert len(ports) > 5  # it does have many
    assert {address for address, _ in ports} == {HOST}


@pytest.mark.parametrize("host", OTHERS)
def test_of_all_ports_a_neighbour_reaches_the_door_alone(store: Store, host: str) -> None:
    inner, door = listening(store.server), listening(store.door)
    reached = {port for _, port in [*inner, *door] if answers(host, port)}
    assert reached == {store.port}
    assert all(answers(HOST, port) for _, port in inner)  # which shows that the trial can succeed


@pytest.mark.parametrize("host", OTHERS[:1])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/models"),
        ("GET", "/models/ready"),
        ("PUT", "/models/taken"),
        ("DELETE", "/models/ready"),
        ("PUT", "/another-bucket"),
        ("POST", "/?Action=CreateUser&UserName=guest&Version=2010-05-08"),
        ("POST", "/?Action=AssumeRole&RoleArn=a&RoleSessionName=b&Version=2011-06-15"),
        ("GET", "/dir/status"),  # of the master
        ("GET", "/ui/index.html"),  # of the volume server
        ("GET", "/buckets/models/ready"),  # of the filer
        ("GET", "/..%2f..%2fetc/iam/identity.json"),
    ],
)
def test_without_keys_nothing_is_given(store: Store, host: str, method: str, path: str) -> None:
    answer = requests.request(method, f"{store.url(host)}{path}", data=b"", timeout=10)
    assert answer.status_code in {400, 403, 404, 405, 501}, answer.text
    assert store.client("s3_writer").get_object(Bucket="models", Key="ready")["Body"].read() == b"x"


def refused(call: Any, **arguments: Any) -> str:
    """The code with which a call is refused; "" if it is not."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_keys_of_nobody_or_with_another_secret_are_refused(store: Store) -> None:
    place = {"Bucket": "models", "Key": "ready"}
    stranger = store.client("s3_writer", aws_access_key_id="STRANGER")
    assert refused(stranger.get_object, **place) == "InvalidAccessKeyId"
    guessing = store.client("s3_writer", aws_secret_access_key="guessed")
    assert refused(guessing.get_object, **place) == "SignatureDoesNotMatch"


def test_who_writes_can_neither_manage_the_server_nor_leave_the_bucket(store: Store) -> None:
    writer = store.client("s3_writer")
    assert refused(writer.create_bucket, Bucket="another") == "AccessDenied"
    assert refused(writer.delete_bucket, Bucket="models") == "AccessDenied"
    assert refused(writer.put_object, Bucket="another", Key="a", Body=b"") == "AccessDenied"
    # The part that manages users is turned off: this answers nothing, not even an error.
    iam = boto3.client("iam", endpoint_url=store.url(), **store.keys("s3_writer"))
    with pytest.raises((ResponseParserError, ClientError)):
        iam.create_user(UserName="guest")


def test_who_reads_cannot_write(store: Store) -> None:
    reader, place = store.client("s3_reader"), {"Bucket": "models", "Key": "ready"}
    assert reader.get_object(**place)["Body"].read() == b"x"
    assert reader.list_objects_v2(Bucket="models")["KeyCount"] >= 1
    assert refused(reader.put_object, **place, Body=b"y") == "AccessDenied"
    assert refused(reader.delete_object, **place) == "AccessDenied"


def opened(store: Store, name: str, cache: Path) -> Any:
    """The pipeline's own store, by way of the door."""
    access = S3Access(endpoint=store.url(), credentials=store.keys(name))
    return open_store("s3://models", access=access, cache=cache)


def test_the_pipeline_keeps_its_models_with_the_keys_of_a_worker_and_the_pages_show_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(CHECKOUT / "plugins")
    import skin_page_models

    worker = opened(store, "s3_writer", tmp_path / "writer")
    run: dict[str, Any] = {"at": "2026-06-15T03:12:40+00:00", "accuracy": 0.83, "approved": True}
    promote(worker, REAL, judge(worker, REAL, "run", **run), at=run["at"])
    pages = opened(store, "s3_reader", tmp_path / "reader")
    (view,) = skin_page_models.overview(Reading(pages))
    assert view.champion
    assert (view.name, view.champion.problem) == (REAL, "")
    with pytest.raises(BadInput, match="the credentials do not allow it"):
        pages.put("gate/forged/report.html", b"<h1>forged</h1>")


def test_a_large_file_passes_the_door_whole(store: Store, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 4 * 2**15)  # 32 MiB
    client = store.client("s3_writer")
    client.upload_file(str(large), "models", "large")  # in parts
    client.download_file("models", "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large.read_bytes()


def test_the_server_of_the_tests_keeps_its_ports_to_the_loopback(s3_server: S3Server) -> None:
    port = int(s3_server.endpoint.rpartition(":")[2])
    owner = next(
        process
        for process in psutil.process_iter(["name"])
        if process.info["name"] == "weed" and f"-s3.port={port}" in process.cmdline()
    )
    ports = listening(owner)
    assert ports
    assert {address for address, _ in ports} == {HOST}
