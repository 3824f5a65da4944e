"""JSON Lines as they come, in chunks that end anywhere."""

from codecs import BOM_UTF8
from collections.abc import Iterator


class Lines:
    """Cuts chunks of bytes into lines, and holds no more of one than its limit.

    A line past the limit is given as None. The last line needs no line feed. A byte order mark at
    the beginning, which editors put there, is no part of the first.
    """

    __slots__ = ("_is_first", "_limit", "_rest", "_too_long")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._too_long = False
        self._is_first = True

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """The lines that end in the chunk, without their line feeds."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._keep(part)
            yield self._line()
        self._keep(rest)

    def end(self) -> Iterator[bytes | None]:
        """What is left when no chunk follows."""
        if self._rest or self._too_long:
            yield self._line()

    def _keep(self, part: bytes) -> None:
        if self._too_long or len(self._rest) + len(part) > self._limit:
            self._too_long = True
            self._rest.clear()
        else:
            self._rest += part

    def _line(self) -> bytes | None:
        line = None if self._too_long else bytes(self._rest)
        if self._is_first and line is not None:
            line = line.removeprefix(BOM_UTF8)
        self._is_first = False
        self._rest.clear()
        self._too_long = False
        return line
