"""A shorter way from the socket to the API, for requests and answers of one piece.

uvicorn is made for whatever ASGI allows: bodies that come and go bit by bit, applications that send
any header, a second request while the first is being answered. For a request of one kilobyte that
is half of its price. So a POST for the API whose body is there with its head, as nearly all are, is
handed over whole, and its answer is written at once; two writes are two packets, and each of them
wakes the client. Everything else goes uvicorn's own way: other paths, a body still on its way, a
request behind another one, `Expect`, HTTP/1.0.

Both ways end in the same ASGI application, and limits, time-outs and shutdown are uvicorn's. Only
that uvicorn makes a timer after each answer, to close a connection that is kept alive in vain, and
cancels it with the next request; here each connection has one, which looks when it was last used.
"""

import asyncio
from typing import cast

from uvicorn._types import (
    ASGI3Application,
    ASGIReceiveEvent,
    ASGISendEvent,
    HTTPResponseStartEvent,
)
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

PATH = b"/graphql"


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with the shorter way."""

    _pieces: list[bytes] | None = None
    """The body so far of a request that may go the shorter way."""
    _idle_until: float | None = None
    """When to close the connection, by the loop's clock; None while a request is under way."""

    def on_headers_complete(self) -> None:
        if self._is_short():
            self._pieces = []
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._pieces is None:
            super().on_body(body)
        else:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._pieces is None:
            super().on_message_complete()
            return
        body, self._pieces = b"".join(self._pieces), None
        self.scope |= {"method": "POST", "path": "/graphql", "raw_path": PATH, "query_string": b""}
        self.cycle = Whole(self, body)
        # The API asks nobody's address, so it needs no middleware that finds it behind a proxy.
        self._start_asgi_task(self.cycle, cast("ASGI3Application", self.config.app))

    def on_response_complete(self) -> None:
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_until = self.loop.time() + self.timeout_keep_alive
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_at(self._idle_until, self._look)

    def _look(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_until is None:
            return
        if self._idle_until > self.loop.time():
            self.timeout_keep_alive_task = self.loop.call_at(self._idle_until, self._look)
        else:
            self.timeout_keep_alive_handler()

    def _unset_keepalive_if_required(self) -> None:
        self._idle_until = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._pieces is not None:
            pieces, self._pieces = self._pieces, None
            if not self.transport.is_closing():
                super().on_headers_complete()
                for piece in pieces:
                    super().on_body(piece)

    def _is_short(self) -> bool:
        return (
            self.url == PATH
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
            and (self.cycle is None or self.cycle.response_complete)
            and self.limit_concurrency is None
        )


class Whole(RequestResponseCycle):
    """A request that was read in one piece, and its answer, which is written in one piece."""

    def __init__(self, protocol: Protocol, body: bytes) -> None:
        self.scope = protocol.scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.logger = protocol.logger
        self.default_headers = protocol.server_state.default_headers
        self.on_response = protocol.on_response_complete
        self.keep_alive = protocol.parser.should_keep_alive()
        self.message_event = asyncio.Event()
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self._body: bytes | None = body
        self._start: HTTPResponseStartEvent | None = None

    async def receive(self) -> ASGIReceiveEvent:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self.message_event.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        assert message["type"] == "http.response.body"
        assert self._start is not None
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        headers = [*self.default_headers, *self._start["headers"]]
        if CLOSE_HEADER in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(CLOSE_HEADER)
        pieces = [STATUS_LINE[self._start["status"]]]
        for name, value in headers:
            pieces += (name, b": ", value, b"\r\n")
        pieces += (b"\r\n", message["body"])
        self.response_started = self.response_complete = True
        self.transport.write(b"".join(pieces))
        if not self.keep_alive:
            self.transport.close()
        self.message_event.set()
        self.on_response()
