"""Finds credentials for Kaggle where its own client looks, and removes what copying adds."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from skin_pipeline.credentials import KaggleCredentials
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import hide

TOKEN = re.compile(r"KGAT_\S+")
OLD_KEY = re.compile(r"[0-9a-f]{32}")  # useless without its user name
WAYS = (
    "Create an API token or a key on kaggle.com under Settings > API. For Airflow, store it in "
    "the connection `kaggle` (login: user name, password: key; or an API token as password and "
    "no login). Outside Airflow, set KAGGLE_USERNAME and KAGGLE_KEY, or KAGGLE_API_TOKEN"
)


def found() -> KaggleCredentials:
    """Returns the credentials in the environment, searched in the order of Kaggle's client."""
    home = _in_home(".kaggle")
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    if token:
        # `Path.is_file` raises on a long token, with the token in its message.
        is_file = os.path.isfile(token)  # ruff: ignore[os-path-isfile]
        text = _text(Path(token)) if is_file else token
        return KaggleCredentials(token=text, origin="KAGGLE_API_TOKEN")
    for path in (home / "access_token", home / "access_token.txt"):
        if token := _text(path):
            return KaggleCredentials(token=token, origin=str(path))
    return _found_key(home)


def _found_key(home: Path) -> KaggleCredentials:
    name, key = os.environ.get("KAGGLE_USERNAME", ""), os.environ.get("KAGGLE_KEY", "")
    if name and key:
        return KaggleCredentials(name, key, origin="KAGGLE_USERNAME and KAGGLE_KEY")
    for path in _key_files(home):
        if text := _text(path):
            entries = _entries(text, str(path))
            name, key = name or entries["username"], key or entries["key"]
            return KaggleCredentials(name, key, origin=str(path))
    if name or key:
        raise BadInput(f"KAGGLE_USERNAME and KAGGLE_KEY are both required; one is empty. {WAYS}")
    raise BadInput(f"no Kaggle credentials were found. {WAYS}")


def _key_files(home: Path) -> list[Path]:
    chosen = os.environ.get("KAGGLE_CONFIG_DIR")
    if chosen:
        return [Path(chosen) / "kaggle.json"]
    xdg = os.environ.get("XDG_CONFIG_HOME")
    config = Path(xdg) if xdg else _in_home(".config")
    return [home / "kaggle.json", config / "kaggle" / "kaggle.json"]


def _in_home(name: str) -> Path:
    # `Path.expanduser` raises where the user has no home, as in some containers.
    return Path(os.path.expanduser(f"~/{name}"))  # ruff: ignore[os-path-expanduser]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError):
        pass  # raised below, because a decoding error contains the secret
    raise BadInput(f"{path} contains Kaggle credentials but cannot be read. {WAYS}")


def _entries(text: str, origin: str) -> dict[str, str]:
    try:
        entries = json.loads(text)
        return {name: str(entries[name]) for name in ("username", "key")}
    except (ValueError, KeyError, TypeError):
        pass  # raised below, because a JSON error contains the text
    raise BadInput(f"{origin} is not a JSON object with `username` and `key`. {WAYS}")


def checked(credentials: KaggleCredentials) -> KaggleCredentials:
    """Returns the credentials without what copying adds.

    Copying adds spaces or quotes around them, or brings a whole `kaggle.json` instead of its key,
    or a token instead of a key.

    Raises:
        BadInput: Something is missing, or there is a character that no header may have. (Otherwise
            requests complains about it, with the whole secret in the message.)
    """
    tidy = _unpacked(credentials)
    hide(tidy.key, tidy.token)
    if not tidy.key and not tidy.token:
        raise BadInput(f"the credentials from {tidy.origin} contain no key and no token. {WAYS}")
    if not tidy.token and (problem := _user_problem(tidy)):
        raise BadInput(f"the credentials from {tidy.origin} {problem}. {WAYS}")
    if not re.fullmatch(r"[!-~]*", tidy.username + tidy.key + tidy.token):
        raise BadInput(
            f"the credentials from {tidy.origin} contain spaces, line breaks or letters that no "
            f"Kaggle key has; copy them again. {WAYS}"
        )
    return tidy


def _unpacked(given: KaggleCredentials) -> KaggleCredentials:
    """Returns the credentials with each part in its own field."""
    parts = [_bare(part) for part in (given.username, given.key, given.token)]
    packed = next((part for part in parts if part.startswith("{")), "")
    if packed:
        entries = _entries(packed, given.origin)
        parts = [entries["username"], entries["key"], ""]
    username, key, token = parts
    if TOKEN.fullmatch(key):  # a token needs no user name
        key, token = "", token or key
    return KaggleCredentials(username, key, token, given.origin)


def _bare(text: str) -> str:
    """Returns text without spaces around it, and without a pair of quotes."""
    text = text.strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1].strip() if quoted else text


def _user_problem(credentials: KaggleCredentials) -> str:
    """Returns what is wrong with the user name that a key needs; "" if nothing is."""
    if "@" in credentials.username:
        return "contain an e-mail address instead of the user name, as in kaggle.com/USERNAME"
    if not credentials.username and OLD_KEY.fullmatch(credentials.key):
        return "contain a key without the user name that it belongs to"
    return ""
