"""Nothing acts on what the keys do not trust, and no key can be left out by mistake."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import key_pairs
import pytest
from released import MODEL, opened, promote, releases

from skin_pipeline import release
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Model, Registry, Rollback, Unverified, predict
from skin_pipeline.release.pointers import Alias
from skin_pipeline.release.pruning import Pruning
from skin_pipeline.release.versions import Version
from skin_pipeline.storage import FolderStore

UNSIGNED = "is not signed, but SKIN_PUBLIC_KEY is set"
WHY = {"by": "test", "reason": "r"}
Act = Callable[[Model, list[str]], object]

# `versions` are two: the second is the champion, and was the first before.
ON_POINTERS: dict[str, Act] = {
    "champion": lambda model, versions: model.champion,
    "pointer": lambda model, versions: model.pointer("champion"),
    "verify_alias": lambda model, versions: model.verify_alias(),
    "accept_older": lambda model, versions: model.accept_older(["champion"], **WHY),
    "move": lambda model, versions: model.move(versions[0], **WHY),
    "promote": lambda model, versions: model.promote(versions[0], **WHY),
    "plan_rollback": lambda model, versions: model.plan_rollback("previous"),
    "carry_out": lambda model, versions: model.carry_out(Rollback(*versions), **WHY),
    "rollback": lambda model, versions: model.rollback("previous", **WHY),
    "prune": lambda model, versions: model.prune(0),
    "rolled_back": lambda model, versions: list(model.rolled_back()),
    "check_by_hand": lambda model, versions: model.check_by_hand(versions[0]),
    "named_before": lambda model, versions: model.named_before(),
    "predict": lambda model, versions: predict.resolve(model),
}
ON_VERSIONS: dict[str, Act] = {
    "release": lambda model, versions: model.release(versions[0]),
    "verify": lambda model, versions: model.verify(versions[0]),
    "verify_alias": lambda model, versions: model.verify_alias(),
    "promote": lambda model, versions: model.promote(versions[0], **WHY),
    "plan_rollback": lambda model, versions: model.plan_rollback(versions[0]),
    "rollback": lambda model, versions: model.rollback(versions[0], **WHY),
    "sign_history": lambda model, versions: model.sign_history("canary", "test"),
    "predict": lambda model, versions: predict.resolve(model, versions[0]),
}
# The other methods of a model, and why they need no signature.
NEED_NONE = {
    "unverified": "it is for looking, and says so",
    "aliases": "names only",
    "versions": "names only",
    "version_key": "a key only",
    "is_signed": "the answer is that there is none",
    "signatures": "the answer is what they are worth",
    "sign": "it makes the signature, after judging again",
    "describe": "the version is not there yet",
    "publish": "the version is not there yet",
    "judgements": "they are shown, and nothing is decided by them",
    "judgement": "it is shown, and nothing is decided by it",
    "judged_keys": "names only",
    "record": "a judgement is added",
    "approvals": "they have the keys of the model, and test_approvals shows that they check",
}


@pytest.fixture
def keys(tmp_path: Path) -> SigningKeys:
    return replace(key_pairs.write(tmp_path, "ours"), state=str(tmp_path / "state"))


@pytest.fixture
def versions(store: FolderStore) -> list[str]:
    """Two unsigned versions; the champion is the second, by moves that are not signed."""
    made = releases(store, 2)
    for version in made:
        promote(store, version)
    return made


def refused(store: FolderStore, act: Act, keys: SigningKeys, versions: list[str]) -> None:
    before = {key: store.read(key) for key in store.list("")}
    with pytest.raises(BadInput, match=UNSIGNED):
        act(opened(store, keys), versions)
    assert {key: store.read(key) for key in store.list("")} == before


@pytest.mark.parametrize("name", ON_POINTERS)
def test_no_act_takes_an_unsigned_pointer_where_a_public_key_is_set(
    store: FolderStore, keys: SigningKeys, versions: list[str], name: str
) -> None:
    for version in versions:
        opened(store, keys).sign(version)
    refused(store, ON_POINTERS[name], keys, versions)


@pytest.mark.parametrize("name", ON_VERSIONS)
def test_no_act_takes_an_unsigned_version_where_a_public_key_is_set(
    store: FolderStore, keys: SigningKeys, versions: list[str], name: str
) -> None:
    signing = opened(store, replace(keys, public=""))  # who signs, and asks for no signature
    signing.sign_history("champion", "test")
    assert opened(store, keys).pointer("champion")
    promote(store, versions[1], alias="canary")
    refused(store, ON_VERSIONS[name], keys, versions)


def test_each_method_of_a_model_asks_for_signatures_or_has_a_reason() -> None:
    methods = {name for name in vars(Model) if not name.startswith("_")}
    methods -= set(Model.__dataclass_fields__)
    assert methods == {*ON_POINTERS, *ON_VERSIONS, *NEED_NONE} - {"predict"}


def test_what_is_unverified_can_only_be_looked_at() -> None:
    assert {name for name in vars(Unverified) if not name.startswith("_")} == {
        *("pointer", "pointers", "pointing", "documents", "release", "resolve", "move_keys"),
    }


WITHOUT_KEYS: dict[str, Callable[[FolderStore], object]] = {
    "registry": lambda store: Registry(store),  # type: ignore[call-arg]
    "registry of a deployment": lambda store: Registry.of(store),  # type: ignore[call-arg]
    "model": lambda store: Model(store, MODEL),  # type: ignore[call-arg]
    "alias": lambda store: Alias(store, MODEL, "champion"),  # type: ignore[call-arg]
    "version": lambda store: Version(store, MODEL, "4f1a"),  # type: ignore[call-arg]
    "pruning": lambda store: Pruning(store, MODEL),  # type: ignore[call-arg]
    "file": lambda store: predict.beside(store.root),  # type: ignore[call-arg]
}


@pytest.mark.parametrize("make", WITHOUT_KEYS.values(), ids=WITHOUT_KEYS)
def test_without_keys_nothing_is_opened(
    store: FolderStore, make: Callable[[FolderStore], object]
) -> None:
    with pytest.raises(TypeError, match=r"keys|deployment"):
        make(store)


def _functions(module: Any) -> Iterator[Callable[..., object]]:
    for item in vars(module).values():
        if getattr(item, "__module__", "") == module.__name__ and callable(item):
            yield item
            yield from filter(
                inspect.isfunction, vars(item).values() if isinstance(item, type) else ()
            )


def test_no_function_of_the_room_has_a_default_for_keys() -> None:
    for found in pkgutil.iter_modules(release.__path__, f"{release.__name__}."):
        for function in _functions(importlib.import_module(found.name)):
            keys = inspect.signature(function).parameters.get("keys")
            assert keys is None or keys.default is keys.empty, function
