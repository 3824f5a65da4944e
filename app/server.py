"""The server: everything wired together, from the socket to the store.

/graphql        the API
/graphiql       the page to explore it
/health/live    200 while the process runs
/health/ready   200 while it can serve, which is to say, while the database answers

A server that was told to stop needs no word for it: it takes no connection any more.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from app.api import graphiql
from app.api.authentication import Authenticator
from app.api.context import Context
from app.api.documents import Documents, Limits
from app.api.http import GraphQLEndpoint
from app.api.plans import Planner
from app.api.schema import schema
from app.settings import Settings
from app.store.database import Database
from app.store.identity import Principal
from app.store.totals import RollUp
from app.store.writer import Writer


@dataclass(slots=True)
class Server:
    """One process's parts and their life."""

    settings: Settings
    url: str
    database: Database = field(init=False)
    roll_up: RollUp = field(init=False)
    writer: Writer = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database(
            self.url,
            pool_size=self.settings.pool_size,
            statement_seconds=self.settings.execution_seconds,
        )
        self.roll_up = RollUp(self.database)
        self.writer = Writer(
            self.database,
            self.settings.max_batch_entries,
            self.settings.max_waiting_entries,
            on_written=self.roll_up.hint,
        )

    @asynccontextmanager
    async def running(self, _: Starlette | None = None) -> AsyncIterator[None]:
        """Open the store; on the way out finish what was accepted, then close it."""
        try:
            await self.database.open(allow_unsafe_durability=self.settings.allow_unsafe_durability)
            self.writer.start()
            self.roll_up.start()
            yield
        finally:
            await self.writer.stop()
            await self.roll_up.stop()
            await self.database.close()

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/", lambda _: RedirectResponse("/graphiql")),
                Route("/graphql", self._endpoint(), methods=None),
                *graphiql.routes(),
                Route("/health/live", _live),
                Route("/health/ready", self._ready),
            ],
            lifespan=self.running,
        )

    def _endpoint(self) -> GraphQLEndpoint:
        settings = self.settings
        limits = Limits(
            max_query_bytes=settings.max_query_bytes,
            max_tokens=settings.max_tokens,
            max_depth=settings.max_depth,
            max_aliases=settings.max_aliases,
            max_root_mutations=settings.max_root_mutations,
            max_cost=settings.max_cost,
        )
        graphql_schema = schema._schema  # noqa: SLF001  strawberry offers no other way
        planner = Planner(graphql_schema, schema.config.name_converter)
        return GraphQLEndpoint(
            Documents(graphql_schema, limits, planner),
            authenticate=Authenticator(self.database, settings.principal_cache_seconds),
            open_context=self._open_context,
            max_body_bytes=settings.max_body_bytes,
            execution_seconds=settings.execution_seconds,
        )

    @asynccontextmanager
    async def _open_context(self, principal: Principal, request_id: str) -> AsyncIterator[Context]:
        context = Context(principal, request_id, self.database, self.writer)
        try:
            yield context
        finally:
            await context.close()

    async def _ready(self, _: Request) -> Response:
        try:
            await asyncio.wait_for(self.database.ping(), 3)
        except (OperationalError, PoolTimeout, TimeoutError):
            return JSONResponse({"status": "database unreachable"}, 503)
        return JSONResponse({"status": "ready"})


async def _live(_: Request) -> Response:
    return JSONResponse({"status": "live"})
