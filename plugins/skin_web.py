"""What our pages in the Airflow UI share: routes, layout, security headers, words for values.

A page is a plain function from its parameters to `render(template, …)`. Its module lists its
routes, and `skin_models` puts those of all modules into one app below `/skin-models/`:

    ROUTES = (Route("/audit", audit_page),)

Every component of Airflow loads this file, but only the API server gets requests. So FastAPI and
the templates are imported at the first request.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import inspect
import logging
import math
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from skin_request import HOME, QUERY

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.responses import Response

    from skin_pipeline.contracts import Interval

log = logging.getLogger(__name__)
guard(__name__)

PREFIX = "skin-models"
ROUTE = "models"  # of the entry in Airflow's menu, which frames our pages
PAGES = Path(__file__).parent / "skin_pages"
DASH = "\N{EN DASH}"

# The only keys of the store whose objects the page shows. No part of one starts with a dot, so
# none leads out of its folder. `again_…` is the folder of a result whose first try was killed.
REPORT_KEY = re.compile(r"gate/\w+/(?:again_\w+/)?report\.html")
DOCS_KEY = re.compile(r"(?:validate|split)/\w+/(?:again_\w+/)?docs/\w+\.html")

PAGE_POLICY = (
    "default-src 'none'; script-src 'sha256-{}'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",  # looking a report's links up would reveal that it is read
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


Field = str  # a field of a form: as the type of a parameter, written out as text
MOST = 2000  # characters of a field


class Route(NamedTuple):
    """A page or an action: its path, its function, its methods, and FastAPI dependencies that it
    has besides the right to see plugins."""

    path: str
    endpoint: Callable[..., Any]
    methods: tuple[str, ...] = ("GET",)
    dependencies: Callable[[], list[Any]] = list


# --- links ---------------------------------------------------------------------------------------


def page_link(path: str, base_url: str) -> str:
    """Returns the URL that shows one of our pages inside the Airflow UI, which requires a login.

    Args:
        path: The path of the page below `/skin-models/`, quoted, such as `view/gate/…/report.html`.
        base_url: The URL at which people reach Airflow; if it is empty, so is the link.
    """
    if not base_url:
        return ""
    base = base_url.rstrip("/")
    return f"{base}/plugin/{ROUTE}{urlsplit(base).path}/{PREFIX}/{path}"


def view_path(key: str) -> str:
    """Returns the path of the page that frames a report, relative to the page "Models"."""
    return f"view/{quote(key)}"


def readable(key: str) -> bool:
    """Returns whether the page may show the object under `key`."""
    return bool(REPORT_KEY.fullmatch(key) or DOCS_KEY.fullmatch(key))


def is_web_address(text: str) -> bool:
    """Returns whether a text from a document may be the target of a link: no script, no file."""
    return text.startswith(("https://", "http://"))


def airflow_url() -> str:
    """Returns the URL at which people reach Airflow, without a slash at its end; "" if not set."""
    from airflow.sdk.configuration import conf

    return str(conf.get("api", "base_url", fallback="") or "").rstrip("/")


# --- words for values ----------------------------------------------------------------------------


def figure(value: float) -> str:
    """Returns a figure in 0…1 as text; a dash if it is not defined."""
    return DASH if math.isnan(value) else f"{value:.3f}"


def interval(item: Interval) -> str:
    """Returns the ends of a figure's interval as text."""
    if math.isnan(item.value):
        return "not defined"
    return f"{figure(item.low)} {DASH} {figure(item.high)}"


def share(value: float) -> str:
    """Returns a figure in 0…1 as a CSS percentage."""
    return f"{100 * min(max(value, 0.0), 1.0):.1f}%" if not math.isnan(value) else "0%"


def signed(value: float) -> str:
    """Returns a difference as text, with its sign; a dash if it is not defined."""
    return DASH if math.isnan(value) else f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def around(value: float) -> str:
    """Returns a difference as a place on a bar from -0.2 to 0.2, as a CSS percentage."""
    return share(0.5 + value / 0.4) if not math.isnan(value) else "50%"


def moment(text: str) -> str:
    """Returns a time of a document to the minute; text that is no time is returned unchanged."""
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return text
    return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".rstrip()


def age(text: str) -> str:
    """Returns how long ago a time of a document is, in words; "" for text that is no time."""
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return ""
    when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
    hours = (datetime.now(timezone.utc) - when).total_seconds() / 3600
    for unit, long in (("day", 24), ("hour", 1)):
        count = int(hours / long)
        if count >= 1:
            return f"{count:,} {unit}{'' if count == 1 else 's'} ago"
    return "less than an hour ago" if hours >= 0 else "in the future"


