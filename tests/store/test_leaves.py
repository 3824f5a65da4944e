"""Leaves are for ever: whoever made a proof of one years ago must find the same bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.store.audit.sealing import event_leaves

from .test_verify import DISARM

DATA = Path(__file__).parents[1] / "data"
ORGANIZATION = "00000000-0000-7000-8000-000000000001"

LEAVES = f"""
    SELECT leaf FROM ({event_leaves("SELECT * FROM transaction_events")}) found
    ORDER BY transaction_sequence, number
"""

SEALED = {
    "transactions": "transaction_id effective_at created_at metadata",
    "transaction_events": "kind recorded_at",
    "entries": "account_id sequence line event direction effect amount effective_at recorded_at"
    " posted_debits posted_credits pending_debits pending_credits",
    "accounts": "normal_balance currency exponent",
    "credit_lots": "lot_id transaction_sequence amount expires_at breakage_account_id number",
    "lot_movements": "lot_id kind amount sequence",
    "template_uses": "code version params",
}
"""Columns in leaves that are never null while anything guards them."""


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's session in the ledger of leaves.sql, which nothing guards."""
    with psycopg.connect(database_url) as session:
        session.execute(DISARM)
        session.execute((DATA / "leaves.sql").read_bytes())
        yield session


def leaves(connection: psycopg.Connection[Any]) -> list[str]:
    return [leaf for (leaf,) in connection.execute(LEAVES, {"organization": ORGANIZATION})]


def test_leaves_are_what_they_were(connection: psycopg.Connection[Any]) -> None:
    """Every kind of event, with all that it may have and with nothing, to the byte."""
    assert leaves(connection) == (DATA / "leaves.jsonl").read_text().split("\n")[:-1]


@pytest.mark.parametrize("table", SEALED)
def test_what_is_missing_leaves_another_leaf(
    table: str, connection: psycopg.Connection[Any]
) -> None:
    """A value that is taken away shows, where there must be one; and a leaf there still is."""
    first = leaves(connection)
    for column in SEALED[table].split():
        connection.execute("SAVEPOINT before")
        connection.execute(f"ALTER TABLE {table} ALTER {column} DROP NOT NULL")
        connection.execute(f"UPDATE {table} SET {column} = NULL")
        now = leaves(connection)
        assert now != first
        assert None not in now
        connection.execute("ROLLBACK TO before")


def test_labels_as_they_were_at_first(connection: psycopg.Connection[Any]) -> None:
    """What is left of them after corrections changes nothing in what was recorded."""
    first = leaves(connection)
    connection.execute(
        "UPDATE transactions SET description = 'x', metadata = '{}' WHERE sequence = 4"
    )
    assert leaves(connection) == first
    connection.execute("DELETE FROM transaction_events WHERE changes IS NOT NULL")
    assert leaves(connection)[5] != first[5]
