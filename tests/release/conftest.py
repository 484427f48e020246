from __future__ import annotations

import pytest


@pytest.fixture(params=["folder", "s3"])
def any_store(request, store):
    return store if request.param == "folder" else request.getfixturevalue("s3_store")
