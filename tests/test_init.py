"""The examples in the package's map are run."""

from __future__ import annotations

import doctest

import released

import skin_pipeline
from skin_pipeline.storage import Store


def test_the_examples_in_the_map_are_true(store: Store) -> None:
    for version in released.releases(store, 2):
        assert released.promote(store, version)
    finder = doctest.DocTestFinder(recurse=False)
    (test,) = finder.find(skin_pipeline, "skin_pipeline", extraglobs={"store": store})
    said: list[str] = []
    options = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    ran = doctest.DocTestRunner(optionflags=options).run(test, out=said.append)
    assert not ran.failed, "".join(said)
    assert ran.attempted > 5
