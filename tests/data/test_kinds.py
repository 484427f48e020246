"""What files are, by their content and their names."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from skin_pipeline.data import kinds
from skin_pipeline.data.images import decoding
from skin_pipeline.data.kinds import HEAD, IMAGE, MARK, TABLE, Look, by_content, by_name


def look(name: str, data: bytes = b"") -> Look:
    parts = tuple(name.split("/"))
    return by_name(parts, len(data)) or by_content(parts, data[:HEAD])


def drawn(format_: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (70, 70), "brown").save(buffer, format_)
    return buffer.getvalue()


READ = sorted(decoding.OPENED)
# Kinds that Pillow writes and that are not read; PPM stands for all of its family.
NOT_READ = ["AVIF", "DDS", "GIF", "JPEG2000", "PDF"]
NAMES = ["a", "a.dat", "a.csv", "a.txt", "a.heic", "a.bin", "benign/IMG.0001", "a.jpg.bak"]


@pytest.mark.parametrize("format_", READ)
@pytest.mark.parametrize("name", NAMES)
def test_what_the_decoder_reads_is_an_image_under_any_name(format_: str, name: str) -> None:
    assert look(name, drawn(format_)) == IMAGE


@pytest.mark.parametrize("format_", NOT_READ)
@pytest.mark.parametrize("name", NAMES)
def test_an_image_of_another_kind_is_told_under_any_name(format_: str, name: str) -> None:
    told = look(name, drawn(format_))
    assert not told.use
    assert "save them as PNG or JPEG" in told.reason


@pytest.mark.parametrize("suffix", sorted(kinds.SUFFIXES | {".JPG", ".Jfif", ".TIF ", ".JPE"}))
@pytest.mark.parametrize("data", [b"", b"<html>", b"GIF89a" + bytes(20), drawn("PNG")])
def test_what_is_named_as_an_image_belongs_to_the_data_whatever_it_is(
    suffix: str, data: bytes
) -> None:
    assert look(f"a{suffix}", data) == IMAGE


def test_every_suffix_of_what_the_decoder_reads_is_known() -> None:
    assert {
        suffix for suffixes in decoding.FORMATS.values() for suffix in suffixes
    } <= kinds.SUFFIXES


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
AVIF = b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1miaf"
DICOM = bytes(128) + b"DICM" + bytes(50)
RAW = b"II*\0\x10\0\0\0CR\x02\0" + bytes(99)
SVG = b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="x">'
# name, content, words of what is told
FOREIGN = {
    "phone": ("a.heic", HEIC, "HEIC"),
    "phone, renamed": ("a.img", HEIC, "HEIC"),
    "AVIF that says HEIF first": ("a", AVIF, "AVIF"),
    "DICOM": ("IM00001", DICOM, "DICOM"),
    "DICOM without its mark": ("a.dcm", b"\x08\0\x05\0CS", "DICOM"),
    "Canon": ("a.CR2", RAW, "raw camera"),
    "Canon, renamed": ("a", RAW, "raw camera"),
    "new Canon": ("a", b"\0\0\0\x18ftypcrx \0\0\0\0", "raw camera"),
    "Nikon, which begins as a TIFF": ("a.NEF", drawn("TIFF"), "raw camera"),
    "Adobe, which begins as a TIFF": ("a.dng", drawn("TIFF"), "raw camera"),
    "Fuji": ("a", b"FUJIFILMCCD-RAW 0201", "raw camera"),
    "SVG": ("a.svg", SVG, "SVG"),
    "SVG, renamed": ("a", SVG, "SVG"),
    "video": ("a.mp4", b"\0\0\0\x18ftypisom", "video"),
    "JPEG XL": ("a", b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    "by its name only": ("a.jxl", b"\xff\x0a", "JPEG XL"),
    "PDF": ("consent", b"%PDF-1.7", "PDF"),
    "PNM": ("a.ppm", b"P6\n", "PNM"),
    "volume": ("a.nii", bytes(348), "volume"),
    "zip": ("imgs_part_1.zip", b"PK\x03\x04", "archives within the data"),
    "zip, renamed": ("imgs", b"PK\x03\x04", "archives within the data"),
    "tar": ("a", bytes(257) + b"ustar\0", "archives within the data"),
    "packed table": ("a.csv.gz", b"\x1f\x8b\x08", "archives within the data"),
    "RAR": ("a.rar", b"Rar!\x1a\x07\0", "archives within the data"),
    "pixels": ("x.hdf5", b"\x89HDF\r\n\x1a\n", "export them as CSV"),
    "text of Word, which is a zip inside": ("x.docx", b"PK\x03\x04", "export them as CSV"),
    "arrays, which are a zip inside": ("x.npz", b"PK\x03\x04", "export them as CSV"),
    "Parquet": ("x.parquet", b"PAR1", "export them as CSV"),
    "JSON": ("x.json", b"{}", "export them as CSV"),
    "text of another name": ("HAM.data", b"a,b\n1,2\n", "end in .csv"),
    "program": ("train.py", b"import os", "neither images nor tables"),
    "readme": ("README", b"Read me", "neither images nor tables"),
    "licence": ("LICENSE.txt", b"MIT", "neither images nor tables"),
    "attribution of ISIC": ("ATTRIBUTION.txt", b"x", "neither images nor tables"),
    "binary without a suffix": ("core", b"\x7fELF\x02\0", "neither images nor tables"),
    "macOS": ("a/.DS_Store", b"x", "operating system"),
    "macOS, icon": ("Icon\r", b"", "operating system"),
    "macOS, twin": ("a/._a.jpg", b"x", "operating system"),
    "Windows": ("Thumbs.db", b"x", "operating system"),
    "Windows, where it came from": (
        "a/b.jpg:Zone.Identifier",
        b"[ZoneTransfer]",
        "operating system",
    ),
    "Office lock": ("~$meta.xlsx", b"x", "operating system"),
    "hidden": (".a.jpg", b"x", "begin with a dot"),
    "notebook": ("benign/.ipynb_checkpoints/a-checkpoint.jpg", b"x", "hidden folders"),
    "twins": ("__MACOSX/benign/a.jpg", b"x", "hidden folders"),
    "Synology": ("benign/@eaDir/a.jpg", b"x", "hidden folders"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_not_used_is_told_with_what_to_do(case: str) -> None:
    name, data, words = FOREIGN[case]
    told = look(name, data)
    assert not told.use
    assert words in told.reason
    assert told.subject


# name, content
TABLES = {
    "upper case": ("METADATA.CSV", b"a,b\n"),
    "no suffix": ("HAM10000_metadata", b"lesion_id,image_id,dx\n"),
    "no suffix, UTF-16": ("meta", "a,b\n".encode("utf-16")),
    "no suffix, Latin-1": ("meta", "größe,b\n".encode("latin-1")),
    "workbook": ("PH2_dataset.xlsx", b"PK\x03\x04"),
    "workbook with macros": ("PH2_dataset.XLSM", b"PK\x03\x04"),
    "old workbook": ("PH2.XLS", b"\xd0\xcf\x11\xe0"),
    "text": ("PH2_dataset.txt", b"|| Name || Histological Diagnosis\n"),
    "tabs": ("a.tab", b"a\tb"),
    "LibreOffice": ("a.ods", b"PK\x03\x04"),
    "empty, and named as a table": ("a.csv", b""),
    "begins as BMP does": ("BMI.csv", b"BMI,age\n22,40\n1234567890"),
    "begins as BMP does, no suffix": ("BMI", b"BMI,age\n22,40\n1234567890"),
    "blank behind the suffix": ("a.csv ", b"a,b"),
}


@pytest.mark.parametrize("case", TABLES)
def test_what_may_be_a_table_is_handed_on(case: str) -> None:
    assert look(*TABLES[case]) == TABLE


@pytest.mark.parametrize("name", ["_SUCCESS", "benign", "malignant_$folder$"])
def test_an_empty_mark_is_nothing(name: str) -> None:
    assert look(name) == MARK
