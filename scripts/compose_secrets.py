"""Makes the passwords and keys of docker-compose.yaml: `make compose-secrets`.

Each is a file of mode 0600 in `var/secrets`, a folder of mode 0700. The files belong to the user
that the containers run as: the user who runs this, or user 50000 if root runs it. Existing secrets
are never overwritten; those that a newer version needs are added to them. It needs only Python.
"""

from __future__ import annotations

import base64
import configparser
import json
import os
import secrets
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER = "var/secrets"
CONTAINER_USER = 50000  # of the image; runs the containers where root sets them up
BUCKET, LOG_BUCKET = "models", "task-logs"
# Who has keys of the S3 server: the file of AWS's form that they are in, its section, the bucket,
# and what they may do. Airflow adds to what it finds of a task's log, so it has to read it as well.
PEOPLE = {
    "s3_writer": ("default", BUCKET, ("Read", "List", "Write")),
    "s3_reader": ("default", BUCKET, ("Read", "List")),
    "s3_log_writer": ("profile task-logs", LOG_BUCKET, ("Read", "List", "Write")),
    "s3_log_reader": ("profile task-logs", LOG_BUCKET, ("Read", "List")),
}
# All commands except those that manage the server, with which a client could make it write files.
REDIS = "user default on >{password} ~* &* +@all -@admin\n"


def made() -> dict[str, str]:
    """Returns new secrets: the content of each file by its name.

    None ends with a line break, because Airflow would read it as a part of the secret. Passwords
    contain only letters and digits, because they become parts of URLs.
    """
    database, broker = secrets.token_hex(24), secrets.token_hex(24)
    return {
        "admin_password": secrets.token_hex(12),
        "api_secret_key": secrets.token_hex(64),
        "broker_url": f"redis://:{broker}@redis:6379/0",
        "database_url": f"postgresql+psycopg2://airflow:{database}@postgres/airflow",
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "grafana_password": secrets.token_hex(12),
        "jwt_secret": secrets.token_hex(64),
        "postgres_password": database,
        "redis.conf": _redis(broker),
        "result_backend": f"redis://:{broker}@redis:6379/1",
        **_store_keys({name: _s3_keys() for name in PEOPLE}),
    }


def _redis(password: str) -> str:
    """Returns the configuration of Redis: a password, no files, and no commands that manage it."""
    kept_nothing = 'save ""\nappendonly no\n'
    return f"requirepass {password}\n{REDIS.format(password=password)}{kept_nothing}"


def _s3_keys() -> tuple[str, str]:
    return secrets.token_hex(10).upper(), secrets.token_hex(24)


def _store_keys(keys: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Returns a file of keys for each of `PEOPLE`, and what the S3 server knows of all of them.

    No key may manage the server, and each is for one bucket.
    """
    files = {
        name: f"[{section}]\naws_access_key_id = {{}}\naws_secret_access_key = {{}}\n"
        for name, (section, _, _) in PEOPLE.items()
    }
    identities = [
        {
            "name": name.removeprefix("s3_"),
            "credentials": [dict(zip(("accessKey", "secretKey"), keys[name], strict=True))],
            "actions": [f"{action}:{bucket}" for action in actions],
        }
        for name, (_, bucket, actions) in PEOPLE.items()
    ]
    return {
        **{name: text.format(*keys[name]) for name, text in files.items()},
        "s3_identities.json": json.dumps({"identities": identities}),
    }


def write(root: Path, *, user: int, group: int) -> Path:
    """Writes new secrets below `root`, all or none, and returns their folder.

    Raises:
        FileExistsError: there are secrets already.
    """
    folder = root / FOLDER
    if folder.exists():
        raise FileExistsError(f"{folder} is there already, and is left as it is")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix="secrets-", dir=folder.parent))
    new.chmod(0o700)  # whatever the umask
    for name, content in made().items():
        _write_private(new / name, content, user, group)
    os.chown(new, user, group)
    new.rename(folder)
    return folder


def complete(folder: Path, *, user: int, group: int) -> list[str]:
    """Adds the secrets that earlier versions did not have, and returns their names."""
    new = {name: text for name, text in made().items() if not (folder / name).exists()}
    if any(name in new for name in PEOPLE):
        keys = {name: _keys_in(folder / name) or _s3_keys() for name in PEOPLE}
        store = _store_keys(keys)
        new |= {name: text for name, text in store.items() if name in new}
        _write_private(folder / "identities.new", store["s3_identities.json"], user, group)
        (folder / "identities.new").replace(folder / "s3_identities.json")
    for name, text in new.items():
        _write_private(folder / name, text, user, group)
    return sorted(new)


def _keys_in(path: Path) -> tuple[str, str] | None:
    """Returns the keys in a credentials file, or None if there is no such file."""
    file = configparser.ConfigParser()
    if not file.read(path):
        return None
    keys = file[file.sections()[0]]
    return keys["aws_access_key_id"], keys["aws_secret_access_key"]


def _write_private(path: Path, content: str, user: int, group: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        os.fchown(file.fileno(), user, group)
        os.fchmod(file.fileno(), 0o600)
        file.write(content)


def name_user(root: Path, *, user: int, group: int) -> None:
    """Writes into `.env` the user that the containers run as.

    A missing `.env` is made from `.env.example`. If it names a user, only its mode is changed.
    """
    path = root / ".env"
    text = path.read_text() if path.exists() else (root / ".env.example").read_text()
    if not any(line.startswith("SKIN_UID=") for line in text.splitlines()):
        whose = "# The user that the containers run as, and that owns var/secrets."
        text = f"{text.rstrip()}\n{whose}\nSKIN_UID={user}\nSKIN_GID={group}\n"
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    _write_private(new, text, os.getuid(), os.getgid())
    new.replace(path)


def left_over(root: Path) -> list[str]:
    """Returns the names of secrets in `.env`, where earlier versions kept them."""
    names = [line.partition("=")[0] for line in (root / ".env").read_text().splitlines()]
    return [
        name
        for name in names
        if name.endswith(("_PASSWORD", "_KEY", "_SECRET")) and not name.startswith(("#", "SKIN_"))
    ]


def owner() -> dict[str, int]:
    """Returns the user and the group that the containers run as, and that the files belong to."""
    if os.getuid() == 0:
        return {"user": CONTAINER_USER, "group": CONTAINER_USER}
    return {"user": os.getuid(), "group": os.getgid()}


def main(root: Path = CHECKOUT) -> int:
    """Writes secrets and `.env`, and returns the exit status."""
    ids = owner()
    try:
        folder = write(root, **ids)
    except FileExistsError as error:
        if added := complete(root / FOLDER, **ids):
            print(f"Added to {root / FOLDER}: {', '.join(added)}")
            name_user(root, **ids)
            return 0
        print(
            f"{error}. For new secrets stop everything (docker compose down), move that folder "
            "away and call this again; the database keeps the password that it was made with.",
            file=sys.stderr,
        )
        return 1
    name_user(root, **ids)
    if unused := left_over(root):
        print(f"Not used any more, so remove them from {root / '.env'}: {', '.join(unused)}")
    print(f"Written: {folder} and {root / '.env'}. Airflow's user is `admin`; its password:")
    print(f"  {folder / 'admin_password'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
