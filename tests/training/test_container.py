"""Zips that two readers could read in two ways are no model files; those that Keras writes are."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from typing import Literal

import model_files as files
import pytest

from skin_pipeline.training import container
from skin_pipeline.training.container import Foreign, contents, members, verify

CONTENT = {
    "metadata.json": b'{"keras_version": "3"}',
    "config.json": b"{}" * 40,
    "model.weights.h5": b"\x89HDF\r\n" + bytes(300),
}
SOUND = files.bundled(CONTENT)


def read(data: bytes) -> dict[str, bytes]:
    """All members of a file, each read and its checksum compared."""
    file = io.BytesIO(data)
    return {name: contents(file, member) for name, member in members(file).items()}


def test_what_keras_writes_is_read() -> None:
    assert read(SOUND) == CONTENT


def test_members_may_stand_in_any_order() -> None:
    assert read(files.bundled(dict(reversed(CONTENT.items())))) == CONTENT


def written(
    mode: Literal["w", "x", "a"] = "w",
    infos: Callable[[zipfile.ZipInfo], None] = lambda info: None,
    comment: bytes = b"",
    **replaced: bytes,
) -> bytes:
    """A zip with entries changed before they are written."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, mode) as bundle:
        for name, data in {**CONTENT, **replaced}.items():
            info = zipfile.ZipInfo(name, (2026, 11, 26, 1, 2, 4))
            info.external_attr = 0o600 << 16
            infos(info)
            bundle.writestr(info, data)
        bundle.comment = comment
    return sink.getvalue()


def setting(name: str, value: object) -> Callable[[zipfile.ZipInfo], None]:
    return lambda info: setattr(info, name, value)


@pytest.mark.parametrize(
    "infos",
    [
        setting("external_attr", 0),
        setting("external_attr", 0o100644 << 16),  # of a file that was packed from the disk
        setting("create_system", 0),  # on Windows
    ],
)
def test_a_file_may_be_made_on_another_system(infos: Callable[[zipfile.ZipInfo], None]) -> None:
    assert read(written(infos=infos)) == CONTENT


