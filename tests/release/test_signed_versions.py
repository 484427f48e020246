"""Signatures of versions: what is signed is used, and nothing else where a public key is set."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import key_pairs
import pytest
from model_signing.signing import Config
from released import (
    MODEL,
    champion_of,
    named,
    opened,
    promote,
    registry,
    release,
    releases,
    vouch_for,
)

from skin_pipeline import cli, steps
from skin_pipeline.config import Deployment
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.job import Job
from skin_pipeline.model_file import trial
from skin_pipeline.provenance import SigningKeys, signing
from skin_pipeline.release import MANIFEST, MODEL_FILE, predict, version_key
from skin_pipeline.storage import FolderStore, Store

if TYPE_CHECKING:
    from tests.conftest import Finished

PLANTED = "planted-5f0c"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SigningKeys:
    return key_pairs.write(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> SigningKeys:
    return key_pairs.write(tmp_path_factory.mktemp("keys"), "theirs")


def signature_of(version: str) -> str:
    return f"{version_key(MODEL, version)}/{signing.SIGNATURE}"


def replace(store: Store, key: str, data: bytes) -> None:
    store.remove(key)
    store.put(key, data)


# --- signing --------------------------------------------------------------------------------------


def test_a_signed_version_passes_with_the_public_key_and_without(
    any_store: Store, keys: SigningKeys
) -> None:
    made = release(any_store)
    assert not opened(any_store).is_signed(made.version)
    assert opened(any_store, keys).sign(made.version)
    assert opened(any_store).is_signed(made.version)
    for asked in (SigningKeys(), SigningKeys(public=keys.public), keys):
        assert opened(any_store, asked).verify(made.version).version == made.version
    assert opened(any_store, keys).promote(made.version, by="test", reason="r")
    assert opened(any_store, keys).verify_alias().version == made.version


def test_signing_again_changes_nothing(store: FolderStore, keys: SigningKeys) -> None:
    made = release(store)
    opened(store, keys).sign(made.version)
    before = store.read(signature_of(made.version))
    assert not opened(store, keys).sign(made.version)
    assert store.read(signature_of(made.version)) == before


@pytest.mark.parametrize("there", ["theirs", "nonsense"])
def test_a_signature_that_is_not_ours_is_never_overwritten(
    store: FolderStore, keys: SigningKeys, theirs: SigningKeys, there: Any
) -> None:
    made = release(store)
    if there == "theirs":
        opened(store, theirs).sign(made.version)
    else:
        store.put(signature_of(made.version), b"nonsense")
    before = store.read(signature_of(made.version))
    with pytest.raises(BadInput, match=r"has a signature already, which is not ours.*remove "):
        opened(store, keys).sign(made.version)
    assert store.read(signature_of(made.version)) == before


def test_the_standard_command_verifies_the_files_of_a_version(
    store: FolderStore, keys: SigningKeys
) -> None:
    made = release(store)
    opened(store, keys).sign(made.version)
    folder = Path(store.link(version_key(MODEL, made.version)))
    command = [sys.executable, "-m", "model_signing", "verify", "key", "manifest.json"]
    command += ["--signature", "manifest.json.sig", "--public_key", keys.public]

    def verified() -> int:
        return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode

    assert verified() == 0
    (folder / "manifest.json").write_bytes(b"{}")
    assert verified() != 0


def test_pruning_removes_the_signature_too(store: FolderStore, keys: SigningKeys) -> None:
    (version,) = releases(store, 1)
    opened(store, keys).sign(version)
    assert opened(store).prune(0, dry_run=False) == [version]
    assert store.list(version_key(MODEL, version)) == []


def test_the_signature_of_a_version_that_was_pruned_by_half_gives_way_to_a_new_one(
    store: FolderStore, keys: SigningKeys
) -> None:
    made = release(store)
    opened(store, keys).sign(made.version)
    store.remove(f"{version_key(MODEL, made.version)}/{MANIFEST}")
    assert release(store).version == made.version  # with another time of publication
    assert opened(store, keys).sign(made.version)
    opened(store, keys).verify(made.version)


# --- what is refused ------------------------------------------------------------------------------


def beside(store: Store, version: str, keys: SigningKeys) -> Any:
    """Load a version's model from its folder."""
    folder = Path(store.link(version_key(MODEL, version)))
    return predict.beside(folder / MODEL_FILE, keys)


