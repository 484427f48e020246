"""Milliseconds of the model pages with 500 versions and 2,000 judged runs, through Airflow's app.

All requests go through the real FastAPI app of the plugin. `cold` is the first request of a page
after a process has forgotten all documents, `warm` the median of those after it. The ratio is that
of the page "Models" to the same page of a store with one version and four judged runs, in turn: it
says what the size of the store costs.

`--s3` measures the same on a local S3 server (seaweedfs).
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import in_turn, parser, report, seconds

sys.path.append(str(Path(__file__).parents[1] / "tests/support"))
sys.path.append(str(Path(__file__).parents[1] / "plugins"))
import many_versions
from servers import seaweedfs

from skin_pipeline.operations import reading
from skin_pipeline.storage import FolderStore, Store, open_store

VERSIONS, RUNS = 500, 2000
SMALL = (20, 80)  # versions and runs of each of the smaller models
SMALLER = 4
MODEL = "skin-resnet50"
ROUNDS, COLD_ROUNDS = 15, 5
TARGET = 300  # milliseconds


def fill(store: Store) -> list[str]:
    """Writes one large model and four small ones; returns versions of the large one."""
    with tempfile.TemporaryDirectory() as folder:
        made = FolderStore(Path(folder))
        versions = write(made)
        with ThreadPoolExecutor(8) as pool:  # a server takes minutes for one object at a time
            list(pool.map(lambda key: store.put_file(key, made.local(key)), made.list("")))
    return versions


def write(store: Store) -> list[str]:
    """Writes the models into a store; returns versions of the large one."""
    images = many_versions.put_images(store, count=480)
    for number in range(SMALLER):
        versions, runs = SMALL
        many_versions.write(store, f"small-{number}", versions=versions, runs=runs, images=images)
    versions, runs = VERSIONS - SMALLER * SMALL[0], RUNS - SMALLER * SMALL[1]
    return many_versions.write(store, MODEL, versions=versions, runs=runs, images=images)


def visitor() -> Any:
    """Returns a client of the plugin's app, for somebody who is logged in."""
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient
    from skin_models import build

    create_auth_manager()
    app = build()
    somebody = SimpleAuthManagerUser(username="viewer", role="viewer")
    app.dependency_overrides[get_user] = lambda: somebody
    return TestClient(app)


def pages(versions: list[str]) -> dict[str, str]:
    """Returns the address of each page that is measured."""
    three = "&".join(f"version={version}" for version in versions[-3:])
    return {
        "overview": "/",
        "model": f"/model/{MODEL}",
        "model, page 40": f"/model/{MODEL}?page=40",
        "version": f"/version/{MODEL}/{versions[-1]}",
        "comparison": f"/compare/{MODEL}?{three}",
    }


def getting(client: Any, url: str, path: str) -> Callable[[], None]:
    """Returns a call that gets a page of a store."""

    def get() -> None:
        os.environ["SKIN_STORE"] = url
        answer = client.get(path)
        assert answer.status_code == 200, answer.text

    return get


def forgetting(get: Callable[[], None]) -> Callable[[], None]:
    """Returns a call that forgets all documents and drawings before it gets a page."""
    import skin_page_models

    def forgotten() -> None:
        reading.MEMORY.__dict__.update(reading.Memory().__dict__)
        skin_page_models._history.cache_clear()
        get()

    return forgotten


@contextmanager
def stores(in_s3: bool) -> Generator[tuple[Store, Store], None, None]:
    """Yields two empty stores of a kind, one for many versions and one for few."""
    with tempfile.TemporaryDirectory() as scratch:
        if not in_s3:
            yield FolderStore(Path(scratch, "many")), FolderStore(Path(scratch, "few"))
            return
        with seaweedfs() as server:
            names = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
            secrets = (server.access_key, server.secret)
            os.environ.update({f"AWS_{n}": s for n, s in zip(names, secrets, strict=True)})
            os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
            os.environ["SKIN_S3_ENDPOINT"] = server.endpoint
            reached: Any = {"endpoint": server.endpoint, "credentials": server.credentials}
            many, few = (f"s3://{server.bucket}/{name}" for name in ("many", "few"))
            yield open_store(many, **reached), open_store(few, **reached)


def measure(many: Store, few: Store) -> dict[str, float]:
    """Returns the milliseconds of each page, cold and warm, and those with few versions."""
    versions = fill(many)
    many_versions.write(few, MODEL, versions=1, runs=4)
    client, found = visitor(), {}
    for name, path in pages(versions).items():
        get = getting(client, many.url, path)
        get()  # imports
        cold = [seconds(forgetting(get)) for _ in range(COLD_ROUNDS)]
        found[f"{name}, cold"] = 1000 * statistics.median(cold)
        (warm,) = in_turn(get, rounds=ROUNDS)
        found[name] = 1000 * warm
    calls = (getting(client, store.url, "/") for store in (many, few))
    large, small = in_turn(*calls, rounds=ROUNDS)
    return {**found, "ratio": large / small}


def main() -> None:
    """Measures the pages and reports the figures."""
    flags = parser(str(__doc__))
    flags.add_argument("--s3", action="store_true", help="on a local S3 server")
    in_s3 = flags.parse_args().s3
    logging.disable(logging.WARNING)
    os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp())
    with stores(in_s3) as (many, few):
        found = measure(many, few)
    ratio = found.pop("ratio")
    slowest = max(value for name, value in found.items() if not name.endswith("cold"))
    report(
        [
            *((name, f"{value:.0f} ms") for name, value in found.items()),
            ("slowest page, warm", f"{slowest:.0f} ms, required at most {TARGET}"),
            ("overview against that of a small store", f"{ratio:.2f} times"),
        ],
        name="models_page",
        value=round(ratio, 3),
        unit="ratio",
        against="the same page of a store with 1 version and 4 judged runs",
        store="s3" if in_s3 else "folder",
        versions=VERSIONS,
        runs=RUNS,
        milliseconds={name: round(value, 1) for name, value in found.items()},
    )


if __name__ == "__main__":
    main()
