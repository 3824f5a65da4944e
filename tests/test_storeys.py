"""The three storeys: api speaks, ledger decides, store remembers."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
APP = ROOT / "app"
MAY_IMPORT = {
    "ledger": {"ledger"},
    "store": {"store", "ledger"},
    "api": {"api", "store", "ledger"},
}
"""What each storey may import of `app`; the files beside them are the roof and may import all."""

MOST_MODULES = 12

IMPURE = {"asyncio", "http", "io", "logging", "os", "pathlib", "random", "secrets", "socket", "ssl"}
IMPURE |= {"subprocess", "sys", "tempfile", "threading", "time", "urllib"}
DRIVERS = {"alembic", "psycopg", "psycopg_pool", "sqlalchemy", "sqlmodel"}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(TABLE|ROLE)"
    r"|BEGIN|COMMIT|ROLLBACK)\b",
    re.DOTALL,
)
MODULES = sorted(path for path in APP.rglob("*.py") if "node_modules" not in path.parts)


def _storey(path: Path) -> str:
    return path.relative_to(APP).parts[0]


def _names(path: Path) -> Iterator[str]:
    """All that a module imports, by its full dotted name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_go_down() -> None:
    """No storey imports one above it, nor the files that wire them."""
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in MODULES
        if (allowed := MAY_IMPORT.get(_storey(path))) is not None
        for name in _names(path)
        if name.split(".")[0] == "app" and name.split(".")[1] not in allowed
    ]
    assert wrong == []


def test_storeys_have_packages_by_the_same_nouns() -> None:
    """No folder is a heap of files, and the packages of the ledger have their like above it."""
    folders = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    heaps = {
        str(folder.relative_to(ROOT)): modules
        for folder, modules in folders.items()
        if modules > MOST_MODULES and folder.name != "versions"
    }
    nouns = {
        storey: {path.stem for path in (APP / storey).iterdir() if path.stem[0] != "_"}
        for storey in MAY_IMPORT
    }
    packages = {path.name for path in (APP / "ledger").iterdir() if (path / "__init__.py").exists()}
    assert heaps == {}
    assert packages <= nouns["store"] & nouns["api"]


def test_ledger_imports_the_standard_library_only() -> None:
    """Decisions depend on nothing but their arguments: no packages, no clock, no chance, no I/O."""
    wrong = [
        f"{path.name}: {name}"
        for path in MODULES
        if _storey(path) == "ledger"
        for name in _names(path)
        if name.split(".")[0] not in {*sys.stdlib_module_names, "app"}
        or not {name, name.split(".")[0]}.isdisjoint(IMPURE)
    ]
    assert wrong == []


def test_ledger_reads_no_clock() -> None:
    """The ledger is told the time: it calls neither now, utcnow nor today."""
    calls = [
        f"{path.name}:{node.lineno}"
        for path in MODULES
        if _storey(path) == "ledger"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in {"now", "utcnow", "today", "uuid1", "uuid4", "uuid7"}
    ]
    assert calls == []


def test_settings_alone_read_the_environment() -> None:
    """No other file mentions os.environ or os.getenv."""
    readers = [
        str(path.relative_to(APP))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"})
        or (isinstance(node, ast.ImportFrom) and node.module == "os")
        or (isinstance(node, ast.Name) and node.id == "BaseSettings")
    ]
    assert readers == ["settings.py"]


def test_sql_is_in_the_store() -> None:
    """Outside the store there is no SQL, and the api knows no driver."""
    with_sql = [
        f"{path.relative_to(APP)}:{node.lineno}"
        for path in MODULES
        if _storey(path) != "store"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]
    drivers = [
        f"{path.relative_to(APP)}: {name}"
        for path in MODULES
        if _storey(path) in {"api", "ledger"}
        for name in _names(path)
        if name.split(".")[0] in DRIVERS
    ]
    assert (with_sql, drivers) == ([], [])


@pytest.mark.parametrize(
    "text", ["SELECT 1 FROM t", "insert into t".upper(), "UPDATE t SET a = 1", "COMMIT"]
)
def test_sql_is_recognised(text: str) -> None:
    """The pattern of the test above finds what it is for."""
    assert SQL.search(text)
