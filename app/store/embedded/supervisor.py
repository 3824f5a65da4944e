"""The parent process of an embedded PostgreSQL; `server.py` tells why there is one.

Run as a script (`python -I -S supervisor.py PLAN`, PLAN being JSON) with nothing but the
standard library, so that it starts in a moment and stays small. The process which launched it
hands down three descriptors: a pipe as standard input, held open for as long as that process waits
for the server to answer; the server's log as output; and `locks/supervisor`, which is only kept.

It ends when, and only when,
- nobody holds a share of `locks/users` any more: it then stops the server (fast shutdown), or
- it was told to by SIGTERM or SIGINT, which it hands on to the server and which mean what they mean
  to PostgreSQL (smart and fast shutdown), or
- the server failed while the launching process still waits, which then reports it.
In every other case a server that ended is started again, at growing intervals if need be.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TypedDict

POLL_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 5.0
STEADY_AFTER_SECONDS = 10.0


class Plan(TypedDict):
    """What to run, where, and as whom (`user` and `group` are null unless root runs us)."""

    command: list[str]
    data: str
    sockets: str
    locks: str
    user: int | None
    group: int | None


def try_lock(path: Path, operation: int) -> int | None:
    """A descriptor that holds the flock `operation` on `path`; None where another is in the way.

    The lock is given up when the last copy of the descriptor is closed; those that child processes
    inherited (by fork, by `pass_fds`) count.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Supervisor:
    """Keeps one server up until the last user is gone."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._locks = Path(plan["locks"])
        self._server: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._shutdown_signal = signal.SIGINT

    def run(self) -> int:
        """Exit status: 0 after a shutdown that was asked for, else that of the failed server."""
        # Signals are taken by a thread of their own, not by handlers: a handler might interrupt the
        # main thread inside the very lock of the event that it has to set.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        for watch in (self._await_signal, self._await_last_user):
            threading.Thread(target=watch, daemon=True).start()
        pause_seconds = 0.0
        while not self._ending.wait(pause_seconds):
            started_at = time.monotonic()
            status = self._serve()
            if self._ending.is_set():
                break
            if self._is_awaited():
                return status or 1
            steady = time.monotonic() - started_at > STEADY_AFTER_SECONDS
            pause_seconds = 0 if steady else min(2 * pause_seconds + 0.1, LONGEST_PAUSE_SECONDS)
            self._log(f"the server ended (status {status}); starting it again")
        return 0

    def _serve(self) -> int:
        """Run the server until it ends."""
        data_lock = self._take_data()
        if data_lock is None:
            return 0
        try:
            self._clear_sockets()
            self._server = self._launch(data_lock)
        except OSError as failure:
            self._log(str(failure))
            return 1
        finally:
            os.close(data_lock)
        if self._ending.is_set():
            self._signal_server()
        return self._server.wait()

    def _launch(self, data_lock: int) -> subprocess.Popen[bytes]:
        user = self._plan["user"]
        return subprocess.Popen(  # noqa: S603  the command is embedded.py's own
            self._plan["command"],
            cwd="/",
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            pass_fds=[data_lock],
            user=user,
            group=self._plan["group"],
            extra_groups=None if user is None else [],
        )

    def _take_data(self) -> int | None:
        """The lock on the data directory, once the last process of an earlier server is gone."""
        waiting = False
        while (descriptor := try_lock(self._locks / "data", fcntl.LOCK_EX)) is None:
            if not waiting:
                self._log("waiting for the processes of an earlier server to end")
            waiting = True
            if self._ending.wait(POLL_SECONDS):
                return None
        return descriptor

    def _clear_sockets(self) -> None:
        """Remove what a killed server left; its lock file may name a process of somebody else's."""
        for leftover in Path(self._plan["sockets"]).glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)

    def _environment(self) -> dict[str, str]:
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        with contextlib.suppress(OSError, ValueError):
            first_line = (Path(self._plan["data"]) / "postmaster.pid").read_bytes().split(b"\n")[0]
            environment["PG_GRANDPARENT_PID"] = str(int(first_line))
        return environment

    def _is_awaited(self) -> bool:
        """Whether the launching process still waits for the server: it has not closed our input."""
        readable, _, _ = select.select([sys.stdin], [], [], 0)
        return not readable

    def _await_signal(self) -> None:
        while True:
            self._end(signal.Signals(signal.sigwait({signal.SIGTERM, signal.SIGINT})))

    def _await_last_user(self) -> None:
        """Keeps the lock to the end: newcomers wait until the server is down."""
        descriptor = os.open(self._locks / "users", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._end(signal.SIGINT)

    def _end(self, shutdown_signal: signal.Signals) -> None:
        self._shutdown_signal = shutdown_signal
        self._ending.set()
        self._signal_server()

    def _signal_server(self) -> None:
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                self._server.send_signal(self._shutdown_signal)

    @staticmethod
    def _log(message: str) -> None:
        sys.stderr.write(f"supervisor: {message}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(Supervisor(json.loads(sys.argv[1])).run())
