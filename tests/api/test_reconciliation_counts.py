"""Reading reconciliations costs what it gives: every look-up and page goes by an index."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import psycopg

from app.store.reading import Listing, Lookup, key_statement, page_statement
from app.store.rows import reconciliation as rows
from tests.api.test_statement_counts import _tenant, _touched, filled

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
    "unreconciled_entries_of_account": "account_id FROM reconciliations",
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
    tenant = _tenant(filled)
    touched = {}
    for name, source in KEYS.items():
        lookup: Lookup[Any] = getattr(rows, name)
        keys = filled.execute(
            f"SELECT * FROM ({source} WHERE organization_id = %(organization)s) k"
            " ORDER BY random() LIMIT 40",
            tenant,
        ).fetchall()
        parameters = {f"key{n}": [key[n] for key in keys] for n in range(len(keys[0]))}
        touched[name] = _touched(filled, key_statement(lookup), {**parameters, **tenant})
        assert touched[name][0] >= len(keys)
    for name, parent in PARENTS.items():
        listing: Listing[Any] = getattr(rows, name)
        parents = filled.execute(
            f"SELECT {parent} WHERE organization_id = %(organization)s LIMIT 2", tenant
        ).fetchall()
        for order, key in listing.orders.items():
            for descending in (False, True):
                after = {f"after{n}": MIDDLE[column] for n, column in enumerate(key)}
                touched[f"{name} by {order}, {descending}"] = _touched(
                    filled,
                    page_statement(listing, order, descending, True, ()),
                    {"parents": [row[0] for row in parents], "rows": 10, **after, **tenant},
                )
    excessive = {
        place: figures
        for place, figures in touched.items()
        if figures[1]
        > 16 * max(figures[0], 10)
        + sum(more for name, more in NEARBY.items() if place.startswith(name))
    }
    assert excessive == {}
