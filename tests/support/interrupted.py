"""A promotion that something comes in the way of, and what must hold whatever it was."""

from __future__ import annotations

from dataclasses import dataclass

from released import MODEL, described, moves, opened, sources

from skin_pipeline.contracts import Release
from skin_pipeline.release import version_key
from skin_pipeline.storage import Store, digest


@dataclass(frozen=True)
class Promotion:
    """A version that is about to be published and to become the champion."""

    made: Release
    sources: dict[str, str]
    history: list[str]  # what the champion was so far, newest first
    versions: set[str]  # all that there are so far

    def run(self, store: Store) -> None:
        model = opened(store, name=self.made.model)
        model.publish(self.made, self.sources)
        assert model.promote(self.made.version, by="run", reason="passed the gate")


def prepared(store: Store, content: bytes, model: str = MODEL) -> Promotion:
    """A promotion of a new version, whose files lie where the steps leave them."""
    made = described(store, content, model)
    return Promotion(
        made,
        sources(store, content),
        history(store, model),
        set(opened(store, name=model).versions()),
    )


def history(store: Store, model: str) -> list[str]:
    return [move.version for move in moves(store, model=model)]


def assert_harmless(store: Store, promotion: Promotion) -> None:
    """Whatever came in between, all is sound, and the same promotion succeeds undisturbed.

    Both times together make one version and move the alias once.

    Args:
        store: The store, opened afresh and in good order.
        promotion: What was tried.
    """
    assert_sound(store, promotion)
    promotion.run(store)
    assert assert_sound(store, promotion) == promotion.made.version


def assert_sound(store: Store, promotion: Promotion) -> str:
    """The promotion was done or not, and all that can be seen is whole; the champion."""
    model, new = promotion.made.model, promotion.made.version
    champion = opened(store, name=model).verify_alias().version
    assert history(store, model) == [new] * (champion == new) + promotion.history
    seen = set(opened(store, name=model).versions())
    assert seen - {new} == promotion.versions
    for version in seen - {champion}:
        opened(store, name=model).verify(version)
    if new not in seen:
        _assert_whole(store, promotion.made)
    return champion


def _assert_whole(store: Store, made: Release) -> None:
    """What there is of a version that is not published yet is as it should be."""
    place = version_key(made.model, made.version)
    for key in store.list(place):
        assert digest(store.read(key)) == made.files[key.removeprefix(f"{place}/")]