@pytest.mark.parametrize("limit", [10, 100, 350])
def test_a_file_of_more_than_two_gigabytes_is_read(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bound at which sizes move into extra fields brought down."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    monkeypatch.setattr(container, "LONG_FROM", limit)
    data = written()
    assert b"PK\6\6" in data
    assert read(data) == CONTENT
    monkeypatch.setattr(container, "LONG_FROM", 2**31 - 1)
    with pytest.raises(Foreign, match="is no zip as Keras writes it"):
        read(data)


# --- what else a zip may be -----------------------------------------------------------------------

UNICODE = files.unicode_path("config.json", "metadata.json")


def patched(
    offset: int, number: int, form: str = "<H", magic: bytes = b"PK\1\2", which: int = 1
) -> Callable[[bytes], bytes]:
    """A field of one of the headers changed."""

    def change(data: bytes) -> bytes:
        at = [place for place in range(len(data)) if data.startswith(magic, place)][which]
        made = bytearray(data)
        struct.pack_into(form, made, at + offset, number)
        return bytes(made)

    return change


def listed_again(data: bytes) -> bytes:
    """A second list and end behind the first, of which a reader from the end sees only the last."""
    return data + files.bundled(CONTENT)


def with_a_gap(data: bytes) -> bytes:
    """A byte between the last member and the list, with all places right."""
    at = data.index(b"PK\1\2")
    end = bytearray(data[at:])
    struct.pack_into("<L", end, len(end) - 6, at + 1)
    return data[:at] + b"x" + bytes(end)


def listed_in_another_order(data: bytes) -> bytes:
    at, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    entries = [b"PK\1\2" + item for item in data[at:end].split(b"PK\1\2")[1:]]
    return data[:at] + b"".join(reversed(entries)) + data[end:]


STRANGE = {
    "a comment": lambda data: written(comment=b"hello"),
    "something before": lambda data: b"#!/bin/sh\n" + data,
    "something behind": lambda data: data + b"x",
    "something between": with_a_gap,
    "another zip behind": listed_again,
    "another order in the list": listed_in_another_order,
    "packed": lambda data: written(infos=setting("compress_type", zipfile.ZIP_DEFLATED)),
    "an extra field": lambda data: written(infos=setting("extra", struct.pack("<HHB", 7, 1, 0))),
    "another name in an extra field": lambda data: written(infos=setting("extra", UNICODE)),
    "another name in the list's extra field": lambda data: files.renamed_in_the_list(
        data, {"config.json": "metadata.json", "metadata.json": "config.json"}
    ),
    "sizes in an extra field that need none": lambda data: written(
        infos=setting("extra", struct.pack("<2H2Q", 1, 16, 80, 80))
    ),
    "a comment of an entry": lambda data: written(infos=setting("comment", b"x")),
    "a link": lambda data: written(infos=setting("external_attr", 0o120777 << 16)),
    "a folder": lambda data: written(infos=setting("external_attr", 0o040755 << 16 | 0x10)),
    "another name": lambda data: data.replace(b"config.json", b"CONFIG.json"),
    "another name in the list only": lambda data: (
        data[:200] + data[200:].replace(b"metadata.json", b"metadata.jsom")
    ),
    "a name with a NUL": lambda data: data.replace(b"config.json", b"config.jso\0"),
    "a path": lambda data: data.replace(b"config.json", b"./nfig.json"),
    "encrypted in the list": patched(8, 1),
    "encrypted before the bytes": patched(6, 1, magic=b"PK\3\4"),
    "sizes behind the bytes": patched(6, 8, magic=b"PK\3\4"),
    "another method in the list": patched(10, 8),
    "another checksum in the list": patched(16, 5, "<L"),
    "another size in the list": patched(24, 5, "<L"),
    "another place in the list": patched(42, 0, "<L"),
    "another disk": patched(34, 1),
    "another date in the list": patched(14, 1),
    "another system": patched(5, 19, "<B"),
    "another version": patched(4, 63, magic=b"PK\3\4"),
    "another size before the bytes": patched(22, 5, "<L", b"PK\3\4"),
    "a size beyond the end": patched(18, 2**31, "<L", b"PK\3\4"),
    "more entries at the end": patched(10, 4, magic=b"PK\5\6", which=0),
    "a list elsewhere": patched(16, 0, "<L", b"PK\5\6", which=0),
    "two members": lambda data: files.bundled(dict(list(CONTENT.items())[:2])),
    "four members": lambda data: files.bundled({**CONTENT, "assets/x": b""}),
    "nothing": lambda data: b"",
    "no zip": lambda data: os.urandom(400),
}


@pytest.mark.parametrize("change", STRANGE.values(), ids=list(STRANGE))
def test_a_zip_that_keras_does_not_write_is_refused(change: Callable[[bytes], bytes]) -> None:
    data = change(SOUND)
    assert data != SOUND
    with pytest.raises(Foreign):
        read(data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_twice_is_refused() -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as bundle:
        for name in ("metadata.json", "config.json", "config.json", "model.weights.h5"):
            bundle.writestr(name, b"{}")
    with pytest.raises(Foreign, match=r"contains config\.json twice"):
        read(sink.getvalue())


def test_every_byte_of_the_headers_counts() -> None:
    """Whatever byte is changed: the file is refused, or another reader finds the same in it."""
    for place in range(len(SOUND)):
        for value in (0, 1, 0x80, 0xFF):
            data = SOUND[:place] + bytes([value]) + SOUND[place + 1 :]
            try:
                found = read(data)
            except Foreign:
                continue
            assert found == CONTENT, place
            with zipfile.ZipFile(io.BytesIO(data)) as bundle:
                assert {name: bundle.read(name) for name in bundle.namelist()} == CONTENT, place


def test_a_damaged_member_is_refused() -> None:
    file = io.BytesIO(SOUND.replace(b"\x89HDF", b"\x89hdf"))
    found = members(file)
    verify(file, found["config.json"])
    with pytest.raises(Foreign, match="the checksum"):
        verify(file, found["model.weights.h5"])
