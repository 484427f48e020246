"""Keys for signatures, and the signatures that they make."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import key_pairs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import SecretStr

from skin_pipeline.provenance import SigningKeys, signing

PLANTED = "planted-5f0c"


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_key_on_each_curve_signs_be_it_encrypted_or_not(tmp_path: Path, curve: Any) -> None:
    key = ec.generate_private_key(curve)
    for password in ("", "pässword"):
        pair = key_pairs.write(tmp_path, f"key{password}", key, password)
        pair.check()
        signature = signing.sign(b"{}", pair)
        trusted = pair.trusted()
        assert trusted
        assert signing.problem(b"{}", signature, trusted) == ""
        assert len(signature) < signing.SIGNATURE_BYTES / 10


def wrong_keys(folder: Path) -> dict[str, tuple[SigningKeys, str]]:
    """Keys that cannot be used, and what is to be said."""
    ours = key_pairs.write(folder, "ours")
    shut = key_pairs.write(folder, "shut", password=PLANTED)
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    rsa_pair = key_pairs.write(folder, "rsa", rsa_key)
    edwards = key_pairs.write(folder, "edwards", ed25519.Ed25519PrivateKey.generate())
    bitcoin = key_pairs.write(folder, "bitcoin", ec.generate_private_key(ec.SECP256K1()))
    (folder / "text").write_text("no key")
    cut = Path(ours.private).read_text().replace("A", "", 1)
    (folder / "cut").write_text(cut)
    (folder / "cut").chmod(0o600)
    text, planted = str(folder / "text"), SecretStr(PLANTED)
    return {
        "no file": (SigningKeys(f"{folder}/none"), "(SKIN_SIGNING_KEY) is not there"),
        "a folder": (SigningKeys(public=str(folder)), "(SKIN_PUBLIC_KEY) is not there"),
        "no PEM": (SigningKeys(text), "is no PEM file with a private key"),
        "no public PEM": (SigningKeys(public=text), "is no PEM file with a public key"),
        "cut": (SigningKeys(f"{folder}/cut"), "cannot be read"),
        "wrong password": (
            dataclasses.replace(shut, password=SecretStr("no")),
            "does not open with SKIN_SIGNING_PASSWORD",
        ),
        "no password": (SigningKeys(shut.private), "needs SKIN_SIGNING_PASSWORD"),
        "empty password": (
            SigningKeys(shut.private, password=SecretStr("")),
            "needs SKIN_SIGNING_PASS",
        ),
        "needless password": (SigningKeys(ours.private, password=planted), "needs no password"),
        "RSA": (
            SigningKeys(rsa_pair.private),
            "RSAPrivateKey; one on P-256, P-384, P-521 is needed",
        ),
        "public RSA": (SigningKeys(public=rsa_pair.public), "of the kind RSAPublicKey"),
        "Ed25519": (SigningKeys(edwards.private), "of the kind Ed25519PrivateKey"),
        "public Ed25519": (SigningKeys(public=edwards.public), "of the kind Ed25519PublicKey"),
        "curve": (SigningKeys(bitcoin.private), "of the kind secp256k1"),
        "public curve": (SigningKeys(public=bitcoin.public), "of the kind secp256k1"),
        "public for private": (SigningKeys(ours.public), "holds a public key, where the private"),
        "private for public": (
            SigningKeys(public=ours.private),
            "holds a private key, where the public",
        ),
        "shut for public": (
            SigningKeys(public=shut.private),
            "holds a private key, where the public",
        ),
        "no pair": (
            SigningKeys(ours.private, shut.public),
            "is not the public half of SKIN_SIGNING_KEY",
        ),
    }


@pytest.fixture(scope="module")
def hopeless(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return wrong_keys(tmp_path_factory.mktemp("wrong"))
