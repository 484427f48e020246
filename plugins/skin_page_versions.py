"""The page of a version: its figures, also at sites, its files, its model card, its moves.

Beside it: the files that may be downloaded, and the documents of results as text.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from skin_reading import attempt, checked_version, not_there, page_model, page_store
from skin_web import HEADERS, Route, render

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from fastapi.responses import Response

    from skin_pipeline.contracts import Judgement, Pointer, Release, SiteProfile
    from skin_pipeline.operations import reading
    from skin_pipeline.release import Document, Model

log = logging.getLogger(__name__)
guard(__name__)

# The files of a version that may be downloaded: never the model, nor what it says of each image.
FILES = ("report.html", "card.md", "card.json", "metrics.json", "verdict.json")
DOCUMENT_KEY = re.compile(
    r"(?:ingest|validate|split|train|evaluate|champion|external|gate)/\w+/(?:again_\w+/)?result\.json"
)
OWN = ("manifest.json", "manifest.json.sig")  # which no manifest can name
LAST_MOVES = 200  # of each alias, among which those of the version are looked for
FILE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
LONGEST = 200_000  # characters of a document that are shown


@dataclass(frozen=True)
class Site:
    """What a version reaches on images of a site: its profile and that in words, or why it must not
    be used."""

    name: str
    profile: SiteProfile | None
    words: list[str]
    problem: str


@dataclass(frozen=True)
class File:
    """A file of a version: its name, its SHA-256, its bytes (None if it is gone)."""

    name: str
    sha256: str
    size: int | None
    offered: bool


def _version_page(name: str, version: str) -> Response:
    from skin_pipeline.evaluation import wording
    from skin_pipeline.operations import lineage

    store = page_store()
    model = page_model(store, name)
    if not store.list(model.version_key(checked_version(version))):
        not_there(f"{name} has no version {version}.")
    release, problem = attempt(lambda: model.unverified.release(version), None)
    named, moves = _moves(model, version)
    shown: dict[str, Any] = {
        "model": name,
        "version": version,
        "problem": problem,
        "release": release,
        "signature": _signature(model, version),
        "named": named,
        "moves": moves,
        "last_moves": LAST_MOVES,
        "champion": _champion(model),
        "sites": _sites(model, version),
    }
    if release is None:
        return render("version.html", **shown, files=[], stages=[], origin=None, run=None, card="")
    origin = lineage.origin_of(store, release, with_runs=True)
    card, card_problem = attempt(lambda: _card(store, model, release), "")
    return render(
        "version.html",
        **shown,
        files=_files(store, model, release),
        stages=lineage.stages(origin),
        origin=origin,
        own=OWN,
        run=_judgement(model, release),
        abstaining=wording.abstaining(release.abstention, release.threshold),
        card=card,
        card_problem=card_problem,
    )


def _sites(model: Model, version: str) -> list[Site]:
    """Returns the newest profile of each site that has one for a version."""
    from skin_pipeline.release import sites

    known, shown = sites.Profiles.of(model, version), []
    for name in known.sites():
        profile, problem = attempt(partial(known.newest, name), None)
        words = sites.described(profile) if profile else []
        shown.append(Site(name, profile, words, problem))
    return shown


def _champion(model: Model) -> str:
    pointer, _ = attempt(lambda: model.unverified.pointer("champion"), None)
    return pointer.version if pointer else ""


def _signature(model: Model, version: str) -> tuple[str, str]:
    """Returns what is known of the version's signature, and why it must not be used, if so."""
    from skin_pipeline.provenance import PUBLIC_KEY

    if not model.is_signed(version):
        word = "not signed"
    elif not model.keys.public:
        word = f"signed; not verified, as {PUBLIC_KEY} is not set here"
    else:
        word = "signed with the trusted key"
    _, problem = attempt(lambda: model.release(version), None) if model.keys.public else (None, "")
    return ("not trusted" if problem else word), problem


