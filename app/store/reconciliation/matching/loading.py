"""What a run looks at: lines and entries that are not accounted for, in temporary tables.

They leave these tables as they are matched. A young table has no statistics, and then the planner
takes any join for a small one (seen: minutes for ten thousand lines). So the temporary tables are
analyzed, and what they look up in others stands in a LATERAL with OFFSET 0, which stays as it is
written: by full key, row by row.
"""

from app.store.reconciliation.matching.work import AMOUNT_OF_ENTRY, AMOUNT_OF_LINE, POSTED, Work

TRANSACTION = """
    SELECT t.sequence, t.description, t.external_id, t.metadata, t.reverses_sequence
    FROM transactions t
    WHERE t.organization_id = %(organization)s AND t.ledger_id = %(ledger)s
        AND t.sequence = e.transaction_sequence
    OFFSET 0
"""
"""That of an entry `e`."""

EVENT = """
    SELECT v.idempotency_key FROM transaction_events v
    WHERE v.organization_id = %(organization)s AND v.ledger_id = %(ledger)s
        AND v.transaction_sequence = e.transaction_sequence AND v.number = e.event
    OFFSET 0
"""
"""The same of its event."""

_TABLES = """
    CREATE TEMP TABLE match_lines (
        number int8 NOT NULL, day date NOT NULL, amount numeric NOT NULL, stated numeric NOT NULL,
        plain bool NOT NULL, inside bool NOT NULL, free bool NOT NULL, proposed bool NOT NULL,
        reference text, end_to_end_id text, counterparty text, description text
    ) ON COMMIT DROP;
    CREATE TEMP TABLE match_entries (
        sequence int8 NOT NULL, transaction_sequence int8 NOT NULL, event int4 NOT NULL,
        day date NOT NULL, amount numeric NOT NULL, inside bool NOT NULL, keys text[] NOT NULL
    ) ON COMMIT DROP;
    CREATE TEMP TABLE match_rejected (number int8 NOT NULL, sequence int8 NOT NULL) ON COMMIT DROP;
    CREATE TEMP TABLE match_left (
        id int8 NOT NULL, members int8[] NOT NULL, key text, amount numeric NOT NULL,
        sign int4 NOT NULL, day date NOT NULL, inside bool NOT NULL, whole bool NOT NULL,
        plain bool NOT NULL, sure bool NOT NULL, held bool NOT NULL
    ) ON COMMIT DROP;
    CREATE TEMP TABLE match_right (LIKE match_left) ON COMMIT DROP;
    CREATE TEMP TABLE match_candidates (
        left_id int8 NOT NULL, right_id int8 NOT NULL, score int4 NOT NULL, days int4 NOT NULL
    ) ON COMMIT DROP;
    CREATE TEMP TABLE match_new (
        left_id int8, right_id int8, score int4 NOT NULL
    ) ON COMMIT DROP;
    CREATE TEMP TABLE match_pairs (
        rule text NOT NULL, score int4 NOT NULL, lines int8[] NOT NULL, entries int8[] NOT NULL,
        difference numeric NOT NULL, days int4 NOT NULL, late bool NOT NULL, plain bool NOT NULL,
        whole bool NOT NULL
    ) ON COMMIT DROP;
    CREATE TEMP TABLE match_found (
        discrepancy_id uuid NOT NULL, kind text NOT NULL, day date NOT NULL,
        amount numeric NOT NULL, match_id uuid, line_number int8, entry_sequence int8,
        other_line int8, external_statement_id uuid
    ) ON COMMIT DROP
"""
_DROP_TABLES = """
    DROP TABLE IF EXISTS pg_temp.match_lines, pg_temp.match_entries, pg_temp.match_rejected,
        pg_temp.match_left, pg_temp.match_right, pg_temp.match_candidates, pg_temp.match_new,
        pg_temp.match_pairs, pg_temp.match_found,
        pg_temp.match_old
"""

# Confirmed matches take lines and entries, wherever they are; for discrepancies the proposals of
# this reconciliation do so too.
_LOAD_LINES = f"""
    INSERT INTO match_lines
    SELECT l.number, l.booked_on, {AMOUNT_OF_LINE}, l.amount * %(sign)s::int4,
        l.currency = %(currency)s, l.booked_on BETWEEN %(from)s AND %(through)s,
        m.confirmed IS NULL, m.confirmed IS FALSE, l.reference, l.end_to_end_id, l.counterparty,
        l.description
    FROM statement_lines l
    LEFT JOIN LATERAL (
        SELECT m.confirmed FROM reconciliation_match_lines m
        WHERE m.organization_id = %(organization)s AND m.external_account_id = %(external)s
            AND m.number = l.number
            AND (m.confirmed OR %(proposals)s AND m.reconciliation_id = %(reconciliation)s)
        ORDER BY m.confirmed DESC LIMIT 1
    ) m ON true
    WHERE l.organization_id = %(organization)s AND l.external_account_id = %(external)s
        AND l.number > 0
        AND l.booked_on BETWEEN %(from)s::date - %(margin)s::int4
            AND %(through)s::date + %(margin)s::int4
"""  # noqa: S608  all of it is ours


def _load_entries(paths: int) -> str:
    keys = ", ".join(
        f"coalesce(e.metadata #>> %(path{n})s::text[], t.metadata #>> %(path{n})s::text[])"
        for n in range(paths)
    )
    labels = f"CROSS JOIN LATERAL ({TRANSACTION}) t" if paths else ""
    return f"""
        INSERT INTO match_entries
        SELECT e.sequence, e.transaction_sequence, e.event,
            (e.effective_at AT TIME ZONE %(zone)s)::date, {AMOUNT_OF_ENTRY},
            e.effective_at >= %(starts_at)s AND e.effective_at < %(ends_at)s,
            ARRAY[{keys}]::text[]
        FROM entries e
        LEFT JOIN LATERAL (
            SELECT m.confirmed FROM reconciliation_match_entries m
            WHERE m.organization_id = %(organization)s AND m.account_id = %(account)s
                AND m.sequence = e.sequence
                AND (m.confirmed OR %(proposals)s AND m.reconciliation_id = %(reconciliation)s)
            LIMIT 1
        ) m ON true
        {labels}
        WHERE e.organization_id = %(organization)s AND e.account_id = %(account)s AND {POSTED}
            AND e.sequence + 0 <= %(version)s
            AND e.effective_at >= %(starts_at)s - make_interval(days => %(margin)s::int4)
            AND e.effective_at < %(ends_at)s + make_interval(days => %(margin)s::int4)
            AND m.confirmed IS NULL
    """  # noqa: S608  all of it is ours


_LOAD_REJECTED = """
    INSERT INTO match_rejected
    SELECT number, sequence FROM reconciliation_rejections
    WHERE organization_id = %(organization)s AND reconciliation_id = %(reconciliation)s
"""


async def load(work: Work, *, proposals: bool) -> None:
    """Load what no confirmed match has; with `proposals`, nor one that this one proposes."""
    for statement in (_DROP_TABLES, *_TABLES.split(";")):
        await work.do(statement)
    await work.do(_LOAD_LINES, proposals=proposals)
    await work.do(_load_entries(len(work.paths)), proposals=proposals)
    await work.do(_LOAD_REJECTED)
    await work.analyze("match_lines", "match_entries", "match_rejected")
