"""Jobs with and without keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import key_pairs
import pytest

from skin_pipeline.config import Deployment, Settings
from skin_pipeline.job import Job
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.storage import FolderStore


@pytest.fixture
def keys(tmp_path: Path) -> SigningKeys:
    return key_pairs.write(tmp_path, "ours")


@pytest.fixture
def make(store: FolderStore) -> Callable[..., Job]:
    """Makes jobs with other keys on the test's store."""

    def job(keys: SigningKeys | None = None) -> Job:
        keys = keys or SigningKeys()
        deployment = Deployment(store=store.url, signing_key=keys.private, public_key=keys.public)
        return Job(Settings(), deployment, store)

    return job
