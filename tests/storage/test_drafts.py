"""How a file appears in a folder, when processes are killed and disks fail in between."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from planted import PLANTED, SECRET, Plant, all_in
from stores import PATIENCE, child, told, wait_until

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import FolderStore, beneath, digest
from skin_pipeline.storage.drafts import ABANDONED_SECONDS, locked


class TestDrafts:
    def test_drafts_of_killed_writers_are_swept_up(self, folder: FolderStore) -> None:
        folder.put("models/a", b"")
        old, new = (folder.root / "models" / name for name in (".old.part", ".new.part"))
        old.touch()
        new.touch()
        hour = 3600
        os.utime(old, (0, time.time() - 25 * hour))
        os.utime(new, (0, time.time() - 23 * hour))  # a large file on a slow network disk

        folder.put("models/b", b"")
        assert not old.exists()
        assert new.exists()

    def test_a_killed_process_does_not_keep_its_lock(self, folder: FolderStore) -> None:
        folder.swap("champion.json", b"old", None)
        _, tag = folder.tagged("champion.json") or (b"", "")
        script = (
            "import sys; from pathlib import Path; from skin_pipeline.storage import beneath\n"
            "from skin_pipeline.storage.drafts import locked\n"
            "with beneath.at(Path(sys.argv[1]), 'champion.json') as location:\n"
            "    with locked(location):\n"
            "        print('locked', flush=True); sys.stdin.read()"
        )
        with child(script, str(folder.root)) as holder:
            assert told(holder) == "locked"
            with ThreadPoolExecutor(1) as pool:
                swap = pool.submit(folder.swap, "champion.json", b"new", tag)
                holder.kill()
                assert swap.result(PATIENCE)
        assert folder.read("champion.json") == b"new"

    @pytest.mark.parametrize(("ours", "won"), [(True, True), (False, False)])
    def test_a_name_that_exists_by_a_repeated_request_is_our_own(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch, ours: bool, won: bool
    ) -> None:
        link = os.link

        def lose_answer(draft: str, target: str, **how: Any) -> None:
            if ours:  # a network disk did it, and its answer was lost
                link(draft, target, **how)
            else:
                (folder.root / target).write_bytes(b"another's")
            raise FileExistsError(errno.EEXIST, "File exists")

        monkeypatch.setattr(os, "link", lose_answer)
        assert folder.put("a", b"ours") is won
        assert folder.read("a") == (b"ours" if ours else b"another's")

    def test_a_disk_that_cannot_sync_folders_is_used_and_one_that_fails_is_not(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fsync, number = os.fsync, [errno.EINVAL]

        def refuse(handle: int) -> None:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                raise OSError(number[0], os.strerror(number[0]))
            fsync(handle)

        monkeypatch.setattr(os, "fsync", refuse)
        assert folder.put("a", b"x")  # a network disk that does it by itself
        number[0] = errno.EIO
        with pytest.raises(Unavailable, match="does not answer"):
            folder.put("b", b"x")

    def test_a_lock_ends_with_its_block_though_a_child_was_forked_meanwhile(
        self, folder: FolderStore
    ) -> None:
        folder.put("a", b"x")
        target = Path(folder.link("a"))
        done, over = os.pipe()
        with beneath.at(folder.root, "a") as location, locked(location):
            child = os.fork()
            if child == 0:  # it inherits the open lock, and outlives the block
                os.close(over)
                os.read(done, 1)
                os._exit(0)
        try:
            with target.with_name(".a.lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(over)
            os.close(done)
            os.waitpid(child, 0)

    def test_bytes_are_on_the_disk_before_their_name_and_the_name_before_the_answer(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.swap("models/champion.json", b"old", None)
        done: list[str] = []
        fsync, link, replace = os.fsync, os.link, os.replace

        def synced(handle: int) -> None:
            done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
            fsync(handle)

        def linked(*where: Any, **how: Any) -> None:
            done.append("named")
            link(*where, **how)

        def replaced(*where: Any, **how: Any) -> None:
            done.append("named")
            replace(*where, **how)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "link", linked)
        monkeypatch.setattr(os, "replace", replaced)
        folder.put("models/new", b"x")
        assert done == ["file", "named", "folder"]
        done.clear()
        _, tag = folder.tagged("models/champion.json") or (b"", "")
        assert folder.swap("models/champion.json", b"new", tag)
        assert done == ["file", "named", "folder"]

    def test_a_disk_without_hard_links_keeps_the_promise(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        asked: list[int] = []
        came: list[str] = []
        flock, replace = fcntl.flock, os.replace

        def ask(file: BinaryIO, how: int) -> None:
            if how == fcntl.LOCK_EX:
                asked.append(how)
            flock(file, how)

        def wait_for_another(draft: str, target: str, **how: Any) -> None:
            came.append(draft)
            # A second writer that came this far would win as well; else all stand before the lock.
            wait_until(lambda: len(came) > 1 or len(asked) == 20)
            replace(draft, target, **how)

        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(fcntl, "flock", ask)
        monkeypatch.setattr(os, "replace", wait_for_another)
        together = threading.Barrier(20)

        def put(number: int) -> bool:
            together.wait(PATIENCE)
            return folder.put("a", b"%d" % number)

        with ThreadPoolExecutor(20) as pool:
            won = list(pool.map(put, range(20)))
        assert won.count(True) == 1
        assert folder.read("a") == b"%d" % won.index(True)
        assert folder.list("") == ["a"]


class TestPlanted:
    @pytest.mark.parametrize("plant", PLANTED)
    def test_a_planted_lock_is_refused_and_nothing_is_made_through_it(
        self, store: FolderStore, secret: Path, plant: Plant
    ) -> None:
        store.swap("models/x/champion.json", b"old", None)
        plant(secret, store.root / "models/x/.champion.json.lock")
        with pytest.raises(BadInput, match=r"models/x/\.champion\.json\.lock in the folder"):
            store.swap("models/x/champion.json", b"new", digest(b"old"))
        assert all_in(secret.parent) == {secret.name: SECRET}
        assert store.read("models/x/champion.json") == b"old"

    @pytest.mark.parametrize("plant", [*PLANTED, lambda _, at: at.mkdir()])
    def test_a_planted_draft_hinders_no_write_and_only_its_own_name_is_swept(
        self, store: FolderStore, secret: Path, plant: Plant
    ) -> None:
        store.put("gate/a", b"")
        plant(secret, store.root / "gate/.old.part")
        old = time.time() - ABANDONED_SECONDS - 1
        os.utime(store.root / "gate/.old.part", (old, old), follow_symlinks=False)
        assert store.put("gate/b", b"new")
        assert all_in(secret.parent) == {secret.name: SECRET}

    def test_a_planted_folder_of_a_draft_is_not_swept(
        self, store: FolderStore, secret: Path
    ) -> None:
        """Nor anything in the folder that a link in its place leads to."""
        (secret.parent / ".mine.part").touch()
        os.utime(secret.parent / ".mine.part", (0, 0))
        store.root.mkdir()
        (store.root / "gate").symlink_to(secret.parent)
        with pytest.raises(BadInput):
            store.put("gate/a", b"")
        assert (secret.parent / ".mine.part").exists()
