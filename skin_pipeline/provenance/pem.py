"""Keys for signatures, read from PEM files with errors that say how to make a right one."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from skin_pipeline.errors import BadInput

SIGNING_KEY, PASSWORD, PUBLIC_KEY = "SKIN_SIGNING_KEY", "SKIN_SIGNING_PASSWORD", "SKIN_PUBLIC_KEY"
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
MAKE = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signing.pem"
PUBLISH = "openssl pkey -in signing.pem -pubout -out public.pem"


def private_key(path: str, password: SecretStr | None) -> Any:
    """Returns the private key in a file, which the password opens.

    Raises:
        BadInput: there is no such file, no key for signatures in it, the password is wrong, or
            other users may use the file.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = _read(path, SIGNING_KEY)
    try:
        # The plain password is never in a variable: some logs show those of a traceback.
        key = load_pem_private_key(pem, plain(password))
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise _refusal(SIGNING_KEY, path, _closed(pem, bool(password))) from None
    return _on_known_curve(key, SIGNING_KEY, path)


def plain(password: SecretStr | None) -> bytes | None:
    """Returns a password as it opens a key; None if there is none, or an empty one."""
    return os.fsencode(password.get_secret_value()) if password else None


def public_key(path: str) -> Any:
    """Returns the public key in a file.

    Raises:
        BadInput: there is no such file, or no public key for signatures in it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pem = _read(path, PUBLIC_KEY)
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        private = b"PRIVATE KEY-" in pem
        found = "holds a private key" if private else "is no PEM file with a public key"
        raise _refusal(PUBLIC_KEY, path, f"{found}, where the public one is needed") from None
    return _on_known_curve(key, PUBLIC_KEY, path)


def pem_of(public: Any) -> bytes:
    """Returns a public key as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def fingerprint(public: Any) -> str:
    """Returns the name of a public key: 16 hex characters."""
    return hashlib.sha256(pem_of(public)).hexdigest()[:16]


def _closed(pem: bytes, has_password: bool) -> str:
    """Returns why a private key could not be opened."""
    if b"PUBLIC KEY-" in pem:
        return "holds a public key, where the private one is needed"
    if b"PRIVATE KEY-" not in pem:
        return "is no PEM file with a private key"
    if b"ENCRYPTED" in pem:
        return f"does not open with {PASSWORD}" if has_password else f"needs {PASSWORD}"
    return f"needs no password: leave {PASSWORD} empty" if has_password else "cannot be read"


def _read(path: str, setting: str) -> bytes:
    try:
        if not Path(path).is_file():  # nor a pipe, which would block
            raise _refusal(setting, path, "is not there" if path else "is not set")
        pem, who = Path(path).read_bytes(), _open_to(Path(path).stat())
        if b"PRIVATE KEY-" in pem and setting == SIGNING_KEY and who:
            raise _refusal(setting, path, f"may be {who}; `chmod 600` it, or 640")
        return pem
    except OSError as error:
        raise _refusal(setting, path, f"cannot be read ({error.strerror})") from None


def _open_to(found: os.stat_result) -> str:
    """Returns what other users may do with a private key, by its file's mode; "" for nothing.

    A group may read it, as it does a mounted secret of Kubernetes (`defaultMode: 0440`, `fsGroup`).
    """
    if found.st_mode & stat.S_IROTH:
        return "read by everybody"
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return "changed by others than its owner" if writable else ""


def _on_known_curve(key: Any, setting: str, path: str) -> Any:
    """Returns the key, or refuses a kind that `model-signing` cannot use."""
    curve = getattr(key, "curve", None)
    kind = curve.name if curve else type(key).__name__
    if kind not in CURVES:
        wanted = ", ".join(CURVES.values())
        raise _refusal(setting, path, f"is a key of the kind {kind}; one on {wanted} is needed")
    return key


def _refusal(setting: str, path: str, found: str) -> BadInput:
    return BadInput(
        f"the key {path!r} ({setting}) {found}. This makes a key, and this its public half: "
        f"`{MAKE}`, `{PUBLISH}`"
    )
