"""Reading reconciliations costs what it gives: every look-up and page goes by an index."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from app.ledger.reconciliation.comparison import EntryField, LineField, Rule, RuleKind
from app.store.reading import Listing, Lookup, page_statement
from app.store.reconciliation.opening import close
from app.store.rows import reconciliation as rows
from tests.api.test_statement_counts import _tenant, _touched, _touched_by_lookups, filled
from tests.store.desk import open_desk

__all__ = ["filled"]

FILL = """
    INSERT INTO api_keys SELECT organization_id, gen_random_uuid(), 'clerk', 'test', '{write}',
        false, sha256('k'), 'h', now() FROM organizations;
    INSERT INTO external_accounts (organization_id, external_account_id, ledger_id, account_id,
        name, kind, inverted, metadata, created_at, last_statement, last_line)
    SELECT organization_id, gen_random_uuid(), ledger_id, account_id, 'Bank', 'bank', false, '{}',
        now(), 1, 50
    FROM accounts WHERE external_id LIKE 'x%'
        AND account_id IN (SELECT account_id FROM entries WHERE effect = 'post');
    INSERT INTO statement_imports (organization_id, import_id, ledger_id, external_account_id,
        api_key_id, format, content_hash, status, bytes_read, lines_read, lines_new, lines_known,
        lines_skipped, created_at, finished_at)
    SELECT organization_id, external_account_id, ledger_id, external_account_id, api_key_id, 'rows',
        sha256('i'), 'completed', 0, 0, 0, 0, 0, now(), now()
    FROM external_accounts x JOIN api_keys USING (organization_id) WHERE x.name = 'Bank';
    INSERT INTO external_statements (organization_id, external_statement_id, ledger_id,
        external_account_id, import_id, number, currency, line_count, line_total, known_count,
        created_at)
    SELECT organization_id, import_id, ledger_id, external_account_id, import_id, 1, 'USD', 0, 0, 0,
        now() FROM statement_imports WHERE import_id = external_account_id;
    INSERT INTO statement_lines (organization_id, external_account_id, number,
        external_statement_id, position, booked_on, amount, currency, fingerprint, occurrence)
    SELECT organization_id, external_account_id, n, external_statement_id, n,
        '2026-01-01'::date + n, 1, 'USD', sha256(int4send(n)), 1
    FROM external_statements, generate_series(1, 50) n
    WHERE external_statement_id = external_account_id;
    INSERT INTO reconciliations (organization_id, reconciliation_id, ledger_id, external_account_id,
        account_id, name, from_date, through_date, time_zone, margin_days, rules, api_key_id,
        created_at, status, closed_at, last_event)
    SELECT organization_id, gen_random_uuid(), x.ledger_id, external_account_id, account_id,
        'R' || n, '2026-01-01'::date + n * 5, '2026-01-06'::date + n * 5, 'UTC', 0, '[]',
        api_key_id, now(), 'open', NULL, 20
    FROM external_accounts x JOIN api_keys USING (organization_id), generate_series(0, 9) n
    WHERE x.name = 'Bank';
    INSERT INTO reconciliation_events (organization_id, reconciliation_id, number, kind, details,
        api_key_id, recorded_at)
    SELECT organization_id, reconciliation_id, n, 'run', '{}', api_key_id, now()
    FROM reconciliations, generate_series(1, 20) n;
    INSERT INTO reconciliation_runs (organization_id, run_id, ledger_id, reconciliation_id,
        api_key_id, status, requested_at, finished_at, confirmed, proposed, withdrawn, appeared,
        vanished)
    SELECT organization_id, gen_random_uuid(), ledger_id, reconciliation_id, api_key_id,
        'completed', now(), now(), 0, 0, 0, 0, 0 FROM reconciliations, generate_series(1, 20) n;
    INSERT INTO reconciliation_matches (organization_id, match_id, reconciliation_id, ledger_id,
        status, origin, rule, score, difference, reach, days, whole, late, foreign_currency)
    SELECT organization_id, md5(concat(reconciliation_id, n))::uuid, reconciliation_id, ledger_id,
        'confirmed', 'rule', 'r', 1000, 0, 0, 0, true, false, false
    FROM reconciliations, generate_series(1, 5) n;
    INSERT INTO reconciliation_match_lines (organization_id, match_id, external_account_id, number,
        reconciliation_id, confirmed)
    SELECT organization_id, md5(concat(reconciliation_id, n))::uuid, external_account_id,
        right(name, 1)::int8 * 5 + n, reconciliation_id, true
    FROM reconciliations, generate_series(1, 5) n;
    INSERT INTO reconciliation_match_entries (organization_id, match_id, account_id, sequence,
        reconciliation_id, confirmed)
    SELECT organization_id, md5(concat(reconciliation_id, n))::uuid, account_id,
        right(name, 1)::int8 * 5 + n, reconciliation_id, true
    FROM reconciliations, generate_series(1, 5) n;
    INSERT INTO reconciliation_discrepancies (organization_id, discrepancy_id, reconciliation_id,
        ledger_id, external_account_id, account_id, kind, day, amount, entry_sequence, status)
    SELECT organization_id, gen_random_uuid(), reconciliation_id, ledger_id, external_account_id,
        account_id, 'missing_in_statement', '2026-01-01'::date + n, 1, n, 'open'
    FROM reconciliations, generate_series(1, 50) n WHERE right(name, 1) = '9';
    UPDATE reconciliations SET status = 'closed', closed_at = now() WHERE right(name, 1) <> '9';
    VACUUM ANALYZE
