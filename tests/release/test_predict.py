"""Scores of images from a promoted model: the same from everywhere, and whatever comes."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import keras
import key_pairs
import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from released import opened

from skin_pipeline import cli, tables
from skin_pipeline.contracts import Dataset, Evaluation, Pointer, dump, load
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.geometry import Geometry
from skin_pipeline.model_file import loading, looking
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import MANIFEST, MODEL_FILE, scores, version_key
from skin_pipeline.release.predict import BATCH, Scorer, beside, predict, resolve
from skin_pipeline.storage import FolderStore, S3Store
from skin_pipeline.training import backbone, networks

if TYPE_CHECKING:
    from tests.conftest import Finished

MODEL = "skin-resnet50-synthetic"
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def golden(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The golden images as files in a folder, and what `evaluate` recorded for each."""
    store, folder = finished.job.store, tmp_path_factory.mktemp("golden")
    evaluation = load(store, finished.evaluation, Evaluation)
    scores = tables.read_scores(store, evaluation.predictions).set_index("key")["probability"]
    recorded = {}
    for key, copy in load(store, finished.dataset, Dataset).golden.items():
        path = folder / key
        path.parent.mkdir(exist_ok=True)
        shutil.copy(store.local(copy), path)
        recorded[path] = scores[key]
    return dict(sorted(recorded.items()))


@pytest.fixture(scope="module")
def champion(finished: Finished) -> Any:
    return resolve(opened(finished.job.store, name=MODEL))


@pytest.fixture(scope="module")
def scorer(champion: Any) -> Any:
    return Scorer.of(champion, threads=2)


@pytest.fixture
def version(finished: Finished, tmp_path: Path) -> Any:
    """A copy of the champion's version in a folder of its own."""
    for name in (MODEL_FILE, MANIFEST):
        shutil.copy(finished.job.store.local(f"{finished.version}/{name}"), tmp_path)
    return tmp_path


# --- which model ----------------------------------------------------------------------------------


def test_champion_version_alias_and_file_are_the_same_model(
    finished: Finished, champion: Any, version: Path, tmp_path: Path
) -> None:
    store = FolderStore(tmp_path / "store")
    shutil.copytree(finished.root / "models", store.root / "models")
    release = champion.release
    pointer = Pointer(
        model=MODEL, version=release.version, previous=None, moved_at="now", by="me", reason="try"
    )
    store.put(f"models/{MODEL}/canary.json", dump(pointer.model_copy(update={"alias": "canary"})))
    for wanted in ("champion", "canary", release.version):
        assert resolve(opened(store, name=MODEL), wanted).release == release
    assert beside(version / MODEL_FILE, SigningKeys()).release == release


def test_a_model_from_s3_is_kept_locally(
    finished: Finished, champion: Any, s3_store: S3Store
) -> None:
    for key in finished.job.store.list(f"models/{MODEL}"):
        s3_store.put_file(key, finished.job.store.local(key))
    found = resolve(opened(s3_store, name=MODEL))
    assert found.release == champion.release
    assert found.path.read_bytes() == champion.path.read_bytes()
    assert resolve(opened(s3_store, name=MODEL)).path == found.path


@pytest.mark.parametrize("wanted", ["champion", "canary", "0" * 20])
def test_a_model_that_is_not_there_is_named(wanted: Any, store: FolderStore) -> None:
    with pytest.raises(BadInput, match=f"has no (version |'){wanted}"):
        resolve(opened(store, name="no-such-model"), wanted)


def test_a_model_with_a_tampered_byte_is_refused(version: Path) -> None:
    path = version / MODEL_FILE
    with path.open("r+b") as file:
        file.seek(10_000_000)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(BadInput, match=r"model.keras is not the one that its manifest names"):
        predict([], beside(path, SigningKeys()))


def test_a_version_under_the_name_of_another_is_refused(
    finished: Finished, champion: Any, tmp_path: Path
) -> None:
    store = FolderStore(tmp_path)
    key = version_key(MODEL, "0" * 20)
    for name in (MODEL_FILE, MANIFEST):
        store.put_file(f"{key}/{name}", finished.job.store.local(f"{finished.version}/{name}"))
    with pytest.raises(BadInput, match=f"is that of {MODEL}, version {champion.release.version}"):
        resolve(opened(store, name=MODEL), "0" * 20)


@pytest.mark.parametrize("missing", [MODEL_FILE, MANIFEST])
def test_a_file_without_its_manifest_is_refused(missing: Any, version: Path) -> None:
    (version / missing).unlink()
    with pytest.raises(BadInput, match=f"there is no file .*{missing}"):
        predict([], beside(version / MODEL_FILE, SigningKeys()))


