"""Airflow is imported into the test process here: with a home of its own, and our plugins."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import key_pairs
import pytest

from skin_pipeline.provenance import SigningKeys
from skin_pipeline.storage import FolderStore

PLUGINS = Path(__file__).parents[2] / "plugins"

# Airflow reads these at its first import, so they are set before any test module is.
_home = tempfile.mkdtemp(prefix="airflow-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ.setdefault("AIRFLOW_HOME", _home)
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
sys.path.insert(0, str(PLUGINS))


def pytest_configure(config: pytest.Config) -> None:
    """Offer the fixture `airflow_ui`, one server for all folders that ask for it."""
    config.pluginmanager.import_plugin("models_server")


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the machine's own environment says about the pipeline and its connections."""
    for name in list(os.environ):
        if name.startswith(("SKIN_", "AIRFLOW_CONN_")) and name != "SKIN_TEST_DATA":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """The page as a FastAPI app, for somebody who is logged in."""
    import skin_models
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient

    create_auth_manager()
    app = skin_models.build()
    somebody = SimpleAuthManagerUser(username="viewer", role="viewer")
    app.dependency_overrides[get_user] = lambda: somebody
    with TestClient(app, raise_server_exceptions=False) as visitor:
        yield visitor


@pytest.fixture
def empty(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """The configured store, with nothing in it."""
    monkeypatch.setenv("SKIN_STORE", store.url)
    return store


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SigningKeys:
    """A key pair that this installation signs and checks with."""
    made = replace(key_pairs.write(tmp_path, "ours"), state=str(tmp_path / "state"))
    monkeypatch.setenv("SKIN_PUBLIC_KEY", made.public)
    monkeypatch.setenv("SKIN_STATE", made.state)
    return made
