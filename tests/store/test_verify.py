"""`verify` finds each thing that must not be, under its own name, and nothing else.

Every damage is done in a database without triggers, keys, constraints and unique indexes, so what
is found is found by the check itself.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import psycopg
import pytest
from psycopg import errors

from app.ledger.transactions.commands import Command
from app.store.audit.invariants import INVARIANT_OF, PASSES
from app.store.audit.verify import Digest, Violation, check, digest, verify
from tests.conftest import copied_database

from .books import CREDIT, DEBIT, Book, Books, writing

Connection = psycopg.Connection[tuple[Any, ...]]

UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

DISARM = """
    DO $$
    DECLARE
        found record;
    BEGIN
        FOR found IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', found.name);
        END LOOP;
        FOR found IN
            SELECT conrelid::regclass AS home, conname AS name FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f', 'p', 'u')
            ORDER BY contype <> 'f'
        LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.home, found.name);
        END LOOP;
        FOR found IN
            SELECT indexrelid::regclass AS name FROM pg_index
            JOIN pg_class ON pg_class.oid = indexrelid
            WHERE indisunique AND relnamespace = 'public'::regnamespace
        LOOP
            EXECUTE format('DROP INDEX %s', found.name);
        END LOOP;
    END $$
"""


@dataclass(frozen=True, slots=True)
class Damage:
    """Statements that break the books, with psql's :'name' for ids, and what they bring up."""

    title: str
    statements: str
    findings: tuple[str, ...]


def read_damages() -> list[Damage]:
    """The damages of damages.sql: a title, statements, findings."""
    _, *blocks = Path(__file__).with_name("damages.sql").read_text().split("\n\n-- ")
    damages = []
    for block in blocks:
        title, *lines = block.strip().splitlines()
        findings = [line.removeprefix("--> ") for line in lines if line.startswith("--> ")]
        statements = "\n".join(line for line in lines if not line.startswith("-- "))
        damages.append(Damage(title, statements, tuple(sorted(findings))))
    return damages


DAMAGES = read_damages()


@pytest.fixture
def url(books_url: str, books: Books, make_database: Callable[[str | None], str]) -> str:
    """The owner's address of a copy of the books."""
    assert books
    return make_database(books_url)


@pytest.fixture
def disarmed_url(url: str) -> str:
    """The same when nothing in the database guards it any more."""
    run(url, DISARM)
    return url


@pytest.fixture(scope="module")
def guarded_by_nothing(server_url: str, books_url: str, books: Books) -> Iterator[Connection]:
    """A session in such a database, whose transactions are to be rolled back."""
    assert books
    with copied_database(server_url, books_url) as url, psycopg.connect(url) as connection:
        connection.execute(DISARM)
        connection.commit()
        yield connection


def run(url: str, statements: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statements)


def write(url: str, *commands: Command) -> None:
    async def write_all() -> None:
        async with writing(url) as (_, writer):
            for command in commands:
                await writer.write(command)

    asyncio.run(write_all())


def with_ids(statements: str, books: Books) -> str:
    ids: dict[str, UUID] = {
        "organization": books.main.scope.organization_id,
        "foreign_organization": books.foreign.scope.organization_id,
        "ledger": books.main.ledger_id,
        "life": books.life.ledger_id,
        "credit": books.credit.ledger_id,
        "bank": books.bank.ledger_id,
        "stated": books.stated.ledger_id,
        "stated_wallet": books.stated.accounts["wallet"],
        "other": books.other.ledger_id,
        "foreign": books.foreign.ledger_id,
        "other_bank": books.other.accounts["bank"],
        "other_cash": books.other.accounts["cash"],
        "giro": uuid5(books.life.ledger_id, "giro"),
        **books.main.accounts,
    }
    return re.sub(r":'(\w+)'", lambda match: f"'{ids[match[1]]}'", statements)


