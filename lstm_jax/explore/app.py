"""The page's addresses: `/`, `/static/...` and `/read`, which answers a text; and their bounds."""

import asyncio
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_jax.explore.headers import with_headers
from lstm_jax.explore.view import ORDERS, View
from lstm_jax.support.errors import UserError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["BODY", "WAITING", "make_app", "need_libraries"]

BODY = 64 * 1024
"""Bytes of a request, at most: the longest text with every character escaped."""
SLOWEST = 10.0
"""Seconds in which a request must have come."""
WAITING = 8
"""Texts that wait for their turn, at most; one is read at a time."""
HERE = Path(__file__).parent


class _Refused(Exception):
    """A request that is not answered: its status and the reason."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


def need_libraries() -> None:
    """Raises UserError where the page's libraries are missing."""
    missing = [name for name in ("jinja2", "starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"the page needs libraries that are missing ({', '.join(missing)}): pip install -e '.[explore]'"
        )


def make_app(view: View, hosts: Sequence[str]) -> Any:
    """The ASGI application of the page.

    It keeps nothing of what was typed: texts come in the bodies of requests, which no log has.

    Args:
      view: of the run.
      hosts: names and addresses by which the page may be asked for. A page from elsewhere whose name is made
        to point here (DNS rebinding) asks by another, and gets nothing.
    """
    import jinja2
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    loader = jinja2.FileSystemLoader(HERE / "templates")
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    page = templates.get_template("page.html").render(view.facts)
    turn = asyncio.Semaphore(1)
    waiting = 0

    async def index(request: "Request") -> "Response":
        return HTMLResponse(page)

    async def read(request: "Request") -> "Response":
        nonlocal waiting
        try:
            text, layer, order = await _asked(request)
            if waiting >= WAITING:
                raise _Refused(503, "too many texts at once: try again in a moment")
            waiting += 1
            try:
                async with turn:
                    found = await run_in_threadpool(view.read, text, layer, order)
            finally:
                waiting -= 1
        except UserError as error:
            return JSONResponse({"error": str(error)}, 422)
        except _Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        return JSONResponse(found)

    routes = [
        Route("/", index),
        Route("/read", read, methods=["POST"]),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    app = Starlette(routes=routes)
    return with_headers(TrustedHostMiddleware(app, list(hosts), www_redirect=False))


async def _asked(request: "Request") -> tuple[str, int, str]:
    """(text, layer from 0, order) of a request. Raises _Refused."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which a page from elsewhere may not send
        raise _Refused(415, "send application/json")
    try:
        async with asyncio.timeout(SLOWEST):
            body = await _body(request)
    except TimeoutError:
        raise _Refused(408, f"the request took more than {SLOWEST:g} seconds to come") from None
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise _Refused(400, "that is not JSON") from None
    asked = asked if isinstance(asked, dict) else {}
    text, layer, order = asked.get("text"), asked.get("layer", 0), asked.get("order", ORDERS[0])
    if not isinstance(text, str) or type(layer) is not int or not isinstance(order, str):
        raise _Refused(400, 'expected {"text": a string, "layer": a number, "order": a string}')
    return text.replace("\r\n", "\n"), layer, order


async def _body(request: "Request") -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY:
            raise _Refused(413, f"no more than {BODY} bytes are taken")
    return body
