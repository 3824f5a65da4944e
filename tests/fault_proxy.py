"""A proxy before PostgreSQL's unix socket that loses a COMMIT, or the answer to it, or goes silent.

Either way the client's connection is cut, so it cannot know which it was: of `ASKED` nothing has
been committed, of `ANSWERED` everything. A silent one takes connections and messages, keeps both
open, and passes nothing on. Sessions must not be encrypted, as over a unix socket.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Lost(Enum):
    """Which of the two messages never arrives."""

    ASKED = "asked"
    ANSWERED = "answered"


_ASKED = b"COMMIT\0"
_DONE = b"COMMIT\0"


@dataclass
class FaultProxy:
    """Cuts a connection at each COMMIT for as long as `lost` and `times` say so."""

    target: Path
    lost: Lost | None = None
    times: int = 0
    hits: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _speaking: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.speak()

    def fall_silent(self) -> None:
        """Pass nothing on, in either direction, until told to speak."""
        self._speaking.clear()

    def speak(self) -> None:
        self._speaking.set()

    def lose(self, what: Lost, times: int) -> None:
        """Lose that at so many commits from now on."""
        self.lost, self.times = what, times

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, until either side ends it or a fault cuts it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            backend_reader, backend_writer = await asyncio.open_unix_connection(self.target)
            try:
                # The start-up message has no type, only its length.
                length = await reader.readexactly(4)
                await self._speaking.wait()
                backend_writer.write(length + await reader.readexactly(_size(length) - 4))
                asking = asyncio.ensure_future(self._asking(reader, backend_writer))
                answering = asyncio.ensure_future(self._answering(backend_reader, writer))
                stopped = asyncio.ensure_future(self._stopped.wait())
                ends = (asking, answering, stopped)
                try:
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for end in ends:
                        end.cancel()
                    await asyncio.gather(*ends, return_exceptions=True)
            finally:
                await _close(backend_writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            await _close(writer)
            self._tasks.discard(task)

    async def stop(self) -> None:
        """Cut every connection."""
        self._stopped.set()
        self.speak()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hit(self, what: Lost) -> bool:
        if self.lost is not what or self.times == 0:
            return False
        self.times -= 1
        self.hits += 1
        return True

    async def _asking(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        committing = set[bytes]()  # prepared statements that commit
        while True:
            kind, head, body = await _message(reader)
            commits = False
            if kind == b"P":
                name, _, text = body.partition(b"\0")
                commits = text.startswith(_ASKED)
                if commits:
                    committing.add(name)
                else:
                    committing.discard(name)
            elif kind == b"B":
                commits = body.split(b"\0", 2)[1] in committing
            if commits and self._hit(Lost.ASKED):
                return
            await self._speaking.wait()
            writer.write(kind + head + body)
            await writer.drain()

    async def _answering(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kind, head, body = await _message(reader)
            if kind == b"C" and body == _DONE and self._hit(Lost.ANSWERED):
                return
            await self._speaking.wait()
            writer.write(kind + head + body)
            await writer.drain()


@asynccontextmanager
async def fault_proxy(target: Path, listening: Path) -> AsyncIterator[FaultProxy]:
    """A proxy on a unix socket of its own, which is named as libpq expects it."""
    proxy = FaultProxy(target)
    server = await asyncio.start_unix_server(proxy.serve, listening)
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes, bytes]:
    kind = await reader.readexactly(1)
    head = await reader.readexactly(4)
    return kind, head, await reader.readexactly(_size(head) - 4)


def _size(head: bytes) -> int:
    (size,) = struct.unpack("!i", head)
    return int(size)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
