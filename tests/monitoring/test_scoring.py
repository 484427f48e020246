"""A batch of scoring: what is new is scored once, by one version, whatever files there are."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hostile_images import ATTACKS
from profiled_sites import profile
from released import opened
from servers import S3Server

from skin_pipeline import cli
from skin_pipeline.contracts import RESULT, Abstention, Batch, SiteProfile
from skin_pipeline.data import demo
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.job import Job
from skin_pipeline.monitoring import chunks, reference, score_log, scoring
from skin_pipeline.monitoring.measures import NAMES
from skin_pipeline.release import MODEL_FILE, predict, sites
from skin_pipeline.roots import Roots
from skin_pipeline.storage import FolderStore, S3Access, digest_file

if TYPE_CHECKING:
    from tests.conftest import Finished

MODEL = "skin-resnet50-synthetic"


@pytest.fixture(scope="module")
def scorer(finished: Finished) -> predict.Scorer:
    return predict.Scorer.of(predict.resolve(opened(finished.job.store, name=MODEL)), threads=2)


@pytest.fixture(scope="module")
def copy(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(finished.root, tmp_path_factory.mktemp("copy") / "store")


@pytest.fixture
def job(
    finished: Finished, scorer: Any, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Job]:
    """A job on a store that has a champion; the model is loaded once for all tests."""
    monkeypatch.setattr(
        predict.Scorer,
        "of",
        lambda model, threads, engine="": replace(scorer, profile=model.profile),
    )
    yield replace(finished.job, store=FolderStore(copy), run_id="first")
    shutil.rmtree(copy / "scoring", ignore_errors=True)
    shutil.rmtree(copy / f"models/{MODEL}/sites", ignore_errors=True)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("drawn") / "images"
    demo.generate(place, seed=7, per_class=4)
    return sorted(path for path in place.rglob("*.*") if path.suffix in {".jpg", ".png"})


@pytest.fixture
def folder(drawn: list[Path], tmp_path: Path) -> Path:
    """A folder with some images in it."""
    place = tmp_path / "new"
    place.mkdir()
    for number, path in enumerate(drawn):
        shutil.copy(path, place / f"{number}.jpg")
    return place


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled, though these tests have just written them."""
    monkeypatch.setattr("skin_pipeline.data.sources.from_folder.UNSETTLED", 0.0)


def batch(
    job: Job, source: object, run: str = "first", site: str = "", **more: Any
) -> scoring.Told:
    """Plan, score and merge."""
    job = replace(job, run_id=run)
    planned = scoring.plan(job, scoring.Request(MODEL, "champion", str(source), site), **more)
    for chunk in scoring.chunks_of(job, planned):
        scoring.score(job, chunk)
    return scoring.merge(job, planned)


def rows(job: Job) -> pd.DataFrame:
    """All rows of the log."""
    found = [score_log.read(job.store, key) for item in batches(job) for key in item.scores]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["digest"])


def batches(job: Job) -> Iterator[Batch]:
    return score_log.batches(job.store, MODEL)


def count(folder: Path) -> int:
    return len(list(folder.iterdir()))


# --- what a row says ------------------------------------------------------------------------------


def test_an_image_has_the_probability_of_predict_its_measures_and_its_embedding(
    job: Job, folder: Path, scorer: predict.Scorer
) -> None:
    told = batch(job, folder)
    table = rows(job).set_index("image")
    expected = {Path(row.image).name: row for row in scorer.predict(sorted(folder.iterdir()))}
    assert set(table.index) == set(expected)
    for name, row in expected.items():
        assert table.loc[name, "probability"] == pytest.approx(row.probability, abs=1e-6)
        assert table.loc[name, "label"] == row.label
    assert table[list(NAMES)].notna().all().all()
    assert set(table["version"]) == {scorer.release.version}
    assert set(table["batch"]) == {"first"}
    known = reference.of(job.store, opened(job.store, name=MODEL), scorer.release.version)
    width = known.embedding.shape[1]
    assert width
    assert {len(item) for item in table["embedding"]} == {width}
    assert np.isfinite(np.stack(list(table["embedding"]))).all()
    assert told.words.startswith(f"{count(folder)} images scored: ")
    assert "(champion of skin-resnet50-synthetic)" in told.words


