"""Labels are brought back: from files at a place to the images that were scored."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import boto3
import pytest
import score_rows
from servers import S3Server

from skin_pipeline.data import returned
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.monitoring.labels import News, bring_back
from skin_pipeline.storage import FolderStore, S3Access

MakeJob = Callable[..., Job]
MODEL = "skin-resnet50"


@pytest.fixture
def place(tmp_path: Path, store: FolderStore) -> Path:
    """A folder for labels; `a.jpg` and `b.jpg` were scored."""
    score_rows.write(store, MODEL, {"a.jpg": 0.9, "b.jpg": 0.1})
    (tmp_path / "labels").mkdir()
    return tmp_path / "labels"


@pytest.fixture
def read(make_job: MakeJob) -> Callable[..., News]:
    """Reads labels in a run of its own."""
    count = iter(range(100))

    def reading(place: Path, run: str = "", **settings: str) -> News:
        job = make_job(**settings)
        object.__setattr__(job, "run_id", run or f"run {next(count)}")
        return bring_back(job, str(place), MODEL)

    return reading


Read = Callable[..., News]


def labels(store: FolderStore) -> dict[str, str]:
    return {row.name: row.label for row in returned.current(store, MODEL).values()}


def test_a_folder_of_labels_is_read_once(place: Path, read: Read, store: FolderStore) -> None:
    (place / "one.csv").write_text("image,label\na.jpg,malignant\nlate.jpg,benign\nb,\n")
    news = read(place)
    assert news.words == (
        f"1 label came back for {MODEL} from 1 file, 1 of images that were not scored yet, "
        "1 row without a label"
    )
    assert labels(store) == {"a.jpg": "malignant"}
    keys = store.list("labels")
    again = read(place)
    assert (again.words, again.anything) == ("No new file of labels (1 file read earlier)", False)
    assert store.list("labels") == keys


def test_a_file_and_a_workbook_can_be_given_alone(place: Path, read: Read) -> None:
    import pandas as pd

    (place / "one.csv").write_text("image,label\na.jpg,malignant\n")
    pd.DataFrame({"image": ["b.jpg"], "target": [0]}).to_excel(place / "two.xlsx", index=False)
    assert len(read(place / "one.csv").new) == 1
    assert len(read(place / "two.xlsx").new) == 1
    with pytest.raises(BadInput, match="there is nothing at"):
        read(place / "three.csv")


def test_a_late_image_gets_its_label_when_it_is_scored(
    place: Path, read: Read, store: FolderStore
) -> None:
    (place / "one.csv").write_text("image,label\nlate.jpg,malignant\n")
    assert not read(place).anything
    score_rows.write(store, MODEL, {"late.jpg": 0.7})
    news = read(place)
    assert [row.name for row in news.new] == ["late.jpg"]
    assert news.anything
    assert not read(place).anything


def test_a_correction_wins_is_told_and_its_history_stays(
    place: Path, read: Read, store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "one.csv").write_text("image,label\na.jpg,malignant\nb.jpg,benign\n")
    read(place)
    (place / "two.csv").write_text("image,label\na.jpg,benign\nb.jpg,benign\n")
    news = read(place)
    assert [(old.label, row.label) for old, row in news.changed] == [("malignant", "benign")]
    assert news.new == []
    assert 'label_changed image="a.jpg" was=malignant is=benign' in caplog.text
    history = returned.history(returned.documents(store, MODEL))
    assert [row.label for row in history[score_rows.digest_of("a.jpg")]] == ["malignant", "benign"]


def test_a_further_try_of_a_run_tells_the_same(place: Path, read: Read) -> None:
    (place / "one.csv").write_text("image,label\na.jpg,malignant\n")
    first = read(place, run="the run")
    second = read(place, run="the run")
    assert (second.new, second.anything) == (first.new, True)


def test_two_files_of_one_import_that_differ_are_asked_about_and_a_third_answers(
    place: Path, read: Read, store: FolderStore
) -> None:
    (place / "one.csv").write_text("image,label\na.jpg,malignant\nb.jpg,benign\n")
    (place / "two.csv").write_text("image,label\na.jpg,benign\n")
    news = read(place)
    assert labels(store) == {"b.jpg": "benign"}
    assert {file for file, _ in news.refused} == {"one.csv", "two.csv"}
    assert "malignant in one.csv, benign in two.csv" in news.refused[0][1].reason
    (place / "three.csv").write_text("image;label\na.jpg;benign\n")
    read(place)
    assert labels(store) == {"a.jpg": "benign", "b.jpg": "benign"}


def test_a_broken_file_does_not_stop_the_others_but_alone_it_fails(
    place: Path, read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "bad.csv").write_text('image,label\n"a.jpg,benign\n')
    with pytest.raises(BadInput, match=r"no labels at .*unexpected end of data"):
        read(place)
    (place / "good.csv").write_text("image,label\na.jpg,malignant\nb.jpg,what\n")
    news = read(place)
    assert (len(news.new), len(news.problems), len(news.refused)) == (1, 1, 1)
    assert 'label_not_taken image="b.jpg" file="good.csv" line=3' in caplog.text


def test_other_words_for_the_classes_read_a_file_again(place: Path, read: Read) -> None:
    (place / "one.csv").write_text("image,label\na.jpg,malignant\nb.jpg,nv\n")
    assert len(read(place).new) == 1
    news = read(place, benign_values="benign, nv")
    assert [(row.name, row.label) for row in news.new] == [("b.jpg", "benign")]
    assert news.changed == []


def test_images_are_kept_only_where_they_become_training_data(
    place: Path, read: Read, store: FolderStore, tmp_path: Path, told: Callable[[], set[str]]
) -> None:
    (tmp_path / "inbox").mkdir()
    digests = {}
    for name in ("c.jpg", "d.jpg"):
        (tmp_path / "inbox" / name).write_bytes(name.encode())
        digests[name] = sha256(name.encode()).hexdigest()
    table = score_rows.rows({"c.jpg": 0.9, "d.jpg": 0.2}, MODEL, digests=digests)
    score_rows.keep(store, MODEL, table, str(tmp_path / "inbox"))
    (place / "one.csv").write_text("image,label\nc.jpg,malignant\nd.jpg,benign\na.jpg,benign\n")
    read(place)
    assert returned.copies(store, MODEL) == {}
    (tmp_path / "inbox/d.jpg").write_bytes(b"another image by now")
    news = read(place, returned_labels="use")
    assert returned.copies(store, MODEL) == {
        digests["c.jpg"]: f"labels/{MODEL}/images/{digests['c.jpg']}.jpg"
    }
    assert store.read(returned.copies(store, MODEL)[digests["c.jpg"]]) == b"c.jpg"
    assert (news.copied, sorted(news.gone)) == (1, ["a.jpg", "d.jpg"])
    assert "images copied" in told()
    assert read(place, returned_labels="use").gone == []  # it is not searched for every day


def test_labels_and_images_of_a_bucket_are_read_like_those_of_a_folder(
    make_job: MakeJob, store: FolderStore, s3_server: S3Server
) -> None:
    access = S3Access(s3_server.endpoint, s3_server.credentials)
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret,
        region_name="us-east-1",
    )
    where = uuid.uuid4().hex
    for key, body in (
        ("inbox/x.jpg", b"the image"),
        ("labels/march.csv", b"image;label\nx.jpg;MALIGNANT\n"),
    ):
        client.put_object(Bucket=s3_server.bucket, Key=f"{where}/{key}", Body=body)
    below = f"s3://{s3_server.bucket}/{where}"
    digest = sha256(b"the image").hexdigest()
    table = score_rows.rows({"x.jpg": 0.9}, MODEL, digests={"x.jpg": digest})
    score_rows.keep(store, MODEL, table, f"{below}/inbox")
    job = replace(make_job(returned_labels="use"), data_access=lambda: access)
    news = bring_back(job, f"{below}/labels", MODEL)
    assert news.words == f"1 label came back for {MODEL} from 1 file, 1 image kept for training"
    assert store.read(returned.copies(store, MODEL)[digest]) == b"the image"
    with pytest.raises(BadInput):
        bring_back(job, f"{below}/none", MODEL)
