"""Loads: what a resolver answers instead of rows, so that a whole level is read at once.

A resolver that needs rows returns a `Load`: which loader, which key, and what to build of what is
found. A plan (see `plans.py`) gathers the loads of a level and fetches each loader's keys with one
statement. graphql-core, which knows nothing of plans, awaits a load like any awaitable; then the
loader gathers the keys that the event loop's next turn has brought together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

Fetch = Callable[[Sequence[K]], Awaitable[Sequence[V]]]
"""Finds what belongs to each of some distinct keys, in their order."""


class Loader(Generic[K, V]):
    """Finds values by key, each key once, with as few fetches as can be."""

    __slots__ = ("_fetch", "_found", "_waiting")

    def __init__(self, fetch: Fetch[K, V]) -> None:
        self._fetch = fetch
        self._found: dict[K, V] = {}
        self._waiting: dict[K, asyncio.Future[None]] = {}

    async def fetch(self, keys: Sequence[K]) -> Sequence[V]:
        """The values of these keys, in their order."""
        found = self._found
        missing = dict.fromkeys([key for key in keys if key not in found] if found else keys)
        if missing:
            fetched = await self._fetch(list(missing))
            found.update(zip(missing, fetched, strict=True))
            if len(missing) == len(keys):  # keys are slow to hash
                return fetched
        return [found[key] for key in keys]

    async def load(self, key: K) -> V:
        """The value of one key, fetched together with others that are asked for meanwhile."""
        if key not in self._found:
            waiting = self._waiting.get(key)
            if waiting is None:
                loop = asyncio.get_running_loop()
                if not self._waiting:
                    loop.call_soon(self._dispatch)
                waiting = self._waiting[key] = loop.create_future()
            await asyncio.shield(waiting)
        return self._found[key]

    def _dispatch(self) -> None:
        waiting, self._waiting = self._waiting, {}
        task = asyncio.ensure_future(self.fetch(list(waiting)))

        def settle(_: object) -> None:
            for future in waiting.values():
                if future.done():
                    continue
                if task.cancelled():
                    future.cancel()
                elif (fault := task.exception()) is not None:
                    future.set_exception(fault)
                    future.exception()  # whoever waited may be gone: nobody need complain of it
                else:
                    future.set_result(None)

        task.add_done_callback(settle)


class Load(Generic[T]):
    """A value that is still to be fetched: `build` makes it of what the loader finds, or None."""

    __slots__ = ("build", "key", "loader")

    def __init__(self, loader: Loader[Any, Any], key: Any, build: Callable[[Any], T]) -> None:
        self.loader = loader
        self.key = key
        self.build = build

    def __await__(self) -> Generator[Any, None, T]:
        found = yield from self.loader.load(self.key).__await__()
        return self.build(found)
