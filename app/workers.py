"""The processes that serve: this one alone, or several on one socket under a parent of theirs.

The parent owns the place (the embedded PostgreSQL, the migration, the demo) and serves nothing. Its
workers share the listening socket; the kernel hands each connection to one of them. They agree
through the database alone, exactly like servers on several machines.

- A worker that ends is replaced, at growing intervals if it keeps ending. One that ends before all
  of them served once ends the whole: that is a fault of the set-up, and somebody is watching.
- Told to stop, the parent closes its copy of the socket first, so that nobody connects to a server
  that takes nothing, and then has the workers drain as a lone server does. One that has not ended
  soon after its time to drain hangs, and is killed.
- A worker whose parent is gone, even by SIGKILL, drains by itself: it watches the pipe that
  multiprocessing holds open for that. It has no share in the embedded database, which ends with
  its owner.
- Ctrl-C reaches the parent alone: workers are born with SIGINT blocked, and get SIGTERM from it.

Workers are spawned, not forked (there are threads, and macOS), and get the address of the database
and the settings through a pipe: nothing of them is in a command line.

uvicorn's own Multiprocess keeps the socket open while it drains, ends the whole where a worker is
replaced while the database is away, and its workers outlive a killed parent.
"""

import asyncio
import gc
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing import Pipe, get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import structlog
import uvicorn

from app.logs import configure_logs
from app.protocol import Protocol
from app.server import Server
from app.settings import Settings

LONGEST_PAUSE_SECONDS = 5.0
STEADY_AFTER_SECONDS = 10.0
ENDING_SECONDS = 5.0
"""Beyond the time to drain: what a worker has to finish the batch in flight, and to close."""
YOUNG_OBJECTS = 50_000

log = structlog.get_logger(__name__)


class WorkerFailed(Exception):
    """A worker ended before all of them served; its own words are above this."""


def when_told_to_stop(act: Callable[[], object]) -> None:
    """Act on SIGINT and SIGTERM, in place of whatever was done before."""
    for told_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_stop, lambda _signal, _frame: act())


def serve_alone(
    settings: Settings,
    url: str,
    listener: socket.socket,
    serving: Callable[[], None],
    *,
    prepare: Callable[[Server], Awaitable[None]] | None = None,
) -> None:
    """Serve in this process until told to stop.

    `prepare` is awaited before anybody is let in, `serving` called once everybody is.
    """
    server = Server(settings, url)
    config = uvicorn.Config(
        server.application(),
        http=Protocol,
        lifespan="off",  # the server runs around uvicorn, lest what stops its start get lost
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
        server_header=False,
    )
    front = uvicorn.Server(config)
    stop = partial(setattr, front, "should_exit", True)
    # uvicorn has handlers of its own, and raises the signal again once it has drained.
    when_told_to_stop(stop)

    async def run() -> None:
        async with server.running():
            if prepare is not None:
                await prepare(server)
            # What is there now stays: searching it for garbage was a quarter of a large read.
            gc.collect()
            gc.freeze()
            # Nor is what an answer is made of, which is gone with it: to search the objects of
            # several large answers every time that 700 came to be was another fifth.
            gc.set_threshold(YOUNG_OBJECTS)
            listener.listen(config.backlog)  # who reads that we serve may connect at once
            serving()
            parent = parent_process()
            if parent is not None:
                _when_readable(parent.sentinel, stop)
            await front.serve([listener])

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())


def serve_by_workers(
    number: int,
    settings: Settings,
    url: str,
    listener: socket.socket,
    serving: Callable[[], None],
) -> None:
    """Keep that many workers up until told to stop; `serving` is called once all of them serve.

    Raises WorkerFailed.
    """
    stop, told_to_stop = Pipe(duplex=False)
    when_told_to_stop(partial(told_to_stop.send, None))
    workers = _Workers(settings, url, listener)
    try:
        for _ in range(number):
            workers.start()
        while True:
            ready = wait([stop, workers.ready, *workers.running])
            if stop in ready:
                return
            if workers.ready in ready:
                workers.ready.recv()
                workers.served += 1
                if workers.served == number:
                    serving()
            for sentinel in workers.running.keys() & set(ready):
                pause = workers.bury(sentinel)
                if workers.served < number:
                    raise WorkerFailed("a worker could not begin to serve.")
                if wait([stop], pause):
                    return
                workers.start()
    finally:
        listener.close()
        workers.end()


class _Workers:
    """The living workers, by the sentinels that tell of their end."""

    def __init__(self, settings: Settings, url: str, listener: socket.socket) -> None:
        self.running: dict[int, tuple[SpawnProcess, float]] = {}
        self.served = 0
        self.ready, self._readiness = Pipe(duplex=False)
        self._arguments = (settings, url, listener, self._readiness)
        self._drain_seconds = settings.drain_seconds
        self._pause = 0.0

    def start(self) -> None:
        process = get_context("spawn").Process(target=_work, args=self._arguments, daemon=True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.running[process.sentinel] = (process, time.monotonic())

    def bury(self, sentinel: int) -> float:
        """Take leave of a worker that has ended; say how long to wait before the next."""
        process, since = self.running.pop(sentinel)
        process.join()
        log.warning("worker_ended", worker=process.pid, status=process.exitcode)
        process.close()
        steady = time.monotonic() - since > STEADY_AFTER_SECONDS
        self._pause = 0.0 if steady else min(2 * self._pause + 0.1, LONGEST_PAUSE_SECONDS)
        return self._pause

    def end(self) -> None:
        """Have all of them drain, and wait for it; kill those that hang."""
        for process, _ in self.running.values():
            process.terminate()
        end = time.monotonic() + self._drain_seconds + ENDING_SECONDS
        for process, _ in self.running.values():
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                log.warning("worker_killed", worker=process.pid)
                process.kill()
                process.join()


def _work(settings: Settings, url: str, listener: socket.socket, readiness: Connection) -> None:
    """The life of a worker."""
    when_told_to_stop(sys.exit)
    configure_logs(settings.log_format, settings.log_level, worker=os.getpid())
    try:
        serve_alone(settings, url, listener, partial(readiness.send, None))
    except Exception:
        log.exception("worker_failed")  # multiprocessing would print all it knows
        sys.exit(1)


def _when_readable(descriptor: int, act: Callable[[], object]) -> None:
    """Act once when there is something to be read, or the end."""
    loop = asyncio.get_running_loop()

    def acting() -> None:
        loop.remove_reader(descriptor)
        act()

    loop.add_reader(descriptor, acting)