def size(count: int) -> str:
    """Returns a number of bytes in words, such as `98.2 MB`."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} bytes"


# --- pages ---------------------------------------------------------------------------------------


@functools.cache
def environment() -> tuple[Any, str]:
    """Returns the Jinja2 environment, which escapes all values, and the content policy of pages."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from skin_pipeline.foreign import on_page

    pages = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        finalize=on_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(
        figure=figure,
        interval=interval,
        share=share,
        signed=signed,
        around=around,
        moment=moment,
        age=age,
        size=size,
        view_path=view_path,
    )
    pages.tests.update(readable=readable, web_address=is_web_address)
    script = (PAGES / "theme.js").read_bytes()
    pages.globals["theme_script"] = Markup(script.decode())
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return pages, PAGE_POLICY.format(digest)


def render(template: str, status: int = 200, **values: Any) -> Response:
    """Returns a page of `skin_pages/`, with its security headers.

    Templates know `home`, the relative link to the page "Models", which all other links start with.
    """
    from fastapi.responses import HTMLResponse

    pages, policy = environment()
    html = pages.get_template(template).render({"home": HOME.get(), **values})
    return HTMLResponse(html, status, {**HEADERS, "Content-Security-Policy": policy})


def _failed(_request: Any, error: Exception) -> Response:
    """Returns a page that says what is wrong with the store, instead of a stack trace."""
    log.error("store_unreadable error=%s: %s", type(error).__name__, error)
    heading = "The model store cannot be read"
    return render("problem.html", 503, heading=heading, problem=str(error))


def _broken(_request: Any, error: Exception) -> Response:
    """Returns the page for an unexpected error, which Airflow logs with its stack trace."""
    problem = f"{type(error).__name__}. The log of the API server says more."
    return render("problem.html", 500, heading="The page cannot be shown", problem=problem)


FORBIDDEN = (
    "This needs a right that you do not have in this Airflow. Nothing was done. Reading these "
    "pages takes the right to see plugins, and acting the right to trigger the DAG that acts. "
    "Whoever administers Airflow gives both."
)
HEADINGS = {401: "Please log in", 403: "You may not do this"}


def _refused(_request: Any, error: Any) -> Response:
    """Returns the page for what is not there, not allowed, or asked for in a way that cannot be."""
    problem = FORBIDDEN if error.detail == "Forbidden" else str(error.detail)
    heading = HEADINGS.get(error.status_code, "This was not done")
    template = "missing.html" if error.status_code == 404 else "refused.html"
    page = render(template, error.status_code, heading=heading, problem=problem)
    page.headers.update(error.headers or {})
    return page


def _misread(_request: Any, error: Any) -> Response:
    """Returns the page for an address or a form that lacks something, or has too much of it."""
    wrong = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
    return render("refused.html", 422, heading="This cannot be understood", problem=wrong)


class Placed:
    """A middleware that sets `HOME` and `QUERY`, so that links work below any base path.

    It counts the slashes of the path as it was sent: an encoded one is part of a name.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path = scope.get("raw_path") or quote(scope["path"]).encode()
            deep = path.count(b"/") - scope.get("root_path", "").count("/") - 1
            HOME.set("../" * deep or "./")
            QUERY.set(scope.get("query_string", b"").decode("latin-1"))
        await self._app(scope, receive, send)


def build_app(routes: Iterable[Route]) -> FastAPI:
    """Returns the FastAPI app; every route requires a login with the right to see plugins."""
    from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
    from airflow.api_fastapi.core_api.security import requires_access_view
    from fastapi import Depends, FastAPI
    from fastapi.exceptions import RequestValidationError
    from skin_rights import known
    from starlette.exceptions import HTTPException

    from skin_pipeline.errors import PipelineError

    # FastAPI calls plain functions as well, but its type allows only coroutines as handlers.
    handlers: dict[Any, Any] = {
        PipelineError: _failed,
        HTTPException: _refused,
        RequestValidationError: _misread,
        Exception: _broken,
    }
    app = FastAPI(
        title="Skin models",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS)), known()],
        exception_handlers=handlers,
    )
    app.add_middleware(Placed)
    for route in routes:
        app.add_api_route(
            route.path,
            _with_fields(route.endpoint),
            methods=list(route.methods),
            dependencies=route.dependencies(),
            response_model=None,
        )
    return app


def _with_fields(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a page's function, whose parameters of the type `Field` are fields of a form."""
    from typing import Annotated

    from fastapi import Form

    signature = inspect.signature(endpoint)
    field = Annotated[str, Form(max_length=MOST)]
    parameters = [
        parameter.replace(annotation=field) if parameter.annotation == "Field" else parameter
        for parameter in signature.parameters.values()
    ]
    endpoint.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return endpoint


class LazyApp:
    """An ASGI app that is built at its first request."""

    def __init__(self, build: Callable[[], FastAPI]) -> None:
        self._build = functools.cache(build)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._build()(scope, receive, send)


def icon() -> str:
    """Returns the navigation's icon as a data URL: a request for it would require the login."""
    encoded = base64.b64encode((PAGES / "icon.svg").read_bytes()).decode()
    return f"data:image/svg+xml;base64,{encoded}"