def test_a_reference_image_is_embedded_where_the_reference_has_it(
    job: Job, finished: Finished, scorer: predict.Scorer, tmp_path: Path
) -> None:
    """The features of scoring are those that the reference was made of."""
    known = reference.of(job.store, opened(job.store, name=MODEL), scorer.release.version)
    folder = tmp_path / "all"
    demo.generate(folder, seed=finished.job.settings.seed)
    batch(job, folder)
    table = rows(job)
    embedded = np.stack(list(table["embedding"]))
    distance = np.linalg.norm(known.embedding[:, None] - embedded[None], axis=2).min(axis=1)
    assert np.median(distance) < 0.01


def test_the_batch_counts_and_a_table_for_people_lies_beside_it(job: Job, folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    (folder / "=1+1.jpg").write_bytes((folder / "0.jpg").read_bytes() + b"!")
    (folder / "notes.docx").write_bytes(b"not an image")
    told = batch(job, folder)
    (made,) = batches(job)
    assert (made.images, made.unreadable, made.known) == (count(folder) - 2, 1, 0)
    assert "; 1 unreadable; " in told.words
    broken = rows(job).set_index("image").loc["broken.jpg"]
    assert np.isnan(broken["probability"])
    assert broken["problem"]
    assert "broken.jpg" not in broken["problem"]
    table = told.batch.replace("/batches/", "/tables/").replace(".json", ".csv")
    lines = job.store.read(table).decode().splitlines()
    assert len(lines) == count(folder)  # with its head, and without the file that is no image
    assert any(line.startswith("'=1+1.jpg,") for line in lines)


def test_hostile_files_stop_no_other(job: Job, folder: Path) -> None:
    sound = {path.name for path in folder.iterdir()}
    for name in sorted(ATTACKS)[:8]:
        (folder / name).write_bytes(ATTACKS[name].make())
    batch(job, folder)
    table = rows(job)
    assert len(table) == count(folder)
    assert sound <= set(table.loc[table["probability"].notna(), "image"])
    assert table["probability"].isna().any()
    assert (table.loc[table["probability"].isna(), "problem"] != "").all()
    again = batch(job, folder, "again")
    assert again.batch == ""  # nor are they tried again


# --- once -----------------------------------------------------------------------------------------


def test_what_was_scored_is_known_and_is_not_even_read(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch(job, folder)
    before = job.store.list("scoring")
    monkeypatch.setattr(chunks, "scored", None)
    told = batch(job, folder, "second")
    assert told.batch == ""
    assert told.words.startswith(f"no image scored; {count(folder)} known already; ")
    (plan,) = set(job.store.list("scoring")) - set(before)
    assert "/plans/" in plan


def test_only_new_images_are_scored(job: Job, folder: Path) -> None:
    batch(job, folder)
    (folder / "late.png").write_bytes((folder / "0.jpg").read_bytes() + b"late")
    told = batch(job, folder, "second")
    assert told.words.startswith("1 image scored: ")
    assert rows(job)["digest"].is_unique
    assert sorted(item.known for item in batches(job)) == [0, count(folder) - 1]


def test_the_same_bytes_under_another_name_are_known(job: Job, folder: Path) -> None:
    shutil.copy(folder / "0.jpg", folder / "twice.jpg")
    told = batch(job, folder)
    assert "; 1 known already; " in told.words
    shutil.copy(folder / "0.jpg", folder / "thrice.jpg")
    told = batch(job, folder, "second")
    assert told.words.startswith(f"no image scored; {count(folder)} known already; ")
    assert rows(job)["digest"].is_unique


def test_the_same_images_in_another_source_are_known(job: Job, folder: Path) -> None:
    batch(job, folder)
    moved = folder.rename(folder.with_name("moved"))
    told = batch(job, moved, "second")
    assert told.words.startswith(f"no image scored; {count(moved)} known already; ")


def test_an_image_that_was_rewritten_under_its_name_is_scored_again(job: Job, folder: Path) -> None:
    batch(job, folder)
    path = folder / "0.jpg"
    times = path.stat()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as some tools for copying do
    told = batch(job, folder, "second")
    assert told.words.startswith("1 image scored: ") or "; 1 unreadable" in told.words
    assert len(rows(job)) == count(folder) + 1


def test_a_file_that_may_still_change_is_read_again_the_next_time(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skin_pipeline.data.sources.from_folder.UNSETTLED", 60.0)
    batch(job, folder)
    planned = scoring.plan(
        replace(job, run_id="second"), scoring.Request(MODEL, "champion", str(folder))
    )
    assert len(scoring.chunks_of(job, planned)) == 1
    assert batch(job, folder, "second").batch == ""


def test_another_version_scores_everything_again(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch(job, folder)
    planned = scoring.plan(job, scoring.Request(MODEL, "champion", str(folder)))
    assert len(rows(job)) == count(folder)
    monkeypatch.setattr(predict, "named", lambda model, alias: "0" * 20)
    with pytest.raises(BadInput, match=r"0{20}"):
        scoring.plan(replace(job, run_id="second"), scoring.Request(MODEL, "champion", str(folder)))
    assert planned


# --- chunks ---------------------------------------------------------------------------------------


def test_images_are_divided_into_chunks_but_not_into_too_many(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CHUNK", 3)
    request = scoring.Request(MODEL, "champion", str(folder))
    for most, expected in ((512, -(-count(folder) // 3)), (2, 2), (1, 1)):
        run = replace(job, run_id=f"most {most}")
        keys = scoring.chunks_of(run, scoring.plan(run, request, most))
        assert len(keys) == expected
        assert sum(scoring.size_of(run, key) for key in keys) == count(folder)


def test_a_chunk_that_fails_loses_nothing_of_the_others_and_can_be_cleared(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CHUNK", 3)
    planned = scoring.plan(job, scoring.Request(MODEL, "champion", str(folder)))
    first, *others = scoring.chunks_of(job, planned)
    for chunk in others:
        scoring.score(job, chunk)
    with pytest.raises(BadInput, match=r"1 of \d chunks could not be scored.*Clear the failed"):
        scoring.merge(job, planned)
    assert len(rows(job)) == count(folder) - 3
    scoring.score(job, first)  # cleared
    told = scoring.merge(job, planned)
    assert told.words.startswith(f"{count(folder)} images scored: ")
    assert len(rows(job)) == count(folder)
    assert rows(job)["digest"].is_unique
    assert sum(item.images for item in batches(job)) == count(folder)


def test_the_next_batch_takes_the_images_of_a_chunk_that_failed(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CHUNK", 3)
    planned = scoring.plan(job, scoring.Request(MODEL, "champion", str(folder)))
    _, *others = scoring.chunks_of(job, planned)
    for chunk in others:
        scoring.score(job, chunk)
    with pytest.raises(BadInput):
        scoring.merge(job, planned)
    assert batch(job, folder, "second").words.startswith("3 images scored: ")
    assert len(rows(job)) == count(folder)


def test_whatever_is_done_again_changes_nothing(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = batch(job, folder)
    before = job.store.list("scoring")
    monkeypatch.setattr(chunks, "scored", None)
    (folder / "late.png").write_bytes(b"is for the next batch")
    assert batch(job, folder) == told
    assert job.store.list("scoring") == before


def test_a_batch_that_was_killed_before_it_was_recorded_is_recorded_by_the_next_try(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = scoring.plan(job, scoring.Request(MODEL, "champion", str(folder)))
    for chunk in scoring.chunks_of(job, planned):
        scoring.score(job, chunk)
    with monkeypatch.context() as patched:
        patched.setattr(score_log, "record", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            scoring.merge(job, planned)
    assert not list(batches(job))
    assert scoring.merge(job, planned).batch
    assert len(rows(job)) == count(folder)


def test_two_batches_at_once_give_no_image_two_rows(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CHUNK", 3)
    request = scoring.Request(MODEL, "champion", str(folder))
    one, other = (replace(job, run_id=run) for run in ("one", "other"))
    planned = scoring.plan(one, request)
    (folder / "late.png").write_bytes((folder / "0.jpg").read_bytes() + b"late")
    plans = {one.run_id: planned, other.run_id: scoring.plan(other, request)}
    for run in (one, other):
        for chunk in scoring.chunks_of(run, plans[run.run_id]):
            scoring.score(run, chunk)
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda run: scoring.merge(run, plans[run.run_id]), (one, other)))
    assert len(rows(job)) == count(folder)
    assert rows(job)["digest"].is_unique
    assert sum(item.images for item in batches(job)) == count(folder)
    assert any("known already" in item.words for item in told)


def test_all_chunks_use_the_version_of_the_plan(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = scoring.plan(job, scoring.Request(MODEL, "champion", str(folder)))
    (chunk,) = scoring.chunks_of(job, planned)
    monkeypatch.setattr(predict, "_pointed", lambda *_: 1 / 0)  # the alias may have moved
    scoring.score(job, chunk)
    assert scoring.merge(job, planned).batch


def test_an_image_that_went_away_meanwhile_is_counted(job: Job, folder: Path) -> None:
    planned = scoring.plan(job, scoring.Request(MODEL, "champion", str(folder)))
    (folder / "0.jpg").unlink()
    for chunk in scoring.chunks_of(job, planned):
        scoring.score(job, chunk)
    assert "; 1 gone or changed since " in scoring.merge(job, planned).words


def test_a_file_that_may_not_be_read_is_a_row_and_is_tried_again_once_it_has_changed(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = digest_file

    def forbidden(path: Path) -> str:
        if path.name == "0.jpg":
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(chunks, "digest_file", forbidden)
        batch(job, folder)
    assert rows(job)["digest"].eq("").sum() == 1
    assert batch(job, folder, "second").batch == ""
    (folder / "0.jpg").chmod(0o640)  # a new state
    assert batch(job, folder, "third").words.startswith("1 image scored: ")


def test_a_disk_that_fails_is_tried_again_and_blames_no_image(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = scoring.plan(job, scoring.Request(MODEL, "champion", str(folder)))
    (chunk,) = scoring.chunks_of(job, planned)

    def failing(path: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(chunks, "digest_file", failing)
    with pytest.raises(Unavailable, match="could not be read"):
        scoring.score(job, chunk)
    assert not job.store.exists(f"{chunk}/{RESULT}")


# --- sources --------------------------------------------------------------------------------------


def test_an_empty_folder_is_no_failure(job: Job, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = batch(job, tmp_path / "empty")
    assert told.batch == ""
    assert told.words.startswith("no image scored; ")


def test_a_zip_is_scored_like_its_folder(job: Job, folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "new.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"inside/{path.name}")
        archive.writestr("readme.md", "no image")
    batch(job, packed)
    assert set(rows(job)["image"]) == {f"inside/{path.name}" for path in folder.iterdir()}
    assert batch(job, packed, "second").batch == ""
    told = batch(job, folder, "third")
    assert told.words.startswith(f"no image scored; {count(folder)} known already; ")


@pytest.fixture
def bucket(s3_server: S3Server, folder: Path, job: Job, request: Any) -> Any:
    """The folder in a bucket: the job that may read it, its client and its prefix."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret,
        region_name="us-east-1",
    )
    prefix = f"scoring-{abs(hash(request.node.name)) % 10**9}"
    for path in folder.iterdir():
        client.put_object(
            Bucket=s3_server.bucket, Key=f"{prefix}/{path.name}", Body=path.read_bytes()
        )
    access = S3Access(s3_server.endpoint, s3_server.credentials)
    return replace(job, data_access=lambda: access), client, s3_server.bucket, prefix


def test_a_bucket_is_scored_once_and_only_what_is_new_is_fetched(bucket: Any, folder: Path) -> None:
    job, client, name, prefix = bucket
    source = f"s3://{name}/{prefix}"
    batch(job, source)
    assert set(rows(job)["image"]) == {path.name for path in folder.iterdir()}
    assert batch(job, source, "second").batch == ""
    late = (folder / "0.jpg").read_bytes() + b"late"
    client.put_object(Bucket=name, Key=f"{prefix}/a b/ä=+%2F.jpg", Body=late)
    client.put_object(Bucket=name, Key=f"{prefix}/1.jpg", Body=late + b"rewritten")
    told = batch(job, source + "/", "third")
    assert told.words.startswith("2 images scored: ")
    assert f"; {count(folder) - 1} known already" in told.words


def test_an_object_that_changed_meanwhile_waits_for_the_next_batch(
    bucket: Any, folder: Path
) -> None:
    job, client, name, prefix = bucket
    planned = scoring.plan(job, scoring.Request(MODEL, "champion", f"s3://{name}/{prefix}"))
    client.put_object(
        Bucket=name, Key=f"{prefix}/0.jpg", Body=(folder / "0.jpg").read_bytes() + b"!"
    )
    client.delete_object(Bucket=name, Key=f"{prefix}/1.jpg")
    for chunk in scoring.chunks_of(job, planned):
        scoring.score(job, chunk)
    assert "; 2 gone or changed since " in scoring.merge(job, planned).words
    told = batch(job, f"s3://{name}/{prefix}", "second")
    assert told.words.startswith("1 image scored: ")


def test_an_empty_prefix_is_no_failure_but_a_missing_bucket_is(bucket: Any) -> None:
    job, _, name, _ = bucket
    assert batch(job, f"s3://{name}/nothing-here-yet").batch == ""
    with pytest.raises(BadInput, match="no-such-bucket"):
        batch(job, "s3://no-such-bucket/x", "second")


def test_a_server_that_does_not_answer_is_tried_again(job: Job) -> None:
    access = S3Access(
        "http://127.0.0.1:9", {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    )
    with pytest.raises(Unavailable):
        batch(replace(job, data_access=lambda: access), "s3://clinic/new")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "source is empty.*SKIN_SCORING_SOURCE"),
        ("  ", "source is empty"),
        ("demo", "does not grow"),
        ("kaggle://owner/name", "does not grow"),
        ("/no/such/folder", "cannot be reached"),
        (__file__, "neither a folder nor a zip"),
    ],
)
def test_a_source_that_is_none_is_refused(job: Job, source: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        batch(job, source)


def test_a_folder_that_may_not_be_read_is_refused_and_links_lead_nowhere_else(
    job: Job, folder: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(folder / "0.jpg", outside / "secret.jpg")
    (folder / "link.jpg").symlink_to(outside / "secret.jpg")
    inside = replace(job, roots=Roots((str(folder),)))
    with pytest.raises(BadInput, match="SKIN_PATHS"):
        batch(inside, outside)
    batch(inside, folder, "second")
    assert "link.jpg" not in set(rows(job)["image"])


def test_without_a_champion_it_says_what_to_do(make_job: Callable[..., Job], folder: Path) -> None:
    with pytest.raises(BadInput, match=r"has no 'champion' in the store.*Promote a version first"):
        batch(make_job(), folder)


def test_a_model_without_a_reference_is_scored_without_embeddings(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise BadInput("there is no evaluate/x")

    monkeypatch.setattr(reference, "of", missing)
    batch(job, folder)
    assert rows(job)["embedding"].isna().all()
    assert rows(job)["probability"].notna().all()


# --- with the profile of a site -------------------------------------------------------------------


def add_profile(job: Job, scorer: predict.Scorer, **known: Any) -> SiteProfile:
    """A profile of the champion."""
    release = scorer.release
    about = {"model": MODEL, "version": release.version, "model_sha256": release.files[MODEL_FILE]}
    found = sites.Profiles.of(opened(job.store, name=MODEL), release.version)
    return found.add(profile(**{**about, **known}))


def test_a_batch_with_a_site_has_its_probabilities_threshold_and_name(
    job: Job, folder: Path, scorer: predict.Scorer, caplog: pytest.LogCaptureFixture
) -> None:
    made = add_profile(job, scorer)
    with caplog.at_level("INFO"):
        told = batch(job, folder, site="clinic-b")
    table = rows(job).set_index("image")
    assert set(table["site"]) == {"clinic-b"}
    assert table["threshold"].to_numpy() == pytest.approx(made.threshold)
    recalibrated = sites.Recalibration.of_profile(made)
    for row in scorer.predict(sorted(folder.iterdir())):
        assert row.probability is not None
        there = table.loc[Path(row.image).name]
        assert there["probability"] == pytest.approx(recalibrated.one(row.probability), abs=1e-6)
        assert (there["label"] == "malignant") == (there["probability"] >= made.threshold)
    (only,) = batches(job)
    assert (only.site, only.profile) == ("clinic-b", 1)
    assert "with profile 1 of site clinic-b" in told.words
    assert "threshold_of_site site=clinic-b profile=1" in caplog.text
    assert "threshold_not_validated" not in caplog.text


def test_without_a_site_the_log_says_that_the_threshold_is_not_validated(
    job: Job, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batch(job, folder)
    assert caplog.text.count("threshold_not_validated") == 1
    assert set(rows(job)["site"]) == {""}


def test_what_was_scored_without_a_profile_is_scored_again_with_it_and_then_known(
    job: Job, folder: Path, scorer: predict.Scorer
) -> None:
    batch(job, folder)
    add_profile(job, scorer)
    assert batch(job, folder, "second", "clinic-b").words.startswith(f"{count(folder)} images")
    assert "no image scored" in batch(job, folder, "third", "clinic-b").words
    assert "no image scored" in batch(job, folder, "fourth").words
    assert list(rows(job)["site"].value_counts()) == [count(folder)] * 2


def test_a_chunk_keeps_the_profile_that_was_the_newest_when_it_was_planned(
    job: Job, folder: Path, scorer: predict.Scorer
) -> None:
    add_profile(job, scorer)
    planned = scoring.plan(job, scoring.Request(MODEL, "champion", str(folder), "clinic-b"))
    add_profile(job, scorer, threshold=0.7)
    for chunk in scoring.chunks_of(job, planned):
        scoring.score(job, chunk)
    scoring.merge(job, planned)
    assert rows(job)["threshold"].to_numpy() == pytest.approx(0.2)


def test_an_unknown_site_is_refused_before_anything_is_listed(job: Job, folder: Path) -> None:
    with pytest.raises(BadInput, match="no profile of a site 'nowhere'"):
        batch(job, folder, site="nowhere")
    assert not job.store.list("scoring")


# --- the command line -----------------------------------------------------------------------------


def test_the_command_line_scores_once_and_writes_a_table(
    job: Job,
    folder: Path,
    copy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SKIN_STORE", f"file://{copy}")
    assert cli.main(["score", str(folder), "--model", MODEL]) == cli.DONE
    said = capsys.readouterr().out
    assert f"{count(folder)} images scored: " in said
    (run,) = re.findall(r"Batch (command-line-\w+): ", said)
    assert cli.main(["score", str(folder), "--model", MODEL]) == cli.DONE
    assert "no image scored; 8 known already" in capsys.readouterr().out
    output = tmp_path / "scores.csv"
    assert cli.main(["scores", MODEL, "--batch", run, "--out", str(output)]) == cli.DONE
    assert len(output.read_text().splitlines()) == 1 + count(folder)
    assert cli.main(["score", str(folder), "--model", "no-such-model"]) == cli.FAILED
    assert "Promote a version first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"benign": 3, "malignant": 1}, "4 images scored: 3 benign, 1 malignant"),
        ({"benign": 3, "unsure": 2}, "5 images scored: 3 benign, 0 malignant, 2 unsure"),
        ({"unreadable": 1}, "no image scored; 1 unreadable"),
    ],
)
def test_images_without_a_decision_are_told(counts: dict[str, int], said: str) -> None:
    assert scoring._in_words(Counter(counts)) == said


def test_images_without_a_decision_are_rows_and_counted(
    job: Job, folder: Path, scorer: predict.Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is near to the threshold of a version that is as unsure as this."""
    rule = Abstention(margin=100.0, near=0.5)
    unsure = replace(scorer, release=scorer.release.model_copy(update={"abstention": rule}))
    monkeypatch.setattr(predict.Scorer, "of", lambda model, threads, engine="": unsure)
    told = batch(job, folder)
    many = count(folder)
    assert f"{many} images scored: 0 benign, 0 malignant, {many} unsure" in told.words
    assert rows(job)["abstained"].all()
    assert set(rows(job)["label"]) == {"unsure"}
    assert next(batches(job)).images == count(folder)
