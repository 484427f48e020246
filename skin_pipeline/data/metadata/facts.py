"""Finds one value of each kind for each image, out of all that the tables say.

Ids are links: images with the same id belong together. If an image has several ids, they are all
treated as one id. Of several ages or sites the first is used, and a notice names the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from skin_pipeline.contracts import Notice
from skin_pipeline.data.metadata.sheets import Fact, Sheet, notice
from skin_pipeline.data.metadata.values import (
    UNKNOWN,
    is_no_id,
    listed,
    plain_value,
    short,
    without_fraction,
)
from skin_pipeline.data.sources.found import Found


def first_values(
    kind: str, sheets: Sequence[Sheet], files: Sequence[Found]
) -> tuple[dict[int, str], list[Notice]]:
    """Returns the first value that the tables give each image, and a notice of further ones."""
    found: dict[int, Fact] = {}
    differ: dict[int, str] = {}
    for sheet in sheets:
        for image, fact in sheet.facts(kind):
            if plain_value(fact.value) in UNKNOWN:
                continue
            earlier = found.setdefault(image, fact)
            if plain_value(earlier.value) != plain_value(fact.value):
                differ.setdefault(image, f"{files[image].key} is {earlier} and {fact}")
    values = {image: fact.value for image, fact in found.items()}
    if not differ:
        return values, []
    examples = listed(list(differ.values()), 3)
    reason = f"differs between tables or rows, the first is used: {examples}"
    return values, [notice("values_differ", kind, reason, len(differ))]


def linked_ids(
    kind: str, sheets: Sequence[Sheet], files: Sequence[Found]
) -> tuple[dict[int, str], list[Notice]]:
    """Returns one id for each image. Two ids that some image has both of are treated as one."""
    ids: dict[int, dict[str, str]] = defaultdict(dict)  # by image: plain form and as written
    missing: dict[str, set[int]] = defaultdict(set)
    for sheet in sheets:
        for image, fact in sheet.facts(kind):
            if is_no_id(fact.value):
                missing[fact.value].add(image)
            else:
                ids[image].setdefault(plain_value(fact.value), without_fraction(fact.value))
    names = _clusters(ids.values())
    values = {image: names[next(iter(known))] for image, known in ids.items()}
    notices = [
        notice("id_missing", f"{kind} {value}", "read as missing: it means no id", len(images))
        for value, images in sorted(missing.items())
    ]
    several = [
        f"{files[image].key} has {' and '.join(map(short, known.values()))}"
        for image, known in sorted(ids.items())
        if len(known) > 1
    ]
    if several:
        reason = f"several of one image, kept together as one: {listed(several, 3)}"
        notices.append(notice("ids_linked", kind, reason, len(several)))
    return values, notices


def _clusters(ids: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Returns the name of each id's cluster. Ids of the same image are in the same cluster.

    The name is the first id in alphabetical order, so that it does not depend on the order of rows.
    """
    parent: dict[str, str] = {}
    written: dict[str, str] = {}

    def root(word: str) -> str:
        while parent[word] != word:
            # Each search halves the way to the root, so that later ones are short.
            parent[word] = parent[parent[word]]
            word = parent[word]
        return word

    for known in ids:
        words = list(known)
        for word in words:
            parent.setdefault(word, word)
            written[word] = min(written.get(word, known[word]), known[word])
            one, other = sorted((root(words[0]), root(word)))
            parent[other] = one
    return {word: written[root(word)] for word in parent}
