from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from released import MODEL, described, keras_file, opened, release, sources

from skin_pipeline.contracts import Release, address, dump, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import MANIFEST, version_key, versions
from skin_pipeline.storage import FolderStore, Store, digest

GOLDEN = Path(__file__).parents[1] / "golden"


def place(made: Any) -> Any:
    return version_key(made.model, made.version)


def replace(store: Store, key: str, data: bytes) -> None:
    """Change what is never changed."""
    store.remove(key)
    store.put(key, data)


def test_a_published_version_is_whole(any_store: Store) -> None:
    made = release(any_store)
    assert any_store.read(f"{place(made)}/model.keras") == keras_file(b"model")
    found = opened(any_store).verify(made.version)
    assert found.published_at
    assert found.model_copy(update={"published_at": ""}) == made


def test_the_same_files_are_the_same_version(any_store: Store) -> None:
    first = release(any_store)
    published = opened(any_store).release(first.version).published_at
    assert release(any_store) == first
    assert opened(any_store).release(first.version).published_at == published
    assert release(any_store, b"other").version != first.version
    assert len(opened(any_store).versions()) == 2


def test_another_threshold_is_another_version(store: FolderStore) -> None:
    made = described(store)
    manifest = {**json.loads(dump(made)), "threshold": 0.5}
    assert versions._name(manifest) != made.version


def test_bytes_that_do_not_read_back_are_not_published(store: FolderStore) -> None:
    made = described(store)
    store.put(f"{place(made)}/model.keras", b"half")
    with pytest.raises(Unavailable, match="does not read back as written"):
        opened(store).publish(made, sources(store, b"model"))
    assert opened(store).versions() == []


class Interposed:
    """A store in which something happens before a key is written that ends in some way."""

    def __init__(self, store: Any, ending: Any, before: Any) -> None:
        self._store, self._ending, self._before = store, ending, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, key: str, data: bytes) -> Any:
        if key.endswith(self._ending):
            self._before()
        return self._store.put(key, data)


class Attacked:
    """A store in which somebody acts just after a call, once."""

    def __init__(self, store: Any, method: str, act: Any) -> None:
        self._store, self._method, self._act = store, method, [act]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*arguments: Any, **more: Any) -> Any:
            result = method(*arguments, **more)
            if name == self._method and self._act:
                self._act.pop()()
            return result

        return call if callable(method) else method


FORGED = keras_file(b"forged")


def test_a_model_that_was_exchanged_is_not_published_and_leaves_nothing(any_store: Store) -> None:
    made, keys = described(any_store), sources(any_store, b"model")
    replace(any_store, keys["model.keras"], FORGED)
    tried: list[Path] = []
    with pytest.raises(BadInput, match=r"evaluate/.*/model\.keras .* is not what it was"):
        opened(any_store).publish(made, keys, tried.append)
    assert any_store.list(place(made)) == []
    assert tried == []


def test_a_copy_that_is_exchanged_before_it_is_read_back_is_made_again(any_store: Store) -> None:
    made, keys = described(any_store), sources(any_store, b"model")
    target = f"{place(made)}/model.keras"
    attacked = Attacked(any_store, "copy", lambda: replace(any_store, target, FORGED))
    tried = []
    opened(attacked).publish(made, keys, lambda model: tried.append(model.read_bytes()))
    assert tried == [keras_file(b"model")]
    assert opened(any_store).verify(made.version)
    assert any_store.read(target) == keras_file(b"model")


def test_a_copy_that_is_exchanged_after_it_was_read_back_is_never_what_is_tried(
    any_store: Store,
) -> None:
    made, keys = described(any_store), sources(any_store, b"model")
    target = f"{place(made)}/model.keras"
    attacked = Attacked(any_store, "read_into", lambda: replace(any_store, target, FORGED))
    tried = []
    opened(attacked).publish(made, keys, lambda model: tried.append(model.read_bytes()))
    assert tried == [keras_file(b"model")]
    with pytest.raises(BadInput, match=r"model\.keras has the SHA-256"):
        opened(any_store).verify(made.version)


def test_a_store_that_cannot_copy_is_sent_the_files_and_gives_them_back(any_store: Store) -> None:
    made, keys = described(any_store), sources(any_store, b"model")
    sending, tried = Sending(any_store, copies=False), []
    opened(sending).publish(made, keys, lambda model: tried.append(model.read_bytes()))
    assert tried == [keras_file(b"model")]
    assert sending.sent == [f"{place(made)}/{name}" for name in made.files]
    assert opened(any_store).verify(made.version)


