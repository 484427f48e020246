from __future__ import annotations

import threading
from datetime import datetime, timezone

import pytest

from skin_pipeline.contracts import Dataset, Interval, Judgement, Pointer
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.release import registry

DATASET = Dataset(
    source="here",
    synthetic=False,
    content_digest="d",
    table="t",
    shards=(),
    thumbnails=(),
    golden={},
    image_size=224,
    field_of_view=0.8,
    classes={},
    unreadable=0,
)


@pytest.fixture(params=["folder", "s3"])
def any_store(request, store):
    return store if request.param == "folder" else request.getfixturevalue("s3_store")


def release(store, content=b"model", model="skin"):
    key = f"evaluate/{content.hex()}/model.keras"
    store.put(key, content)
    sources = {"model.keras": key}
    made = registry.describe(
        store, model, sources, verdict="gate/1", threshold=0.4, dataset=DATASET
    )
    registry.publish(store, made, sources)
    return made


def promote(store, made):
    registry.promote(store, made, by="test", reason="passed the gate")


def test_a_promoted_version_is_whole_and_the_champion(any_store):
    made = release(any_store)
    promote(any_store, made)
    assert registry.champion(any_store, "skin").version == made.version
    assert registry.release_of(any_store, "skin", made.version) == made
    key = f"{registry.version_key('skin', made.version)}/model.keras"
    assert any_store.read(key) == b"model"


def test_the_same_files_are_the_same_version(any_store):
    assert release(any_store) == release(any_store)
    assert release(any_store).version != release(any_store, b"other").version


def test_promoting_again_moves_nothing(any_store):
    made = release(any_store)
    promote(any_store, made)
    before = registry.champion(any_store, "skin")
    promote(any_store, made)
    assert registry.champion(any_store, "skin") == before


def test_the_pointer_remembers_the_version_before(any_store):
    first, second = release(any_store), release(any_store, b"second")
    promote(any_store, first)
    promote(any_store, second)
    assert registry.champion(any_store, "skin").previous == first.version


def test_a_pointer_never_names_a_version_that_is_not_there(store):
    pointer = Pointer(
        model="skin", version="none", previous=None, moved_at="now", by="t", reason="r"
    )
    with pytest.raises(BadInput, match="no version none; nothing was moved"):
        registry.point(store, pointer, None)
    assert registry.champion(store, "skin") is None


def test_of_promoters_at_once_each_pointer_state_names_a_whole_version(any_store):
    versions = [release(any_store, bytes([i])) for i in range(6)]
    threads = [threading.Thread(target=promote, args=(any_store, made)) for made in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    champion = registry.champion(any_store, "skin")
    assert champion.version in {made.version for made in versions}
    assert champion.previous in {made.version for made in versions} - {champion.version}


def test_bytes_that_do_not_read_back_are_not_published(store):
    store.put("evaluate/1/model.keras", b"model")
    sources = {"model.keras": "evaluate/1/model.keras"}
    made = registry.describe(
        store, "skin", sources, verdict="gate/1", threshold=0.4, dataset=DATASET
    )
    store.put(f"{registry.version_key('skin', made.version)}/model.keras", b"half")
    with pytest.raises(Unavailable, match="does not read back as written"):
        registry.publish(store, made, sources)
    assert not store.exists(f"{registry.version_key('skin', made.version)}/manifest.json")


def judgement(minute, model="skin"):
    nothing = Interval(value=0.8, low=0.7, high=0.9)
    moment = datetime(2026, 1, 1, 12, minute, tzinfo=timezone.utc)
    return Judgement(
        model=model,
        run=f"run {minute}",
        judged_at=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        approved=False,
        version=None,
        reasons=("accuracy",),
        accuracy=nothing,
        sensitivity=nothing,
        auc=nothing,
        report="gate/1/report.html",
    )


def test_judged_runs_come_newest_first_and_each_once(any_store):
    for minute in (5, 1, 9, 1):
        registry.record(any_store, judgement(minute), "gate/abc")
    assert [item.run for item in registry.judgements(any_store, "skin")] == [
        "run 9",
        "run 5",
        "run 1",
    ]
    assert len(registry.judgements(any_store, "skin", last=2)) == 2


def test_models_are_those_that_were_judged_or_promoted(any_store):
    assert registry.models(any_store) == []
    registry.record(any_store, judgement(1, "refused-one"), "gate/abc")
    promote(any_store, release(any_store))
    assert registry.models(any_store) == ["refused-one", "skin"]
