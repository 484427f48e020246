"""All routes of our app, whatever they are asked: nothing breaks, leaks, runs or is written.

The routes are those that the app itself lists, so a new page is tried as soon as it is there.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import tempfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import requests
import sharing
import skin_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import escape
from models_server import REAL, AirflowUi, api_server, interval, know_dags

from skin_pipeline.contracts import Action, Judgement, Pointer, dump
from skin_pipeline.operations import actions, incidents
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Registry

pytestmark = pytest.mark.airflow

EXAMPLES = 12  # for each route and user
SCRIPT = "<script>alert('planted')</script>"
IMAGE = "<img src=x onerror=alert('planted')>"
QUOTE = "\"' onfocus=alert('planted') autofocus x='"
LINK = "javascript:alert('planted')"
HOSTILE = (SCRIPT, IMAGE, QUOTE, LINK, "{{ 7 * 191 }}", '=HYPERLINK("//evil.test")')
RUN = "scheduled__2026-06-15T03:00:00+00:00"
PRIVATE, OUTSIDE = "not for the page", "outside of the store"
PATHS = (
    *("..", ".", "../../outside.txt", "..%2f..%2foutside.txt", "%2e%2e/%2e%2e/outside.txt"),
    *("/etc/passwd", "weights/private.html", "models", "gate/../weights/private.html", "a//b"),
    *("\x00", "a\nb", "\\..\\outside.txt", "\u202e", "\ud800", "x" * 5000, "", "0", "-1", "NaN"),
    *("1e999", "9" * 30, "2026-02-30", "0000-00-00", "9999-12-31", "null", "[]", "*", "%"),
)
IN_MODEL_NAMES = "models/<img src=x onerror=alert('planted')>"


class Operation(NamedTuple):
    """A route and a method, with the names of what it takes."""

    method: str
    path: str
    in_path: tuple[str, ...]
    in_query: tuple[str, ...]
    fields: tuple[str, ...]


def operations() -> list[Operation]:
    """All that the app answers, as its own description says, which it shows to nobody."""
    schema = skin_models.build().openapi()
    found = []
    for path, methods in schema["paths"].items():
        for method, item in methods.items():
            named: dict[str, list[str]] = {"path": [], "query": []}
            for parameter in item.get("parameters", ()):
                named.setdefault(parameter["in"], []).append(parameter["name"])
            body = item.get("requestBody", {}).get("content", {})
            fields: list[str] = []
            for content in body.values():
                reference = content["schema"].get("$ref") or content["schema"]["allOf"][0]["$ref"]
                about = schema["components"]["schemas"][reference.rpartition("/")[2]]
                fields += about["properties"]
            found.append(
                Operation(
                    method.upper(), path, tuple(named["path"]), tuple(named["query"]), tuple(fields)
                )
            )
    return found


OPERATIONS = operations()
NAMES = [f"{operation.method} {operation.path}" for operation in OPERATIONS]


def test_every_route_of_the_app_is_tried() -> None:
    """Also one that FastAPI leaves out of its description would be a way in."""
    app = skin_models.build()
    routes = {
        f"{method} {route.path}".replace(":path}", "}")
        for route in list[Any](app.routes)
        for method in getattr(route, "methods", ())
        if method != "HEAD"
    }
    assert routes == set(NAMES)
    assert len(routes) >= 10


@pytest.fixture(scope="module")
def ui() -> Iterator[AirflowUi]:
    """An Airflow of its own, whose store contains what attackers may have written into it."""
    home = Path(tempfile.mkdtemp(prefix="airflow-", dir=sharing.folder()))
    with api_server(home, prepare=know_dags) as ui:
        plant(ui)
        yield ui


def plant(ui: AirflowUi) -> None:
    """Write hostile words wherever a document has words, and files that no page may show."""
    store = ui.store
    (store.root.parent / "outside.txt").write_text(OUTSIDE)
    for number, words in enumerate(HOSTILE):
        at = f"2026-07-0{number + 1}T03:00:00+00:00"
        model = Registry(store, SigningKeys()).model(REAL)
        figure = interval(0.8)
        model.record(
            Judgement(
                model=words,
                run=words,
                judged_at=at,
                approved=False,
                version=words,
                reasons=(words,),
                accuracy=figure,
                sensitivity=figure,
                auc=figure,
                report=words,
                docs=words,
            ),
            f"planted-{number}",
        )
        incidents.seen(
            store, "drift", words, model=words, headline=words, text=[words], links={words: LINK}
        )
        with actions.recorded(
            store,
            Action(
                kind="move",
                model=words,
                subject=words,
                plan=words,
                by=words,
                reason=words,
                dag=words,
                run=words,
                at=at,
            ),
        ) as doing:
            doing.result = words
        pointer = Pointer(
            model=REAL, version=words, previous=words, moved_at=words, by=words, reason=words
        )
        alias = f"alias-{number}"
        store.put(f"models/{REAL}/{alias}.json", dump(pointer.model_copy(update={"alias": alias})))
    for key in ("judged/x.json", "moves/champion/99999999.json", "canary.json"):
        store.put(f"{IN_MODEL_NAMES}/{key}", SCRIPT.encode())
    store.put("approvals/x/y.json", SCRIPT.encode())
    store.put("actions/20260701T000000-x/intent.json", SCRIPT.encode())
    store.put("incidents/zzzz.json", SCRIPT.encode())


def values(ui: AirflowUi) -> st.SearchStrategy[str]:
    """What is asked for: what there is, what leads elsewhere, and anything."""
    versions = sorted(path.name for path in (ui.store.root / f"models/{REAL}/versions").iterdir())
    there = [REAL, "champion", *versions, RUN, "skin_training", "skin_rollback", "move"]
    there += [path.stem for path in (ui.store.root / "incidents").iterdir()]
    there += [key for key in ui.store.list("gate") if key.endswith("report.html")][:2]
    return st.one_of(
        st.sampled_from(there),
        st.sampled_from([*PATHS, *HOSTILE]),
        st.text(max_size=40),
    )


Check = Callable[[Operation, requests.Response], None]


def tried(ui: AirflowUi, operation: Operation, session: requests.Session, check: Check) -> None:
    """Sends many requests to a route, and checks each answer."""
    value = values(ui)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        path=st.fixed_dictionaries(dict.fromkeys(operation.in_path, value)),
        query=st.dictionaries(st.sampled_from(operation.in_query or ("x",)), value),
        fields=st.dictionaries(st.sampled_from(operation.fields or ("x",)), value),
        raw=st.booleans(),
    )
    def ask(path: dict[str, str], query: dict[str, str], fields: dict[str, str], raw: bool) -> None:
        filled = operation.path
        for name, text in path.items():
            part = (
                re.sub(r"[\s#?]", "", text) if raw else quote(text.encode("utf-8", "replace"), "")
            )
            filled = filled.replace(f"{{{name}}}", part)
        prepared = session.prepare_request(
            requests.Request(
                operation.method,
                f"{ui.url}/skin-models/",
                params=_sent(query),
                data=_sent(fields) if operation.fields else None,
            )
        )
        rest = prepared.url.partition("?")[2] if prepared.url else ""
        path_sent = quote(filled.encode("utf-8", "replace"), "/%:@!$&'()*+,;=~-._")
        prepared.url = f"{ui.url}/skin-models{path_sent}?{rest}"  # as it is, dots and all
        check(operation, session.send(prepared, timeout=300, allow_redirects=False))

    ask()


def _sent(texts: dict[str, str]) -> dict[str, bytes]:
    return {name: text.encode("utf-8", "replace") for name, text in texts.items()}


def state(ui: AirflowUi) -> Any:
    """All that an action could change: the store, and Airflow's tables."""
    files = [path for path in ui.store.root.rglob("*") if path.is_file()]
    digests = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    tables = ("dag_run", "task_instance", "variable", "connection", "dag")
    return digests, [ui.count(table) for table in tables]


