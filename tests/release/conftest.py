from __future__ import annotations

import pytest

from skin_pipeline import cli
from skin_pipeline.storage import FolderStore, open_store


@pytest.fixture(params=["folder", "s3"])
def any_store(request, store):
    return store if request.param == "folder" else request.getfixturevalue("s3_store")


@pytest.fixture
def elsewhere(any_store, request, tmp_path):
    """The same place through another client, which knows nothing of the first one's copies."""
    if isinstance(any_store, FolderStore):
        return FolderStore(any_store.root)
    server = request.getfixturevalue("s3_server")
    where = {"endpoint": server.endpoint, "credentials": server.credentials}
    return open_store(any_store.url, cache=tmp_path / "elsewhere", **where)


@pytest.fixture
def models(store, monkeypatch, capsys):
    """Runs `models …` on the test's store; its exit status, and what it said in all."""
    monkeypatch.setenv("SKIN_STORE", store.url)

    def run(*arguments):
        status = cli.main(["models", *arguments])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run