def test_a_threshold_that_is_no_probability_is_refused(version: Path) -> None:
    about = json.loads((version / MANIFEST).read_text())
    (version / MANIFEST).write_text(json.dumps({**about, "threshold": "NaN"}))
    with pytest.raises(BadInput, match="threshold: Input should be a finite number"):
        beside(version / MODEL_FILE, SigningKeys())


def test_a_manifest_that_names_no_digest_of_the_model_is_refused(version: Path) -> None:
    about = json.loads((version / MANIFEST).read_text())
    (version / MANIFEST).write_text(json.dumps({**about, "files": {}}))
    with pytest.raises(BadInput, match=r"does not name the SHA-256 of model\.keras"):
        beside(version / MODEL_FILE, SigningKeys())


def test_a_model_that_is_exchanged_after_its_digest_was_compared_is_not_loaded(
    version: Path, champion: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, check = version / MODEL_FILE, loading._inspected

    def exchanged(file: Any) -> Any:
        path.write_bytes(b"another model")
        return check(file)

    monkeypatch.setattr(loading, "_inspected", exchanged)
    scorer = Scorer.of(beside(path, SigningKeys()), threads=2)
    assert scorer.release == champion.release
    assert path.read_bytes() == b"another model"
    with pytest.raises(BadInput, match="is not the one that its manifest names"):
        Scorer.of(beside(path, SigningKeys()), threads=2)


# --- scores ---------------------------------------------------------------------------------------


def test_golden_images_score_what_evaluate_recorded(scorer: Any, golden: Any) -> None:
    rows = list(scorer.predict(golden))
    assert [row.image for row in rows] == [str(path) for path in golden]
    assert [row.probability for row in rows] == pytest.approx(list(golden.values()), abs=0.02)
    labels = scorer.release.labels
    for row in rows:
        assert row.label == labels[row.probability >= scorer.release.threshold]
        assert row.problem == ""


def test_images_score_what_the_whole_model_gives_them(
    champion: Any, scorer: Any, golden: Any, tmp_path: Path
) -> None:
    model = loading.load(champion.path, threads=2)
    images = [Image.open(path).convert("RGB") for path in list(golden)[:3]]
    images = [images[0].resize((300, 120)), images[1].resize((90, 331)), images[2].rotate(90)]
    paths = [tmp_path / f"{i}.png" for i in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    whole = [float(model(np.asarray(image)[None])[0, 0]) for image in images]
    assert [row.probability for row in scorer.predict(paths)] == pytest.approx(whole, abs=0.02)


def test_bytes_score_like_the_file(scorer: Any, golden: Any) -> None:
    data = [path.read_bytes() for path in golden]
    rows, files = list(scorer.predict(data)), scorer.predict(golden)
    assert [row.image for row in rows] == [f"image {i}" for i in range(len(data))]
    assert [row[1:] for row in rows] == [row[1:] for row in files]


def test_images_are_taken_only_as_far_ahead_as_they_are_needed(scorer: Any, golden: Any) -> None:
    taken: list[int] = []

    def endlessly() -> Iterator[Any]:
        while True:
            taken.append(0)
            yield next(iter(golden))

    endless = endlessly()
    rows = scorer.predict(endless)
    assert next(rows).problem == ""
    rows.close()
    assert len(taken) < 300


def test_a_score_that_is_no_probability_is_a_problem(champion: Any, golden: Any) -> None:
    broken = Scorer(champion.release, lambda x: np.full((len(x), 1), np.nan), Geometry(64), 1)
    row = next(broken.predict(golden))
    assert (row.probability, row.label) == (None, "")
    assert row.problem == "the model gave no probability: nan"


@pytest.mark.parametrize(("beyond", "label"), [(-1e-9, 0), (0.0, 1), (1e-9, 1)])
def test_a_probability_at_the_threshold_is_called_malignant(
    champion: Any, beyond: Any, label: Any
) -> None:
    threshold = champion.release.threshold
    scorer = Scorer(champion.release, lambda squares: squares, Geometry(64), 1)
    assert (
        scorer.deciding.called("a.png", threshold + beyond).label == champion.release.labels[label]
    )


def test_a_file_is_only_used_if_it_is_signed_as_the_keys_ask_for(
    champion: Any, tmp_path: Path, golden: Any
) -> None:
    """Its manifest lies beside it, as where somebody has copied both."""
    pair = key_pairs.write(tmp_path, "ours")
    for name in ("model.keras", "manifest.json"):
        shutil.copy(champion.path.with_name(name), tmp_path / name)
    with pytest.raises(BadInput, match="not signed"):
        predict(golden, beside(tmp_path / "model.keras", SigningKeys(public=pair.public)))


def made_of(name: str, size: Any) -> Any:
    """A small model with the geometry of a released one and the layer names of its network."""
    spec = networks.BACKBONES[name]
    names = filter(None, (spec.mark, *spec.stages))
    stages = [keras.layers.Identity(name=stage) for stage in names]
    image = keras.Input((None, None, 3), dtype="uint8")
    square = looking.squares(keras, image, size, round(size / 0.8), regions=1)
    seen = keras.Sequential([keras.Input((size, size, 3)), *stages])(square)
    seen = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(seen))
    return keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(seen))


