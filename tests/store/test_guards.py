"""What the database itself refuses, whoever asks and by whatever way round the application.

Each test runs statements that would falsify the books, and looks at the error (SQLSTATE and name of
the constraint), and at the whole database afterwards: nothing has changed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from .books import Books

APP = "-c role=ledgers_app"
READER = "-c role=ledgers_reader"
OWNER = ""
REPLICA = "-c session_replication_role=replica"

NOT_GRANTED = "42501"
STAYS = "23001"
NOT_NULL = "23502"
FOREIGN = "23503"
REPEATED = "23505"
CHECK = "23514"

TABLES = (
    "organizations",
    "api_keys",
    "api_key_ledgers",
    "ledgers",
    "currencies",
    "accounts",
    "transactions",
    "transaction_events",
    "entries",
    "transaction_templates",
    "template_uses",
    "period_events",
    "account_totals",
    "credit_lots",
    "lot_movements",
    "external_accounts",
    "statement_imports",
    "external_statements",
    "statement_lines",
    "statement_line_repeats",
    "account_statements",
    "statement_schedules",
    "settlements",
    "settlement_entries",
    "revisions",
    "blocks",
    "reconciliations",
    "reconciliation_runs",
    "reconciliation_matches",
    "reconciliation_match_lines",
    "reconciliation_match_entries",
    "reconciliation_rejections",
    "reconciliation_discrepancies",
    "reconciliation_events",
)
GUARDED = {
    "ledgers": ("organization_id", "ledger_id", "mode", "created_at"),
    "currencies": ("organization_id", "ledger_id", "code", "exponent"),
    "accounts": (
        "organization_id",
        "account_id",
        "ledger_id",
        "external_id",
        "normal_balance",
        "currency",
        "exponent",
        "created_at",
    ),
    "transactions": (
        "organization_id",
        "transaction_id",
        "ledger_id",
        "sequence",
        "external_id",
        "effective_at",
        "created_at",
        "reason",
        "posts_at",
        "expires_at",
        "reverses_sequence",
    ),
    "transaction_events": (
        "organization_id",
        "ledger_id",
        "transaction_sequence",
        "number",
        "kind",
        "idempotency_key",
        "fingerprint",
        "description",
        "recorded_at",
        "changes",
    ),
    "entries": (
        "organization_id",
        "account_id",
        "sequence",
        "ledger_id",
        "transaction_sequence",
        "effective_at",
        "recorded_at",
        "line",
        "event",
        "direction",
        "effect",
        "amount",
        "posted_debits",
        "posted_credits",
        "pending_debits",
        "pending_credits",
        "metadata",
    ),
    "transaction_templates": (
        "organization_id",
        "template_id",
        "version",
        "ledger_id",
        "code",
        "description",
        "definition",
        "created_at",
    ),
    "template_uses": (
        "organization_id",
        "ledger_id",
        "transaction_sequence",
        "code",
        "version",
        "params",
    ),
    "period_events": (
        "organization_id",
        "ledger_id",
        "number",
        "kind",
        "closed_through",
        "reason",
        "api_key_id",
        "recorded_at",
    ),
    "account_totals": (
        "organization_id",
        "account_id",
        "level",
        "span",
        "sequence",
        "latest",
        "entries",
        "split",
        "posted_debits",
        "posted_credits",
        "pending_debits",
        "pending_credits",
    ),
    "credit_lots": (
        "organization_id",
        "lot_id",
        "account_id",
        "number",
        "ledger_id",
        "transaction_sequence",
        "code",
        "amount",
        "expires_at",
        "breakage_account_id",
    ),
    "lot_movements": (
        "organization_id",
        "lot_id",
        "account_id",
        "sequence",
        "kind",
        "amount",
    ),
    "account_statements": (
        "organization_id",
        "statement_id",
        "ledger_id",
        "account_id",
        "number",
        "from_at",
        "to_at",
        "account_version",
        "ledger_sequence",
        "known_at",
        "previous_number",
        "organization_name",
        "ledger_name",
        "account_name",
        "opening_debits",
        "opening_credits",
        "closing_debits",
        "closing_credits",
        "line_count",
        "content_hash",
        "scheduled",
        "idempotency_key",
        "created_at",
    ),
    "statement_schedules": (
        "organization_id",
        "schedule_id",
        "ledger_id",
        "time_zone",
        "account_ids",
        "external_id_prefix",
        "account_metadata",
        "starting_from",
        "created_at",
    ),
    "settlements": (
        "organization_id",
        "settlement_id",
        "ledger_id",
        "account_id",
        "number",
        "transaction_sequence",
        "up_to",
        "amount",
        "entry_count",
        "first_sequence",
        "open_from",
    ),
    "settlement_entries": (
        "organization_id",
        "account_id",
        "sequence",
        "round",
        "settlement_id",
    ),
    "revisions": (
        "organization_id",
        "ledger_id",
        "number",
        "subject",
        "key",
        "content",
        "recorded_at",
    ),
    "blocks": (
        "organization_id",
        "ledger_id",
        "number",
        "first_leaf",
        "leaves",
        "revisions",
        "transactions",
        "last_recorded_at",
        "last_sequence",
        "last_number",
        "root",
        "previous",
        "skip",
        "sealed_at",
        "hash",
        "leaf_hashes",
    ),
    "reconciliations": (
        "organization_id",
        "reconciliation_id",
        "ledger_id",
        "external_account_id",
        "account_id",
        "name",
        "from_date",
        "through_date",
        "time_zone",
        "margin_days",
        "rules",
        "api_key_id",
        "created_at",
    ),
    "reconciliation_runs": (
        "organization_id",
        "run_id",
        "ledger_id",
        "reconciliation_id",
        "api_key_id",
        "requested_at",
    ),
    "reconciliation_rejections": ("organization_id", "reconciliation_id", "number", "sequence"),
    "reconciliation_events": (
        "organization_id",
        "reconciliation_id",
        "number",
        "kind",
        "reason",
        "details",
        "api_key_id",
        "recorded_at",
    ),
    "external_accounts": (
        "organization_id",
        "external_account_id",
        "ledger_id",
        "account_id",
        "inverted",
        "created_at",
    ),
    "statement_imports": (
        "organization_id",
        "import_id",
        "ledger_id",
        "external_account_id",
        "api_key_id",
        "format",
        "source_name",
        "definition",
        "created_at",
    ),
    "external_statements": (
        "organization_id",
        "external_statement_id",
        "ledger_id",
        "external_account_id",
        "import_id",
        "number",
        "reference",
        "currency",
        "from_date",
        "through_date",
        "opening_balance",
        "closing_balance",
        "line_count",
        "line_total",
        "known_count",
        "created_at",
    ),
    "statement_lines": (
        "organization_id",
        "external_account_id",
        "number",
        "external_statement_id",
        "position",
        "source_line",
        "booked_on",
        "value_on",
        "amount",
        "currency",
        "reference",
        "end_to_end_id",
        "counterparty",
        "description",
        "details",
        "fingerprint",
        "occurrence",
    ),
    "statement_line_repeats": (
        "organization_id",
        "external_statement_id",
        "position",
        "external_account_id",
        "number",
    ),
}
"""Columns that stay as they were recorded."""

CHANGING = ("velocity_limits", "import_profiles")
DERIVED = (
    "reconciliation_matches",
    "reconciliation_match_lines",
    "reconciliation_match_entries",
    "reconciliation_discrepancies",
)
"""What runs and acts make anew, until their reconciliation is closed."""
GRANTED = {
    ("ledgers_reader", "SELECT"): (*TABLES, *CHANGING),
    ("ledgers_app", "SELECT"): (*TABLES, *CHANGING),
    ("ledgers_app", "INSERT"): (*TABLES, *CHANGING),
    ("ledgers_app", "DELETE"): (*CHANGING, *DERIVED),
    ("ledgers_app", "UPDATE"): (
        "velocity_limits",
        "accounts.available_floor",
        "accounts.balance_ceiling",
        "accounts.ceiling_version",
        "accounts.description",
        "accounts.entry_maximum",
        "accounts.floor_version",
        "accounts.has_lots",
        "accounts.maximum_version",
        "accounts.metadata",
        "accounts.name",
        "accounts.pending_credits",
        "accounts.pending_debits",
        "accounts.posted_credits",
        "accounts.posted_debits",
        "accounts.status",
        "accounts.velocity_limited",
        "accounts.version",
        "api_keys.revoked_at",
        "credit_lots.due_at",
        "credit_lots.due_attempts",
        "credit_lots.expired",
        "credit_lots.refusal_code",
        "credit_lots.refusal_message",
        "credit_lots.refused_at",
        "credit_lots.remaining",
        *(
            f"external_accounts.{column}"
            for column in (
                "identification",
                "kind",
                "last_line",
                "last_statement",
                "metadata",
                "name",
            )
        ),
        "import_profiles.definition",
        "import_profiles.updated_at",
        *(
            f"reconciliations.{column}"
            for column in (
                "closed_at",
                "counts",
                "examined_at",
                "examined_line",
                "examined_version",
                "items",
                "last_event",
                "ledger_balance",
                "statement_balance",
                "status",
            )
        ),
        *(
            f"reconciliation_runs.{column}"
            for column in (
                "appeared",
                "confirmed",
                "failure",
                "finished_at",
                "proposed",
                "started_at",
                "status",
                "vanished",
                "withdrawn",
            )
        ),
        *(
            f"reconciliation_matches.{column}"
            for column in (
                "api_key_id",
                "decided_at",
                "difference",
                "reach",
                "reason",
                "status",
                "whole",
            )
        ),
        "reconciliation_match_lines.confirmed",
        "reconciliation_match_entries.confirmed",
        *(
            f"reconciliation_discrepancies.{column}"
            for column in (
                "api_key_id",
                "reason",
                "resolution",
                "resolved_at",
                "resolved_match_id",
                "status",
                "transaction_sequence",
            )
        ),
        *(
            f"statement_imports.{column}"
            for column in (
                "bytes_read",
                "bytes_total",
                "content_hash",
                "failure_code",
                "failure_column",
                "failure_line",
                "failure_message",
                "finished_at",
                "lines_known",
                "lines_new",
                "lines_read",
                "lines_skipped",
                "original_import_id",
                "status",
            )
        ),
        "statement_schedules.deleted_at",
        "statement_schedules.due_at",
        "statement_schedules.next_month",
        "statement_schedules.stated_through",
        "settlements.released_sequence",
        "ledgers.archived_at",
        "ledgers.closed_through",
        "ledgers.description",
        "ledgers.last_recorded_at",
        "ledgers.last_sequence",
        "ledgers.metadata",
        "ledgers.name",
        "transaction_templates.archived_at",
        "transaction_templates.superseded_at",
        "transactions.description",
        "transactions.due_at",
        "transactions.due_attempts",
        "transactions.metadata",
        "transactions.posted_at",
        "transactions.refusal_code",
        "transactions.refusal_message",
        "transactions.refused_at",
        "transactions.status",
        "transactions.voided_at",
    ),
}


@pytest.fixture
def url(books_url: str, books: Books) -> str:
    """The owner's address of the books. All tests share it, for none may change anything."""
    assert books
    return books_url


