"""A folder store whose folder or disk fails."""

from __future__ import annotations

import errno
import os
import signal
from functools import partial
from pathlib import Path

import pytest
from stores import MIB, PATIENCE, child, files_below, wait_until

from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.storage import FolderStore
from skin_pipeline.storage.files import PASSING


class TestFolderFaults:
    @pytest.mark.parametrize(
        "below", ["regular-file", "regular-file/deeper", "/proc/skin-pipeline"]
    )
    def test_a_folder_that_cannot_be_made_is_bad_input(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "regular-file").write_text("not a folder")
        store = FolderStore(tmp_path / below)
        source = tmp_path / "source"
        source.touch()

        for write in (
            partial(store.put, "a/b", b""),
            partial(store.put_file, "a/b", source),
            partial(store.swap, "a/b", b"", "tag"),
        ):
            with pytest.raises(BadInput, match=r"cannot be used: .*SKIN_STORE") as caught:
                write()
            assert str(tmp_path / below) in str(caught.value)

    @pytest.mark.parametrize(
        ("number", "kind"), [(errno.EIO, Unavailable), (errno.EACCES, BadInput)]
    )
    def test_a_removal_that_the_disk_refuses_is_told(
        self,
        folder: FolderStore,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
        kind: type[PipelineError],
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        folder.put("a", b"x")
        monkeypatch.setattr(os, "unlink", refuse)
        with pytest.raises(kind, match=str(folder.root)):
            folder.remove("a")
        assert folder.read("a") == b"x"

    @pytest.mark.parametrize(
        ("number", "kind", "words"),
        [
            (errno.ENOSPC, Unavailable, "no space left for .*SKIN_STORE"),
            (errno.EDQUOT, Unavailable, "no space left for .*SKIN_STORE"),
            *((number, Unavailable, "does not answer") for number in sorted(PASSING)),
            (errno.EACCES, BadInput, "cannot be used: .*SKIN_STORE"),
            (errno.EROFS, BadInput, "cannot be used: .*SKIN_STORE"),
        ],
    )
    def test_a_failed_write_leaves_nothing_behind(
        self,
        folder: FolderStore,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
        kind: type[PipelineError],
        words: str,
    ) -> None:
        folder.swap("champion.json", b"old", None)
        _, tag = folder.tagged("champion.json") or (b"", "")

        def fail(_: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        for write in (
            partial(folder.put, "new/one", b"x" * MIB),
            partial(folder.swap, "champion.json", b"new", tag),
        ):
            with pytest.raises(kind, match=words):
                write()

        assert folder.list("") == ["champion.json"]
        assert folder.read("champion.json") == b"old"
        assert not list(folder.root.rglob("*.part"))

    def test_a_writer_killed_in_the_middle_leaves_nothing_visible(
        self, folder: FolderStore, tmp_path: Path
    ) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)  # a file that does not end until we say so
        script = (
            "import sys; from pathlib import Path; from skin_pipeline.storage import open_store\n"
            "open_store(sys.argv[1]).put_file('models/big.keras', Path(sys.argv[2]))"
        )
        with child(script, folder.url, str(pipe)) as writer, pipe.open("wb") as source:
            source.write(b"x" * (8 * MIB))
            wait_until(lambda: sum(p.stat().st_size for p in files_below(folder.root)) > 4 * MIB)
            writer.send_signal(signal.SIGKILL)
            assert writer.wait(PATIENCE) == -signal.SIGKILL

            assert folder.list("") == []
            assert not folder.exists("models/big.keras")
        assert folder.put("models/big.keras", b"whole")
        assert folder.read("models/big.keras") == b"whole"
