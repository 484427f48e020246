"""A folder store into which somebody plants what is no object, or replaces one that is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from planted import (
    KEY,
    PLANTED,
    SECRET,
    Plant,
    a_hard_link,
    a_link,
    a_link_to_a_folder,
    a_link_to_nowhere,
    a_pipe,
    all_in,
    calls_to,
    just_before,
    mode,
)

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore

pytestmark = pytest.mark.timeout(60)  # whatever blocks is stopped, and fails


class TestPlanted:
    @pytest.mark.parametrize("plant", PLANTED)
    def test_what_is_no_plain_file_is_refused_by_name_whatever_is_asked(
        self, store: FolderStore, tmp_path: Path, secret: Path, plant: Plant
    ) -> None:
        at = store.root / KEY
        at.parent.mkdir(parents=True)
        plant(secret, at)
        before = at.lstat()
        for name, call in calls_to(store, KEY, tmp_path).items():
            with pytest.raises(BadInput, match=rf"{KEY} in the folder .* is ") as caught:
                call()
            assert SECRET.decode() not in str(caught.value), name
            assert not (tmp_path / "copy").exists()
            assert all_in(secret.parent) == {secret.name: SECRET}, name
            assert os.path.samestat(at.lstat(), before), name

    @pytest.mark.parametrize("plant", [item for item in PLANTED if item is not a_hard_link])
    def test_it_is_not_listed_and_told(
        self,
        store: FolderStore,
        secret: Path,
        caplog: pytest.LogCaptureFixture,
        plant: Plant,
    ) -> None:
        store.put("gate/4f1a/result.json", b"{}")
        plant(secret, store.root / KEY)
        assert KEY not in store.list("gate")
        assert "gate/4f1a/result.json" in store.list("gate")
        assert any("foreign_in_the_store" in text and KEY in text for text in caplog.messages)

    @pytest.mark.parametrize("folder", ["gate", "gate/4f1a"])
    @pytest.mark.parametrize("plant", [a_link, a_link_to_a_folder, a_link_to_nowhere, a_pipe])
    def test_no_folder_is_reached_through_a_link(
        self, store: FolderStore, tmp_path: Path, secret: Path, plant: Plant, folder: str
    ) -> None:
        """Such as one that leads to a folder with a file of the right name."""
        at = store.root / folder
        at.parent.mkdir(parents=True)
        plant(secret, at)
        key = f"{folder}/{secret.name}"
        for name, call in calls_to(store, key, tmp_path).items():
            with pytest.raises(BadInput, match=rf"{folder} in the folder .* is "):
                call()
            assert all_in(secret.parent) == {secret.name: SECRET}, name
        assert store.list("") == []
        with pytest.raises(BadInput, match=rf"{folder} in the folder .* is "):
            store.list(folder)

    def test_the_root_itself_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "big-disk").mkdir()
        (tmp_path / "store").symlink_to("big-disk")
        store = FolderStore(tmp_path / "store")
        assert store.put("a/b", b"x")
        assert store.read("a/b") == b"x"
        assert store.list("") == ["a/b"]
        assert all_in(tmp_path / "big-disk") == {"a/b": b"x"}

    def test_a_folder_under_a_key_is_no_object_and_no_put_is_lost_to_it(
        self, store: FolderStore
    ) -> None:
        (store.root / KEY).mkdir(parents=True)
        assert not store.exists(KEY)
        assert store.tagged(KEY) is None
        with pytest.raises(BadInput, match=rf"{KEY} in the folder .* is a folder"):
            store.put(KEY, b"new")

    @pytest.mark.parametrize("name", ["line\nbreak", "back\\slash", "bell\a", "\udcff", "x" * 220])
    def test_a_name_that_no_key_has_is_not_listed_and_told_on_one_line(
        self, store: FolderStore, caplog: pytest.LogCaptureFixture, name: str
    ) -> None:
        store.put("moves/1.json", b"{}")
        (store.root / "moves" / name).write_bytes(b"{}")
        assert store.list("moves") == ["moves/1.json"]
        (told,) = [text for text in caplog.messages if "foreign_in_the_store" in text]
        assert told.isprintable()

    def test_a_killed_writers_draft_does_not_make_its_object_foreign(
        self, store: FolderStore
    ) -> None:
        store.put("a/b", b"whole")
        os.link(store.root / "a/b", store.root / "a/.0123.part")  # killed before it was removed
        assert store.read("a/b") == b"whole"
        assert store.exists("a/b")

    def test_hidden_names_do_not_hide_a_hard_link_to_elsewhere(
        self, store: FolderStore, secret: Path
    ) -> None:
        (store.root / KEY).parent.mkdir(parents=True)
        a_hard_link(secret, store.root / KEY)
        a_hard_link(secret, (store.root / KEY).with_name(".0123.part"))
        with pytest.raises(BadInput, match="hard links"):
            store.read(KEY)


class TestExchangedMeanwhile:
    """What was looked at is exchanged before it is opened."""

    @pytest.mark.parametrize("plant", PLANTED)
    @pytest.mark.parametrize("ask", ["read", "tagged", "opened", "local"])
    def test_what_comes_between_the_look_and_the_opening_is_refused(
        self,
        store: FolderStore,
        tmp_path: Path,
        secret: Path,
        monkeypatch: pytest.MonkeyPatch,
        plant: Plant,
        ask: str,
    ) -> None:
        store.put(KEY, b"good")

        def exchange() -> None:
            (store.root / KEY).unlink()
            plant(secret, store.root / KEY)

        call = calls_to(store, KEY, tmp_path)[ask]
        with just_before(monkeypatch, os, "open", "report.html", exchange) as done:
            with pytest.raises(BadInput, match=rf"{KEY} in the folder"):
                call()
            assert done

    def test_a_folder_that_is_exchanged_for_a_link_leads_nowhere_else(
        self, store: FolderStore, secret: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.put(KEY, b"good")
        (secret.parent / "report.html").write_bytes(SECRET)

        def exchange() -> None:
            (store.root / "gate/4f1a").rename(store.root / "gate/away")
            (store.root / "gate/4f1a").symlink_to(secret.parent)

        with just_before(monkeypatch, os, "open", "report.html", exchange) as done:
            assert store.read(KEY) == b"good"
            assert done

    def test_a_write_goes_into_the_folder_that_it_began_in(
        self, store: FolderStore, secret: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.put("gate/4f1a/result.json", b"{}")

        def exchange() -> None:
            (store.root / "gate/4f1a").rename(store.root / "gate/away")
            (store.root / "gate/4f1a").symlink_to(secret.parent)

        real = os.fsync

        def exchange_first(handle: int) -> None:
            if not (store.root / "gate/away").exists():
                exchange()
            real(handle)

        monkeypatch.setattr(os, "fsync", exchange_first)
        store.put(KEY, b"new")
        assert all_in(secret.parent) == {secret.name: SECRET}

    def test_an_open_object_stays_what_it_is(self, store: FolderStore, secret: Path) -> None:
        store.put(KEY, b"good")
        with store.opened(KEY) as file:
            (store.root / KEY).unlink()
            (store.root / KEY).symlink_to(secret)
            assert file.read() == b"good"


WRITER = """
import os, sys
from pathlib import Path
from skin_pipeline.storage import FolderStore
os.umask(int(sys.argv[2], 8))
store = FolderStore(Path(sys.argv[1]) / "deep" / "store")
store.put("models/x/champion.json", b"old")
store.put_file("models/x/card.md", Path(__file__) if "__file__" in globals() else Path(os.__file__))
store.swap("models/x/champion.json", b"new", store.tagged("models/x/champion.json")[1])
"""


class TestModes:
    @pytest.mark.parametrize(
        ("umask", "files", "folders"),
        [
            ("022", 0o640, 0o750),
            ("002", 0o640, 0o770),
            ("000", 0o640, 0o770),
            ("077", 0o600, 0o700),
        ],
    )
    def test_nothing_in_the_store_is_for_everybody(
        self, tmp_path: Path, umask: str, files: int, folders: int
    ) -> None:
        subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), umask], check=True)
        root = tmp_path / "deep" / "store"
        made = list(root.rglob("*"))
        assert {mode(path) for path in (root, *made) if path.is_dir()} == {folders}
        objects = [path for path in made if path.is_file() and path.suffix != ".lock"]
        assert {mode(path) for path in objects} == {files}
        assert len(objects) == 2
        locks = [path for path in made if path.suffix == ".lock"]
        assert {mode(path) for path in locks} == {0o660 & ~int(umask, 8)}

    def test_a_folder_hands_its_group_on_as_the_operator_wished(self, store: FolderStore) -> None:
        store.root.mkdir()
        store.root.chmod(0o2770)
        store.put("models/x/champion.json", b"x")
        assert mode(store.root / "models/x") & stat.S_ISGID


def open_below(folder: Path) -> list[str]:
    """What this process has open of a folder; other tests leave other files open."""
    found = []
    for each in Path("/dev/fd").iterdir():
        with suppress(OSError):  # of the listing itself
            found.append(str(each.readlink()))
    return [path for path in found if path.startswith(str(folder))]


def test_nothing_stays_open_of_a_deep_listing_or_of_what_is_refused(
    store: FolderStore, secret: Path, tmp_path: Path
) -> None:
    store.put("a/b", b"x")
    (store.root / "/".join(["d"] * 400)).mkdir(parents=True)
    (store.root / KEY).parent.mkdir(parents=True)
    a_link(secret, store.root / KEY)
    with (store.root / "a/b").open():
        assert open_below(tmp_path) == [str(store.root / "a/b")]
    assert store.list("") == ["a/b"]
    for _ in range(5):
        with pytest.raises(BadInput):
            store.read(KEY)
    assert open_below(tmp_path) == []  # also of the secret, which is outside of the store


def test_an_error_does_not_tell_where_a_link_leads(store: FolderStore, secret: Path) -> None:
    (store.root / KEY).parent.mkdir(parents=True)
    a_link(secret, store.root / KEY)
    with pytest.raises(BadInput, match="is a link") as caught:
        store.read(KEY)
    assert str(secret) not in str(caught.value)