USES = {
    "verify": lambda store, version, keys: opened(store, keys).verify(version),
    "alias": lambda store, version, keys: opened(store, keys).verify_alias("canary"),
    "promote": lambda store, version, keys: opened(store, keys).promote(
        version, by="test", reason="r"
    ),
    "rollback": lambda store, version, keys: opened(store, keys).rollback(
        version, by="test", reason="r"
    ),
    "resolve": lambda store, version, keys: predict.resolve(opened(store, keys), version),
    "beside": beside,
}


@pytest.fixture
def second(store: Store) -> str:
    """A version that the canary names, beside another one that is the champion; none is signed."""
    first, second = releases(store, 2)
    promote(store, first)
    promote(store, second, alias="canary")
    return second


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_is_not_signed_by_the_trusted_key_is_refused_and_moves_nothing(
    store: FolderStore, second: str, keys: SigningKeys, theirs: SigningKeys, use: Any
) -> None:
    before = named(store)
    with pytest.raises(BadInput, match=r"is not signed, but SKIN_PUBLIC_KEY is set\..*models sign"):
        use(store, second, keys)
    for version in opened(store).versions():
        opened(store, theirs).sign(version)
    for alias in ("champion", "canary"):
        opened(store, theirs).sign_history(alias, "test")
    with pytest.raises(BadInput, match="it is by another key"):
        use(store, second, keys)
    assert named(store) == before
    use(store, second, theirs)


def of_other_bytes(manifest: bytes, keys: SigningKeys, folder: Path) -> bytes:
    return signing.sign(manifest + b" ", keys)


def of_another_file(manifest: bytes, keys: SigningKeys, folder: Path) -> bytes:
    other = folder / "other.json"
    other.write_bytes(manifest)
    Config().use_elliptic_key_signer(private_key=keys.private).sign(other, folder / "sig")
    return (folder / "sig").read_bytes()


def changed(change: Any) -> Any:
    """A right signature in which one thing is not."""

    def make(manifest: bytes, keys: SigningKeys, folder: Path) -> bytes:
        bundle = json.loads(signing.sign(manifest, keys))
        change(bundle)
        return json.dumps(bundle).encode()

    return make


def forge(bundle: Any) -> None:
    said = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(said.replace(b"false", b"true")).decode()


DAMAGED = "manifest.json.sig is damaged or forged"
WRONG = {
    "of another version": (of_other_bytes, "manifest.json is not what was signed"),
    "of another file": (of_another_file, "it is that of a file 'other.json'"),
    "empty": (lambda *_: b"", DAMAGED),
    "no text": (lambda *_: b"\xff\x00", DAMAGED),
    "no bundle": (lambda *_: b"[]", DAMAGED),
    "cut short": (lambda manifest, keys, _: signing.sign(manifest, keys)[:-9], DAMAGED),
    "huge": (lambda *_: b" " * 10**7, "has 10000000 bytes; 65536 are allowed"),
    "nested": (lambda *_: b"[" * 60_000, DAMAGED),
    "forged": (changed(forge), DAMAGED),
    "without signatures": (changed(lambda b: b["dsseEnvelope"].update(signatures=[])), DAMAGED),
    "by no key": (changed(lambda b: b["verificationMaterial"]["publicKey"].clear()), DAMAGED),
    "for another version of sigstore": (changed(lambda b: b.update(mediaType="x")), DAMAGED),
}


