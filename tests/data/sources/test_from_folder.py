"""What a folder holds, whatever stands in it: links, circles, pipes, odd names, no permission."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skin_pipeline.data import images
from skin_pipeline.data.sources.contents import Contents
from skin_pipeline.data.sources.from_folder import contents_of
from skin_pipeline.errors import BadInput

JPEG = b"\xff\xd8\xff\xe0" + bytes(60)


def lay_out(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG)
    return root


def names(contents: Contents) -> list[str]:
    return [item.name for item in contents.images]


# links to make, names that are found, words of what is told and how often
LINKS: dict[str, tuple[dict[str, str], list[str], list[tuple[str, int]]]] = {
    "nowhere": ({"b.jpg": "gone.jpg"}, ["a.jpg"], [("lead nowhere", 1)]),
    "folder that is nowhere": ({"benign": "/gone"}, ["a.jpg"], [("lead nowhere", 1)]),
    "to itself": ({"b.jpg": "b.jpg"}, ["a.jpg"], [("in a circle", 1)]),
    "to each other": ({"b": "c", "c": "b"}, ["a.jpg"], [("in a circle", 2)]),
    "to the folder itself": ({"d": "."}, ["a.jpg"], [("in a circle", 1)]),
    "to the folder above": ({"d": ".."}, ["a.jpg"], [("in a circle", 1)]),
    "to the root of all": ({"d": "/"}, ["a.jpg"], [("in a circle", 1)]),
    "from below to above": ({"d/e/f": "../../d"}, ["a.jpg"], [("in a circle", 1)]),
    "to a device": ({"b.jpg": "/dev/zero"}, ["a.jpg"], [("are no files", 1)]),
    "through another": ({"b": "c", "c": "d/x.jpg", "d/x.jpg": "../a.jpg"}, [], []),
}


@pytest.mark.parametrize("case", LINKS)
def test_a_link_that_leads_nowhere_or_in_a_circle_ends_nothing(case: str, tmp_path: Path) -> None:
    links, found, words = LINKS[case]
    root = lay_out(tmp_path / "set", "a.jpg")
    for name, target in links.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)

    contents = contents_of(root)

    assert names(contents) == (found or ["a.jpg", *sorted(links)])
    assert [notice.count for notice in contents.notices] == [count for _, count in words]
    for notice, (word, _) in zip(contents.notices, words, strict=True):
        assert word in notice.reason


def test_links_to_each_others_folders_come_to_an_end(tmp_path: Path) -> None:
    lay_out(tmp_path, "one/a.jpg", "two/b.jpg")
    (tmp_path / "one/other").symlink_to("../two")
    (tmp_path / "two/other").symlink_to("../one")

    contents = contents_of(tmp_path)

    real = {Path(item.real).name for item in contents.images}
    assert real == {"a.jpg", "b.jpg"}
    assert names(contents)[:2] == ["one/a.jpg", "one/other/b.jpg"]
    assert [item.name for item in contents.images if not item.linked] == ["one/a.jpg", "two/b.jpg"]


def test_links_that_double_at_every_step_take_no_longer_than_their_number(tmp_path: Path) -> None:
    steps = 40
    for number in range(steps):
        lay_out(tmp_path, f"{number}/a.jpg")
        for name in ("left", "right"):
            (tmp_path / str(number) / name).symlink_to(f"../{number + 1}")

    contents = contents_of(tmp_path)

    assert len({item.real for item in contents.images}) == steps
    assert len(contents.images) <= 3 * steps


def test_a_folder_that_is_a_link_itself_is_looked_into(tmp_path: Path) -> None:
    lay_out(tmp_path / "set", "benign/a.jpg", "benign/b.jpg")
    (tmp_path / "set/benign/b.jpg").unlink()
    (tmp_path / "set/benign/b.jpg").symlink_to(tmp_path / "set/benign/a.jpg")
    (tmp_path / "link").symlink_to("set")

    contents = contents_of(tmp_path / "link")

    assert [(item.name, item.linked) for item in contents.images] == [
        ("benign/a.jpg", False),
        ("benign/b.jpg", True),
    ]
    assert len({item.real for item in contents.images}) == 1


@pytest.mark.parametrize("name", ["pipe.jpg", "pipe.csv", "pipe"])
def test_pipes_and_sockets_are_told_and_never_opened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = lay_out(tmp_path / "set", "a.jpg")
    os.mkfifo(root / name)
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(root)  # a socket's path may be short only
        listener.bind("s.jpg")
        contents = contents_of(root)

    assert names(contents) == ["a.jpg"]
    (notice,) = contents.notices
    assert (notice.subject, notice.count) == ("special files", 2)
    assert "are no files" in notice.reason


def test_hidden_folders_and_files_are_counted_whatever_is_in_them(tmp_path: Path) -> None:
    hidden = [".ipynb_checkpoints/a.jpg", "b/.git/x/y", ".git/z", "__MACOSX/b/._a.jpg"]
    contents = contents_of(lay_out(tmp_path, "a.jpg", *hidden, ".b.jpg", "b/.DS_Store"))

    assert names(contents) == ["a.jpg"]
    assert {notice.subject: notice.count for notice in contents.notices} == {
        "hidden folder .git, hidden folder .ipynb_checkpoints, hidden folder __MACOSX": 4,
        "hidden files": 1,
        "system files": 1,
    }


def test_a_name_that_is_no_text_is_read_as_old_systems_wrote_it(tmp_path: Path) -> None:
    raw = [b"caf\xe9.jpg", "na\u00efve.jpg".encode(), b"\x81.jpg", b"a\nb.jpg", b"a\\b.jpg"]
    for name in raw:
        (tmp_path / os.fsdecode(name)).write_bytes(JPEG)

    found = names(contents_of(tmp_path))

    assert found == sorted([
        "caf\u00e9.jpg",
        "na\u00efve.jpg",
        "%C2%81.jpg",
        "a%0Ab.jpg",
        "a/b.jpg",
    ])
    assert all(name.encode() and name.isprintable() for name in found)


def test_two_names_that_become_one_are_asked_about_unless_the_files_are_the_same(
    tmp_path: Path,
) -> None:
    lay_out(tmp_path, "a/b.jpg", "a\\b.jpg")
    contents = contents_of(tmp_path)
    assert names(contents) == ["a/b.jpg"]
    assert [notice.subject for notice in contents.notices] == ["repeated files"]

    (tmp_path / "a/b.jpg").write_bytes(JPEG + b"other")
    with pytest.raises(BadInput, match=r"two different files of one name, 'a/b.jpg'"):
        contents_of(tmp_path)


# --- without permission --------------------------------------------------------------------------


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder with readable files and such as nobody but their owner may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        root = lay_out(folder / "set", "a.jpg", "shut.jpg", "shut.csv", "shut/b.jpg")
        for name in ("shut.jpg", "shut.csv", "shut"):
            (root / name).chmod(0)
        yield root
    finally:
        (folder / "set/shut").chmod(0o755)
        shutil.rmtree(folder)


@contextmanager
def ordinary_user() -> Generator[None, None, None]:
    """Without the rights of root, who may read everything."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_what_may_not_be_read_is_told_and_ends_nothing(locked: Path) -> None:
    with ordinary_user():
        contents = contents_of(locked)

    assert names(contents) == ["a.jpg", "shut.jpg"]  # an image is quarantined when it is decoded
    assert contents.tables == ()
    (notice,) = contents.notices
    assert (notice.subject, notice.count) == (".csv, folder shut", 2)
    assert "Permission denied" in notice.reason
    assert "change the permissions" in notice.reason


def test_an_image_that_may_not_be_read_is_quarantined(locked: Path) -> None:
    with ordinary_user():
        seen = images.inspect(locked / "shut.jpg", name="a.jpg")
    assert seen.problem == "a.jpg: cannot be read (Permission denied)"


def test_a_folder_that_may_not_be_read_is_bad_input(locked: Path) -> None:
    with ordinary_user(), pytest.raises(BadInput, match=r"shut cannot be read \(Permission den"):
        contents_of(locked / "shut")
