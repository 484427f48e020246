"""Recognises files: an image that is read, an image of another kind, a table, or something else.

    look = by_name(("benign", "a.jpg"), size=4711) or by_content(("benign", "a.jpg"), first_bytes)

A file with the suffix of an image counts as an image without a look inside: a damaged one belongs
to the data too, and is quarantined later. For every other file the first bytes decide, so that an
image is found under any name. Folders, archives and buckets follow the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

HEAD = 2048  # first bytes of a file: enough for the marks of tar (byte 257) and DICOM (byte 128)
MOST_BYTES = 256 * 2**20  # of an image or a table; real ones are smaller
SUFFIXES = frozenset({
    *(".apng", ".bmp", ".dib", ".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".mpo"),
    *(".pjp", ".pjpeg", ".png", ".tif", ".tiff", ".webp"),
})  # fmt: skip
# Files that may be a table of metadata; their content decides. HAM10000's has no suffix at all.
TABLE_SUFFIXES = frozenset({
    *("", ".csv", ".ods", ".tab", ".tsv", ".txt", ".xls", ".xlsm", ".xlsx"),
})  # fmt: skip
Use = Literal["image", "table", ""]

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")
BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}  # possible lengths of the header after "BM"
CAMERA = frozenset({
    *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mos", ".mrw", ".nef"),
    *(".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
})  # fmt: skip
RAW = "raw camera"
# Images that are not read, by what their names end with.
OTHER_SUFFIXES: dict[str, str] = {
    **dict.fromkeys(CAMERA, RAW),
    **dict.fromkeys((".heic", ".heics", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    **dict.fromkeys((".dcm", ".dicom"), "DICOM"),
    **dict.fromkeys((".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"), "JPEG 2000"),
    **dict.fromkeys((".hdp", ".jxr", ".wdp"), "JPEG XR"),
    **dict.fromkeys((".pbm", ".pgm", ".pnm", ".ppm"), "PNM"),
    **dict.fromkeys((".svg", ".svgz"), "SVG"),
    **dict.fromkeys((".czi", ".ndpi", ".svs"), "whole-slide"),
    **dict.fromkeys((".mha", ".mhd", ".nii"), "volume"),
    **dict.fromkeys((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"), "video"),
    ".gif": "GIF", ".jxl": "JPEG XL", ".psd": "Photoshop", ".xcf": "GIMP", ".ico": "icon",
    ".tga": "TGA", ".pcx": "PCX", ".exr": "OpenEXR", ".hdr": "Radiance HDR", ".dds": "DDS",
    ".pdf": "PDF", ".eps": "EPS",
}  # fmt: skip
# And by their first bytes.
OTHER_STARTS: dict[bytes, str] = {
    b"GIF87a": "GIF", b"GIF89a": "GIF", b"8BPS\0": "Photoshop", b"gimp xcf": "GIMP",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL", b"II\xbc\x01": "JPEG XR",
    b"v/1\x01": "OpenEXR", b"#?RADIANCE": "Radiance HDR", b"%PDF-": "PDF", b"DDS ": "DDS",
    b"FUJIFILMCCD-RAW": RAW, b"IIRO": RAW, b"IIRS": RAW, b"MMOR": RAW, b"IIU\0": RAW,
    b"FOVb": RAW, b"BPG\xfb": "BPG", b"qoif": "QOI", b"\x8aMNG\r\n": "MNG",
}  # fmt: skip
HEIC_BRANDS = {
    b"heic",
    b"heix",
    b"heim",
    b"heis",
    b"hevc",
    b"hevx",
    b"hevm",
    b"hevs",
    b"mif1",
    b"msf1",
}
AVIF_BRANDS = {b"avif", b"avis"}

PACKED_STARTS: dict[bytes, str] = {
    b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"Rar!\x1a\x07": "RAR", b"7z\xbc\xaf'\x1c": "7z",
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"(\xb5/\xfd": "Zstandard",
    b"\x04\"M\x18": "LZ4", b"\x1f\x9d": "compress",
}  # fmt: skip
PACKED_SUFFIXES: dict[str, str] = {
    **dict.fromkeys((".tar", ".tbz", ".tgz", ".txz"), "tar"),
    **dict.fromkeys((".zip", ".z01", ".zipx"), "zip"),
    ".rar": "RAR", ".7z": "7z", ".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard",
    ".001": "split",
}  # fmt: skip
TAR = slice(257, 262)
# Files that may contain tables or arrays, in formats that are not read.
DATA_SUFFIXES = frozenset({
    *(".accdb", ".arff", ".db", ".doc", ".docx", ".dta", ".feather", ".h5", ".hdf5", ".json"),
    *(".jsonl", ".mat", ".mdb", ".npy", ".npz", ".numbers", ".odt", ".parquet", ".pkl", ".ppt"),
    *(".pptx", ".rdata", ".rds", ".sav", ".sqlite", ".xlsb", ".xml"),
})  # fmt: skip
# Beginnings of the names of texts about the data, which are no tables.
PAPERS = ("attribution", "changelog", "citation", "copying", "copyright", "licence", "license",
          "readme")  # fmt: skip

HIDDEN_FOLDERS = frozenset({
    *("__macosx", "__pycache__", "$recycle.bin", "system volume information", "@eadir"),
    *("#recycle", "lost+found"),
})  # fmt: skip
SYSTEM_FILES = frozenset({
    ".ds_store",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "icon%0d",
})
ZONE = ":zone.identifier"  # Windows marks downloads with it; elsewhere it becomes a file
NOTHING_TO_DO = "; nothing is lost by it"
SYSTEM = f"files that an operating system adds by itself{NOTHING_TO_DO}"
HIDDEN_FOLDER = "hidden folders are not looked into; rename the folder if its images are wanted"
HIDDEN_FILE = "files whose names begin with a dot are not read; rename those that are wanted"
PACKED = (
    "archives within the data are not unpacked; if there are images or tables in them, unpack them "
    "and give the folder as `data`"
)
DATA = "files of this kind are not read; if they describe the images, export them as CSV"
OTHER = "neither images nor tables"
UNKNOWN_TEXT = (
    "text without the suffix of a table; if it is a table, let its name end in .csv, .tsv or .txt"
)


class Look(NamedTuple):
    """What a file is used as; if it is not used, the subject and the reason of a notice.

    If `use` and `reason` are both empty, the file is an empty marker, for which there is no notice.
    """

    use: Use
    subject: str = ""
    reason: str = ""


IMAGE, TABLE, MARK = Look("image"), Look("table"), Look("")


def by_name(parts: tuple[str, ...], size: int) -> Look | None:
    """Returns what a file is, by its path and size; None if its first bytes must decide."""
    name = parts[-1].casefold()
    folder = next((part for part in parts[:-1] if _is_hidden_folder(part)), None)
    if folder is not None:
        return Look("", f"hidden folder {folder}", HIDDEN_FOLDER)
    if name in SYSTEM_FILES or name.startswith(("._", "~$")) or name.endswith(ZONE):
        return Look("", "system files", SYSTEM)
    if name.startswith("."):
        return Look("", "hidden files", HIDDEN_FILE)
    if suffix_of(name) in SUFFIXES:
        return IMAGE
    if size == 0 and (not suffix_of(name) or name.endswith("_$folder$")):
        return MARK  # some tools write such a file to keep an empty folder, or when they are done
    return None


def _is_hidden_folder(part: str) -> bool:
    return part.startswith(".") or part.casefold() in HIDDEN_FOLDERS


def by_content(parts: tuple[str, ...], head: bytes) -> Look:
    """Returns what a file is, by its first `HEAD` bytes; for names that `by_name` does not know."""
    suffix = suffix_of(parts[-1])
    # Raw files of cameras begin like TIFF.
    if is_read(head) and suffix not in CAMERA and head[8:10] != b"CR":
        return IMAGE
    if kind := other_image(suffix, head):
        reason = f"{kind} files are not read; if these are lesions, save them as PNG or JPEG"
        return Look("", shown_suffix(suffix), reason)
    if _may_be_a_table(parts[-1], suffix, head):
        return TABLE
    if suffix in DATA_SUFFIXES:  # many of them are zips inside, but nobody would unpack them
        return Look("", shown_suffix(suffix), DATA)
    if packed(suffix, head):
        return Look("", shown_suffix(suffix), PACKED)
    is_paper = parts[-1].casefold().startswith(PAPERS)
    is_text = suffix not in PLAIN and not is_paper and _is_text(head)
    return Look("", shown_suffix(suffix), UNKNOWN_TEXT if is_text else OTHER)


# Suffixes of texts that are certainly no tables, so that no advice is needed.
PLAIN = frozenset({
    *(".bat", ".c", ".cfg", ".cpp", ".css", ".h", ".htm", ".html", ".ini", ".ipynb", ".js", ".log"),
    *(".m", ".md", ".py", ".r", ".rst", ".rtf", ".sh", ".tex", ".toml", ".yaml", ".yml"),
})  # fmt: skip


def _may_be_a_table(name: str, suffix: str, head: bytes) -> bool:
    if suffix in {"", ".txt"} and name.casefold().startswith(PAPERS):
        return False
    return suffix in TABLE_SUFFIXES and (bool(suffix) or _is_text(head))


def is_read(head: bytes) -> bool:
    """Returns whether a file begins like an image that is read: JPEG, PNG, TIFF, WebP or BMP."""
    is_webp = (head[:4], head[8:12]) == (b"RIFF", b"WEBP")
    is_bmp = head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS
    return is_webp or is_bmp or head.startswith((JPEG, PNG, *TIFF))


def other_image(suffix: str, head: bytes) -> str:
    """Returns the kind of an image, video or document that is not read; "" if it is none."""
    return _kind(OTHER_STARTS, head) or _boxed(head) or OTHER_SUFFIXES.get(suffix, "")


def no_image(head: bytes) -> str:
    """Returns what a file that is named as an image is instead, and what to do; "" if unknown."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "is a web page, as of a download that failed; download the file again"
    if start.startswith(b"version https://git-lfs"):
        return "is only a pointer of Git LFS; fetch the file itself with `git lfs pull`"
    if kind := other_image("", head):
        return f"is a {kind} file, which is not read; save it as PNG or JPEG"
    if kind := packed("", head):
        return f"is packed ({kind}); unpack it"
    if start and head[:64].isascii() and _is_text(head):
        return "is a text and no image"
    return "" if head.strip(b"\0") else "has nothing but zeros, as of a download that failed"