@pytest.mark.parametrize(
    ("name", "size", "quick"),
    [("ResNet50", 160, True), ("ResNet50", 64, False), ("EfficientNetV2B0", 160, False)],
)
def test_full_and_other_batches_score_alike_with_and_without_xla(
    name: str, size: Any, quick: Any, champion: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made_of(name, size)
    assert backbone.quick_with_xla(model, size) == quick
    squares = RANDOM.integers(0, 255, (BATCH, size, size, 3), dtype=np.uint8)
    network = keras.Model(looking.seen(model), model.output)
    monkeypatch.setattr(loading, "load", lambda *_: model)
    scorer = Scorer.of(champion, threads=2, engine="tensorflow")
    assert scorer.geometry == (size, 0.8, 1)
    for count in (BATCH, 3):
        np.testing.assert_allclose(
            scorer.forward(squares[:count]), network(squares[:count].astype(np.float32)), atol=1e-5
        )


# --- what the network saw ------------------------------------------------------------------------


def test_looking_gives_the_rows_of_predict_and_what_the_trunk_made_of_each(
    scorer: Any, golden: Any, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    paths = [tmp_path / "broken.jpg", *golden]
    broken, *looks = scorer.look(paths)
    for look, row in zip((broken, *looks), scorer.predict(paths), strict=True):
        assert look.prediction.image == row.image
        assert look.prediction.label == row.label
        assert look.prediction.probability == pytest.approx(row.probability, abs=1e-6)
    assert (broken.pixels, broken.features) == (None, None)
    assert broken.prediction.problem
    assert all(look.pixels.shape == (2 * 64, 64, 3) for look in looks)
    features = np.stack([look.features for look in looks])
    assert np.isfinite(features).all()
    assert len(np.unique(features, axis=0)) == len(looks)


def test_a_model_without_a_common_trunk_gives_no_features(
    champion: Any, golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load", lambda *_: made_of("ResNet50", 64))  # as `full` has none
    (look,) = Scorer.of(champion, threads=2).look(list(golden)[:1])
    assert look.prediction.probability is not None
    assert look.features is None


# --- hostile images -------------------------------------------------------------------------------


def encoded(image: Any, kind: Any, **options: Any) -> Any:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def claiming(side: Any) -> Any:
    """A BMP of a few bytes that says it is so many pixels wide and high."""
    data = bytearray(encoded(Image.new("RGB", (80, 80)), "BMP"))
    data[18:26] = side.to_bytes(4, "little") * 2
    return bytes(data)


NOISE = Image.fromarray(RANDOM.integers(0, 255, (90, 90, 3), dtype=np.uint8))


def half(data: bytes) -> Any:
    """Half a JPEG with an end marker behind it, for which decoders show a grey rest."""
    return data[: len(data) // 2] + b"\xff\xd9"


HOSTILE = {
    "animated.webp": (
        encoded(NOISE, "WEBP", save_all=True, append_images=[NOISE.rotate(90)]),
        "has 2 frames",
    ),
    "blank.png": (encoded(Image.new("RGB", (80, 80)), "PNG"), "single colour"),
    "empty.jpg": (b"", "the file is empty"),
    "huge.bmp": (claiming(11_000), "is over 120000000 pixels"),
    "half.jpg": (half(encoded(NOISE, "JPEG")), "truncated"),
    "half-progressive.jpg": (half(encoded(NOISE, "JPEG", progressive=True)), "truncated"),
    "no.jpg": (b"no image", "is a text"),
    "truncated.png": (encoded(NOISE, "PNG")[:9000], "truncated"),
}


@pytest.fixture
def mixed(golden: Any, tmp_path: Path) -> Any:
    """A folder with hostile images between good ones, and one good one with a wrong suffix."""
    folder = tmp_path / "mixed"
    (folder / "deeper").mkdir(parents=True)
    for i, path in enumerate(golden):
        shutil.copy(path, folder / f"deeper/good{i}.jpg" if i % 2 else folder / f"good{i}.jpg")
    for name, (data, _) in HOSTILE.items():
        (folder / name).write_bytes(data)
    (folder / "wrong-suffix.png").write_bytes(next(iter(golden)).read_bytes())
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def loaded(scorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads the champion once for several commands."""
    monkeypatch.setattr(Scorer, "of", lambda model, threads, engine="": scorer)


@pytest.fixture
def run(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs the command; its exit status, its rows, and what it says."""
    monkeypatch.setenv("SKIN_STORE", finished.job.store.url)
    monkeypatch.setenv("SKIN_THREADS", "2")

    def command(*arguments: Any) -> Any:
        status = cli.main(["predict", *map(str, arguments), "--model-name", MODEL])
        said = capsys.readouterr()
        return status, list(csv.DictReader(io.StringIO(said.out))), said.err

    return command


@pytest.mark.usefixtures("loaded")
def test_hostile_images_have_a_problem_and_the_others_a_score(
    run: Any, mixed: Any, golden: Any
) -> None:
    status, rows, said = run(mixed)
    names = [Path(row["image"]).relative_to(mixed).as_posix() for row in rows]
    assert names == sorted(names)
    by_name = dict(zip(names, rows, strict=True))
    for name, (_, problem) in HOSTILE.items():
        row = by_name.pop(name)
        assert (row["probability"], row["label"]) == ("", "")
        assert problem in row["problem"]
    assert len(by_name) == len(golden) + 1
    assert all(0 <= float(row["probability"]) <= 1 for row in by_name.values())
    assert float(by_name["wrong-suffix.png"]["probability"]) == pytest.approx(
        float(by_name["good0.jpg"]["probability"]), abs=1e-5
    )
    assert f"{len(HOSTILE)} of {len(rows)} images have no score" in said
    assert status == 0


@pytest.mark.usefixtures("loaded")
def test_it_failed_if_no_image_has_a_score(run: Any, tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_bytes(b"no image")
    status, rows, said = run(tmp_path / "no.jpg", tmp_path / "missing.jpg", "/dev/zero")
    assert status == 1
    assert [bool(row["problem"]) for row in rows] == [True] * 3
    assert "missing.jpg: there is no such file" in rows[1]["problem"]
    assert "3 of 3 images have no score" in said


# --- from where -----------------------------------------------------------------------------------


def put_into_s3(server: Any, prefix: Any, files: Any) -> None:
    client = boto3.client("s3", endpoint_url=server.endpoint, **server.credentials)
    for name, path in files.items():
        client.put_object(Bucket=server.bucket, Key=f"{prefix}/{name}", Body=path.read_bytes())


def test_folder_list_zip_and_s3_give_the_same_scores(
    run: Any, golden: Any, tmp_path: Path, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = next(iter(golden)).parents[1]
    files = {path.relative_to(root).as_posix(): path for path in golden}
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in golden))
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as bundle:
        for name, path in files.items():
            bundle.write(path, name)
    prefix = uuid.uuid4().hex
    put_into_s3(s3_server, prefix, files)
    monkeypatch.setenv("SKIN_DATA_ENDPOINT", s3_server.endpoint)
    for name, value in s3_server.credentials.items():
        monkeypatch.setenv(name.replace("region_name", "aws_default_region").upper(), value)
    bucket = f"s3://{s3_server.bucket}/{prefix}"
    places = [str(root), str(tmp_path / "images.zip"), bucket]
    _, rows, _ = run(*places, f"@{tmp_path / 'list.txt'}")
    size = len(golden)
    assert [row["image"] for row in rows] == [
        *(f"{place}/{name}" for place in places for name in files),
        *map(str, golden),
    ]
    scores = [float(row["probability"]) for row in rows]
    assert scores == pytest.approx(scores[:size] * 4, abs=1e-5)


@pytest.mark.usefixtures("loaded")
def test_a_file_is_written_whole(run: Any, golden: Any, tmp_path: Path) -> None:
    output = tmp_path / "out" / "scores.csv"
    status, printed, _ = run(*golden, "--output", output)
    assert (status, printed) == (0, [])
    lines = output.read_text().splitlines()
    assert lines[0] == "image,probability,label,problem,familiarity"
    assert len(lines) == len(golden) + 1
    assert [path.name for path in output.parent.iterdir()] == ["scores.csv"]


@pytest.mark.usefixtures("loaded")
def test_parquet_has_the_rows_of_csv_in_groups_and_the_models_facts(
    run: Any, mixed: Any, tmp_path: Path, champion: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "GROUP", 4)
    odd = b"/\xff.jpg"
    shutil.copy(mixed / "good0.jpg", os.fsencode(mixed) + odd)
    output = tmp_path / "out" / "scores.Parquet"
    assert run(mixed, "--output", output)[:2] == (0, [])
    assert [path.name for path in output.parent.iterdir()] == [output.name]

    table = parquet.read_table(output)
    kinds = {"image": "string", "probability": "double", "label": "string", "problem": "string"}
    kinds["familiarity"] = "double"
    assert {field.name: str(field.type) for field in table.schema} == kinds
    _, rows, _ = run(mixed)
    shown = [
        {
            name: f"{value:.6f}" if isinstance(value, float) else value or ""
            for name, value in row.items()
        }
        for row in table.to_pylist()
    ]
    assert shown == rows
    assert table["label"].null_count == table["probability"].null_count == len(HOSTILE)
    assert table["problem"].null_count == len(rows) - len(HOSTILE)
    assert rf"{mixed}/\udcff.jpg" in table["image"].to_pylist()

    groups = parquet.ParquetFile(output).metadata
    sizes = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
    assert sizes == [4] * (len(rows) // 4) + [len(rows) % 4] * (len(rows) % 4 > 0)
    facts = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    release = champion.release
    assert (facts["model"], facts["version"]) == (release.model, release.version)
    assert facts["threshold"] == str(release.threshold)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_output_that_breaks_off_leaves_no_file(
    suffix: Any, run: Any, golden: Any, tmp_path: Path, scorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking:
        def predict(self, images: Any) -> Iterator[Any]:
            yield next(scorer.predict(images))
            raise Unavailable("no more")

    monkeypatch.setattr(Scorer, "of", lambda model, threads, engine="": Breaking())
    status, _, said = run(*golden, "--output", tmp_path / "out" / f"scores.{suffix}")
    assert (status, "Unavailable: no more" in said) == (1, True)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_output_that_cannot_be_written_is_named_before_anything_is_scored(
    suffix: Any, run: Any, golden: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / f"scores.{suffix}"
    status, _, said = run(*golden, "--output", output)
    assert (status, f"{output} cannot be written" in said) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "scores.xlsx"], "must end in .csv or .parquet. Received: scores.xlsx"),
        (["--model", "canary"], f"the model {MODEL!r} has no 'canary'"),
        (["--model", "/no/such/model.keras"], "there is no file /no/such/model.keras"),
        (["@/no/such/list.txt"], "the list /no/such/list.txt cannot be read"),
    ],
)
def test_what_a_person_must_change_is_said_in_one_line(
    arguments: Any, message: str, run: Any, golden: Any
) -> None:
    status, rows, said = run(next(iter(golden)), *arguments)
    assert (status, rows) == (1, [])
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("given", "settings", "asked"),
    [
        ("", {"data": "demo"}, "skin-resnet50-synthetic"),
        ("", {"data": "images", "weights": "imagenet", "model_name": "ours"}, "ours"),
        ("theirs", {"data": "demo"}, "theirs"),
    ],
)
def test_without_a_name_the_model_is_the_one_that_the_settings_release_to(
    make_job: Any, monkeypatch: pytest.MonkeyPatch, given: Any, settings: Any, asked: Any
) -> None:
    def stop(_: Any, model: str, name: str, site: str) -> None:
        raise BadInput(f"{name}, {model}")

    monkeypatch.setattr(scores, "_model", stop)
    with pytest.raises(BadInput, match=f"^{asked}, champion$"):
        scores.score(make_job(**settings), [], model="champion", model_name=given, output=None)


def test_a_folder_without_images_is_named(run: Any, tmp_path: Path) -> None:
    status, _, said = run(tmp_path)
    assert status == 1
    assert "there are no images (" in said
    assert f" below {tmp_path}" in said


@pytest.mark.usefixtures("loaded")
def test_a_name_that_is_no_text_is_written_escaped(run: Any, tmp_path: Path, golden: Any) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff.jpg"
    shutil.copy(next(iter(golden)), odd)
    _, rows, _ = run(tmp_path)
    assert [row["image"] for row in rows] == [rf"{tmp_path}/\udcff.jpg"]