def contents(url: str) -> Sequence[Sequence[str]]:
    with psycopg.connect(url) as connection:
        return [
            [row for (row,) in connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1")]
            for table in TABLES
        ]


@contextmanager
def nothing_changes(url: str) -> Iterator[None]:
    before = contents(url)
    yield
    assert contents(url) == before


def refusal_of(url: str, options: str, statement: str) -> tuple[str | None, str | None]:
    """The SQLSTATE and the constraint by which the database refuses a statement."""
    with (
        psycopg.connect(make_conninfo(url, options=options), autocommit=True) as connection,
        pytest.raises(psycopg.Error) as refused,
    ):
        connection.execute(statement)
    return refused.value.sqlstate, refused.value.diag.constraint_name


def copy(table: str, changes: str, condition: str) -> str:
    """The statement that inserts a row again with some of its values changed."""
    return (
        f"INSERT INTO {table} SELECT (jsonb_populate_record(t, {changes})).*"
        f" FROM {table} t WHERE {condition}"
    )


# ---- what was recorded stays ---------------------------------------------------------------------

CHANGES = [
    *(
        (table, f"UPDATE {table} SET {column} = {column}")
        for table, columns in GUARDED.items()
        for column in columns
    ),
    *((table, f"DELETE FROM {table}") for table in GUARDED),
    *((table, f"TRUNCATE {table} CASCADE") for table in GUARDED),
]


@pytest.mark.parametrize("options", [APP, READER])
def test_the_roles_may_not_change_what_was_recorded(options: str, url: str) -> None:
    """Neither the app nor a reader has the privilege to change, delete or truncate a record."""
    with nothing_changes(url):
        for _, statement in CHANGES:
            assert refusal_of(url, options, statement) == (NOT_GRANTED, None), statement


@pytest.mark.parametrize("options", [OWNER, REPLICA])
def test_the_owner_may_not_change_what_was_recorded(options: str, url: str) -> None:
    """Triggers refuse it to the owner too, even where replication has turned triggers off."""
    with nothing_changes(url):
        for table, statement in CHANGES:
            assert refusal_of(url, options, statement) == (STAYS, f"{table}_stay"), statement


def test_truncation_does_not_come_round_by_a_parent(url: str) -> None:
    """TRUNCATE … CASCADE of an unguarded table is refused by the first guarded one it reaches."""
    with nothing_changes(url):
        assert refusal_of(url, OWNER, "TRUNCATE organizations CASCADE") == (STAYS, "ledgers_stay")


def test_the_roles_have_the_privileges_of_the_list() -> None:
    """The list leaves out every column that is guarded."""
    updatable = set(GRANTED["ledgers_app", "UPDATE"])
    guarded = {f"{table}.{column}" for table, columns in GUARDED.items() for column in columns}
    assert updatable & guarded == set()


def test_the_roles_have_no_other_privileges(database_url: str) -> None:
    """What the app and the reader may do to tables and columns is exactly the list."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            """
            SELECT coalesce(rolname, 'public'), privilege_type, thing FROM (
                SELECT relname AS thing, relowner AS owner, relacl AS acl FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'
                UNION ALL
                SELECT relname || '.' || attname, relowner, attacl FROM pg_attribute
                JOIN pg_class ON pg_class.oid = attrelid
                WHERE relnamespace = 'public'::regnamespace AND attacl IS NOT NULL
            ) things
            CROSS JOIN LATERAL aclexplode(acl)
            LEFT JOIN pg_roles ON pg_roles.oid = grantee
            WHERE grantee <> owner AND thing <> 'alembic_version'
            """
        ).fetchall()
    expected = {(*granted, thing) for granted, things in GRANTED.items() for thing in things}
    assert set(rows) == expected
    assert len(rows) == len(expected)


# ---- what does not balance -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """An entry to be inserted beside those of transaction 9, after the account's latest."""

    account: str
    direction: str
    amount: int
    effect: str = "post"
    event: int = 1
    transaction: int = 9

    def row(self, number: int) -> str:
        return (
            f"('{self.account}', '{self.direction}', {self.amount}, '{self.effect}', {self.event},"
            f" {self.transaction}, {number})"
        )


def insert_lines(lines: Sequence[Line]) -> str:
    """One INSERT of many entries, as the writer's is."""
    rows = ", ".join(line.row(number) for number, line in enumerate(lines, 1))
    return f"""
        INSERT INTO entries
        SELECT a.organization_id, a.account_id, a.version + l.number, a.ledger_id, l.transaction,
            now(), now(), 100 + l.number, l.event, l.direction, l.effect, l.amount, 0, 0, 0, 0, NULL
        FROM (VALUES {rows}) AS l (name, direction, amount, effect, event, transaction, number)
        JOIN accounts a ON a.name = l.name
        JOIN ledgers b ON b.ledger_id = a.ledger_id AND b.name = 'main'
    """


UNBALANCED = {
    "one side only": [Line("cash", "debit", 5)],
    "two debits": [Line("cash", "debit", 5), Line("wallet", "debit", 5)],
    "different amounts": [Line("cash", "debit", 5), Line("wallet", "credit", 6)],
    "different by one in 10^36": [
        Line("cash", "debit", 10**36),
        Line("wallet", "credit", 10**36 - 1),
    ],
    "two currencies": [Line("cash", "debit", 5), Line("dollars", "credit", 5)],
    "two effects": [Line("cash", "debit", 5, "hold"), Line("wallet", "credit", 5, "post")],
    "two events": [Line("cash", "debit", 5, event=1), Line("wallet", "credit", 5, event=2)],
    "two transactions": [
        Line("cash", "debit", 5, transaction=8),
        Line("wallet", "credit", 5, transaction=9),
    ],
    "a balanced pair beside it": [
        Line("cash", "debit", 5),
        Line("wallet", "credit", 5),
        Line("bank", "debit", 5),
    ],
}


@pytest.mark.parametrize("options", [APP, OWNER, REPLICA])
@pytest.mark.parametrize("lines", UNBALANCED.values(), ids=UNBALANCED.keys())
def test_unbalanced_entries_are_refused(lines: list[Line], options: str, url: str) -> None:
    """Of one event and effect debits equal credits in each currency, or nothing is inserted."""
    with nothing_changes(url):
        assert refusal_of(url, options, insert_lines(lines)) == (CHECK, "entries_balanced")


def test_balanced_entries_are_taken(url: str) -> None:
    """The statement that all the refused ones are variants of is good."""
    lines = [Line("cash", "debit", 5), Line("wallet", "credit", 5)]
    with psycopg.connect(make_conninfo(url, options=APP)) as connection:
        assert connection.execute(insert_lines(lines)).rowcount == 2
        connection.rollback()


def test_a_temporary_table_does_not_blind_the_guard(url: str) -> None:
    """The guard reads the real accounts, whatever the session calls by the same name."""
    with psycopg.connect(make_conninfo(url, options=APP)) as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE accounts (organization_id uuid, account_id uuid, currency text)"
        )
        statement = insert_lines([Line("cash", "debit", 5)]).replace("accounts", "public.accounts")
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(statement)
    assert refused.value.diag.constraint_name == "entries_balanced"


