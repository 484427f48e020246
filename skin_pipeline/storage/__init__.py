"""One place for all bytes: a folder (`file://`) or S3 (`s3://`).

Takes keys and bytes, and keeps them: every other room may call it. Everything except a pointer is
written once and never changed, so a key names the same bytes for ever. A pointer moves by
compare-and-swap. Nothing half-written is ever visible under its key. Only temporary objects, such
as checkpoints, are ever removed.

    store = open_store("file:///srv/skin")
    store.put("split/4f1a/result.json", b"{}")        # True; False if the key was taken
    store.swap("models/x/champion.json", b"1", None)  # True; False: another process was faster
    data, tag = store.tagged("models/x/champion.json")
    store.swap("models/x/champion.json", b"2", tag)

Its modules, in reading order:

    keys        the contract of every store, and which keys are valid
    digests     SHA-256 of bytes, files and objects
    beneath     opens files below a folder without following a link
    files       files of this machine: clear errors, private copies
    drafts      how a file appears in a folder: whole or not at all
    folder      a store in a folder
    cache       copies of S3's objects on this machine's disk
    s3/         a store in an S3 bucket, and buckets with images
    opening     opens the store that a URL names
    updating    changes an object that several processes may change
    traffic     counts bytes
"""

from skin_pipeline.storage.cache import LocalCache, own_cache
from skin_pipeline.storage.digests import digest, digest_file, digest_named, digest_of
from skin_pipeline.storage.files import copied, copied_file, disk_errors, read_back, scratch
from skin_pipeline.storage.folder import FolderStore
from skin_pipeline.storage.keys import KeyList, Store
from skin_pipeline.storage.opening import open_store
from skin_pipeline.storage.s3.access import S3Access
from skin_pipeline.storage.s3.advice import SettingNames
from skin_pipeline.storage.s3.bucket import Bucket, S3Object
from skin_pipeline.storage.s3.client import CONNECTIONS
from skin_pipeline.storage.s3.errors import explained
from skin_pipeline.storage.s3.store import S3Store
from skin_pipeline.storage.s3.writing import S3Writing
from skin_pipeline.storage.traffic import Traffic
from skin_pipeline.storage.updating import update

__all__ = [
    "CONNECTIONS",
    "Bucket",
    "FolderStore",
    "KeyList",
    "LocalCache",
    "S3Access",
    "S3Object",
    "S3Store",
    "S3Writing",
    "SettingNames",
    "Store",
    "Traffic",
    "copied",
    "copied_file",
    "digest",
    "digest_file",
    "digest_named",
    "digest_of",
    "disk_errors",
    "explained",
    "open_store",
    "own_cache",
    "read_back",
    "scratch",
    "update",
]