def _boxed(head: bytes) -> str:
    """Returns the kind of an image whose mark is not at the very beginning; "" for others."""
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, 40, 4))}
        if brands & AVIF_BRANDS:
            return "AVIF"
        if b"crx " in brands:
            return RAW
        return "HEIC" if brands & HEIC_BRANDS else "video"
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[:4] in TIFF and head[8:10] == b"CR":
        return RAW
    is_svg = b"<svg" in head and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((
        b"<?xml",
        b"<!",
        b"<svg",
    ))
    return "SVG" if is_svg else ""


def packed(suffix: str, head: bytes) -> str:
    """Returns the kind of an archive; "" if a file is none."""
    is_tar = head[TAR] == b"ustar"
    return "tar" if is_tar else _kind(PACKED_STARTS, head) or PACKED_SUFFIXES.get(suffix, "")


def _kind(starts: Mapping[bytes, str], head: bytes) -> str:
    return next((kind for start, kind in starts.items() if head.startswith(start)), "")


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
        return True
    return bool(head) and not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head)


def suffix_of(name: str) -> str:
    """Returns the suffix of a name, in lower case and without spaces around it."""
    return PurePosixPath(name.strip()).suffix.casefold()


def shown_suffixes() -> str:
    """Returns the suffixes of the images that are read, for messages."""
    return ", ".join(sorted(SUFFIXES))


def shown_suffix(suffix: str) -> str:
    """Returns a suffix for a notice; a strange one is not shown."""
    return suffix if re.fullmatch(r"\.\w{1,10}", suffix) else "no usual suffix"
