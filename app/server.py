"""The server: everything wired together, from the socket to the store.

/graphql         the API
/graphiql        the page to explore it
/bulk/postings   back-fills: many postings in a stream
/statements/import   files of statements
/statements/…    account statements as files
/health/live     200 while the process runs
/health/ready    200 while it can serve; else 503 with a word for why: "database unreachable", or
                 "busy" where the database answers but all reading connections have been taken for
                 two seconds: others should be asked meanwhile
/metrics         counts for Prometheus, if there is a token to read them with

A server that was told to stop needs no word for it: it takes no connection any more.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from app.api import graphiql
from app.api.engine.context import Context
from app.api.engine.documents import Documents, Limits
from app.api.engine.plans import Planner
from app.api.http import bulk
from app.api.http.authentication import Authenticator
from app.api.http.graphql import GraphQLEndpoint
from app.api.http.metrics import CONTENT_TYPE, RequestCounts, exposition
from app.api.reconciliation import imports
from app.api.schema import schema
from app.api.statements import downloads
from app.logs import log_request
from app.settings import Settings
from app.store.accounts.totals import RollUp
from app.store.audit.sealing import Sealer
from app.store.database import Busy, Database, Unavailable
from app.store.identity import Principal
from app.store.reconciliation import intake
from app.store.reconciliation.runs import Runner
from app.store.shifts import Shift
from app.store.transactions.schedule import Schedule
from app.store.transactions.writer import Writer

GRAPHQL_SCHEMA = schema._schema  # noqa: SLF001  strawberry offers no other way


class Application(Starlette):
    """Starlette, but that requests for the API take the shortest way to it."""

    def __init__(
        self, endpoint: GraphQLEndpoint, routes: Sequence[BaseRoute] = (), **more: Any
    ) -> None:
        super().__init__(routes=[Route("/graphql", endpoint, methods=None), *routes], **more)
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/graphql":
            await self._endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


@dataclass(slots=True)
class Server:
    """One process's parts and their life."""

    settings: Settings
    url: str
    database: Database = field(init=False)
    roll_up: RollUp = field(init=False)
    writer: Writer = field(init=False)
    shifts: Sequence[Shift] = field(init=False)
    _authenticator: Authenticator = field(init=False)
    _planner: Planner = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database(
            self.url,
            pool_size=self.settings.pool_size,
            statement_seconds=self.settings.execution_seconds,
            lock_seconds=self.settings.lock_seconds,
        )
        self.roll_up = RollUp(self.database)
        self.writer = Writer(
            self.database,
            self.settings.max_batch_entries,
            self.settings.max_waiting_entries,
            on_written=self.roll_up.hint,
        )
        self.shifts = (
            Schedule(self.database, self.writer, self.settings.due_poll_seconds).shift(),
            Runner(self.database, self.settings.due_poll_seconds).shift(),
            Sealer(self.database, self.settings.seal_seconds).shift(),
        )
        self._authenticator = Authenticator(self.database, self.settings.principal_cache_seconds)
        self._planner = Planner(GRAPHQL_SCHEMA, schema.config.name_converter)

    @asynccontextmanager
    async def running(self, _: Starlette | None = None) -> AsyncIterator[None]:
        """Open the store; on the way out finish what was accepted, then close it."""
        try:
            await self.database.open(allow_unsafe_durability=self.settings.allow_unsafe_durability)
            await intake.sweep_all(self.database)
            self.writer.start()
            self.roll_up.start()
            if self.settings.due_work:
                for shift in self.shifts:
                    shift.start()
            yield
        finally:
            for shift in self.shifts:
                await shift.stop()
            await self.writer.stop()
            await self.roll_up.stop()
            await self.database.close()

    def application(self) -> Application:
        """The ASGI application."""
        endpoint = self._endpoint()

        async def metrics(request: Request) -> Response:
            return self._metrics(request, endpoint)

        return Application(
            endpoint,
            routes=[
                Route("/", lambda _: RedirectResponse("/graphiql")),
                Route(bulk.PATH, self._bulk_endpoint(endpoint.counts), methods=None),
                Route(imports.PATH, self._import_endpoint(endpoint.counts), methods=None),
                Route(downloads.PATH, self._downloads(endpoint.counts), methods=None),
                *graphiql.routes(),
                Route("/health/live", _live),
                Route("/health/ready", self._ready),
                Route("/metrics", metrics),
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
        return GraphQLEndpoint(
            Documents(GRAPHQL_SCHEMA, limits, self._planner),
            authenticate=self._authenticator,
            open_context=self._open_context,
            log_request=log_request,
            max_body_bytes=settings.max_body_bytes,
            execution_seconds=settings.execution_seconds,
        )

    def _bulk_endpoint(self, counts: RequestCounts) -> bulk.BulkEndpoint:
        return bulk.BulkEndpoint(
            bulk.PostingInputs(schema, self._planner),
            self._authenticator,
            self._open_context,
            max_line_bytes=self.settings.max_body_bytes,
            step_seconds=self.settings.execution_seconds,
            counts=counts,
        )

    def _import_endpoint(self, counts: RequestCounts) -> imports.ImportEndpoint:
        return imports.ImportEndpoint(
            self._authenticator,
            self._open_context,
            max_bytes=self.settings.max_import_bytes,
            step_seconds=self.settings.execution_seconds,
            counts=counts,
        )

    def _downloads(self, counts: RequestCounts) -> downloads.DownloadEndpoint:
        return downloads.DownloadEndpoint(
            self.database,
            self._authenticator,
            step_seconds=self.settings.execution_seconds,
            counts=counts,
        )

    def _open_context(self, principal: Principal, request_id: str) -> Context:
        return Context(principal, request_id, self.database, self.writer)

    def _metrics(self, request: Request, endpoint: GraphQLEndpoint) -> Response:
        token = self.settings.metrics_token
        if token is None:
            return PlainTextResponse("Set LEDGERS_METRICS_TOKEN to have metrics.\n", 404)
        expected = f"Bearer {token.get_secret_value()}"
        given = request.headers.get("authorization", "")
        if not compare_digest(given.encode(), expected.encode()):
            return PlainTextResponse("", 401, {"WWW-Authenticate": "Bearer"})
        others = {"ledgers_batches_total": ("Commits that the writer began.", self.writer.batches)}
        return Response(exposition(endpoint.counts, others), media_type=CONTENT_TYPE)

    async def _ready(self, _: Request) -> Response:
        try:
            await self.database.ping()
        except Busy:
            return JSONResponse({"status": "busy"}, 503)
        except Unavailable:
            return JSONResponse({"status": "database unreachable"}, 503)
        return JSONResponse({"status": "ready"})


async def _live(_: Request) -> Response:
    return JSONResponse({"status": "live"})
