"""Signatures of bytes, of which nobody without the key can make another."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from skin_pipeline.provenance.ecdsa import is_signature, signature

CURVES = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_a_signature_is_that_of_these_bytes_by_this_key(curve: ec.EllipticCurve) -> None:
    ours, theirs = (ec.generate_private_key(curve) for _ in range(2))
    made = signature(ours, b"content")
    assert is_signature(ours.public_key(), b"content", made)
    assert not is_signature(ours.public_key(), b"another", made)
    assert not is_signature(theirs.public_key(), b"content", made)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_the_other_valid_form_of_a_signature_is_not_accepted(curve: ec.EllipticCurve) -> None:
    """Else anybody could give a signed document another SHA-256."""
    ours = ec.generate_private_key(curve)
    r, s = utils.decode_dss_signature(signature(ours, b"content"))
    order = curve.group_order
    mirrored = utils.encode_dss_signature(r, order - s)
    ours.public_key().verify(mirrored, b"content", ec.ECDSA(hashes.SHA256()))
    assert not is_signature(ours.public_key(), b"content", mirrored)


@pytest.mark.parametrize("given", [b"", b"nonsense", b"\x30\x00"])
def test_bytes_that_are_no_pair_of_numbers_are_no_signature(given: bytes) -> None:
    assert not is_signature(ec.generate_private_key(ec.SECP256R1()).public_key(), b"", given)
