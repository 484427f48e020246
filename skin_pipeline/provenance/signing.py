"""Signatures by a key pair of the installation: of model versions, and of small documents.

    keys = SigningKeys.of(deployment)
    signature = sign(manifest, keys)
    check(manifest, signature, keys.trusted(), "version 4f1a of skin-resnet50")

A version is signed by its manifest, which contains the SHA-256 of every file, the threshold and
the labels: one small signature covers all of them. `model-signing` makes and checks it, so that
anybody can verify a version without this project. No network service is used.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from skin_pipeline.config import Deployment
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import ecdsa
from skin_pipeline.provenance.pem import (
    PASSWORD,
    PUBLIC_KEY,
    PUBLISH,
    SIGNING_KEY,
    pem_of,
    plain,
    private_key,
    public_key,
)
from skin_pipeline.storage import scratch

MANIFEST = "manifest.json"
SIGNATURE = f"{MANIFEST}.sig"
SIGNATURE_BYTES = 2**16  # a signature has some 1,400


@dataclass(frozen=True)
class SigningKeys:
    """The keys of an installation, as paths of PEM files.

    Attributes:
        private: The key that signs; empty: nothing is signed.
        public: The key that checks signatures, which are then required; empty: none is checked.
        password: Opens the private key.
        state: The folder that remembers which moves of aliases were seen.
    """

    private: str = ""
    public: str = ""
    password: SecretStr | None = None
    state: str = ""

    @classmethod
    def of(cls, deployment: Deployment) -> SigningKeys:
        """Returns the keys of a deployment."""
        return cls(
            deployment.signing_key,
            deployment.public_key,
            deployment.signing_password,
            deployment.state_folder,
        )

    def trusted(self) -> bytes | None:
        """Returns the public key, as PEM; None if no signatures are required.

        Raises:
            BadInput: there is no such file, or no key for signatures in it.
        """
        return pem_of(public_key(self.public)) if self.public else None

    def own(self) -> bytes:
        """Returns the public half of the private key, as PEM.

        Raises:
            BadInput: there is no such file, no key for signatures in it, or the password is wrong.
        """
        return pem_of(self.opened().public_key())

    def opened(self) -> Any:
        """Returns the private key; raises what `own` raises."""
        return private_key(self.private, self.password)

    def check(self) -> None:
        """Raises `BadInput` if a key cannot be used, or the two do not belong together."""
        trusted, own = self.trusted(), self.own() if self.private else None
        if trusted and own and trusted != own:
            raise BadInput(
                f"{PUBLIC_KEY} ({self.public}) is not the public half of {SIGNING_KEY} "
                f"({self.private}), so that nothing signed here would be trusted here. Name a key "
                f"pair; this makes the public half: {PUBLISH}"
            )

    def check_mover(self) -> None:
        """Raises `BadInput` if a move of an alias must be signed and cannot be."""
        self.check()
        if self.public and not self.private:
            raise BadInput(
                f"{PUBLIC_KEY} is set, so that a move of an alias must be signed, but "
                f"{SIGNING_KEY} is not; nothing was moved. Set {SIGNING_KEY} (and {PASSWORD}, if "
                "the key has one) to the private key; or move the alias where that key is: python "
                "-m skin_pipeline models alias MODEL NAME VERSION --reason REASON"
            )


# --- of versions ----------------------------------------------------------------------------------


def sign(manifest: bytes, keys: SigningKeys) -> bytes:
    """Returns the signature of a manifest: a bundle of sigstore, in JSON.

    Raises:
        BadInput: the private key cannot be used.
    """
    from model_signing.signing import Config

    keys.own()  # says what is wrong with a key, which Config does not
    with scratch() as folder:
        (folder / MANIFEST).write_bytes(manifest)
        signer = Config().use_elliptic_key_signer(
            private_key=keys.private, password=plain(keys.password)
        )
        signer.sign(folder / MANIFEST, folder / SIGNATURE)
        return (folder / SIGNATURE).read_bytes()


def check(manifest: bytes, signature: bytes | None, public: bytes | None, what: str) -> None:
    """Refuses a manifest that is not signed by the trusted key; without such a key, accepts any.

    Args:
        manifest: The bytes of a version's manifest.
        signature: The bytes beside it; None if there are none.
        public: From `SigningKeys.trusted`.
        what: The version that is signed, for a message.

    Raises:
        BadInput: there is no signature, or it is not that of these bytes by this key.
    """
    if public is None:
        return
    if signature is None:
        raise BadInput(
            f"{what} is not signed, but {PUBLIC_KEY} is set. Use another version; or, if you trust "
            "this one, sign it: python -m skin_pipeline models sign MODEL VERSION"
        )
    if found := problem(manifest, signature, public):
        raise BadInput(
            f"the signature of {what} is not right: {found}. Nothing of it was used; use another "
            f"version, or set {PUBLIC_KEY} to the key that it was signed with"
        )


def problem(manifest: bytes, signature: bytes, public: bytes) -> str:
    """Returns what is wrong with a signature; empty if it is that of these bytes by this key."""
    from model_signing.verifying import Config

    if len(signature) > SIGNATURE_BYTES:
        return f"{SIGNATURE} has {len(signature)} bytes; {SIGNATURE_BYTES} are allowed"
    with scratch() as folder:
        (folder / MANIFEST).write_bytes(manifest)
        (folder / SIGNATURE).write_bytes(signature)
        (folder / "public.pem").write_bytes(public)
        verifier = Config().use_elliptic_key_verifier(public_key=folder / "public.pem")
        try:
            name = _file_of(signature)
            verifier.verify(folder / MANIFEST, folder / SIGNATURE)
        except Exception as error:  # a forged file can make the library raise anything
            return _explained(error)
    return "" if name == MANIFEST else f"it is that of a file {name[:100]!r}"


def _file_of(signature: bytes) -> str:
    """Returns the name of the file that was signed, which the library does not compare."""
    bundle = json.loads(signature)
    if not bundle["verificationMaterial"]["publicKey"]["hint"]:
        raise ValueError("no hint at its key")  # the library would print a warning among the scores
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    (subject,) = statement["subject"]
    return str(subject["name"])


def _explained(error: Exception) -> str:
    """Returns what an error of the library means."""
    reason = str(error)
    if reason.startswith("Key mismatch"):
        return "it is by another key"
    if reason.startswith("Signature mismatch"):
        return f"{MANIFEST} is not what was signed"
    return f"{SIGNATURE} is damaged or forged ({type(error).__name__})"


# --- of small documents ---------------------------------------------------------------------------


def sign_bytes(content: bytes, kind: str, keys: SigningKeys) -> str:
    """Returns the signature of bytes by the private key, in hex.

    Args:
        content: What is signed.
        kind: What it is, such as `pointer`. A signature of one kind is not valid for another.
        keys: Those with the private key.

    Raises:
        BadInput: the private key cannot be used.
    """
    return ecdsa.signature(keys.opened(), _framed(content, kind)).hex()


def signed_by(public: bytes, content: bytes, kind: str, signature: str) -> bool:
    """Returns whether a signature is that of these bytes, as this kind, by the key `public`."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        given = bytes.fromhex(signature)
    except ValueError:
        return False
    return ecdsa.is_signature(load_pem_public_key(public), _framed(content, kind), given)


def _framed(content: bytes, kind: str) -> bytes:
    """Returns what is signed of bytes: their kind before them."""
    return f"skin-pipeline {kind}\n".encode() + content
