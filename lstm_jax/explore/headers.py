"""What every answer is sent with, errors too, so that nothing but this server's own files is run.

The policy lets the browser run, style and fetch from this server alone and nothing that stands in the page's
text; no other page may frame it, read its answers or learn its address; and no cache keeps what was typed.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["HEADERS", "with_headers"]

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}

Scope = MutableMapping[str, Any]
Messages = Callable[..., Awaitable[Any]]
Application = Callable[[Scope, Messages, Messages], Awaitable[None]]


def with_headers(app: Application) -> Application:
    """The ASGI application, each of whose answers has HEADERS besides its own."""
    added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def answered(scope: Scope, receive: Messages, send: Messages) -> None:
        async def sent(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", []) if pair[0].decode() not in HEADERS]
                message["headers"] = [*kept, *added]
            await send(message)

        await app(scope, receive, sent)

    return answered
