"""Arrays in files that a stranger may have written: read as they are, or refused by name."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as of_numpy

from skin_pipeline import arrays
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore

SOUND = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def npy(array: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **how)
    return file.getvalue()


def with_header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An `.npy` file that says of itself what it likes."""
    line = text.encode() + b"\n"
    length = struct.pack("<H" if version[0] == 1 else "<I", len(line))
    return b"\x93NUMPY" + version + length + line + data


def header(shape: object, descr: object = "<f4", order: object = False) -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}}}"


class Unpickled:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return pytest.fail, ("it was unpickled",)


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "text": b"not an array",
    "only the magic": b"\x93NUMPY",
    "cut off in the header": npy(SOUND)[:40],
    "cut off in the data": npy(SOUND)[:-1],
    "more than it says": npy(SOUND) + b"x",
    "a pickle": npy(np.array([Unpickled()], object), allow_pickle=True),
    "an object type without a pickle": with_header(header((1,), "|O"), b"x" * 8),
    "objects in a field": with_header(header((1,), [("a", "<f4"), ("b", "|O")]), b"x" * 12),
    "107 GB of nothing": with_header(header((1 << 35,))),
    "more than any number": with_header(header((1 << 62, 1 << 62, 1 << 62))),
    "less than nothing": with_header(header((-1, -24)), b"x" * 96),
    "a size that goes around": with_header(header((1 << 63, 2)), b""),
    "elements of no size": with_header(header((1 << 40,), "|V0")),
    "a text of no length": with_header(header((1 << 40,), "|S0")),
    "a shape of truths": with_header(header((True,)), b"x" * 8),
    "a code for a header": with_header("__import__('os').abort()"),
    "brackets without end": with_header("(" * 900),
    "signs without end": with_header("-" * 900 + "1"),
    "a header of 60 kB": with_header(header((6, 4)) + " " * 60_000, b"x" * 96),
    "signs of 60 kB": with_header("-" * 60_000 + "1"),
    "a header of 4 GB": with_header("x", version=b"\x02\x00")[:8] + b"\xff" * 4,
    "another version": npy(SOUND)[:6] + b"\x09\x00" + npy(SOUND)[8:],
    "an unknown type": with_header(header((1,), "<q99"), b"x" * 8),
    "a key too many": with_header(header((1,))[:-1] + ", 'x': 1}", b"x" * 4),
    "no text": with_header("\xff\xfe", b"x" * 4),
}


