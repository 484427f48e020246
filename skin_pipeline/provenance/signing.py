"""Signatures of model versions by a key pair of one's own; made and checked with `model-signing`.

    keys = Keys.of(deployment())
    signature = sign(manifest, keys)
    check(manifest, signature, keys.trusted(), "version 4f1a of skin-resnet50")

What is signed is a version's manifest. It has the SHA-256 of every file, the threshold and the
labels, so that one small signature speaks for all of them. No network service is asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from skin_pipeline.config import Deployment
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import scratch

MANIFEST = "manifest.json"
SIGNATURE = f"{MANIFEST}.sig"
SIGNATURE_BYTES = 2**16  # a signature has some 1,400
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
SIGNING_KEY, PASSWORD, PUBLIC_KEY = "SKIN_SIGNING_KEY", "SKIN_SIGNING_PASSWORD", "SKIN_PUBLIC_KEY"
MAKE = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signing.pem"
PUBLISH = "openssl pkey -in signing.pem -pubout -out public.pem"


@dataclass(frozen=True)
class SigningKeys:
    """Paths of PEM files: `private` signs (and `password` opens it); signatures are asked for and
    checked if there is a `public` one. What is empty is not done. Moves of aliases that were seen
    are remembered in the folder `state`."""

    private: str = ""
    public: str = ""
    password: SecretStr | None = None
    state: str = ""

    @classmethod
    def of(cls, deployment: Deployment) -> SigningKeys:
        """The keys of a deployment."""
        return cls(
            deployment.signing_key,
            deployment.public_key,
            deployment.signing_password,
            deployment.state_folder,
        )

    def trusted(self) -> bytes | None:
        """The public key, as PEM; None if no signatures are asked for.

        Raises:
            BadInput: there is no such file, or no key for signatures in it.
        """
        return _pem(_public_key(self.public)) if self.public else None

    def own(self) -> bytes:
        """The public half of the private key, as PEM.

        Raises:
            BadInput: there is no such file, no key for signatures in it, or the password is wrong.
        """
        return _pem(_private_key(self).public_key())

    def secret(self) -> bytes | None:
        """The password of the private key."""
        return os.fsencode(self.password.get_secret_value()) if self.password else None

    def check(self) -> None:
        """Raise `BadInput` if a key cannot be used, or the two do not belong together."""
        trusted, own = self.trusted(), self.own() if self.private else None
        if trusted and own and trusted != own:
            raise BadInput(
                f"{PUBLIC_KEY} ({self.public}) is not the public half of {SIGNING_KEY} "
                f"({self.private}), so that nothing signed here would be trusted here. Name a key "
                f"pair; this makes the public half: {PUBLISH}"
            )

    def check_mover(self) -> None:
        """Raise `BadInput` if a move could not be signed as it would be asked for."""
        self.check()
        if self.public and not self.private:
            raise BadInput(
                f"{PUBLIC_KEY} is set, so that a move of an alias must be signed, but "
                f"{SIGNING_KEY} is not; nothing was moved. Set {SIGNING_KEY} (and {PASSWORD}, if "
                "the key has one) to the private key; or move the alias where that key is: python "
                "-m skin_pipeline models alias MODEL NAME VERSION --reason REASON"
            )


class Stamper:
    """Signs and checks short statements of this project: results, not versions.

    Plain ECDSA with SHA-256 by the same keys, in milliseconds. What `model-signing` signs begins
    with `DSSEv1`, and a statement is a JSON object, so that no signature is ever good for both.

    Args:
        private: The private key that signs, if any.
        public: The public key by which signatures are checked, if any.
    """

    def __init__(self, private: Any, public: Any) -> None:
        self._private, self._public = private, public
        self.own = _fingerprint(private.public_key()) if private else ""
        self.trusted = _fingerprint(public) if public else ""

    @classmethod
    def of(cls, keys: SigningKeys) -> Stamper:
        """One with the keys of these files; each may be left out.

        Raises:
            BadInput: a key cannot be used, or the two do not belong together.
        """
        keys.check()
        private = _private_key(keys) if keys.private else None
        if private is not None:
            return cls(private, private.public_key())
        return cls(None, _public_key(keys.public) if keys.public else None)

    def stamp(self, statement: bytes) -> bytes:
        """The signature of a statement, by the private key."""
        return base64.b64encode(_signature(self._private, statement)) + b"\n"

    def problem(self, statement: bytes, stamp: bytes) -> str:
        """What is wrong with a signature, after "its signature"; empty for nothing."""
        try:
            given = base64.b64decode(stamp[:SIGNATURE_BYTES].strip(), validate=True)
        except ValueError:
            given = b""
        signed = _is_signature(self._public, statement, given)
        return "" if signed else "is not of this content by this key"


def _fingerprint(public_key: Any) -> str:
    """Names a public key: 16 hex characters."""
    return hashlib.sha256(_pem(public_key)).hexdigest()[:16]


def sign(manifest: bytes, keys: SigningKeys) -> bytes:
    """The signature of a manifest: a bundle of sigstore, in JSON.

    Raises:
        BadInput: the private key cannot be used.
    """
    from model_signing.signing import Config

    keys.own()  # tells what is wrong with a key, which Config does not
    with scratch() as folder:
        (folder / MANIFEST).write_bytes(manifest)
        signer = Config().use_elliptic_key_signer(private_key=keys.private, password=keys.secret())
        signer.sign(folder / MANIFEST, folder / SIGNATURE)
        return (folder / SIGNATURE).read_bytes()


def check(manifest: bytes, signature: bytes | None, public: bytes | None, what: str) -> None:
    """Refuse what is not signed by the key that is trusted; without such a key, nothing.

    Args:
        manifest: The bytes of a version's manifest.
        signature: The bytes beside it; None if there are none.
        public: From `Keys.trusted`.
        what: What is signed, for a message.

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
    """What is wrong with a signature; empty if it is that of these bytes by this key."""
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
        except Exception as error:  # whatever the library meets in a file that lies
            return _explained(error)
    return "" if name == MANIFEST else f"it is that of a file {name[:100]!r}"


