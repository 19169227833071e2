"""The page's socket: where it listens, by which names it may be asked for, and how it stops."""

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

from lstm_jax.support.errors import UserError

__all__ = ["address_of", "allowed_hosts", "is_loopback", "listen", "serve"]

CONNECTIONS = 64
"""Open at once; what comes beyond is told that the server is busy."""
SLOWEST = 15.0
"""Seconds in which a request's header must have come, and then its body (a slow one is answered by `app`
before); else the connection is closed, so that those who leave theirs half-way do not keep the others out."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens already, so that a browser waits while the run is loaded.

    Args:
      host: address or name of this machine; "0.0.0.0" or "::" are all its addresses.
      port: 0 takes any that is free.

    Raises:
      UserError: the port is taken or not allowed, or the host is not this machine's.
    """
    if not host:
        raise UserError("--host is empty: an address of this machine, 127.0.0.1 by default")
    if not 0 <= port <= 65535:
        raise UserError(f"port={port}: a number from 0 (any that is free) to 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} of {host} is taken, perhaps by another page: give another with --port=N, or "
                "--port=0 for any that is free"
            ) from error
        if error.errno == errno.EACCES:
            raise UserError(f"port {port} is not for you: give one from 1024 up, or --port=0") from error
        raise UserError(
            f"cannot listen at {host}, port {port} ({error.strerror}): --host is an address of this machine, "
            "127.0.0.1 by default"
        ) from error


def address_of(listener: socket.socket) -> str:
    """The page's address for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1" if listener.family == socket.AF_INET else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def allowed_hosts(host: str, more: Sequence[str] = ()) -> list[str]:
    """Names and addresses by which the page may be asked for, as a Host header gives them.

    Args:
      host: where it listens.
      more: further names, e.g. of a proxy.
    """
    names = ["localhost", "127.0.0.1", "::1", host, *more]
    if not is_loopback(host):
        names.append(socket.gethostname())
        with contextlib.suppress(OSError):
            names += [str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)]
        names += _outward()
    # "*" would let any page in.
    chosen = dict.fromkeys(f"[{name}]" if ":" in name else name for name in names if name and "*" not in name)
    return list(chosen)


def _outward() -> list[str]:
    """The address by which this machine speaks to others, where it has one; nothing is sent."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # of RFC 5737, nobody's
        return [str(probe.getsockname()[0])]
    return []


def protocol() -> Any:
    """The protocol of a connection, uvicorn's with a limit of SLOWEST: by itself it waits for ever."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Protocol(H11Protocol):
        expected: Any = None  # h11.IDLE: a header; h11.SEND_BODY: a body
        limit: Any = None

        def watch(self) -> None:
            if self.conn.their_state is not self.expected:
                self.expected = self.conn.their_state
                self.forget()
                if self.expected in (h11.IDLE, h11.SEND_BODY):
                    self.limit = self.loop.call_later(SLOWEST, self.transport.close)

        def forget(self) -> None:
            if self.limit is not None:
                self.limit.cancel()

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self.forget()
            super().connection_lost(exc)

    return Protocol


def serve(app: Any, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Answers until Ctrl-C or SIGTERM.

    Args:
      app: of `make_app`.
      listener: of `listen`; closed at the end.
      ready: called once requests are answered.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=16 * 1024,
    )
    with listener, contextlib.suppress(KeyboardInterrupt):  # which is how a person ends it
        Server(config).run([listener])
