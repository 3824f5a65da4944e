"""Books filled with history faster than it can be posted: set-wise in SQL, by the owner.

The rows are those that the writer makes, but for what filling.sql says; `verify` finds nothing in
them. Foreign keys are not checked row by row meanwhile (verify joins where they would have), all
indexes are kept, and the guards of the tables fire as always.
"""

from pathlib import Path
from uuid import UUID

import psycopg

FUNCTIONS = Path(__file__).with_name("filling.sql")
CHUNK = 250_000
HOT_EVERY = 10


def fill(url: str, organization_id: UUID, ledger_id: UUID, *, upto: int, total: int) -> None:
    """Add postings to a ledger until it has had `upto`; `total` is how many it is to have at last.

    The tables are vacuumed and analyzed afterwards, which autovacuum would do a little later.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FUNCTIONS.read_bytes())
        # Needs a superuser, which the owner of the embedded server is.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET work_mem = '256MB'")
        ((there,),) = connection.execute(
            "SELECT last_sequence FROM ledgers WHERE organization_id = %s AND ledger_id = %s",
            [organization_id, ledger_id],
        )
        for start in range(there, upto, CHUNK):
            connection.execute(
                "SELECT pg_temp.add_history(%s, %s, %s, %s, %s)",
                [organization_id, ledger_id, min(CHUNK, upto - start), total, HOT_EVERY],
            )
        connection.execute("VACUUM (ANALYZE)")
