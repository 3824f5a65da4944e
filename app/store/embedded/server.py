"""A PostgreSQL of our own: up from the first process that wants it to the last, with no set-up.

    with EmbeddedPostgres(Path("/var/lib/ledgers")) as postgres:
        psycopg.connect(postgres.owner_url)

Starting a server is easy. The work is in never losing one, nor starting a second on the same data:
the application may be SIGKILLed, several processes may share the server, and what a file says about
a process it goes on saying when the process is gone. Hence:

1. A share is a lock. Whoever uses the server holds a shared flock on `locks/users`. The kernel
   drops it however its holder ends: no counter to go stale, no atexit, no signal handler.
2. The server's parent is a supervisor (`supervisor.py`), not the application. It waits
   for the exclusive lock on `locks/users`, which it gets when the last user is gone, and then stops
   the server cleanly. It starts a killed server again. It holds `locks/supervisor`, which whoever
   launched it took before all else and handed down, so that there is one launch, and one of it.
3. Whatever works on the data has inherited the lock `locks/data`: initdb, postgres, every backend.
   It is free when the last of them is gone and not earlier, so a backend that outlived its killed
   postmaster, or an initdb its killed application, is waited for and never raced.
4. "Is it up?" is asked by libpq's ping, never of a pid. The pid in a stale file is by now nobody's
   or, worse, anybody's. A ping needs no login, is answered when all connections are taken, and
   tells a server that is still recovering from one that is not there.
5. PostgreSQL itself does read the pid in a stale postmaster.pid, and won't start while some process
   has it (in containers the same pids come again at every start). `PG_GRANDPARENT_PID`, which
   pg_ctl sets too, makes it overlook that one pid. This is safe under the lock of point 3, and
   PostgreSQL still refuses where the shared memory of an earlier server is in use.
6. initdb fills `data.new`, renamed when complete: what is called `data` is a whole cluster, and an
   interrupted initdb is thrown away by the next start.

Whoever can open the socket is superuser (trust authentication), so the socket is the only way in
and its directory is 0700. Started by root, postgres runs as an unprivileged user; nothing that was
there before has its mode changed for that: what that user can't reach is copied (binaries) or
refused (data).

    DIRECTORY/data            the cluster          /run           the socket (in /tmp, if too long)
             /postgres.log    its messages         /bin           link to the binaries in use
             /locks           users, supervisor,   /binaries-*    copy of them, made where root's
                              data, leaving                       lie under a closed directory

Known limits: a server keeps the settings of the process that started it. Where the supervisor alone
is SIGKILLed the server goes on, and newcomers attach, but nobody stops or restarts it. A network
file system may do without flock; use a local one.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import quote

from psycopg.pq import PGconn, Ping

from app.store.embedded.system import (
    Binaries,
    BinariesNotFound,
    DirectoryUnusable,
    EmbeddedPostgresError,
    ServerUser,
    UserNotFound,
)

if sys.platform != "win32":
    import fcntl

    from app.store.embedded.supervisor import POLL_SECONDS, Plan, try_lock

__all__ = [
    "BinariesNotFound",
    "DirectoryUnusable",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "PlatformUnsupported",
    "StartFailed",
    "UserNotFound",
]

SUPERVISOR = Path(__file__).with_name("supervisor.py")
PORT = "5432"  # names the socket; libpq would else take PGPORT from the environment
LONGEST_SOCKET_PATH = 103  # bytes; macOS allows the fewest
LONG_PATH_SOCKETS = Path("/tmp")  # noqa: S108  not TMPDIR, in which two processes may differ
LONGEST_LOG = 16 * 1024 * 1024
LOG_END = 2000
STATUS_LINE = 7  # of postmaster.pid, counted from 0
COMING_UP = {b"starting", b"standby", b"ready"}  # what it says there; the fourth word is "stopping"

DEFAULT_SETTINGS: Mapping[str, str] = {
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Room for the indexes of some million entries; memory is taken only as pages are read.
    "shared_buffers": "256MB",
    # After each checkpoint the first change of a page logs all of it: a busy ledger wants few.
    "max_wal_size": "2GB",
    # Solid state disks; the default of 4 turns the planner away from indexes.
    "random_page_cost": "1.1",
    # Statements are short: compiling them costs more than it gains.
    "jit": "off",
}
"""What the server is started with unless the caller says otherwise.