"""
KEYS = {
    "reconciliations_by_id": "SELECT reconciliation_id FROM reconciliations",
    "runs_by_id": "SELECT run_id FROM reconciliation_runs",
    "matches_by_id": "SELECT match_id FROM reconciliation_matches",
    "matches_by_line": "SELECT external_account_id, number FROM reconciliation_match_lines",
    "closed_matches_by_entry": (
        "SELECT account_id, sequence FROM (SELECT m.* FROM reconciliation_match_entries m"
        " JOIN reconciliations r USING (reconciliation_id) WHERE r.status = 'closed') closed"
    ),
    "lines_by_match": "SELECT match_id FROM reconciliation_match_lines",
    "entries_by_match": (
        "SELECT match_id FROM (SELECT m.* FROM reconciliation_match_entries m"
        " JOIN entries e USING (account_id, sequence)) there"
    ),
    "discrepancies_by_id": "SELECT discrepancy_id FROM reconciliation_discrepancies",
}
PARENTS = {
    "reconciliations_of_external_account": "external_account_id FROM reconciliations",
    "lines_of_reconciliation": "reconciliation_id FROM reconciliations",
    "unmatched_entries_of_reconciliation": "DISTINCT reconciliation_id"
    " FROM reconciliation_discrepancies",
    "matches_of_reconciliation": "reconciliation_id FROM reconciliations",
    "discrepancies_of_reconciliation": "DISTINCT reconciliation_id"
    " FROM reconciliation_discrepancies",
    "runs_of_reconciliation": "reconciliation_id FROM reconciliations",
    "events_of_reconciliation": "reconciliation_id FROM reconciliations",
    "unreconciled_entries_of_account": "DISTINCT account_id FROM reconciliations",
}
MIDDLE: Mapping[str, Any] = {
    "reconciliation_id": UUID(int=2**127),
    "match_id": UUID(int=2**127),
    "discrepancy_id": UUID(int=2**127),
    "run_id": UUID(int=2**127),
    "booked_on": date(2026, 1, 4),
    "day": date(2026, 1, 25),
    "number": 10,
    "sequence": 20,
    "effective_at": datetime(2026, 1, 1, tzinfo=UTC),
}
NEARBY = {"unmatched_entries": 2 * 1300, "unreconciled_entries": 2 * 3 * 50}
"""The accounts of the organization, for each parent (see the other test), and the discrepancies of
one reconciliation, which are sorted; entries that are reconciled, which are passed over."""

MONTH = Path(__file__).parents[1] / "benchmarks" / "reconciling.sql"
ENTRIES = 4000
YOUNG: Mapping[str, Any] = {**MIDDLE, "booked_on": date(2026, 3, 9), "day": date(2026, 3, 9)}
PASSED_OVER = {
    "lines_of_reconciliation where": 4 * ENTRIES // 10,
    "unmatched_entries": ENTRIES,
    "discrepancies_of_reconciliation where": ENTRIES,
    "matches_of_reconciliation where": ENTRIES,
    "unreconciled_entries": 4 * ENTRIES,
}
"""What a page looks at that is asked for what no index has: each line or entry, and its match and
the reconciliation of that; each discrepancy, each match."""


def test_every_way_to_read_is_measured() -> None:
    """No look-up and no listing escapes the test below."""
    found = {
        name
        for name, value in vars(rows).items()
        if isinstance(value, Lookup | Listing)
        and name not in ("entries_by_id", "statement_lines_by_id")
    }
    assert found == set(KEYS) | set(PARENTS)


def test_reading_touches_little_more_than_it_gives(filled: psycopg.Connection[Any]) -> None:
    """Keys and pages are read through indexes, whatever else there is.

    A line of a match is joined with seven tables, of which the ledgers are few enough to be read
    whole.
    """
    for statement in FILL.split(";"):
        filled.execute(statement)
    assert _excessive(filled, MIDDLE, 16, NEARBY) == {}


@pytest.fixture
def unknown(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A database that keeps no statistics of any table."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for (table,) in connection.execute(
            "SELECT oid::regclass::text FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall():
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        yield connection
        assert not connection.execute("SELECT FROM pg_stats WHERE schemaname = 'public'").fetchall()


async def test_reading_costs_the_same_without_statistics(
    unknown: psycopg.Connection[Any], database_url: str
) -> None:
    """After a large import, before anybody has analyzed it, keys and pages go by their indexes.

    A month of one account is reconciled, and closed. A plan that takes the account for one row
    looks at millions.
    """
    by_reference = Rule("r", RuleKind.REFERENCE, LineField.REFERENCE, EntryField.EXTERNAL_ID)
    payouts = Rule(
        "p",
        RuleKind.ONE_LINE_TO_MANY_ENTRIES,
        LineField.REFERENCE,
        EntryField.METADATA,
        ("batch",),
    )
    async with open_desk(database_url) as desk:
        unknown.execute(MONTH.read_bytes())
        books = (desk.author.scope.organization_id, desk.ledger_id, desk.bank, desk.other)
        unknown.execute(
            "SELECT pg_temp.add_month(%s, %s, %s, %s, %s, %s, %s)",
            [*books, desk.external, desk.author.api_key_id, ENTRIES],
        )
        march = await desk.open(by_reference, payouts)
        await march.run()
        await march.do(close, march.id, accept_remaining=True, reason="as it is")
    assert _excessive(unknown, YOUNG, 16, PASSED_OVER) == {}
    given, looked_at = _touched(
        unknown,
        rows.UNRECONCILED,
        {"ids": [desk.bank], "as_of": None, **_tenant(unknown)},
    )
    assert given == 1
    assert looked_at < 3 * ENTRIES


def _excessive(
    connection: psycopg.Connection[Any],
    middle: Mapping[str, Any],
    times: int,
    aside: Mapping[str, int],
) -> dict[str, tuple[int, int]]:
    """What looks at more than so many times what it gives, and at what is besides it."""
    tenant = _tenant(connection)
    touched = {
        **_touched_by_lookups(connection, tenant, rows, KEYS),
        **_touched_by_pages(connection, middle),
    }
    return {
        place: (given, looked_at)
        for place, (given, looked_at) in touched.items()
        if looked_at
        > times * max(given, 10) + sum(n for name, n in aside.items() if place.startswith(name))
    }


def _touched_by_pages(
    connection: psycopg.Connection[Any], middle: Mapping[str, Any]
) -> dict[str, tuple[int, int]]:
    """Pages in the middle of each order, and those of each field of which nothing is wanted."""
    tenant, touched = _tenant(connection), {}
    for name, parent in PARENTS.items():
        listing: Listing[Any] = getattr(rows, name)
        parents = connection.execute(
            f"SELECT {parent} WHERE organization_id = %(organization)s LIMIT 2", tenant
        ).fetchall()
        page = {"parents": [row[0] for row in parents], "rows": 10, **tenant}
        for order, key in listing.orders.items():
            for descending in (False, True):
                after = {f"after{n}": middle[column] for n, column in enumerate(key)}
                touched[f"{name} by {order}, {descending}"] = _touched(
                    connection,
                    page_statement(listing, order, descending, True, ()),
                    {**page, **after},
                )
            for wanted in ("state", "status"):
                if wanted in listing.fields:
                    touched[f"{name} where {wanted}"] = _touched(
                        connection,
                        page_statement(listing, order, False, False, ((wanted, "any"),)),
                        {**page, "value0": ["none such"]},
                    )
    return touched
