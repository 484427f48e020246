"""Key pairs in files, as a person makes them with openssl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from skin_pipeline.provenance import SigningKeys

Encoding, Private = serialization.Encoding, serialization.PrivateFormat


def write(folder: Path, name: str, key: Any = None, password: str = "") -> SigningKeys:
    """Write a key pair, by default a new one on P-256, as `NAME.pem` and `NAME.pub.pem`."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    shut = (
        serialization.BestAvailableEncryption(password.encode())
        if password
        else serialization.NoEncryption()
    )
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.touch(0o600)  # as openssl does
    private.write_bytes(key.private_bytes(Encoding.PEM, Private.PKCS8, shut))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return SigningKeys(str(private), str(public), SecretStr(password) if password else None)