`fsync`, `full_page_writes` and `synchronous_commit` are not here: PostgreSQL's defaults are safe.
"""

OWN_SETTINGS = frozenset(
    {
        "data_directory",
        "listen_addresses",
        "port",
        "unix_socket_directories",
        "unix_socket_group",
        "unix_socket_permissions",
    }
)
"""What no caller may set: it would open the server to others, or hide it from us."""


class PlatformUnsupported(EmbeddedPostgresError):
    """The embedded PostgreSQL needs POSIX (Linux, macOS); elsewhere set DATABASE_URL."""


class StartFailed(EmbeddedPostgresError):
    """The server did not come up; the message ends with the end of its log."""


class EmbeddedPostgres:
    """One process's share in the server that lives in `directory`.

    `settings` are PostgreSQL's, by name; they win over `DEFAULT_SETTINGS` and take effect when the
    server is started, not when we attach to a running one. `binaries` is the one directory to take
    `postgres` from. `run_as` names the user whom the server belongs to if root starts it (default:
    `postgres`, else `nobody`); to anybody else it means nothing. Raises ValueError for settings in
    `OWN_SETTINGS`, PlatformUnsupported on Windows.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] = {},
        *,
        binaries: Path | None = None,
        run_as: str | None = None,
    ) -> None:
        if sys.platform == "win32":
            raise PlatformUnsupported(PlatformUnsupported.__doc__)
        refused = [name for name in settings if _canonical(name) in OWN_SETTINGS]
        if refused:
            raise ValueError(f"the embedded PostgreSQL sets these itself: {', '.join(refused)}")
        # Resolved, so that all processes name the socket alike, by whatever link they came.
        self._directory = directory.expanduser().resolve()
        self._settings = {**DEFAULT_SETTINGS, **settings}
        self._given_binaries = binaries
        self._run_as = run_as
        self._data = self._directory / "data"
        self._locks = self._directory / "locks"
        self._log = self._directory / "postgres.log"
        self._sockets = _socket_directory(self._directory)
        self._share: int | None = None

    def start(self, timeout_seconds: float = 60) -> None:
        """Take a share in the server, starting it unless it runs; return when it can be used.

        A server that is recovering from a crash is waited for however long that takes: giving up
        would stop it, and the next start would begin the same recovery again. Raises one of the
        EmbeddedPostgresErrors (OSError for a full disk and the like), and then holds no share.
        Called again, it makes sure that the server answers.
        """
        deadline = time.monotonic() + timeout_seconds
        user = ServerUser.choose(self._run_as)
        try:
            self._prepare_directory(user)
            if self._share is None:
                self._share = self._await_share(deadline)
            self._bring_up(user, deadline)
        except BaseException:
            self._leave()
            raise

    def stop(self, wait_seconds: float = 10) -> bool:
        """Give up our share; True once the server is down.

        False at once where somebody else still shares it, and after `wait_seconds` where the
        shutdown takes longer (it goes on by itself).
        """
        self._leave()
        if not self._locks.is_dir():
            return True
        deadline = time.monotonic() + wait_seconds
        while not self._is_down():
            if self._is_shared() or time.monotonic() >= deadline:
                return self._is_down()
            time.sleep(POLL_SECONDS)
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def owner_url(self) -> str:
        """Connection URL of the superuser `postgres` in the database `postgres`."""
        return self.url(user="postgres", database="postgres")

    def url(self, *, user: str, database: str) -> str:
        """Connection URL in libpq's form; known before the start, too."""
        host = quote(os.fsencode(self._sockets), safe="")
        login = f"{quote(user, safe='')}@/{quote(database, safe='')}"
        return f"postgresql://{login}?host={host}&port={PORT}"

    @property
    def bin_directory(self) -> Path:
        """Where the running server's psql, pg_dump and pgbench are; not before the first start."""
        try:
            return (self._directory / "bin").readlink()
        except OSError as missing:
            raise EmbeddedPostgresError("no binaries are chosen before start()") from missing

    def _bring_up(self, user: ServerUser, deadline: float) -> None:
        """Wait until the server answers; launch it where nobody has."""
        log_start = self._log.stat().st_size if self._log.exists() else 0
        supervisor: subprocess.Popen[bytes] | None = None
        try:
            while (answer := self._ping()) != Ping.OK:
                if supervisor is not None and supervisor.poll() is not None:
                    raise StartFailed(f"PostgreSQL did not start.\n{self._log_end(log_start)}")
                if supervisor is None:
                    supervisor = self._launch_unless_busy(user, deadline)
                recovering = answer == Ping.REJECT and self._is_coming_up()
                if time.monotonic() >= deadline and not recovering:
                    raise StartFailed(
                        f"PostgreSQL in {self._directory} does not answer, and the time for its"
                        f" start is over.{self._obstacle()}\n{self._log_end(log_start)}"
                    )
                time.sleep(POLL_SECONDS)
        finally:
            if supervisor is not None:
                _let_go(supervisor)

    def _launch_unless_busy(
        self, user: ServerUser, deadline: float
    ) -> subprocess.Popen[bytes] | None:
        """A new supervisor; None while there is one, or an earlier server's processes are."""
        with self._attempt("supervisor", fcntl.LOCK_EX) as supervisor_lock:
            if supervisor_lock is None:
                return None
            with self._attempt("data", fcntl.LOCK_EX) as data_lock:
                if data_lock is None:
                    return None
                major = self._data_major()
                found = Binaries.find(self._given_binaries, major)
                binaries = found.within_reach(user, self._directory)
                self._link(binaries)
                if major is None:
                    self._initialise(binaries, user, deadline, data_lock)
            user.make_private(self._sockets)
            return self._launch(binaries, user, supervisor_lock)

    def _launch(
        self, binaries: Binaries, user: ServerUser, supervisor_lock: int
    ) -> subprocess.Popen[bytes]:
        server = str(binaries.directory / "postgres")
        plan = Plan(
            command=[server, "-D", str(self._data), *self._options()],
            data=str(self._data),
            sockets=str(self._sockets),
            locks=str(self._locks),
            user=user.user_id if user.is_other else None,
            group=user.group_id if user.is_other else None,
        )
        # The supervisor has to read the paths in its arguments in the encoding we write them in.
        python = [sys.executable, "-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}"]
        with self._open_log() as log:
            return subprocess.Popen(  # noqa: S603  our own interpreter and our own module
                [*python, str(SUPERVISOR), json.dumps(plan)],
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[supervisor_lock],
                start_new_session=True,
            )

    def _options(self) -> list[str]:
        """All settings, as arguments: there they outrank whatever a session may ALTER SYSTEM."""
        own = {
            "listen_addresses": "",
            "port": PORT,
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
        }
        settings = {**self._settings, **own}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _initialise(
        self, binaries: Binaries, user: ServerUser, deadline: float, data_lock: int
    ) -> None:
        """Make the cluster.

        It collates by code point, and tells letters and their case by Unicode as PostgreSQL itself
        knows it (by libc before 17): no index breaks when the operating system is upgraded.
        """
        if self._data.exists() and any(self._data.iterdir()):
            raise DirectoryUnusable(f"{self._data} is neither empty nor a PostgreSQL cluster")
        incomplete = self._directory / "data.new"
        shutil.rmtree(incomplete, ignore_errors=True)
        user.make_private(incomplete)
        letters = "C.UTF-8" if sys.platform == "linux" else "C"
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [
            *(str(binaries.directory / "initdb"), "--pgdata", str(incomplete)),
            *("--username=postgres", "--auth-local=trust", "--auth-host=reject"),
            *("--data-checksums", "--encoding=UTF8", "--locale=C", f"--lc-ctype={letters}"),
            *(builtin if binaries.major >= 17 else ()),
        ]
        remaining = max(1, deadline - time.monotonic())
        try:
            result = user.run(command, timeout_seconds=remaining, inherited=[data_lock])
        except subprocess.TimeoutExpired as overdue:
            raise StartFailed(f"initdb took longer than {remaining:.0f} s") from overdue
        if result.returncode:
            raise StartFailed(f"initdb failed.\n{result.stdout[-LOG_END:]}")
        incomplete.rename(self._data)
        # If a power cut took back the rename, the next start would throw the cluster away.
        _flush(self._directory)

    def _prepare_directory(self, user: ServerUser) -> None:
        """Make what is missing; check that the server's user can get in."""
        mode = 0o755 if user.is_other else 0o700
        paths = (self._directory, *self._directory.parents)
        try:
            for path in reversed([path for path in paths if not path.exists()]):
                path.mkdir(exist_ok=True)
                path.chmod(mode)
            self._locks.mkdir(mode=0o700, exist_ok=True)
        except OSError as failure:
            raise DirectoryUnusable(f"{self._directory} can't be used: {failure}") from failure
        if user.is_other:
            enter = ["/bin/sh", "-c", 'cd "$0"', str(self._directory)]
            if user.run(enter).returncode:
                raise DirectoryUnusable(
                    f"PostgreSQL, started by root, runs as the user {user.name}, who can't reach"
                    f" {self._directory}: choose a directory whose parents are open to all"
                )

    def _link(self, binaries: Binaries) -> None:
        link = self._directory / "bin.new"
        link.unlink(missing_ok=True)
        link.symlink_to(binaries.directory)
        link.rename(self._directory / "bin")

    def _data_major(self) -> int | None:
        """The major version that wrote the cluster; None before there is one."""
        version = self._data / "PG_VERSION"
        return int(version.read_text()) if version.exists() else None

    def _ping(self) -> Ping:
        return Ping(PGconn.ping(f"{self.owner_url}&connect_timeout=2".encode()))

    def _is_coming_up(self) -> bool:
        """Whether the server, which is there, says that it is starting or, by now, ready."""
        with contextlib.suppress(OSError):
            lines = (self._data / "postmaster.pid").read_bytes().split(b"\n")
            return len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() in COMING_UP
        return False

    def _obstacle(self) -> str:
        if self._is_locked("data") and not self._is_locked("supervisor"):
            return " Processes of an earlier server are still at work on the data."
        return ""

    def _is_down(self) -> bool:
        return not (self._is_locked("supervisor") or self._is_locked("data"))

    def _is_shared(self) -> bool:
        """Whether somebody else holds a share; False while that can't be told."""
        # In turn, lest two processes that leave together take each other's probes for shares.
        with self._attempt("leaving", fcntl.LOCK_EX) as turn:
            if turn is None:
                return False
            with self._attempt("users", fcntl.LOCK_EX) as alone:
                if alone is not None:
                    return False
            with self._attempt("users", fcntl.LOCK_SH) as joined:
                return joined is not None  # else it is the supervisor's, who stops the server

    def _is_locked(self, name: str) -> bool:
        with self._attempt(name, fcntl.LOCK_SH) as descriptor:
            return descriptor is None

    @contextlib.contextmanager
    def _attempt(self, name: str, operation: int) -> Iterator[int | None]:
        """The lock inside the `with`, or None where it can't be had at once."""
        descriptor = try_lock(self._locks / name, operation)
        with contextlib.nullcontext() if descriptor is None else _closing(descriptor):
            yield descriptor

    def _await_share(self, deadline: float) -> int:
        """Our share; to be had at once unless a supervisor is just stopping the server."""
        while (descriptor := try_lock(self._locks / "users", fcntl.LOCK_SH)) is None:
            if time.monotonic() >= deadline:
                raise StartFailed(f"the server in {self._directory} is still being stopped")
            time.sleep(POLL_SECONDS)
        return descriptor

    def _leave(self) -> None:
        if self._share is not None:
            os.close(self._share)
            self._share = None

    def _open_log(self) -> BinaryIO:
        """The log, to append to; one that has grown long is put aside first."""
        if self._log.exists() and self._log.stat().st_size > LONGEST_LOG:
            self._log.replace(self._log.with_name("postgres.log.old"))
        return os.fdopen(os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")

    def _log_end(self, start: int) -> str:
        """What was logged from offset `start` on, cut to its end."""
        if not self._log.exists():
            return ""
        logged = self._log.read_bytes()
        since = logged[start if start <= len(logged) else 0 :]
        return since.decode(errors="replace")[-LOG_END:]


def _canonical(setting: str) -> str:
    """As PostgreSQL reads the name of a setting in its arguments."""
    return setting.strip().lower().replace("-", "_")


def _socket_directory(directory: Path) -> Path:
    """`run` in the directory, unless the system or libpq could not name the socket there.

    The system limits its length, and libpq takes a comma for the end of a host's name.
    """
    sockets = directory / "run"
    longest = os.fsencode(sockets / f".s.PGSQL.{PORT}")
    if len(longest) <= LONGEST_SOCKET_PATH and not {",", '"'} & set(str(sockets)):
        return sockets
    identity = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return LONG_PATH_SOCKETS / f"ledgers-{identity}"


def _flush(directory: Path) -> None:
    """Make the names in `directory` survive a power cut."""
    with _closing(os.open(directory, os.O_RDONLY | os.O_DIRECTORY)) as descriptor:
        os.fsync(descriptor)


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _let_go(supervisor: subprocess.Popen[bytes]) -> None:
    """Tell the supervisor that nobody waits any more, and leave a thread to collect its end."""
    assert supervisor.stdin
    supervisor.stdin.close()
    threading.Thread(target=supervisor.wait, name="embedded-postgres", daemon=True).start()