@contextmanager
def little_memory() -> Generator[None, None, None]:
    """Fails if what is done within takes more than a few MiB."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


class TestOne:
    @pytest.mark.timeout(60)
    @pytest.mark.parametrize("read", [arrays.loaded, arrays.mapped])
    @pytest.mark.parametrize("what", HOSTILE)
    def test_what_no_step_wrote_is_refused_by_name_and_takes_no_memory(
        self, store: FolderStore, read: Callable[..., Any], what: str
    ) -> None:
        store.put("activations/a.npy", HOSTILE[what])
        with (
            little_memory(),
            pytest.raises(BadInput, match=r"activations/a\.npy in the store .* is not what a"),
        ):
            read(store, "activations/a.npy")

    @pytest.mark.parametrize("read", [arrays.loaded, arrays.mapped])
    @given(
        array=of_numpy.arrays(
            some.sampled_from([np.dtype(name) for name in ("u1", "f2", "f4", "i8", "S32")]),
            of_numpy.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
        ),
        fortran=some.booleans(),
    )
    def test_what_numpy_writes_comes_back(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        read: Callable[..., Any],
        array: Any,
        fortran: bool,
    ) -> None:
        store = FolderStore(tmp_path_factory.mktemp("arrays"))
        array = np.asfortranarray(array) if fortran else array
        store.put("a.npy", npy(array))
        found = read(store, "a.npy")
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()

    @pytest.mark.parametrize("read", [arrays.loaded, arrays.mapped])
    def test_it_cannot_be_written_to(self, store: FolderStore, read: Callable[..., Any]) -> None:
        store.put("a.npy", npy(SOUND))
        with pytest.raises(ValueError, match="read-only"):
            read(store, "a.npy")[0, 0, 0] = 1

    def test_what_a_memory_map_wrote_comes_back(self, store: FolderStore, tmp_path: Path) -> None:
        """As features are."""
        sink = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", SOUND.dtype, SOUND.shape)
        sink[:] = SOUND
        del sink
        store.put_file("a.npy", tmp_path / "a.npy")
        np.testing.assert_array_equal(arrays.mapped(store, "a.npy"), SOUND)


def npz(members: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as bundle:
        for name, data in members.items():
            bundle.writestr(name, data)
    return file.getvalue()


def twice_the_same() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as bundle:
        bundle.writestr("w0.npy", npy(SOUND))
        with pytest.warns(UserWarning, match="Duplicate"):
            bundle.writestr("w0.npy", npy(SOUND))
    return file.getvalue()


def overlapping() -> bytes:
    """A list of many arrays that all lie in the same place."""
    data = bytearray(npz({"w0.npy": npy(np.zeros(1000))}))
    start = data.rindex(b"PK\x05\x06")
    entry_at = int.from_bytes(data[start + 16 : start + 20], "little")
    entry = bytes(data[entry_at:start])
    many = b"".join(entry.replace(b"w0.npy", b"w%d.npy" % number) for number in range(10))
    end = bytearray(data[start:])
    end[8:12] = struct.pack("<HH", 10, 10)
    end[12:16] = struct.pack("<I", len(many))
    return bytes(data[:entry_at]) + many + bytes(end)


BUNDLES: dict[str, Callable[[], bytes]] = {
    "nothing": bytes,
    "text": lambda: b"not an archive",
    "cut off": lambda: npz({"w0.npy": npy(SOUND)})[:-30],
    "a bomb": lambda: npz({"w0.npy": npy(np.zeros(1 << 20))}, zipfile.ZIP_DEFLATED),
    "two of one name": twice_the_same,
    "many in one place": overlapping,
    "a changed byte": lambda: npz({"w0.npy": npy(SOUND)}).replace(
        SOUND[-1].tobytes(), (SOUND[-1] + 1).tobytes()
    ),
    "an impossible place": lambda: npz({"w0.npy": npy(SOUND)})[:-6] + b"\xff\xff\xff\x7f\0\0",
    **{f"{what} in it": partial(npz, {"w0.npy": data}) for what, data in HOSTILE.items()},
}


class TestSeveral:
    @pytest.mark.parametrize("what", BUNDLES)
    def test_what_no_step_wrote_is_refused_by_name_and_takes_no_memory(
        self, store: FolderStore, what: str
    ) -> None:
        store.put("train/a/weights.npz", BUNDLES[what]())
        with (
            little_memory(),
            pytest.raises(BadInput, match=r"train/a/weights\.npz in the store .* is not what a"),
        ):
            arrays.several_of(store, "train/a/weights.npz")

    def test_what_numpy_writes_comes_back_and_can_be_written_to(self, store: FolderStore) -> None:
        made = {f"w{number:04}": SOUND + number for number in range(12)} | {"scalar": np.array(3)}
        file = io.BytesIO()
        np.savez(file, **made)
        store.put("a.npz", file.getvalue())
        found = arrays.several_of(store, "a.npz")
        assert list(found) == list(made)
        for name, array in found.items():
            np.testing.assert_array_equal(array, made[name])
            array[...] = 0

    def test_no_byte_of_it_can_be_changed_so_that_something_else_is_raised(self) -> None:
        """What the caller catches is one thing, wherever the file is damaged."""
        whole = npz({"w0.npy": npy(SOUND)})
        for place in range(len(whole)):
            for value in (0x00, 0xFF, whole[place] ^ 0x01):
                data = whole[:place] + bytes([value]) + whole[place + 1 :]
                try:
                    found = arrays.several(io.BytesIO(data))
                except arrays.Broken:
                    continue
                assert all(array.size <= SOUND.size for array in found.values())


@pytest.mark.parametrize(
    "array",
    [np.arange(12, dtype=np.uint8).reshape(3, 4), np.zeros((0, 5), np.float32), np.ones(7, ">i8")],
)
def test_a_head_with_plain_values_behind_it_is_what_numpy_writes(array: Any) -> None:
    file = io.BytesIO()
    arrays.begin(file, array.dtype, array.shape)
    file.write(array.tobytes())
    assert file.getvalue() == npy(array)