def safe(operation: Operation, answer: requests.Response) -> None:
    """Checks what holds for whoever asks."""
    asked = f"{operation.method} {answer.request.url} {answer.request.body!r}"
    assert answer.status_code < 500, f"{asked}: {answer.text[:500]}"
    text = html.unescape(answer.text)
    assert PRIVATE not in text, asked
    assert OUTSIDE not in text, asked
    assert "root:x:0:0" not in text, asked
    assert "1337" not in re.sub(r"\d{5,}|0\.\d+", "", text) or "7 * 191" in text, asked
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        runs_nothing(answer, asked)


SCRIPT_FILE = Path(skin_models.__file__).parent / "skin_pages/theme.js"
THEME = SCRIPT_FILE.read_text().strip()
POLICY = base64.b64encode(hashlib.sha256(SCRIPT_FILE.read_bytes()).digest()).decode()


def runs_nothing(answer: requests.Response, asked: str) -> None:
    """Checks that no script can run but our own, twice: by what is there and by the policy."""
    policy = answer.headers.get("Content-Security-Policy", "")
    rules = {name: values for name, *values in (rule.split() for rule in policy.split(";") if rule)}
    assert rules.get("default-src") == ["'none'"], asked
    if "sandbox" in rules:  # a stored report, which is shown as it is
        assert "allow-scripts" not in rules["sandbox"], asked
        return
    assert rules["script-src"] == [f"'sha256-{POLICY}'"], asked
    found = Found()
    found.feed(answer.text)
    assert found.scripts == [THEME], asked
    assert not found.wrong, f"{asked}: {found.wrong}"