def told(violation: Violation, books: Books) -> str:
    """A violation in words, with names for ids."""
    names = {
        str(books.main.scope.organization_id): "first",
        str(books.foreign.scope.organization_id): "second",
    }
    for name in ("main", "life", "credit", "bank", "stated", "other", "foreign"):
        book: Book = getattr(books, name)
        names[str(book.ledger_id)] = name
        names[str(book.transaction_id("monthly"))] = f"{name}/monthly"
        names |= {str(account_id): account for account, account_id in book.accounts.items()}
    names[str(uuid5(books.life.ledger_id, "giro"))] = "giro"
    text = f"{violation.name} {violation.organization_id}/{violation.ledger_id} {violation.subject}"
    return UUIDS.sub(lambda match: names.get(match[0], "…"), text)


def test_whole_books_have_no_violations(url: str) -> None:
    """What the writer writes is as the invariants want it, and all of it is looked at."""
    report = verify(url)
    assert report.violations == ()
    assert report.complete
    assert (report.organizations, report.ledgers, report.accounts) == (2, 7, 28)
    assert (report.transactions, report.entries) == (40, 110)


def test_an_empty_database_has_no_violations(database_url: str) -> None:
    """Nothing recorded, nothing wrong."""
    report = verify(database_url)
    assert report.violations == ()
    assert (report.organizations, report.transactions, report.entries) == (0, 0, 0)


def test_whole_books_stay_whole_without_keys(disarmed_url: str) -> None:
    """No check needs a key, a constraint or a unique index."""
    assert verify(disarmed_url).violations == ()


def test_organizations_may_have_the_same_ids(url: str, books: Books) -> None:
    """Ids, numbers and keys are an organization's own, for the database and for every check."""
    twin = uuid4()
    change = f"""'{{"organization_id": "{twin}"}}'"""
    tables = ("organizations", "api_keys", "ledgers", "period_events", "currencies", "accounts")
    more = ("transactions", "transaction_events", "entries", "account_totals", "credit_lots")
    outside = ("external_accounts", "statement_imports", "external_statements", "statement_lines")
    new = ("account_statements", "statement_schedules", "settlements", "settlement_entries")
    reconciling = (
        *("reconciliations", "reconciliation_runs", "reconciliation_matches"),
        *("reconciliation_match_lines", "reconciliation_match_entries"),
        *("reconciliation_rejections", "reconciliation_discrepancies", "reconciliation_events"),
    )
    all_tables = *tables, *more, "lot_movements", *outside, "statement_line_repeats", *new
    for table in reconciling:  # one of them is closed, and takes no row any more
        run(url, f"ALTER TABLE {table} DISABLE TRIGGER USER")
    for table in (*all_tables, *reconciling):
        run(
            url,
            f"INSERT INTO {table} SELECT (jsonb_populate_record(t, {change})).* FROM {table} t"
            f" WHERE organization_id = '{books.main.scope.organization_id}'",
        )
    ours = digest_of(url, books)
    assert digest(url, twin, books.main.ledger_id) == replace(ours, organization_id=twin)
    write(url, books.main.settle("held", "held, settled"))
    report = verify(url)
    assert report.violations == ()
    assert (report.organizations, report.ledgers) == (3, 13)


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.title for damage in DAMAGES])
def test_a_damage_is_found_under_its_names(
    damage: Damage, guarded_by_nothing: Connection, books: Books
) -> None:
    """A damage brings up the violations that belong to it, each once, and no other."""
    guarded_by_nothing.rollback()
    guarded_by_nothing.execute(with_ids(damage.statements, books))
    report = check(guarded_by_nothing)
    guarded_by_nothing.rollback()
    assert sorted(told(violation, books) for violation in report.violations) == list(
        damage.findings
    )
    assert report.complete


def test_every_name_is_proven_by_a_damage() -> None:
    """No check is without a damage of its name, which it finds."""
    damages = {damage.title: damage.findings for damage in DAMAGES}
    for name in INVARIANT_OF:
        assert any(finding.startswith(f"{name} ") for finding in damages[name])


