"""Files of keys: which are refused, and what is said of them."""

from __future__ import annotations

import dataclasses
import traceback
from pathlib import Path

import key_pairs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import SecretStr

from skin_pipeline.config import read_deployment, settings_tables
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import SigningKeys

PLANTED = "planted-5f0c"


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
def hopeless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[SigningKeys, str]]:
    return wrong_keys(tmp_path_factory.mktemp("wrong"))


def test_a_key_that_cannot_be_used_is_told_with_its_setting_and_the_way_out(
    hopeless: dict[str, tuple[SigningKeys, str]],
) -> None:
    for name, (pair, said) in hopeless.items():
        with pytest.raises(BadInput) as error:
            pair.check()
        assert said in str(error.value), name
        assert "openssl" in str(error.value), name


def test_a_password_is_in_no_error_log_or_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pair = key_pairs.write(tmp_path, "shut", password="another")
    monkeypatch.setenv("SKIN_SIGNING_KEY", pair.private)
    monkeypatch.setenv("SKIN_SIGNING_PASSWORD", PLANTED)
    deployment = read_deployment()
    assert deployment.signing_password
    assert deployment.signing_password.get_secret_value() == PLANTED
    with pytest.raises(BadInput, match="does not open") as refused:
        SigningKeys.of(deployment).check()
    monkeypatch.setenv("SKIN_THREADS", "many")
    with pytest.raises(BadInput) as misfit:
        read_deployment()
    seen = [
        repr(deployment),
        str(deployment),
        repr(SigningKeys.of(deployment)),
        deployment.model_dump_json(),
        caplog.text,
    ]
    seen.append(settings_tables())
    for error in (refused.value, misfit.value):
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        seen += [repr(error), repr(error.__context__), *told.format()]
    assert PLANTED not in "".join(seen)


@pytest.mark.parametrize(
    ("mode", "who"),
    [
        (0o600, ""),
        (0o400, ""),
        (0o440, ""),  # a secret that Kubernetes mounts for a group
        (0o640, ""),
        (0o444, "read by everybody"),
        (0o644, "read by everybody"),
        (0o604, "read by everybody"),
        (0o660, "changed by others"),
        (0o622, "changed by others"),
    ],
)
def test_a_signing_key_that_others_may_use_is_refused(tmp_path: Path, mode: int, who: str) -> None:
    keys = key_pairs.write(tmp_path, "mine")
    Path(keys.private).chmod(mode)
    if not who:
        keys.check()
        return
    (tmp_path / "link.pem").symlink_to(keys.private)
    for path in (keys.private, str(tmp_path / "link.pem")):
        with pytest.raises(BadInput, match=rf"SKIN_SIGNING_KEY\) may be {who}.*chmod 600"):
            dataclasses.replace(keys, private=path).own()


def test_a_public_key_may_be_read_by_everybody(tmp_path: Path) -> None:
    keys = key_pairs.write(tmp_path, "mine")
    Path(keys.public).chmod(0o644)
    assert keys.trusted()
