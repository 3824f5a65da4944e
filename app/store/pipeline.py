"""Round trips: statements that are sent together, and their rows.

psycopg's own pipeline writes to the socket for each statement, which is most of what a lone posting
costs (twenty system calls instead of four). Here a round trip is one write and one wait. Statements
are prepared the first time that a connection meets them; parameters are $1, $2 … and go in binary.

A prepared statement keeps the plan that was right for the tables as they then were. While they are
empty any index will do, and the wrong one reads all that has come since (seen: six times the CPU,
and growing, until autovacuum analyzes the tables and so has the plans made again). So plans are
made anew each time that the number of round trips has doubled.

This stands on psycopg.pq, its documented wrapper of libpq, and on its row loaders.
"""

import re
from collections.abc import Sequence
from itertools import count
from typing import Any

from psycopg import Error, OperationalError
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg.waiting import Ready, Wait

from app.store.database import Connection, Row

Statement = tuple[str, Sequence[bytes]]
"""SQL, and its parameters in binary."""

DISCARD_PLANS: Statement = ("DISCARD PLANS", ())


def numbered(text: str) -> str:
    """SQL with $1, $2 … for each %s."""
    number = count(1)
    return re.sub("%s", lambda _: f"${next(number)}", text)


class Pipeline:
    """A connection in autocommit mode that nobody else uses."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._transformer = Transformer(connection)
        self._names: dict[str, bytes] = {}
        self._trips = 0

    async def run(self, *statements: Statement) -> list[list[Row]]:
        """The rows of each statement, after one round trip.

        Raises the psycopg.Error of the first statement that fails, with those after it not run; the
        connection is closed if it was lost, or if waiting ended before the answer was there.
        """
        pgconn = self.connection.pgconn
        wanted = len(statements)
        try:
            pgconn.enter_pipeline_mode()
            self._trips += 1
            if self._trips & (self._trips - 1) == 0:
                statements = (DISCARD_PLANS, *statements)
            new = [text for text, _ in statements if text not in self._names]
            for text in new:
                self._names[text] = name = f"ledgers_{len(self._names)}".encode()
                pgconn.send_prepare(name, text.encode())
            for text, parameters in statements:
                pgconn.send_query_prepared(
                    self._names[text], parameters, [Format.BINARY] * len(parameters)
                )
            pgconn.pipeline_sync()
            results = await self.connection.wait(self._receive())
            pgconn.exit_pipeline_mode()
        except BaseException:
            await self.connection.close()
            raise
        for text, result in zip(new, results, strict=False):
            if result.status != ExecStatus.COMMAND_OK:
                self._names.pop(text)
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise error_from_result(result)
        return [self._rows(result) for result in results[len(results) - wanted :]]

    def _receive(self) -> PQGen[list[PGresult]]:
        pgconn = self.connection.pgconn
        results: list[PGresult] = []
        while True:
            ready = yield Wait.RW if pgconn.flush() else Wait.R
            if ready & Ready.R:
                pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:  # the end of one statement's results
                    if pgconn.status == ConnStatus.BAD:
                        raise _loss(results)
                    continue
                if result.status == ExecStatus.PIPELINE_SYNC:
                    return results
                results.append(result)

    def _rows(self, result: PGresult) -> list[Row]:
        if result.status != ExecStatus.TUPLES_OK:
            return []
        self._transformer.set_pgresult(result)
        rows: list[Any] = self._transformer.load_rows(0, result.ntuples, tuple)
        return rows


def _loss(results: Sequence[PGresult]) -> Error:
    """Why the connection was lost: the server's last words, if it had any."""
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            return error_from_result(result)
    return OperationalError("The connection was lost.")
