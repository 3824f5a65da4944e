"""The shorter way answers as uvicorn's own does, however the bytes of a request come."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.protocol import Protocol, Whole

PATIENCE_SECONDS = 30


class Echo:
    """Answers with what it was asked, and remembers by which way that came."""

    def __init__(self) -> None:
        self.short: list[bool] = []
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.heard: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.short.append(isinstance(getattr(receive, "__self__", None), Whole))
        body, more = b"", True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            body += message["body"]
            more = message["more_body"]
        self.asked.set()
        if body == b"wait for the end":
            self.heard = (await receive())["type"]
            return
        if body == b"fail":
            raise RuntimeError(body)
        await self.go_on.wait()
        told = [scope[name] for name in ("method", "path", "raw_path", "query_string")]
        headers = sorted(scope["headers"])
        answer = repr((told, headers, body, scope["http_version"], scope["scheme"])).encode()
        response_headers = [(b"content-length", str(len(answer)).encode()), (b"x-name", b"v")]
        if body == b"close":
            response_headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 201, "headers": response_headers})
        await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def serving(
    protocol: type[HttpToolsProtocol], echo: Echo
) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    config = uvicorn.Config(
        echo, http=protocol, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=10
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve(None))  # noqa: SLF001  leaves the signals alone
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, PATIENCE_SECONDS)


def request(
    body: bytes = b"{}", *, path: str = "/graphql", method: str = "POST", headers: str = ""
) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: here\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


LARGE = request(b"x" * 1_000_000)
CHUNKED = (
    b"POST /graphql HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
)
LAST = request(b"close")
WHOLE = (True,)


@pytest.mark.parametrize(
    ("pieces", "short"),
    [
        ([request(), LAST], (True, True)),
        ([request(b""), LAST], (True, True)),
        ([CHUNKED, LAST], (True, True)),
        ([request(headers="A: 1\r\nA: 2\r\n"), LAST], (True, True)),
        ([request() + LAST], (True, False)),
        ([request() + request() + LAST], (True, False, False)),
        ([request()[:20], request()[20:], LAST], (True, True)),
        ([request()[:-2], request()[-2:], LAST], (False, True)),
        ([request()[:-1], request()[-1:] + LAST], (False, False)),
        ([CHUNKED[:-9], CHUNKED[-9:], LAST], (False, True)),
        ([LARGE[:70_000], LARGE[70_000:], LAST], (False, True)),
        ([request(path="/graphql?query=a"), LAST], (False, True)),
        ([request(path="/health/live"), LAST], (False, True)),
        ([request(method="PUT"), LAST], (False, True)),
        ([request(headers="Expect: 100-continue\r\n"), LAST], (False, True)),
        ([request(headers="Upgrade: h2c\r\nConnection: Upgrade\r\n")], (False,)),
        ([request(headers="Connection: close\r\n")], WHOLE),
        ([request().replace(b"1.1", b"1.0")], (False,)),
        ([request(b"fail")], WHOLE),
        ([request(b"abc")[:-2], b"b"], (False,)),
        ([b"nonsense\r\n\r\n"], ()),
        ([request() + b"nonsense\r\n\r\n"], WHOLE),
        ([CHUNKED.replace(b"2\r\nde", b"z\r\nde")], ()),
    ],
)
async def test_both_ways_answer_alike(pieces: Sequence[bytes], short: Sequence[bool]) -> None:
    answers = []
    for protocol in (HttpToolsProtocol, Protocol):
        echo = Echo()
        answers.append(await exchange(protocol, echo, pieces))
    assert answers[0] == answers[1]
    assert echo.short == list(short)


class Wire(asyncio.Transport):
    """Takes what is written; without sockets it is certain which bytes come together."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


async def exchange(
    protocol: type[HttpToolsProtocol], echo: Echo, pieces: Sequence[bytes]
) -> tuple[bytes, bool, int]:
    """All that is answered to the pieces, whether the server hung up, and what it counted."""
    config = uvicorn.Config(echo, http=protocol, lifespan="off", log_config=None)
    config.load()
    state, wire = uvicorn.server.ServerState(), Wire()
    state.default_headers = [(b"date", b"today")]
    connection = protocol(config, state, {})
    connection.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
        for _ in range(20):
            await asyncio.sleep(0)
    connection.connection_lost(None)
    for task in tuple(state.tasks):
        task.cancel()
    await asyncio.gather(*state.tasks, return_exceptions=True)
    return b"".join(wire.written), wire.closed, state.total_requests


async def test_a_client_that_goes_is_noticed() -> None:
    echo = Echo()
    async with serving(Protocol, echo) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(b"wait for the end"))
        await asyncio.wait_for(echo.asked.wait(), PATIENCE_SECONDS)
        writer.close()
        while echo.heard is None:
            await asyncio.sleep(0.01)
        assert (echo.heard, echo.short) == ("http.disconnect", [True])
        while server.server_state.connections or server.server_state.tasks:
            await asyncio.sleep(0.01)


async def test_a_request_in_flight_is_answered_before_the_end() -> None:
    echo = Echo()
    echo.go_on.clear()
    async with serving(Protocol, echo) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        await asyncio.wait_for(echo.asked.wait(), PATIENCE_SECONDS)
        server.should_exit = True
        while server.servers[0].sockets:
            await asyncio.sleep(0.01)
        echo.go_on.set()
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        assert answer.startswith(b"HTTP/1.1 201 Created\r\n")
        assert b"\r\nconnection: close\r\n" in answer
        assert server.server_state.total_requests == 1
        writer.close()


@pytest.mark.parametrize("protocol", [HttpToolsProtocol, Protocol])
async def test_only_idle_connections_are_closed(protocol: type[HttpToolsProtocol]) -> None:
    echo = Echo()
    config = uvicorn.Config(echo, http=protocol, lifespan="off", log_config=None)
    config.load()
    wire = Wire()
    connection = protocol(config, uvicorn.server.ServerState(), {})
    connection.timeout_keep_alive = 0.05  # type: ignore[assignment]
    connection.connection_made(wire)
    connection.data_received(request())
    while not wire.written:
        await asyncio.sleep(0)
    echo.go_on.clear()
    connection.data_received(request())
    await asyncio.sleep(0.2)
    assert (wire.closed, len(echo.short)) == (False, 2)
    echo.go_on.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not wire.closed:
            await asyncio.sleep(0.01)
    connection.connection_lost(None)
