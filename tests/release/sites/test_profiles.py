"""Documents of profiles: whole, numbered, signed, and refused when somebody changed them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import key_pairs
import pytest
from profiled_sites import profile
from released import MODEL, in_threads, release

from skin_pipeline.contracts import SiteProfile, dump
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import version_key
from skin_pipeline.release.sites import Profiles, log_threshold, named_sites
from skin_pipeline.release.versions import Version
from skin_pipeline.storage import FolderStore

SITE = "clinic-b"
FIRST = f"models/{MODEL}/sites/4f1a/{SITE}/000001.json"
SECOND = FIRST.replace("1.json", "2.json")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def keys(tmp_path: Path) -> SigningKeys:
    return key_pairs.write(tmp_path, "ours")


def opened(store: FolderStore, keys: SigningKeys | None = None, version: str = "4f1a") -> Profiles:
    return Profiles(store, MODEL, version, keys or SigningKeys())


def changed(store: FolderStore, key: str, **fields: Any) -> None:
    """Change fields of a document, as somebody can who may write to the store."""
    document = {**json.loads(store.read(key)), **fields}
    store.remove(key)
    store.put(key, json.dumps(document).encode())


# --- writing --------------------------------------------------------------------------------------


def test_a_profile_is_read_as_it_was_written(store: FolderStore) -> None:
    made = opened(store).add(profile())
    assert opened(store).newest(SITE) == made == profile()
    assert store.list(f"models/{MODEL}/sites") == [FIRST]


def test_a_new_profile_of_a_site_keeps_the_one_before(store: FolderStore) -> None:
    known = opened(store)
    known.add(profile())
    known.add(profile(threshold=0.3))
    known.add(profile("clinic-c"))
    assert known.sites() == [SITE, "clinic-c"]
    assert known.newest(SITE) == known.read(SITE, 2)
    newest, before = known.history(SITE)
    assert (newest.number, before.number) == (2, 1)
    assert before == profile()
    assert opened(store, version="77c0").sites() == []


def test_the_same_profile_again_is_no_new_one(store: FolderStore) -> None:
    """A task that is tried again after it had written."""
    known = opened(store)
    known.add(profile())
    assert known.add(profile(made_at="2027-01-01T00:00:00+00:00", by="bob")) == profile()
    assert store.list(f"models/{MODEL}/sites") == [FIRST]


def test_two_at_once_get_two_numbers(store: FolderStore) -> None:
    thresholds = [0.1, 0.2, 0.3, 0.4]
    in_threads(lambda value: opened(store).add(profile(threshold=value)), thresholds)
    found = list(opened(store).history(SITE))
    assert [item.number for item in found] == [4, 3, 2, 1]
    assert sorted(item.threshold for item in found) == thresholds


def test_a_profile_changes_nothing_of_its_version(store: FolderStore) -> None:
    made = release(store)
    version = Version(store, MODEL, made.version, SigningKeys())
    before = {key: store.read(key) for key in store.list(version_key(MODEL, made.version))}
    opened(store, version=made.version).add(profile(version=made.version))
    assert {key: store.read(key) for key in store.list(version_key(MODEL, made.version))} == before
    version.verify()
    assert named_sites(store, MODEL) == {made.version: [SITE]}


# --- using ----------------------------------------------------------------------------------------


def test_an_unknown_site_lists_the_known_ones_and_says_how_to_make_one(store: FolderStore) -> None:
    opened(store).add(profile())
    with pytest.raises(BadInput, match=r"Sites with one: clinic-b\. Make one: .* site make"):
        opened(store).newest("clinic-z")
    with pytest.raises(BadInput, match="Sites with one: none"):
        opened(store, version="77c0").newest(SITE)


@pytest.mark.parametrize("site", ["", "../x", "Clinic", "a/b", "a" * 50, "-a", "a\n"])
def test_a_name_that_is_none_is_refused(store: FolderStore, site: str) -> None:
    with pytest.raises(BadInput, match="a site is a name of lower-case letters"):
        opened(store).newest(site)


def test_a_profile_of_another_model_file_is_refused(store: FolderStore) -> None:
    known = opened(store)
    known.add(profile())
    assert known.in_use(SITE, "ab" * 32) == profile()
    with pytest.raises(BadInput, match=r"was made with another model\.keras"):
        known.in_use(SITE, "12" * 32)


@pytest.mark.parametrize(
    "fields", [{"site": "clinic-c"}, {"version": "77c0"}, {"model": "other"}, {"number": 7}]
)
def test_a_profile_in_the_place_of_another_is_refused(
    store: FolderStore, fields: dict[str, Any]
) -> None:
    opened(store).add(profile())
    changed(store, FIRST, **fields)
    with pytest.raises(BadInput, match="is not what it says"):
        opened(store).newest(SITE)


@pytest.mark.parametrize("fields", [{"slope": -1}, {"threshold": 2}, {"more": 1}, {"slope": "NaN"}])
def test_a_damaged_profile_is_refused_and_no_older_one_is_used(
    store: FolderStore, fields: dict[str, Any]
) -> None:
    opened(store).add(profile())
    opened(store).add(profile(threshold=0.3))
    changed(store, SECOND, **fields)
    with pytest.raises(BadInput, match="is not a SiteProfile document"):
        opened(store).newest(SITE)


def test_a_profile_that_was_changed_breaks_the_history(store: FolderStore) -> None:
    known = opened(store)
    known.add(profile())
    known.add(profile(threshold=0.3))
    changed(store, FIRST, threshold=0.9)
    with pytest.raises(BadInput, match=r"000001\.json is not what the profile after it followed"):
        list(known.history(SITE))


# --- signatures -----------------------------------------------------------------------------------


def test_a_signed_profile_is_used(store: FolderStore, keys: SigningKeys) -> None:
    made = opened(store, keys).add(profile())
    assert made.signature
    assert opened(store, keys).newest(SITE) == made
    assert opened(store).newest(SITE) == made


@pytest.mark.parametrize(
    "fields", [{"threshold": 0.9}, {"intercept": 3.0}, {"by": "bob"}, {"signature": ""}]
)
def test_a_changed_profile_is_not_used_where_signatures_are_required(
    store: FolderStore, keys: SigningKeys, fields: dict[str, Any]
) -> None:
    opened(store, keys).add(profile())
    changed(store, FIRST, **fields)
    with pytest.raises(BadInput, match=r"is not signed|the signature of profile 1"):
        opened(store, keys).newest(SITE)


def test_an_unsigned_profile_and_one_by_another_key_are_not_used(
    store: FolderStore, keys: SigningKeys, tmp_path: Path
) -> None:
    opened(store).add(profile())
    with pytest.raises(BadInput, match="is not signed, but SKIN_PUBLIC_KEY is set"):
        opened(store, keys).newest(SITE)
    with pytest.raises(BadInput, match="is not signed"):  # nor is one added on top of it
        opened(store, keys).add(profile(threshold=0.3))
    other = key_pairs.write(tmp_path, "other")
    opened(store, replace(other, public="")).add(profile("clinic-c"))
    with pytest.raises(BadInput, match="by another key"):
        opened(store, keys).newest("clinic-c")


def test_where_it_must_be_signed_and_cannot_be_nothing_is_written(
    store: FolderStore, keys: SigningKeys
) -> None:
    with pytest.raises(BadInput, match=r"nothing was written\. Set SKIN_SIGNING_KEY"):
        opened(store, replace(keys, private="")).add(profile())
    assert not store.list("models")


def test_a_signature_of_another_document_is_worth_nothing(
    store: FolderStore, keys: SigningKeys
) -> None:
    made = opened(store, keys).add(profile())
    store.remove(FIRST)
    store.put(FIRST, dump(made.model_copy(update={"threshold": 0.9})))
    with pytest.raises(BadInput, match="the signature of profile 1 of site clinic-b"):
        opened(store, keys).newest(SITE)


# --- what is said ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "level", "said"),
    [
        (None, "WARNING", "threshold_not_validated threshold=0.400000"),
        (profile(), "INFO", "threshold_of_site site=clinic-b profile=1 threshold=0.200000"),
    ],
)
def test_the_log_says_whose_threshold_is_used(
    caplog: pytest.LogCaptureFixture, used: SiteProfile | None, level: str, said: str
) -> None:
    with caplog.at_level("INFO"):
        log_threshold(0.4, used)
    (record,) = (one for one in caplog.records if one.name.startswith("skin_pipeline"))
    assert (record.levelname, record.getMessage()[: len(said)]) == (level, said)