def _file_of(signature: bytes) -> str:
    """The name of the file that was signed, for which the library does not care."""
    bundle = json.loads(signature)
    if not bundle["verificationMaterial"]["publicKey"]["hint"]:
        raise ValueError("no hint at its key")  # the library would print a warning among the scores
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    (subject,) = statement["subject"]
    return str(subject["name"])


def _explained(error: Exception) -> str:
    reason = str(error)
    if reason.startswith("Key mismatch"):
        return "it is by another key"
    if reason.startswith("Signature mismatch"):
        return f"{MANIFEST} is not what was signed"
    return f"{SIGNATURE} is damaged or forged ({type(error).__name__})"


def _private_key(keys: SigningKeys) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = _read(keys.private, SIGNING_KEY)
    try:
        key = load_pem_private_key(pem, keys.secret())  # no variable: some logs show them
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise _refusal(SIGNING_KEY, keys.private, _closed(pem, bool(keys.password))) from None
    return _checked(key, SIGNING_KEY, keys.private)


def _closed(pem: bytes, has_password: bool) -> str:
    """Why a private key could not be opened."""
    if b"PUBLIC KEY-" in pem:
        return "holds a public key, where the private one is needed"
    if b"PRIVATE KEY-" not in pem:
        return "is no PEM file with a private key"
    if b"ENCRYPTED" in pem:
        return f"does not open with {PASSWORD}" if has_password else f"needs {PASSWORD}"
    return f"needs no password: leave {PASSWORD} empty" if has_password else "cannot be read"


def _public_key(path: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pem = _read(path, PUBLIC_KEY)
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        private = b"PRIVATE KEY-" in pem
        found = "holds a private key" if private else "is no PEM file with a public key"
        raise _refusal(PUBLIC_KEY, path, f"{found}, where the public one is needed") from None
    return _checked(key, PUBLIC_KEY, path)


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
    """Who else may use a private key, as its file's mode says; "" for nobody.

    A group may read it, as it does a mounted secret of Kubernetes (`defaultMode: 0440`, `fsGroup`).
    """
    if found.st_mode & stat.S_IROTH:
        return "read by everybody"
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return "changed by others than its owner" if writable else ""


def _checked(key: Any, setting: str, path: str) -> Any:
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


def _pem(public_key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem: bytes = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


# --- signatures of small documents ----------------------------------------------------------------


def sign_bytes(content: bytes, kind: str, keys: SigningKeys) -> str:
    """Returns the signature of bytes by the private key, in hex.

    Args:
        content: What is signed.
        kind: What it is, such as `pointer`: a signature of one kind is none of another.
        keys: The private key is used.

    Raises:
        BadInput: the private key cannot be used.
    """
    return _signature(_private_key(keys), _framed(content, kind)).hex()


def signed_by(public: bytes, content: bytes, kind: str, signature: str) -> bool:
    """Returns whether a signature is that of these bytes, as this kind, by the key `public`."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        given = bytes.fromhex(signature)
    except ValueError:
        return False
    return _is_signature(load_pem_public_key(public), _framed(content, kind), given)


def _framed(content: bytes, kind: str) -> bytes:
    """What is signed of bytes: they, and of which kind they are."""
    return f"skin-pipeline {kind}\n".encode() + content


def _signature(private: Any, content: bytes) -> bytes:
    """ECDSA with SHA-256. Of each signature (r, s) anybody can make another, (r, -s): the one with
    the smaller s is made and taken, so that nobody without the key can give a document another
    SHA-256."""
    from cryptography.hazmat.primitives.asymmetric import utils
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    r, s = utils.decode_dss_signature(private.sign(content, ECDSA(SHA256())))
    return utils.encode_dss_signature(r, min(s, private.curve.group_order - s))


def _is_signature(public: Any, content: bytes, given: bytes) -> bool:
    """Whether `given` is the one that `_signature` makes by the key's private half."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import utils
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        _, s = utils.decode_dss_signature(given)
        public.verify(given, content, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):  # ValueError: no pair of numbers
        return False
    return bool(s <= public.curve.group_order - s)