def test_names_are_unique() -> None:
    """No two checks share a name."""
    assert len(INVARIANT_OF) == 1 + sum(len(one.checks) for one in PASSES)


def test_a_violation_tells_all_about_itself(disarmed_url: str, books: Books) -> None:
    """A violation has its invariant's number, its place, its subject and the figures."""
    statements = "UPDATE accounts SET available_floor = 1, floor_version = 18 WHERE account_id = "
    run(disarmed_url, with_ids(statements + ":'wallet'", books))
    assert verify(disarmed_url).violations == (
        Violation(
            invariant=6,
            name="AVAILABLE_BELOW_FLOOR",
            organization_id=books.main.scope.organization_id,
            ledger_id=books.main.ledger_id,
            subject=f"entry {books.main.accounts['wallet']}/18",
            detail="available is 0 after it, the floor 1",
        ),
    )


@pytest.mark.parametrize(
    ("limit", "listed", "complete"), [(1, 2, False), (2, 3, False), (3, 4, True), (100, 4, True)]
)
def test_a_limit_bounds_each_name_by_itself(
    limit: int, listed: int, complete: bool, disarmed_url: str, books: Books
) -> None:
    """Many violations of one name do not crowd out another; the report says what it left out."""
    run(
        disarmed_url,
        with_ids(
            "UPDATE accounts SET version = version + 1 WHERE ledger_id = :'ledger'"
            " AND name <> 'cash';"
            "UPDATE ledgers SET last_sequence = 10 WHERE ledger_id = :'ledger'",
            books,
        ),
    )
    report = verify(disarmed_url, limit=limit)
    names = [violation.name for violation in report.violations]
    assert names == ["LAST_SEQUENCE_WRONG"] + ["ACCOUNT_VERSION_WRONG"] * (listed - 1)
    assert report.complete is complete


def test_progress_is_told_pass_by_pass(database_url: str) -> None:
    """Each pass is announced by title and place before it runs, and the end after the last."""
    calls: list[tuple[str, int, int]] = []
    verify(database_url, progress=lambda *call: calls.append(call))
    count = len(PASSES)
    assert calls == [
        *((one.title, place, count) for place, one in enumerate(PASSES)),
        ("done", count, count),
    ]


def test_one_moment_is_seen_while_others_write(url: str, books: Books) -> None:
    """Postings and even damage committed half-way are of a later moment than the report."""

    def interfere(title: str, _place: int, _count: int) -> None:
        write(url, books.main.post(title, ("cash", DEBIT, 10), ("wallet", CREDIT, 10)))
        run(url, "UPDATE accounts SET version = version + 1 WHERE name = 'bank'")

    report = verify(url, progress=interfere)
    assert report.violations == ()
    assert report.transactions == 40
    later = verify(url)
    assert {violation.name for violation in later.violations} == {"ACCOUNT_VERSION_WRONG"}
    assert later.transactions == 40 + len(PASSES) + 1


def test_the_reader_role_is_taken(database_url: str) -> None:
    """Even a superuser's URL reads with the privileges of ledgers_reader, which may only read."""
    run(database_url, "REVOKE SELECT ON entries FROM ledgers_reader")
    with pytest.raises(errors.InsufficientPrivilege) as refused:
        verify(database_url)
    assert refused.value.sqlstate == "42501"


# ---- digest --------------------------------------------------------------------------------------


def digest_of(url: str, books: Books, before: Digest | None = None) -> Digest:
    main = books.main
    return digest(url, main.scope.organization_id, main.ledger_id, before.upto if before else None)


def test_a_digest_stays_the_same_while_the_books_go_on(url: str, books: Books) -> None:
    """Settling, voiding and posting change nothing of what was recorded before them."""
    before = digest_of(url, books)
    main = books.main
    write(
        url,
        main.settle("held", "held, settled"),
        main.void("partly settled", "partly settled, voided"),
        main.post("more", ("cash", DEBIT, 1), ("wallet", CREDIT, 1)),
    )
    assert digest_of(url, books, before) == before
    after = digest_of(url, books)
    assert (before.transactions, after.transactions) == (9, 10)
    assert after.sha256 != before.sha256