class Sending:
    """A store that may be unable to copy by itself, and notes what is sent to it."""

    def __init__(self, store: Any, *, copies: bool) -> None:
        self._store, self._copies = store, copies
        self.sent: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def copy(self, source: str, key: str, sha256: str) -> Any:
        return self._copies and self._store.copy(source, key, sha256)

    def put_file(self, key: str, path: Path, sha256: str = "") -> Any:
        self.sent.append(key)
        return self._store.put_file(key, path, sha256)


def test_a_store_that_copies_by_itself_is_sent_no_file(any_store: Store) -> None:
    made, sending = described(any_store), Sending(any_store, copies=True)
    opened(sending).publish(made, sources(any_store, b"model"))
    assert sending.sent == []


def test_a_model_is_tried_as_it_was_read_back_before_its_version_is_there(any_store: Store) -> None:
    made = described(any_store)
    tried = []

    def approve(model: Path) -> None:
        assert opened(any_store).versions() == []
        tried.append(model.read_bytes())

    for _ in range(2):  # what is there was tried
        opened(any_store).publish(made, sources(any_store, b"model"), approve)
    assert tried == [keras_file(b"model")]


def test_a_model_that_is_not_approved_is_not_published(any_store: Store) -> None:
    made = described(any_store)

    def refuse(model: Path) -> None:
        raise BadInput(f"{model.name} is no good")

    for _ in range(2):
        with pytest.raises(BadInput, match=r"model\.keras is no good"):
            opened(any_store).publish(made, sources(any_store, b"model"), refuse)
    assert opened(any_store).versions() == []
    with pytest.raises(BadInput, match="has no version"):
        opened(any_store).promote(made.version, by="test", reason="passed the gate")


def test_what_is_read_back_are_the_bytes_in_the_store_and_not_a_copy_of_them(
    any_store: Store, elsewhere: Store
) -> None:
    made = described(any_store)

    def refuse(_: Any) -> None:
        raise Unavailable("broken off, when all files were read back once")

    with pytest.raises(Unavailable, match="broken off"):
        opened(any_store).publish(made, sources(any_store, b"model"), refuse)
    flip_a_bit(elsewhere, made)
    with pytest.raises(Unavailable, match=r"does not read back as written: metrics\.json has"):
        opened(any_store).publish(made, sources(any_store, b"model"))
    assert opened(any_store).versions() == []


def test_a_file_that_a_pruning_takes_at_the_last_moment_is_noticed(any_store: Store) -> None:
    made = described(any_store)
    last_moment = Interposed(any_store, "/manifest.json", lambda: lose_a_file(any_store, made))
    with pytest.raises(BadInput, match=r"is damaged: metrics\.json is missing"):
        opened(last_moment).publish(made, sources(any_store, b"model"))


def test_a_manifest_of_others_that_stands_there_already_is_noticed(any_store: Store) -> None:
    made = described(any_store)
    other = made.model_copy(update={"threshold": 0.9})
    any_store.put(f"{place(made)}/manifest.json", dump(other))
    with pytest.raises(BadInput, match=r"is damaged: manifest\.json was changed"):
        opened(any_store).publish(made, sources(any_store, b"model"))


def test_a_version_says_which_data_threshold_and_verdict_it_came_of(store: FolderStore) -> None:
    made = described(store)
    assert (made.model, made.verdict, made.threshold) == (MODEL, "gate/1", 0.4)
    assert (made.synthetic, made.content_digest) == (False, "53b1c0ffee")
    assert made.labels == ("benign", "malignant")
    assert made.files["model.keras"] == digest(keras_file(b"model"))


def flip_a_bit(store: Store, made: Any) -> None:
    key = f"{place(made)}/metrics.json"
    replace(store, key, bytes([store.read(key)[0] ^ 1]) + store.read(key)[1:])


def change_the_threshold(store: Store, made: Any) -> None:
    key = f"{place(made)}/manifest.json"
    replace(store, key, store.read(key).replace(b'"threshold": 0.4', b'"threshold": 0.9'))


def borrow_a_manifest(store: Store, made: Any) -> None:
    other = release(store, b"other")
    replace(store, f"{place(made)}/manifest.json", store.read(f"{place(other)}/manifest.json"))


def cut_the_manifest(store: Store, made: Any) -> None:
    key = f"{place(made)}/manifest.json"
    replace(store, key, store.read(key)[:-9])