@pytest.mark.parametrize(("make", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_signature_is_refused_with_what_is_wrong(
    store: FolderStore,
    second: str,
    keys: SigningKeys,
    make: Any,
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    manifest = store.read(f"{version_key(MODEL, second)}/{MANIFEST}")
    store.put(signature_of(second), make(manifest, keys, tmp_path))
    for use in (USES["verify"], USES["beside"]):
        with pytest.raises(BadInput) as error:
            use(store, second, keys)
        assert said in str(error.value)
        assert "use another version" in str(error.value)
    opened(store).verify(second)  # nobody asks for a signature
    assert capfd.readouterr().out == ""  # where the scores of `predict` go


def test_a_signed_manifest_speaks_for_its_own_bytes_only(
    store: FolderStore, keys: SigningKeys
) -> None:
    made = release(store)
    opened(store, keys).sign(made.version)
    key = f"{version_key(MODEL, made.version)}/{MANIFEST}"
    replace(store, key, store.read(key).replace(b'"threshold": 0.4', b'"threshold": 0.9'))
    for use in (USES["resolve"], USES["beside"]):
        with pytest.raises(BadInput, match=r"manifest\.json is not what was signed"):
            use(store, made.version, keys)


def test_a_signed_version_under_the_name_of_another_is_refused(
    store: FolderStore, keys: SigningKeys
) -> None:
    first, second = releases(store, 2)
    opened(store, keys).sign(first)
    for key in store.list(version_key(MODEL, first)):
        replace(store, key.replace(first, second), store.read(key))
    for use in (USES["resolve"], USES["verify"]):
        with pytest.raises(BadInput, match=f"that of .*version {first}"):
            use(store, second, keys)


def test_without_a_signing_key_nothing_is_signed(store: FolderStore) -> None:
    made = release(store)
    with pytest.raises(BadInput, match=r"\(SKIN_SIGNING_KEY\) is not set"):
        opened(store, SigningKeys()).sign(made.version)


# --- promotion ------------------------------------------------------------------------------------


class Cut:
    """A store that fails when the signature is to be written."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, key: str, data: bytes) -> bool:
        if key.endswith(signing.SIGNATURE):
            raise Unavailable("the disk is gone")
        return bool(self._store.put(key, data))


@pytest.fixture
def judged(finished: Finished, tmp_path: Path) -> Any:
    """Makes jobs with keys, on a store with an approved verdict and no model."""
    store = FolderStore(tmp_path / "store")
    shutil.copytree(finished.root, store.root)
    shutil.rmtree(store.root / "models")

    def make(keys: SigningKeys) -> Job:
        deployment = Deployment(
            store=store.url,
            signing_key=keys.private,
            signing_password=keys.password,
            public_key=keys.public,
        )
        job: Job = dataclasses.replace(finished.job, store=store, deployment=deployment)
        if keys.private:  # as if the steps had had the key
            alone = deployment.model_copy(update={"public_key": ""})
            vouch_for(dataclasses.replace(job, deployment=alone), finished.verdict)
        return job

    return make


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is taken for one that was tried: it takes long, and is the same in each test."""
    monkeypatch.setattr(trial, "agree", lambda *_, **__: None)


def test_a_promoted_version_is_signed_and_can_be_loaded(
    finished: Finished, judged: Any, tmp_path: Path
) -> None:
    keys = key_pairs.write(tmp_path, "shut", password=PLANTED)
    job = judged(keys)
    key = steps.promote(job, finished.verdict)
    model, version = key.split("/")[1], key.split("/")[-1]
    assert predict.resolve(opened(job.store, keys, name=model)).release.version == version
    assert steps.promote(job, finished.verdict) == key  # it is the champion already
    job.store.remove(f"{key}/{signing.SIGNATURE}")
    with pytest.raises(BadInput, match="is not signed"):
        steps.promote(job, finished.verdict)


@pytest.mark.usefixtures("tried")
def test_a_promotion_that_was_stopped_before_it_signed_signs_when_repeated(
    finished: Finished, judged: Any, keys: SigningKeys
) -> None:
    job = judged(keys)
    with pytest.raises(Unavailable):
        steps.promote(dataclasses.replace(job, store=Cut(job.store)), finished.verdict)
    (model,) = registry(job.store).models()
    (version,) = opened(job.store, name=model).versions()
    assert opened(job.store, name=model).champion is None
    steps.promote(job, finished.verdict)
    assert opened(job.store, keys, name=model).verify_alias().version == version


def test_keys_that_are_no_pair_publish_nothing(
    finished: Finished, judged: Any, keys: SigningKeys, theirs: SigningKeys
) -> None:
    job = judged(SigningKeys(keys.private, theirs.public))
    with pytest.raises(BadInput, match="is not the public half"):
        steps.promote(job, finished.verdict)
    assert registry(job.store).models() == []


@pytest.mark.usefixtures("tried")
def test_a_version_may_be_signed_by_hand_before_it_is_promoted(
    finished: Finished, judged: Any, keys: SigningKeys
) -> None:
    job = judged(SigningKeys(public=keys.public))
    with pytest.raises(BadInput, match="is not signed"):
        steps.promote(job, finished.verdict)
    (model,) = registry(job.store).models()
    (version,) = opened(job.store, name=model).versions()
    opened(job.store, keys, name=model).sign(version)
    with pytest.raises(BadInput, match="but SKIN_SIGNING_KEY is not; nothing was moved"):
        steps.promote(job, finished.verdict)
    opened(job.store, keys, name=model).promote(version, by="a person", reason="looked at")
    assert steps.promote(job, finished.verdict).endswith(version)


# --- command line ---------------------------------------------------------------------------------


@pytest.fixture
def models(models: Any, keys: SigningKeys, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `models …` with both keys; its exit status, and what it said."""
    monkeypatch.setenv("SKIN_SIGNING_KEY", keys.private)
    monkeypatch.setenv("SKIN_PUBLIC_KEY", keys.public)
    return models


def test_a_version_is_signed_on_the_command_line_once(
    store: FolderStore, models: Any, second: str
) -> None:
    assert models("sign", MODEL, second) == (0, f"Version {second} of {MODEL} is signed.\n")
    before = store.read(signature_of(second))
    assert models("sign", MODEL, second) == (0, f"Version {second} of {MODEL} is signed already.\n")
    assert store.read(signature_of(second)) == before


def test_a_damaged_version_is_not_signed(store: FolderStore, models: Any, second: str) -> None:
    store.remove(f"{version_key(MODEL, second)}/metrics.json")
    status, said = models("sign", MODEL, second)
    assert (status, "metrics.json is missing" in said) == (1, True)
    assert not opened(store).is_signed(second)


def test_verifying_says_whether_a_version_is_signed(
    store: FolderStore, models: Any, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is not signed" in models("verify", MODEL, second)[1]
    models("sign", MODEL, second)
    models("sign", MODEL, champion_of(store).version)
    models("sign", MODEL)
    for name in (second, "canary"):
        status, said = models("verify", MODEL, name)
        assert (status, "signed with the trusted key" in said) == (0, True)
    monkeypatch.delenv("SKIN_PUBLIC_KEY")
    said = models("verify", MODEL, second)[1]
    assert "signed, but SKIN_PUBLIC_KEY names no key" in said


def test_aliases_move_to_signed_versions_only(store: FolderStore, models: Any, second: str) -> None:
    moves = (
        ["alias", MODEL, "champion", second, "--reason", "r"],
        ["rollback", MODEL, second, "--reason", "r"],
    )
    for move in moves:
        status, said = models(*move)
        assert (status, "is not signed" in said) == (1, True)
    assert named(store) != second
    for version in opened(store).versions():
        models("sign", MODEL, version)
    for move in moves:
        status, said = models(*move)
        assert (status, f"models sign {MODEL}" in said) == (1, True)
    assert named(store) != second
    models("sign", MODEL)
    for move in moves:
        assert models(*move)[0] == 0
    assert named(store) == second


def test_a_rollback_on_the_command_line_is_signed(
    store: FolderStore, models: Any, keys: SigningKeys
) -> None:
    ours = opened(store, keys)
    first, second = releases(store, 2)
    for version in (first, second):
        ours.sign(version)
        ours.promote(version, by="test", reason="r")
    assert models("rollback", MODEL, "previous", "--reason", "r")[0] == 0
    assert ours.verify_alias().version == first


def test_what_is_predicted_with_must_be_signed(
    store: FolderStore,
    second: str,
    keys: SigningKeys,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SKIN_STORE", store.url)
    monkeypatch.setenv("SKIN_PUBLIC_KEY", keys.public)
    folder = Path(store.link(version_key(MODEL, second)))
    for model in (second, str(folder / MODEL_FILE)):
        command = ["predict", str(tmp_path), "--model", model, "--model-name", MODEL]
        assert cli.main(command) == 1
        assert "is not signed, but SKIN_PUBLIC_KEY is set" in capsys.readouterr().err