def _files(store: reading.Reading, model: Model, release: Release) -> list[File]:
    """Returns the files of a version; those that its manifest does not name have no digest."""
    prefix = model.version_key(release.version)
    there = {key.removeprefix(f"{prefix}/"): size for key, size in store.sizes(prefix).items()}
    return [
        File(
            name,
            release.files.get(name, ""),
            there.get(name),
            name in FILES and name in release.files,
        )
        for name in sorted({*there, *release.files})
    ]


def _moves(model: Model, version: str) -> tuple[list[str], list[tuple[Pointer, str]]]:
    """Returns the aliases that name a version, and the moves to it ("to") and away ("from")."""
    named: list[str] = []
    found: list[tuple[Pointer, str]] = []
    none: list[Document] = []
    for alias in model.unverified.pointing():
        history, _ = attempt(partial(model.unverified.documents, alias, LAST_MOVES), none)
        moves = [document.move for document in history]
        named += [alias] if moves and moves[0].version == version else []
        found += [(move, "to") for move in moves if move.version == version]
        found += [(move, "from") for move in moves if move.previous == version != move.version]
    return named, sorted(found, key=lambda item: item[0].moved_at, reverse=True)


def _judgement(model: Model, release: Release) -> Judgement | None:
    """Returns the judgement of the run that made a version; its key ends with the verdict's."""
    end = f"-{release.verdict[:12]}.json"
    keys = [key for key in model.judged_keys() if key.endswith(end)]
    return attempt(lambda: model.judgement(keys[0]), None)[0] if keys else None


def _card(store: reading.Reading, model: Model, release: Release) -> str:
    """Returns the model card as HTML; "" if the version has none."""
    if "card.md" not in release.files:
        return ""
    from markupsafe import Markup

    text = _file(store, model, release, "card.md").decode(errors="replace")
    return Markup(_markdown().render(text))


@functools.cache
def _markdown() -> Any:
    """Returns a reader of Markdown that lets no HTML, no link and no picture through."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    return reader.disable(["link", "image", "autolink", "reference", "html_block", "html_inline"])


# --- files and documents -------------------------------------------------------------------------


def _file(store: reading.Reading, model: Model, release: Release, name: str) -> bytes:
    """Returns a file of a version. Raises `BadInput` if it is not the one that was published."""
    from skin_pipeline.errors import BadInput
    from skin_pipeline.storage import digest

    content = store.read(f"{model.version_key(release.version)}/{name}")
    if digest(content) != release.files[name]:
        raise BadInput(
            f"{name} of version {release.version} of {model.name} was changed: its SHA-256 is "
            f"{digest(content)}, and the manifest says {release.files[name]}"
        )
    return content


def _download(name: str, version: str, file: str) -> Response:
    """Returns a file of a version to be saved, if it is the one that was published."""
    from fastapi.responses import Response

    store = page_store()
    model = page_model(store, name)
    release, _ = attempt(lambda: model.unverified.release(checked_version(version)), None)
    if release is None or file not in FILES or file not in release.files:
        not_there("There is no such file to download.")
    content, problem = attempt(lambda: _file(store, model, release, file), b"")
    if problem:
        not_there(problem)
    saved = f'attachment; filename="{name}-{version[:12]}-{file}"'
    headers = {**HEADERS, "Content-Security-Policy": FILE_POLICY, "Content-Disposition": saved}
    return Response(content, 200, headers, "application/octet-stream")


def _document_page(key: str) -> Response:
    """Returns the document of a result as text."""
    if not DOCUMENT_KEY.fullmatch(key):
        not_there("There is no such document.")
    store = page_store()
    content, problem = attempt(lambda: store.read(key), b"")
    if problem:
        not_there(problem)
    text = content.decode(errors="replace")
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):  # the latter if it is nested too deeply
        log.warning("document_is_no_json key=%s", key)
    return render(
        "document.html", key=key, lines=text[:LONGEST].splitlines(), cut=len(text) > LONGEST
    )


ROUTES = (
    Route("/version/{name}/{version}", _version_page),
    Route("/file/{name}/{version}/{file}", _download),
    Route("/document/{key:path}", _document_page),
)
