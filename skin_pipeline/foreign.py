r"""Words of others: file names, cells, labels, addresses, what libraries say in their errors.

    log.warning('not_used file="%s"', line(name))     # one printable line, without secrets
    raise BadInput(f"{shown(name)} is refused")       # the same in quotes
    table.writerow([defused(cell) for cell in row])   # no formula where a spreadsheet opens it

Our errors pass through `line` when they are made, and records of our loggers when they are written
(`guard`), so that code that forgets it does no harm.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import traceback
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

MOST = 10_000  # characters of one message
NAME = 120  # characters of one name in a message
WORDS = 200  # characters of what another library says in an error
WINDOW = 2**16  # characters that are looked through for secrets: more are never shown
SHORTEST = 8  # characters of a secret that is masked everywhere: shorter ones are parts of words
STARS = "***"

# --- one printable line --------------------------------------------------------------------------

# Characters that Python counts as printable although they are invisible: joiners, fillers of Hangul
# and Braille, and selectors of variants, in which whole texts can be hidden.
INVISIBLE = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f"
    "\U000e0000-\U000e0fff"
)
UNSEEN = re.compile(f"[{INVISIBLE}]")


def escaped(text: str) -> str:
    r"""Returns text on one line, in which invisible characters are written out, as `\u202e`.

    So are characters that turn or move the text around them.
    """
    if text.isprintable() and not UNSEEN.search(text):
        return text
    return "".join(_visible(letter) for letter in text)


def _visible(letter: str) -> str:
    if letter.isprintable() and not UNSEEN.match(letter):
        return letter
    return letter.encode("unicode_escape").decode()


def line(value: object, most: int = MOST) -> str:
    r"""Returns any text as one printable line of at most so many characters, without secrets.

    Some readers of logs look up what is within `${…}`, so it is written as `$\{…}`.
    """
    text = escaped(masked(_text(value))).replace("${", "$\\{")
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shown(value: object, most: int = NAME) -> str:
    """Returns any text as a message may show it: quoted, on one line, and not too long."""
    text = masked(_text(value))
    return line(repr(text if len(text) <= most else f"{text[:most]}…"))


def on_page(value: Any) -> Any:
    """Returns what a template is about to write; text is on one line and visible, as `escaped`."""
    # Not a subclass of text: that is markup of our own, with line feeds that it needs.
    return escaped(re.sub(r"\s+", " ", value)) if type(value) is str else value


def words(error: BaseException, most: int = WORDS) -> str:
    """Returns the text of another library's error on one line, or the error's type if it has none.

    Of a text of several lines the first is taken.
    """
    lines = _text(error).strip().splitlines()
    return line(lines[0] if lines else type(error).__name__, most)


def _text(value: object) -> str:
    try:
        return str(value)[:WINDOW]
    except Exception:  # an error of a library whose text cannot be made
        return type(value).__name__


# --- no secrets ----------------------------------------------------------------------------------

EQUALS = "(?:=|%(?:25)*3D)"  # also as an address writes it within another
NAMES = (
    "(?:pass(?:word|wd|phrase)|pwd|secret|token|signature|credentials?|api[_-]?key"
    "|access[_-]?key(?:[_-]?id)?|private[_-]?key|account[_-]?key|googleaccessid|kaggle_key)"
)
VALUE = r"""(?:"[^"]*"|'[^']*'|(?:(?!%(?:25)*26)(?:[^\s&#"'<>]|["'](?=\w)))+)"""
# Each pattern, and what is written in its place. None of them takes long on any text: an attacker
# may send a text that is made to keep a pattern busy.
SECRETS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, flags), instead)
    for flags, pattern, instead in (
        # A private key, also one that was cut off.
        (re.S, r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*-----|\Z)", STARS),
        # user:pass/word@host, which no address may hold, then user:password@host and token@host.
        (
            re.I,
            r"(:[/\\]{2,})[^\s/?#@:\[]+:(?!\d{1,5}(?:[/?#\s]|$))[^\s\"<>]{0,999}@",
            rf"\1{STARS}@",
        ),
        (re.I, r"(:[/\\]{2,})[^\s/?#]{0,999}@", rf"\1{STARS}@"),
        (
            re.I,
            r"(%(?:25)*3A(?:%(?:25)*2F){2})(?:(?!%(?:25)*(?:2F|3F|23))[^\s/?#&])*%(?:25)*40",
            rf"\1{STARS}@",
        ),
        # user:password@host without a scheme; but a container's image:tag@sha256:… is none.
        (
            re.I,
            r"(?<![\w.+-])(?!mailto:)[\w.+-]{1,80}:[^\s/@,;\"']{3,200}@(?!sha256:)",
            f"{STARS}@",
        ),
        # What is named as a secret: in addresses, in arguments of programs, in JSON, in headers.
        (re.I, rf"({NAMES}[\w.-]{{0,20}}\s{{0,2}}{EQUALS}\s{{0,2}}){VALUE}", rf"\1{STARS}"),
        (
            re.I,
            rf"((?:[?&;]|%(?:25)*(?:3F|26|3B))(?:key|sig|auth|policy|key-pair-id|pass|pw|jwt|code)"
            rf"{EQUALS}){VALUE}",
            rf"\1{STARS}",
        ),
        (
            re.I | re.S,
            rf"([\"'][^\"'\\]{{0,40}}{NAMES}[^\"'\\]{{0,20}}\\{{0,4}}[\"']\s{{0,4}}:\s{{0,4}})"
            r"(\\{0,4})([\"']).*?(?:(?<!\\)\2\3|\Z)",
            rf"\1\2\3{STARS}\2\3",
        ),
        (re.I, r"([\"']key\\{0,4}[\"']\s{0,4}:\s{0,4}\\{0,4}[\"'])[0-9a-f]{20,}", rf"\1{STARS}"),
        (re.I, rf"({NAMES}\s?:\s?)(?=\S*\d)[^\s,;\"')]{{8,}}", rf"\1{STARS}"),
        (
            re.I,
            r"((?:authorization|x-amz-security-token|x-api-key|x-auth-token|cookie)[\"']?\s*:\s*"
            r"[\"']?)[^\"'\r\n]+",
            rf"\1{STARS}",
        ),
        (
            re.I,
            r"\b((?:bearer|basic|negotiate)(?:\s+|%20))(?=\S*(?-i:[A-Z0-9]))[\w.~+/=-]{8,}",
            rf"\1{STARS}",
        ),
        # What is known by its own form: ids and tokens of AWS, Kaggle, GitHub, Slack, Google, ….
        (0, r"(?<![A-Z0-9])(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{12,}", STARS),
        (0, r"\b(?:KGAT_\w{6,}|gh[opsur]_\w{20,}|github_pat_\w{20,}|hf_\w{20,})", STARS),
        (0, r"\b(?:glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|AIza[\w-]{30,})", STARS),
        (0, r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?", STARS),
        (0, r"(hooks\.slack\.com/services/)[^\s\"'<>]+", rf"\1{STARS}"),
    )
)
# Names of variables that contain secrets.
SECRET_VARIABLE = re.compile(rf"{NAMES}|_(?:fernet|kaggle|secret)_key", re.IGNORECASE)
# Names among them that do not contain one: the shell's folders, which read like passwords, language
# models, and what only describes a secret (where it is, its name, how long it lasts) or a service
# that is named after secrets. Their values are commonplace. If these were masked, a store below the
# working folder, or at the address of such a service, would be refused as one with a secret in it.
DESCRIBES = (
    *("FILE", "PATH", "DIR", "DIRECTORY", "FOLDER", "STORE", "BACKEND", "PROVIDER", "PREFIX"),
    *("URI", "URL", "ENDPOINT", "HOST", "PORT", "ADDR", "SOCK", "SOCKET", "REGION", "ARN"),
    *("CMD", "COMMAND", "HELPER", "NAME", "USER", "USERNAME", "TYPE", "VERSION", "ALGORITHM"),
    *("ENABLED", "TTL", "EXPIRATION", "EXPIRY", "EXPIRES", "EXPIRES_AT", "EXPIRES_IN"),
)
HARMLESS_VARIABLE = re.compile(
    r"^(?:OLD)?PWD$|^GOOGLE_APPLICATION_CREDENTIALS$|CREDENTIALS?_ID$|TOKENI[SZ]E"
    rf"|_PORT_\d+_(?:TCP|UDP)|_(?:{'|'.join(DESCRIBES)})$",
    re.IGNORECASE,
)
# Passwords that images and manuals begin with, and words that turn something off. Everybody knows
# them, so masking them protects nothing, and some are parts of ordinary addresses.
COMMONPLACE = frozenset({
    *("password", "passw0rd", "changeme", "change-me", "change_me", "changeit", "12345678"),
    *("postgres", "postgresql", "rabbitmq", "minioadmin", "rootpassword", "anonymous"),
    *("disabled", "required", "optional", "undefined", "automatic", "localhost"),
})
_hidden: set[str] = set()


def hide(*secrets: str | None) -> None:
    """Has secrets masked wherever they occur, from now on and in this process."""
    for secret in secrets:
        if secret and len(secret) >= SHORTEST:
            _hidden.update({secret, quote(secret, safe=""), escaped(secret)})


def hide_environment() -> None:
    """Has the secrets masked that the environment contains under the usual names.

    A value that exists as a file or folder is a path, whatever its name says.
    """
    hide(*(value for name, value in os.environ.items() if _is_secret(name, value)))


def _is_secret(name: str, value: str) -> bool:
    if not SECRET_VARIABLE.search(name) or HARMLESS_VARIABLE.search(name):
        return False
    return value.lower() not in COMMONPLACE and not os.path.lexists(value)


def masked(text: str) -> str:
    """Returns text with stars in the place of passwords, keys, tokens and signatures.

    These are the ones that were given to `hide`, and whatever is where secrets are: in an address,
    a header, JSON or a list of options.
    """
    for secret in _hidden:
        if secret in text:
            text = text.replace(secret, STARS)
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text


def holds_secret(text: str) -> bool:
    """Returns whether something in a text looks like a password, a key, a token or a signature."""
    return masked(text) != text


def reveals_secret(error: BaseException) -> bool:
    """Returns whether the text of an error, or of one that led to it, contains a secret."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.append(one)
        notes = getattr(one, "__notes__", ())
        if any(holds_secret(_text(part)) for part in (one, *one.args, *notes)):
            return True
        waiting += [other for other in (one.__cause__, one.__context__) if other]
    return False


