"""Keys for signatures, and the signatures that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import key_pairs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from skin_pipeline.provenance import signing


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
