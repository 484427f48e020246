"""Names of strangers, and the places where their files are written."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline.data.sources.names import SafePaths, folded, leads_out, parts_of, text_of

ANY_NAME = st.text(st.characters(), min_size=1, max_size=30)


# Names of few letters meet often.
TIGHT = st.text(st.sampled_from("aA~1/\\. "), min_size=1, max_size=8)


PATHS = st.lists(ANY_NAME | TIGHT, max_size=30, unique=True)


@given(names=PATHS, most=st.integers(0, 20))
def test_every_file_gets_a_place_of_its_own_that_every_system_takes(
    names: list[str], most: int
) -> None:
    paths = SafePaths(most)
    taken = [paths.take(parts) for name in names if (parts := parts_of(name))]

    assert len({folded(place) for place in taken}) == len(taken)
    folders = {str(folder) for place in taken for folder in PurePosixPath(place).parents} - {"."}
    assert not {folded(folder) for folder in folders} & {folded(place) for place in taken}
    assert len({folded(folder) for folder in folders - {"~"}}) <= most
    for place in taken:
        for part in place.split("/"):
            assert re.fullmatch(r"[\w~]([\w .,()+=@-]*[\w,()+=@-])?", part)
            assert len(part.encode()) <= 200


@pytest.mark.parametrize("part", ["con", "NUL.jpg", "Com1.tar.jpg", "lpt9.", "aux.benign.png"])
@pytest.mark.parametrize("path", ["{}", "{}/a.jpg", "benign/{}"])
def test_names_of_devices_of_windows_are_never_written(path: str, part: str) -> None:
    assert SafePaths(9).take(parts_of(path.format(part))).startswith("~/1")


@given(name=ANY_NAME)
def test_every_name_becomes_text_that_can_be_shown_and_encoded(name: str) -> None:
    for part in parts_of(name):
        assert part.isprintable()
        assert part.encode()
        assert "/" not in part


@given(raw=st.binary(max_size=30))
def test_every_bytes_become_a_name(raw: bytes) -> None:
    text = text_of(raw)
    assert bool(text.encode()) == bool(raw)
    if text.encode() != raw:
        with pytest.raises(UnicodeDecodeError):
            raw.decode()


@given(parts=st.lists(st.sampled_from(["..", ".", "a", "b.jpg", ""]), min_size=1, max_size=6))
@pytest.mark.parametrize("between", ["/", "\\"])
def test_what_leads_up_is_found_in_any_spelling(between: str, parts: list[str]) -> None:
    name = between.join(parts)
    if ".." in parts:
        assert leads_out(name)
    elif parts[0] and set(parts) & {"a", "b.jpg"}:
        assert leads_out(name) is None
