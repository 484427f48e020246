from __future__ import annotations

import pytest

from skin_pipeline import cli


@pytest.fixture(params=["folder", "s3"])
def any_store(request, store):
    return store if request.param == "folder" else request.getfixturevalue("s3_store")


@pytest.fixture
def models(store, monkeypatch, capsys):
    """Runs `models …` on the test's store; its exit status, and what it said in all."""
    monkeypatch.setenv("SKIN_STORE", store.url)

    def run(*arguments):
        status = cli.main(["models", *arguments])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run
