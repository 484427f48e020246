"""The versions of the code of the steps, which are a part of the keys of their results."""

from __future__ import annotations

# Raised when a step's code gives another result from the same inputs.
VERSIONS = {
    "ingest": 4,
    "engine": 1,
    "graph": 1,
    "buckets": 1,
    "duplicates": 1,
    "validate": 6,
    "split": 3,
    "features": 2,
    "index": 1,
    "train": 4,
    "logits": 1,
    "evaluate": 6,
    "champion": 2,
    "external": 2,
    "gate": 4,
}
