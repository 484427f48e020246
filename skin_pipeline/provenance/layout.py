"""Where results, their proofs and the signatures are in the store.

```
<step>/<address>/result.json                    the document of a result; `<step>/<address>` is
                                                the result's key
<step>/<address>/…                              its files
<step>/<address>/again_<number>/…               files of a second try
<step>/<address>/proofs/of_<SHA-256 of result.json>.json
<step>/<address>/checkpoints/…                  of a training run, which may be continued
activations/…                                   of the trunk, which results share
signatures/<key pair>/<SHA-256 of a statement>
```
"""

from __future__ import annotations

import uuid

STEPS = (
    *("listing", "decode", "ingest", "buckets", "duplicates", "validate", "split"),
    *("engine", "graph", "features", "index", "train"),
    *("logits", "evaluate", "champion", "external", "gate"),
)
PROOFS, CHECKPOINTS = "proofs", "checkpoints"
OF = "of_"  # marks a digest in a name that is not the digest of the object itself
SIGNATURES, ACTIVATIONS = "signatures", "activations"
AGAIN = "again_"  # begins the name of a second folder for the files of a result


def owner_of(key: str) -> str:
    """Returns the key of the result that an object belongs to; empty if it belongs to none."""
    parts = key.split("/")
    return "/".join(parts[:2]) if parts[0] in STEPS and len(parts) > 2 else ""


def another_folder(key: str) -> str:
    """Returns a folder below a result's key that no other process uses."""
    return f"{key}/{AGAIN}{uuid.uuid4().hex[:8]}"


def proof_key(key: str, result: str) -> str:
    """Returns the key of the proof for a result's document.

    Args:
        key: The result's key.
        result: The SHA-256 of its document. It is a part of the proof's key, so that two processes
            that make the same result at the same time do not overwrite each other's proof.
    """
    return f"{key}/{PROOFS}/{OF}{result}.json"


def digest_proven(key: str) -> str:
    """Returns the SHA-256 of the document that a proof is for, from the proof's key."""
    return key.rsplit(f"/{OF}", 1)[1].removesuffix(".json")


def is_proven(key: str) -> bool:
    """Returns whether an object below a result's key is part of the result."""
    return key.split("/")[2] not in {CHECKPOINTS, PROOFS}


def is_signed_alone(key: str) -> bool:
    """Returns whether an object that is part of no result has a signature of its own."""
    parts = key.split("/")
    return parts[0] == ACTIVATIONS or (parts[0] in STEPS and parts[2:3] == [CHECKPOINTS])
