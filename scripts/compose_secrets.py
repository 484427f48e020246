"""Makes the passwords and keys of docker-compose.yaml: `make compose-secrets`.

Each is a file of mode 0600 in `var/secrets`, a folder of mode 0700. The files belong to the user
that the containers run as: the user who runs this, or user 50000 if root runs it. Existing secrets
are never overwritten. It needs only Python.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER = "var/secrets"
CONTAINER_USER = 50000  # of the image; runs the containers where root sets them up
BUCKET = "models"
# All commands except those that manage the server, with which a client could make it write files.
REDIS = "user default on >{password} ~* &* +@all -@admin\n"


def made() -> dict[str, str]:
    """Returns new secrets: the content of each file by its name.

    None ends with a line break, because Airflow would read it as a part of the secret. Passwords
    contain only letters and digits, because they become parts of URLs.
    """
    database, broker = secrets.token_hex(24), secrets.token_hex(24)
    writer, reader = _s3_keys(), _s3_keys()
    return {
        "admin_password": secrets.token_hex(12),
        "api_secret_key": secrets.token_hex(64),
        "broker_url": f"redis://:{broker}@redis:6379/0",
        "database_url": f"postgresql+psycopg2://airflow:{database}@postgres/airflow",
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "jwt_secret": secrets.token_hex(64),
        "postgres_password": database,
        "redis.conf": _redis(broker),
        "result_backend": f"redis://:{broker}@redis:6379/1",
        "s3_identities.json": _identities(writer, reader),
        "s3_reader": _credentials(reader),
        "s3_writer": _credentials(writer),
    }


def _redis(password: str) -> str:
    """Returns the configuration of Redis: a password, no files, and no commands that manage it."""
    kept_nothing = 'save ""\nappendonly no\n'
    return f"requirepass {password}\n{REDIS.format(password=password)}{kept_nothing}"


def _s3_keys() -> tuple[str, str]:
    return secrets.token_hex(10).upper(), secrets.token_hex(24)


def _identities(writer: tuple[str, str], reader: tuple[str, str]) -> str:
    """Returns who may do what in the S3 server: no key may manage it or read another bucket."""
    people = {"writer": (writer, ("Read", "List", "Write")), "reader": (reader, ("Read", "List"))}
    return json.dumps({
        "identities": [
            {
                "name": name,
                "credentials": [{"accessKey": access_key, "secretKey": secret}],
                "actions": [f"{action}:{BUCKET}" for action in actions],
            }
            for name, ((access_key, secret), actions) in people.items()
        ]
    })


def _credentials(keys: tuple[str, str]) -> str:
    """Returns keys as a credentials file of AWS, which boto3 reads by itself."""
    return "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n".format(*keys)


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


def main(root: Path = CHECKOUT) -> int:
    """Writes secrets and `.env`, and returns the exit status."""
    root_user = os.getuid() == 0
    ids = {
        "user": CONTAINER_USER if root_user else os.getuid(),
        "group": CONTAINER_USER if root_user else os.getgid(),
    }
    try:
        folder = write(root, **ids)
    except FileExistsError as error:
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