def crosses_networks(url: str) -> bool:
    """Returns whether others on the way to a server can read along.

    They can if it is plain HTTP to a host that is neither this machine nor in a private network. A
    name without a dot is in a private network, such as a service of Docker Compose.
    """
    parts = urlsplit(url.strip())
    if parts.scheme.lower() != "http":
        return False
    host = (parts.hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        number = re.fullmatch(r"(?:0x[0-9a-f]+|\d+)", host)  # an address in one number
        local = "." not in host or host.endswith((".localhost", ".local", ".internal", ".svc"))
        return bool(number) or not (local or host.endswith(".svc.cluster.local"))
    return (getattr(address, "ipv4_mapped", None) or address).is_global


# --- the net under all of it ---------------------------------------------------------------------


class Net(logging.Handler):
    """Makes each record one printable line without secrets, before any other handler gets it.

    It belongs on the loggers of our packages: handlers of loggers above them come later.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # the message and its values do not fit each other
            text = f"{record.msg!r} {record.args!r}"
        record.msg, record.args = line(text), None
        if record.exc_info or record.exc_text:
            record.exc_text, record.exc_info = _trace(record), None
        if record.stack_info:
            record.stack_info = _indented(record.stack_info)
        # Python writes warnings by itself if no handler is set up. This one counts as a handler, so
        # it has to hand them on.
        if not logging.getLogger().handlers and record.levelno >= logging.WARNING:
            assert logging.lastResort
            logging.lastResort.handle(record)


def _trace(record: logging.LogRecord) -> str:
    found = record.exc_info
    text = "".join(traceback.format_exception(*found)) if found else record.exc_text or ""
    return _indented(text)


def _indented(text: str) -> str:
    # Several lines, none of which can look like the start of a record.
    return "\n".join(f"  {line(part)}" for part in masked(text).split("\n") if part)


def guard(name: str) -> None:
    """Puts the net on a logger, once; it also gets what the loggers below that one write."""
    logger = logging.getLogger(name)
    if not any(isinstance(handler, Net) for handler in logger.handlers):
        logger.addHandler(Net())


# --- tables that people open ---------------------------------------------------------------------

# A spreadsheet reads a cell as a formula if it begins with one of these, or with its wide, small,
# raised or lowered form.
FORMULA = (
    "=\uff1d\ufe66\u207c\u208c+\uff0b\ufe62\u207a\u208a"
    "\\-\uff0d\ufe63\u2212\u207b\u208b@\uff20\ufe6b"
)
# It skips quotes, blanks and invisible characters.
PASSED = (
    f"\"'`\xb4\u2018-\u201f\xab\xbb \\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\xa0\xad\u061c\u1680"
    f"\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff{INVISIBLE}"
)
SEPARATORS = ";,|\\t\\r\\n"  # each begins a new cell in some country or program
QUOTE = "'"
_START = rf"(?=[{PASSED}]*[{FORMULA}\t\r\n])"
_INSIDE = rf"(?=[{PASSED}]*[{FORMULA}])"
BEGINS = re.compile(rf"\A{_START}|(?<=[{SEPARATORS}]){_INSIDE}")
QUOTED = re.compile(rf"\A{QUOTE}{_START}|(?<=[{SEPARATORS}]){QUOTE}{_INSIDE}")


# A quick test: nearly no cell matches, and all others need no apostrophe.
SUSPICIOUS = re.compile(rf"\A[{PASSED}]*[{FORMULA}\t\r\n]|[{SEPARATORS}][{PASSED}]*[{FORMULA}]")


def defused(cell: str) -> str:
    """Returns the text of a cell in a form that no spreadsheet reads as a formula.

    It has an apostrophe before each place that could begin one. `restored` gives the text back.
    """
    return BEGINS.sub(QUOTE, cell) if SUSPICIOUS.search(cell) else cell


def restored(cell: str) -> str:
    """Returns the text that `defused` was given.

    Text that needs no apostrophe stays as it is, so tables without any are read, too.
    """
    return QUOTED.sub("", cell) if QUOTE in cell else cell


def defused_all(cells: Iterable[object]) -> list[object]:
    """Returns a row whose texts are defused; its numbers stay numbers."""
    return [defused(cell) if isinstance(cell, str) else cell for cell in cells]