RECORDED_FIELDS = [
    "accounts SET currency = 'CHF'",
    "accounts SET exponent = 3",
    "accounts SET normal_balance = 'debit'",
    "transactions SET description = 'other'",
    "transactions SET external_id = external_id || '0'",
    "transactions SET metadata = '{}'",
    "transactions SET transaction_id = gen_random_uuid()",
    "transactions SET sequence = sequence + 1",
    "transactions SET effective_at = effective_at + interval '1 microsecond'",
    "transactions SET created_at = created_at - interval '1 microsecond'",
    "transaction_events SET kind = 'posted'",
    "transaction_events SET idempotency_key = idempotency_key || '0'",
    "transaction_events SET fingerprint = sha256(fingerprint)",
    "transaction_events SET description = ''",
    "transaction_events SET number = number + 1",
    "transaction_events SET recorded_at = recorded_at - interval '1 microsecond'",
    "entries SET account_id = gen_random_uuid()",
    "entries SET sequence = sequence + 1",
    "entries SET line = line + 1",
    "entries SET event = event + 1",
    "entries SET direction = 'debit'",
    "entries SET effect = 'post'",
    "entries SET amount = amount * 10",
    "entries SET posted_debits = posted_debits + 1",
    "entries SET posted_credits = posted_credits + 1",
    "entries SET pending_debits = pending_debits + 1",
    "entries SET pending_credits = pending_credits + 1",
    "entries SET effective_at = effective_at + interval '1 microsecond'",
    "entries SET recorded_at = recorded_at - interval '1 microsecond'",
    "entries SET metadata = NULL",
]


def test_a_digest_holds_everything_recorded(disarmed_url: str, books: Books) -> None:
    """Whatever recorded field is changed, the digest is another."""
    before = digest_of(disarmed_url, books)
    seen = {before.sha256}
    for change in RECORDED_FIELDS:
        run(disarmed_url, f"UPDATE {change}")
        after = digest_of(disarmed_url, books, before)
        assert after.sha256 not in seen, change
        seen.add(after.sha256)


@pytest.mark.parametrize("table", ["transactions", "transaction_events", "entries"])
def test_a_digest_holds_every_row(table: str, disarmed_url: str, books: Books) -> None:
    """A row that was recorded and is gone changes the digest."""
    before = digest_of(disarmed_url, books)
    run(disarmed_url, f"DELETE FROM {table} WHERE ctid IN (SELECT min(ctid) FROM {table})")
    assert digest_of(disarmed_url, books, before).sha256 != before.sha256


def test_a_digest_tells_fields_apart(disarmed_url: str, books: Books) -> None:
    """The same characters, divided otherwise between two fields, give another digest."""
    run(disarmed_url, "UPDATE transactions SET description = 'ab', external_id = 'c'")
    before = digest_of(disarmed_url, books)
    run(disarmed_url, "UPDATE transactions SET description = 'a', external_id = 'bc'")
    assert digest_of(disarmed_url, books).sha256 != before.sha256


def test_a_digest_is_of_one_ledger(disarmed_url: str, books: Books) -> None:
    """What happens to other ledgers leaves it alone."""
    before = digest_of(disarmed_url, books)
    run(disarmed_url, with_ids("DELETE FROM entries WHERE ledger_id <> :'ledger'", books))
    assert digest_of(disarmed_url, books) == before


def test_a_copy_has_the_same_digest(
    url: str, books: Books, make_database: Callable[[str | None], str]
) -> None:
    """The digest depends on the content alone."""
    assert digest_of(make_database(url), books) == digest_of(url, books)


def test_a_digest_needs_the_ledger_of_the_organization(url: str, books: Books) -> None:
    """The ledger of another organization is as unknown as any other id."""
    with pytest.raises(LookupError, match=f"has no ledger {books.foreign.ledger_id}$"):
        digest(url, books.main.scope.organization_id, books.foreign.ledger_id)