class Found(HTMLParser):
    """The scripts of a page, and what else could run one."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.wrong: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        if tag in {"object", "embed", "base"}:
            self.wrong.append(tag)
        for name, value in attrs:
            address = (value or "").strip().lower()
            ours = name not in {"href", "src", "action", "formaction"} or not re.match(
                r"(?:javascript|vbscript|data:text|//|https?:)", address
            )
            if name.startswith("on") or name == "srcdoc" or not ours:
                self.wrong.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


def known_to_strangers(operation: Operation, answer: requests.Response) -> None:
    """Checks an answer to somebody who has not logged in."""
    safe(operation, answer)
    if answer.status_code == 307:  # to the same address without its last slash, which is refused
        ours = str(answer.request.url).partition("/skin-models/")[0]
        assert answer.headers["Location"].startswith(f"{ours}/skin-models/")
        return
    assert answer.status_code in {401, 404, 405}, f"{answer.request.url}: {answer.status_code}"
    assert REAL not in answer.text.replace(str(answer.request.url), "")


def shown_to_readers(operation: Operation, answer: requests.Response) -> None:
    """Checks an answer to somebody who may only read."""
    safe(operation, answer)
    if operation.method != "GET":
        assert answer.status_code in {403, 404}, f"{answer.request.url}: {answer.status_code}"
    assert '<form method="post"' not in answer.text


def answered_without_our_form(operation: Operation, answer: requests.Response) -> None:
    """Checks an answer to somebody who may act, but has sent no form of ours."""
    safe(operation, answer)
    if operation.method != "GET":
        assert answer.status_code in {403, 422}, f"{answer.request.url}: {answer.status_code}"


@pytest.mark.parametrize(
    ("user", "check"),
    [
        ("", known_to_strangers),
        ("victor", shown_to_readers),
        ("eve", answered_without_our_form),
        ("olga", answered_without_our_form),
    ],
    ids=["without a login", "as viewer", "as editor", "as op"],
)
def test_whatever_is_asked_nothing_breaks_leaks_runs_or_is_written(
    ui: AirflowUi, user: str, check: Check
) -> None:
    session = ui.session(user) if user else requests.Session()
    before = state(ui)
    for operation in OPERATIONS:
        tried(ui, operation, session, check)
    assert state(ui) == before


def test_the_planted_words_are_on_the_pages_as_words(ui: AirflowUi) -> None:
    """Otherwise the rest would show little."""
    session = ui.session("eve")
    pages = {
        path: session.get(f"{ui.url}/skin-models/{path}", timeout=300).text
        for path in ("", "act", "audit", "audit.csv")
    }
    for path in ("act", "audit"):
        for words in (SCRIPT, IMAGE, LINK):
            assert str(escape(words)) in pages[path], path
    assert "'=HYPERLINK" in pages["audit.csv"]
    assert not re.search(r"(?m)(?:^|,)\"?=HYPERLINK", pages["audit.csv"])
