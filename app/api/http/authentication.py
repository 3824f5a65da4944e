"""From `Authorization: Bearer` to a principal.

Found keys are remembered for a few seconds, so that a busy client costs one query in that time;
that is also how long a revoked key may still be accepted, here and in every other process. Of the
requests that find a key forgotten only the first asks; the others wait for its answer.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.api.errors import Code, RequestRefused
from app.store.database import Database, Unavailable
from app.store.identity import Principal, authenticate, is_token

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ledgers"'}
MAX_REMEMBERED = 10_000


@dataclass(slots=True)
class Authenticator:
    """Finds the principal of a request's headers."""

    database: Database
    remember_seconds: float
    _remembered: dict[bytes, tuple[float, Principal]] = field(default_factory=dict)
    _finding: dict[bytes, asyncio.Task[Principal | None]] = field(default_factory=dict)

    async def __call__(self, headers: Mapping[bytes, bytes], /) -> Principal:
        """Raises RequestRefused: 401, alike for every token that is not in use, or 503."""
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or not token:
            raise RequestRefused(
                401,
                Code.UNAUTHENTICATED,
                "Send an API key in the header Authorization: Bearer ldg_….",
                CHALLENGE,
            )
        now = time.monotonic()
        remembered = self._remembered.get(token)
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        finding = self._finding.get(token)
        if finding is None:
            finding = self._finding[token] = asyncio.create_task(self._find(token, now))
            finding.add_done_callback(lambda _: self._finding.pop(token))
        try:
            principal = await asyncio.shield(finding)
        except Unavailable as fault:
            raise RequestRefused(503, Code.UNAVAILABLE, str(fault), {"Retry-After": "1"}) from fault
        if principal is None:
            raise RequestRefused(401, Code.UNAUTHENTICATED, "The API key is not in use.", CHALLENGE)
        return principal

    async def _find(self, token: bytes, now: float) -> Principal | None:
        principal = await self._look_up(token)
        if principal is None:
            self._remembered.pop(token, None)
            return None
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[token] = (now + self.remember_seconds, principal)
        return principal

    async def _look_up(self, token: bytes) -> Principal | None:
        try:
            text = token.decode("ascii")
        except UnicodeDecodeError:
            return None
        if not is_token(text):
            return None
        async with self.database.writing() as connection:
            return await authenticate(connection, text)
