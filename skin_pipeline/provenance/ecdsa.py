"""Signatures of bytes: ECDSA with SHA-256, of which there is exactly one for each making."""

from __future__ import annotations

from typing import Any


def signature(private: Any, content: bytes) -> bytes:
    """Returns a signature of `content` by a private key.

    Of each signature (r, s) anybody can make another valid one, (r, -s). Only the one with the
    smaller s is made and accepted, so that nobody without the key can change the signature in a
    document, and with it the SHA-256 of the document.
    """
    from cryptography.hazmat.primitives.asymmetric import utils
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    r, s = utils.decode_dss_signature(private.sign(content, ECDSA(SHA256())))
    return utils.encode_dss_signature(r, min(s, private.curve.group_order - s))


def is_signature(public: Any, content: bytes, given: bytes) -> bool:
    """Returns whether `given` is a signature that `signature` makes by the key's private half."""
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