# ---- strays, repetitions and nonsense ------------------------------------------------------------

MAIN = "(SELECT ledger_id FROM ledgers WHERE name = 'main')"
OTHER = "(SELECT ledger_id FROM ledgers WHERE name = 'other')"
FOREIGN_LEDGER = "(SELECT ledger_id FROM ledgers WHERE name = 'foreign')"
SECOND = "(SELECT organization_id FROM organizations WHERE name = 'Second')"


def account(name: str, ledger: str) -> str:
    return f"(SELECT account_id FROM accounts WHERE name = '{name}' AND ledger_id = {ledger})"


def next_entries(changes: str) -> str:
    """Repeat the two entries of transaction 9 as lines 3 and 4, with further changes."""
    return copy(
        "entries",
        "jsonb_build_object('sequence', sequence + 1, 'line', line + 2)"
        f" || jsonb_build_object({changes})",
        f"ledger_id = {MAIN} AND transaction_sequence = 9",
    )


def next_transaction(changes: str) -> str:
    return copy(
        "transactions",
        "jsonb_build_object('transaction_id', gen_random_uuid(), 'sequence', 10)"
        f" || jsonb_build_object({changes})",
        f"ledger_id = {MAIN} AND sequence = 9",
    )


def next_event(changes: str) -> str:
    return copy(
        "transaction_events",
        "jsonb_build_object('number', 2, 'idempotency_key', 'another')"
        f" || jsonb_build_object({changes})",
        f"ledger_id = {MAIN} AND transaction_sequence = 9",
    )


