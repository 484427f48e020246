"""Seconds to promote a model of 100 MB on a local S3 server, against moving its file with boto3.

With boto3: upload the file, and read it back. Ours: describe the version, have the server copy the
file, which evaluate left there, read the copy back into a private file and compare it with the
digest that the proof of its evaluation names, write the manifest, and move the pointer. Where a
server cannot copy, the file is fetched, compared, uploaded, read back and compared; that is
measured, too. That the model is tried in a process of its own is left out, since no upload does
that.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

from measuring import in_turn, parser, report

from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import MODEL_FILE, Registry
from skin_pipeline.storage import Store, digest_file, open_store

sys.path.append(str(Path(__file__).parents[1] / "tests/support"))
from documents import dataset
from servers import S3Server, seaweedfs

MB = 10**6
MODEL = "benchmark"
ROUNDS = 7


def model_file(folder: Path) -> Path:
    """Returns a file that passes for a model: a zip archive of random bytes, which no server can
    pack."""
    path = folder / f"{uuid.uuid4().hex}.keras"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("model.weights.h5", os.urandom(100 * MB))
    return path


def by_hand(server: S3Server, folder: Path) -> Callable[[], None]:
    """Returns a call that uploads a model and reads it back, without this project."""
    import boto3

    client = boto3.client("s3", endpoint_url=server.endpoint, **server.credentials)
    path, back = model_file(folder), folder / "back"

    def move() -> None:
        key = f"by-hand/{uuid.uuid4().hex}"
        client.upload_file(str(path), server.bucket, key)
        client.download_file(server.bucket, key, str(back))

    return move


def promotion(
    server: S3Server, folder: Path, *, fetched: bool = False, copies: bool = True
) -> Callable[[], None]:
    """Promotes the same bytes as a new version each time.

    Args:
        server: The server.
        folder: For files of this machine.
        fetched: Whether the worker has a copy of the model already.
        copies: Whether the server may copy by itself.
    """
    path = model_file(folder)
    known = digest_file(path)

    def fresh_store() -> Store:
        return open_store(
            f"s3://{server.bucket}/{uuid.uuid4().hex}",
            endpoint=server.endpoint,
            credentials=server.credentials,
            cache=folder / uuid.uuid4().hex,
        )

    ready = []
    for _ in range(ROUNDS + 1):
        store = fresh_store()
        store.put_file("evaluate/1/model.keras", path)
        if fetched:
            store.local("evaluate/1/model.keras")
        if not copies:
            store.copy = lambda *_: False  # type: ignore[method-assign]
        ready.append(store)

    return lambda: promote(ready.pop(), known)


def promote(store: Store, known: str) -> None:
    """Publishes the model file of a store, and makes it the champion."""
    sources = {MODEL_FILE: "evaluate/1/model.keras"}
    model = Registry(store, SigningKeys()).model(MODEL)
    release = model.describe(
        sources,
        verdict="gate/1",
        threshold=0.5,
        dataset=dataset(MODEL),
        known={MODEL_FILE: known},
    )
    model.publish(release, sources)
    assert model.move(release.version, by="benchmark", reason="benchmark")


def main() -> None:
    """Measures both sides and reports the figure."""
    parser(str(__doc__)).parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as scratch, seaweedfs() as server:
        folder = Path(scratch)
        bare, copied, cold, warm = in_turn(
            by_hand(server, folder),
            promotion(server, folder),
            promotion(server, folder, copies=False),
            promotion(server, folder, copies=False, fetched=True),
            rounds=ROUNDS,
        )
    report(
        [
            ("boto3 upload and read-back", f"{bare:.2f} s"),
            ("promotion", f"{copied:.2f} s, {copied / bare:.2f} times"),
            ("… server cannot copy", f"{cold:.2f} s, {cold / bare:.2f} times"),
            ("… but the worker has the model", f"{warm:.2f} s, {warm / bare:.2f} times"),
        ],
        name="promotion",
        value=round(copied / bare, 3),
        unit="ratio",
        against="boto3 upload_file and download_file of the same 100 MB",
        seconds={"bare": bare, "promotion": copied, "uploaded": cold, "uploaded_warm": warm},
    )


if __name__ == "__main__":
    main()
