"""`make compose-secrets`: what it writes, for whom, and that it overwrites nothing."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import compose_secrets
import pytest
from cryptography.fernet import Fernet
from sqlalchemy.engine import make_url

CHECKOUT = Path(__file__).parents[2]
ME = {"user": os.getuid(), "group": os.getgid()}
BITS = 4  # of a hexadecimal digit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with nothing but the example of settings."""
    shutil.copy(CHECKOUT / ".env.example", tmp_path)
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_their_owner_can_read_them_whatever_the_umask(root: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = compose_secrets.write(root, **ME)
        compose_secrets.name_user(root, **ME)
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    files = [*folder.iterdir(), root / ".env"]
    assert {mode(file) for file in files} == {0o600}
    assert {(file.stat().st_uid, file.stat().st_gid) for file in files} == {tuple(ME.values())}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_where_root_writes_them_they_belong_to_the_user_of_the_image(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compose_secrets.main(root) == 0
    folder = root / compose_secrets.FOLDER
    user = compose_secrets.CONTAINER_USER
    assert {path.stat().st_uid for path in [folder, *folder.iterdir()]} == {user}
    assert f"SKIN_UID={user}\nSKIN_GID={user}\n" in (root / ".env").read_text()
    assert f"useradd --uid {user} " in (CHECKOUT / "Dockerfile").read_text()


def test_what_is_there_is_never_overwritten(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compose_secrets.main(root) == 0
    folder = root / compose_secrets.FOLDER
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert compose_secrets.main(root) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing half-made


def test_nothing_that_it_says_is_secret(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compose_secrets.main(root)
    said = "".join(capsys.readouterr())
    assert "remove them" not in said
    settings = (root / ".env").read_text()
    for path in (root / compose_secrets.FOLDER).iterdir():
        assert path.read_text() not in said + settings


def test_an_env_file_of_before_keeps_its_lines_gets_the_user_and_is_narrowed(root: Path) -> None:
    path = root / ".env"
    path.write_text("PORT=9090")
    path.chmod(0o644)
    compose_secrets.name_user(root, user=7, group=8)
    lines = path.read_text().splitlines()
    assert (lines[0], lines[-2:]) == ("PORT=9090", ["SKIN_UID=7", "SKIN_GID=8"])
    assert mode(path) == 0o600
    compose_secrets.name_user(root, user=1, group=1)
    assert path.read_text().splitlines() == lines


def test_secrets_of_before_are_named_and_not_shown(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / ".env").write_text("PORT=1\nPOSTGRES_PASSWORD=old-one\nFERNET_KEY=old-two\n")
    assert compose_secrets.main(root) == 0
    said = capsys.readouterr().out
    assert "remove them" in said
    assert "POSTGRES_PASSWORD, FERNET_KEY\n" in said
    assert "old-" not in said


def test_each_installation_has_secrets_of_its_own() -> None:
    one, other = compose_secrets.made(), compose_secrets.made()
    assert set(one) == set(other)
    assert [name for name in one if one[name] == other[name]] == []


def test_no_secret_is_used_for_two_things() -> None:
    secrets = compose_secrets.made()
    parts = re.findall(r"[0-9a-fA-F]{20,}", "\n".join(secrets.values()))
    # The database's and the broker's stand in two and four files, S3's four pairs in two each.
    assert len(parts) - len(set(parts)) == 1 + 3 + 8


def test_they_are_of_the_form_and_length_that_their_readers_ask_for() -> None:
    secrets = compose_secrets.made()
    Fernet(secrets["fernet_key"].encode()).encrypt(b"x")
    for name in ("api_secret_key", "jwt_secret"):  # for HS512
        assert len(secrets[name]) * BITS >= 512
    for name in ("admin_password", "postgres_password"):
        assert len(secrets[name]) * BITS >= 96
    # Airflow takes what its commands print as it is, a line break at the end included.
    asked = {name for name in secrets if not name.startswith("s3_") and name != "redis.conf"}
    assert [name for name in asked if secrets[name] != secrets[name].strip()] == []


def test_addresses_hold_the_passwords_of_their_servers() -> None:
    secrets = compose_secrets.made()
    database = make_url(secrets["database_url"])
    assert database.password == secrets["postgres_password"]
    assert (database.host, database.database, database.username) == ("postgres",) + ("airflow",) * 2
    lines = secrets["redis.conf"].splitlines()
    password = lines[0].removeprefix("requirepass ")
    for name in ("broker_url", "result_backend"):
        address = make_url(secrets[name])
        assert (address.host, address.port, address.password) == ("redis", 6379, password)
    assert secrets["broker_url"] != secrets["result_backend"]
    assert f"user default on >{password} ~* &* +@all -@admin" in lines


def known(secrets: dict[str, str]) -> dict[str, tuple[str, str, set[str]]]:
    """The keys that the S3 server knows, and what each may do, by the file that they are in."""
    found = {}
    for person in json.loads(secrets["s3_identities.json"])["identities"]:
        (keys,) = person["credentials"]
        actions = set(person["actions"])
        found[f"s3_{person['name']}"] = (keys["accessKey"], keys["secretKey"], actions)
    return found


def held(text: str) -> dict[str, tuple[str, str]]:
    """The keys in a file of AWS's form, by its sections."""
    file = configparser.ConfigParser()
    file.read_string(text)
    return {
        name: (file[name]["aws_access_key_id"], file[name]["aws_secret_access_key"])
        for name in file.sections()
    }


def test_the_keys_of_the_store_are_those_that_its_server_knows() -> None:
    secrets = compose_secrets.made()
    people = known(secrets)
    assert set(people) == {"s3_reader", "s3_writer", "s3_log_reader", "s3_log_writer"}
    for name, (access, secret, actions) in people.items():
        log = "_log_" in name
        assert held(secrets[name]) == {"profile task-logs" if log else "default": (access, secret)}
        assert {action.partition(":")[2] for action in actions} == {
            "task-logs" if log else "models"
        }
        rights = {"Read", "List", "Write"} if name.endswith("writer") else {"Read", "List"}
        assert {action.partition(":")[0] for action in actions} == rights


def test_what_a_newer_version_needs_is_added_and_what_there_is_stays(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = compose_secrets.write(root, **ME)
    new = ("grafana_password", "s3_log_reader", "s3_log_writer")
    before = {path.name: path.read_text() for path in folder.iterdir()}
    for name in new:
        (folder / name).unlink()
    identities = json.loads(before["s3_identities.json"])
    identities["identities"] = identities["identities"][:2]
    (folder / "s3_identities.json").write_text(json.dumps(identities))
    assert compose_secrets.main(root) == 0
    assert f"Added to {folder}: {', '.join(new)}" in capsys.readouterr().out
    after = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(after) == set(before)
    same = set(before) - {*new, "s3_identities.json"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    people = known(after)
    for name in people:
        assert people[name][:2] in held(after[name]).values(), name
    assert {mode(path) for path in folder.iterdir()} == {0o600}
    assert compose_secrets.main(root) == 1  # there is nothing to add now


def test_it_needs_nothing_but_python(root: Path) -> None:
    for name in ("compose_secrets.py", "compose_images.py"):
        checked = f"import runpy; runpy.run_path({str(CHECKOUT / 'scripts' / name)!r})"
        subprocess.run([sys.executable, "-IS", "-c", checked], check=True, cwd=root)
    started = [sys.executable, "-S", str(CHECKOUT / "scripts/compose_stack.py"), "--help"]
    subprocess.run(started, check=True, cwd=root, stdout=subprocess.DEVNULL)