def next_account(changes: str) -> str:
    return copy(
        "accounts",
        "jsonb_build_object('account_id', gen_random_uuid(), 'external_id', NULL)"
        f" || jsonb_build_object({changes})",
        f"ledger_id = {MAIN} AND name = 'bank'",
    )


REFUSED = {
    # entries
    "an entry of another ledger's account": (
        next_entries(f"'sequence', 99 + line, 'account_id', {account('bank', OTHER)}"),
        (FOREIGN, "entries_account"),
    ),
    "an entry of another organization's account": (
        next_entries(f"'sequence', 99 + line, 'account_id', {account('bank', FOREIGN_LEDGER)}"),
        (FOREIGN, "entries_account"),
    ),
    "an entry of no account": (
        next_entries("'account_id', gen_random_uuid()"),
        (FOREIGN, "entries_account"),
    ),
    "entries in another organization": (
        next_entries(f"'organization_id', {SECOND}"),
        (FOREIGN, "entries_account"),
    ),
    "entries of no transaction": (
        next_entries("'transaction_sequence', 10"),
        (FOREIGN, "entries_transaction"),
    ),
    "an entry's sequence twice": (
        next_entries("'sequence', sequence"),
        (REPEATED, "entries_pkey"),
    ),
    "a line twice": (next_entries("'line', line"), (REPEATED, "entries_line")),
    "an amount of zero": (next_entries("'amount', 0"), (CHECK, "entries_amount")),
    "an amount below zero": (next_entries("'amount', -1"), (CHECK, "entries_amount")),
    "an amount beyond the largest": (
        next_entries("'amount', 1000000000000000000000000000000000001"),
        (CHECK, "entries_amount"),
    ),
    "a total below zero": (next_entries("'pending_debits', -1"), (CHECK, "entries_totals")),
    "a sequence of zero": (next_entries("'sequence', 0"), (CHECK, "entries_numbers")),
    "a line of zero": (next_entries("'line', 0"), (CHECK, "entries_numbers")),
    "an event of zero": (next_entries("'event', 0"), (CHECK, "entries_numbers")),
    "an unknown direction": (next_entries("'direction', 'left'"), (CHECK, "entries_direction")),
    "an unknown effect": (next_entries("'effect', 'undo'"), (CHECK, "entries_effect")),
    "no amount": (next_entries("'amount', NULL"), (NOT_NULL, None)),
    # transaction_events
    "an idempotency key twice": (
        next_event("'idempotency_key', idempotency_key"),
        (REPEATED, "transaction_events_idempotency_key"),
    ),
    "an event's number twice": (
        next_event("'number', number"),
        (REPEATED, "transaction_events_pkey"),
    ),
    "an event of no transaction": (
        next_event("'transaction_sequence', 10"),
        (FOREIGN, "transaction_events_transaction"),
    ),
    "an event in another organization": (
        next_event(f"'organization_id', {SECOND}"),
        (FOREIGN, "transaction_events_transaction"),
    ),
    "an unknown kind of event": (
        next_event("'kind', 'undone'"),
        (CHECK, "transaction_events_kind"),
    ),
    "an event without a key that did not happen by itself": (
        next_event("'idempotency_key', NULL, 'fingerprint', NULL"),
        (CHECK, "transaction_events_key"),
    ),
    "an event with a key that happened by itself": (
        next_event("'kind', 'expired'"),
        (CHECK, "transaction_events_key"),
    ),
    "a key without a fingerprint": (
        next_event("'fingerprint', NULL"),
        (CHECK, "transaction_events_key"),
    ),
    "changes by what is no correction": (
        next_event("'changes', '{}'::jsonb"),
        (CHECK, "transaction_events_changes"),
    ),
    "a fingerprint that is no SHA-256": (
        next_event(r"'fingerprint', '\x00'"),
        (CHECK, "transaction_events_fingerprint"),
    ),
    # transactions
    "a transaction's sequence twice": (
        next_transaction("'sequence', sequence"),
        (REPEATED, "transactions_sequence"),
    ),
    "a transaction's id twice": (
        next_transaction("'transaction_id', transaction_id"),
        (REPEATED, "transactions_pkey"),
    ),
    "a transaction's external id twice": (
        next_transaction("'external_id', 'order 1'"),
        (REPEATED, "transactions_external_id"),
    ),
    "a transaction's sequence of zero": (
        next_transaction("'sequence', 0"),
        (CHECK, "transactions_sequence"),
    ),
    "a transaction in another organization": (
        next_transaction(f"'organization_id', {SECOND}"),
        (FOREIGN, "transactions_ledger"),
    ),
    "a posted transaction without its time": (
        next_transaction("'posted_at', NULL"),
        (CHECK, "transactions_times"),
    ),
    "a pending transaction with a time of posting": (
        next_transaction("'status', 'pending'"),
        (CHECK, "transactions_times"),
    ),
    "a posted transaction with a time of voiding": (
        next_transaction("'voided_at', posted_at"),
        (CHECK, "transactions_times"),
    ),
    "a posted transaction with work that is due": (
        next_transaction("'due_at', now()"),
        (CHECK, "transactions_due_at"),
    ),
    "an unknown reason": (
        next_transaction("'reason', 'whim'"),
        (CHECK, "transactions_reason"),
    ),
    "a hold that expires before it posts": (
        next_transaction("'expires_at', now(), 'posts_at', now()"),
        (CHECK, "transactions_terms"),
    ),
    "a refusal of what was due without its time": (
        next_transaction("'refusal_code', 'X', 'refusal_message', 'x', 'due_attempts', 1"),
        (CHECK, "transactions_refused"),
    ),
    "a reversal of what is not there": (
        next_transaction("'reverses_sequence', -1"),
        (FOREIGN, "transactions_reversed"),
    ),
    "a reversal of itself": (
        next_transaction("'reverses_sequence', 10"),
        (CHECK, "transactions_reverses"),
    ),
    # accounts and currencies
    "an account's id twice": (
        next_account("'account_id', account_id"),
        (REPEATED, "accounts_pkey"),
    ),
    "an account's external id twice": (
        next_account("'external_id', external_id"),
        (REPEATED, "accounts_external_id"),
    ),
    "an account in another organization": (
        next_account(f"'organization_id', {SECOND}"),
        (FOREIGN, "accounts_currency"),
    ),
    "an account with another exponent": (
        next_account("'exponent', 3"),
        (FOREIGN, "accounts_currency"),
    ),
    "an account with a total below zero": (
        next_account("'posted_debits', -1"),
        (CHECK, "accounts_totals"),
    ),
    "an account with no normal side": (
        next_account("'normal_balance', 'both'"),
        (CHECK, "accounts_normal_balance"),
    ),
    "an account with an unknown status": (
        next_account("'status', 'lost'"),
        (CHECK, "accounts_status"),
    ),
    "a currency with a second exponent": (
        copy("currencies", """'{"exponent": 3}'""", f"ledger_id = {MAIN} AND code = 'EUR'"),
        (REPEATED, "currencies_pkey"),
    ),
    "a currency in another organization": (
        copy(
            "currencies",
            f"jsonb_build_object('organization_id', {SECOND})",
            f"ledger_id = {MAIN} AND code = 'EUR'",
        ),
        (FOREIGN, "currencies_ledger"),
    ),
    "an exponent beyond 36": (
        copy(
            "currencies",
            """'{"code": "TON", "exponent": 37}'""",
            f"ledger_id = {MAIN} AND code = 'EUR'",
        ),
        (CHECK, "currencies_exponent"),
    ),
    # ledgers
    "a ledger of no organization": (
        copy("ledgers", "jsonb_build_object('organization_id', gen_random_uuid())", "true"),
        (FOREIGN, "ledgers_organization"),
    ),
    "a counter below zero": (
        "UPDATE ledgers SET last_sequence = -1",
        (CHECK, "ledgers_last_sequence"),
    ),
    # periods and totals
    "a period twice": (
        copy("period_events", "'{}'", "number = 1"),
        (REPEATED, "period_events_pkey"),
    ),
    "a period of another organization": (
        copy("period_events", f"jsonb_build_object('organization_id', {SECOND})", "number = 1"),
        (FOREIGN, "period_events_ledger"),
    ),
    "a period by nobody": (
        copy(
            "period_events",
            "jsonb_build_object('number', 3, 'api_key_id', gen_random_uuid())",
            "number = 1",
        ),
        (FOREIGN, "period_events_api_key"),
    ),
    "an unknown kind of period": (
        copy("period_events", """'{"number": 3, "kind": "lost"}'""", "number = 1"),
        (CHECK, "period_events_kind"),
    ),
    "a period's number of zero": (
        copy("period_events", """'{"number": 0}'""", "number = 1"),
        (CHECK, "period_events_number"),
    ),
    "totals twice": (
        copy("account_totals", "'{}'", "level = 15"),
        (REPEATED, "account_totals_pkey"),
    ),
    "totals beyond the whole of time": (
        copy("account_totals", """'{"level": 16}'""", "level = 15"),
        (CHECK, "account_totals_span"),
    ),
    "a status that its times deny": (
        "UPDATE transactions SET status = 'pending' WHERE status = 'posted'",
        (CHECK, "transactions_times"),
    ),
}


@pytest.mark.parametrize(("statement", "refusal"), REFUSED.values(), ids=REFUSED.keys())
def test_what_must_not_be_is_refused(
    statement: str, refusal: tuple[str, str | None], url: str
) -> None:
    """The app cannot write a stray reference, anything twice, or nonsense."""
    with nothing_changes(url):
        assert refusal_of(url, APP, statement) == refusal