def lose_a_file(store: Store, made: Any) -> None:
    store.remove(f"{place(made)}/metrics.json")


def add_a_file(store: Store, made: Any) -> None:
    store.put(f"{place(made)}/run.py", b"import os")


DAMAGE = {
    "a flipped bit": (flip_a_bit, "metrics.json has the SHA-256 "),
    "a missing file": (lose_a_file, "metrics.json is missing"),
    "an extra file": (add_a_file, "run.py does not belong to it"),
    "another threshold": (change_the_threshold, "manifest.json was changed"),
    "another version's manifest": (borrow_a_manifest, "manifest.json is that of version "),
    "a manifest cut short": (cut_the_manifest, "is not a Release document"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_version_is_refused_with_what_is_wrong(
    any_store: Store, elsewhere: Store, damage: Any, said: str
) -> None:
    made = release(any_store)
    opened(any_store).verify(made.version)  # a local copy of what was right is no proof
    damage(elsewhere, made)
    with pytest.raises(BadInput, match=said):
        opened(any_store).verify(made.version)
    with pytest.raises(BadInput, match=said):
        opened(any_store).promote(made.version, by="test", reason="passed the gate")
    assert opened(any_store).champion is None


def test_every_problem_of_a_version_is_named(store: FolderStore) -> None:
    made = release(store)
    flip_a_bit(store, made)
    store.remove(f"{place(made)}/model.keras")
    store.put(f"{place(made)}/extra", b"")
    with pytest.raises(BadInput) as error:
        opened(store).verify(made.version)
    for part in ("metrics.json has", "model.keras is missing", "extra does not belong"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"model.keras": b"\x89HDF no zip"}, "model.keras is no Keras file"),
        ({"model.h5": b"\x89HDF"}, "manifest.json names no model.keras"),
        ({"../model.keras": keras_file(b"m")}, "is not a Release document"),
    ],
)
def test_only_a_keras_file_of_its_own_is_a_model(store: FolderStore, files: Any, said: str) -> None:
    made = described(store).model_copy(update={"files": {k: digest(v) for k, v in files.items()}})
    made = made.model_copy(update={"version": address(made.files)})
    for name, data in files.items():
        store.put(f"{place(made)}/{name.removeprefix('../')}", data)
    store.put(f"{place(made)}/manifest.json", dump(made))
    with pytest.raises(BadInput, match=said):
        opened(store).verify(made.version)


def test_a_version_that_is_not_there_is_told_with_those_that_are(any_store: Store) -> None:
    made = release(any_store)
    with pytest.raises(BadInput, match=f"skin has no version none. It has: {made.version}"):
        opened(any_store).release("none")
    with pytest.raises(BadInput, match="It has none in"):
        opened(any_store, name="other").release("none")


def test_a_manifest_from_before_publication_times_is_still_read() -> None:
    data = (GOLDEN / "manifest-before-publication-times.json").read_bytes()
    old = parse(data, Release, "golden")
    assert (old.threshold, old.published_at) == (0.412, "")
    assert address(json.loads(data)["files"]) == old.version


def test_a_version_that_was_named_by_its_files_alone_is_still_whole(store: FolderStore) -> None:
    made = described(store)
    old = json.loads(dump(made.model_copy(update={"version": address(made.files)})))
    del old["published_at"]
    for name, key in sources(store, b"model").items():
        store.put(f"{version_key(MODEL, old['version'])}/{name}", store.read(key))
    store.put(f"{version_key(MODEL, old['version'])}/{MANIFEST}", json.dumps(old).encode())
    assert opened(store).verify(old["version"]).published_at == ""


def test_a_manifest_of_this_schema_and_its_signature_stay_readable(store: FolderStore) -> None:
    data = (GOLDEN / "manifest-signed.json").read_bytes()
    kept = parse(data, Release, "golden")
    where = version_key(kept.model, kept.version)
    store.put(f"{where}/manifest.json", data)
    store.put(f"{where}/manifest.json.sig", (GOLDEN / "manifest-signed.json.sig").read_bytes())
    keys = SigningKeys(public=str(GOLDEN / "public.pem"))
    assert opened(store, keys, name=kept.model).release(kept.version) == kept
    with pytest.raises(BadInput, match=r"is damaged: metrics\.json is missing; model\.keras"):
        opened(store, keys, name=kept.model).verify(kept.version)  # and no word of the manifest
