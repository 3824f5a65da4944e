"""Reconciliations, what was done to them, and the bridge over what does not agree.

Whoever changes a match or a discrepancy examines all of the reconciliation in the same commit. So
what is kept in its row agrees with its own matches and discrepancies at any time, and with lines
and entries as far as it had seen them: `examined_line` and `examined_version`. What comes from
elsewhere may have changed since and is no witness: matches of other reconciliations, statements
that arrived later, a reconciliation of the days before that was opened again.
"""

from app.ledger.reconciliation.comparison import ReconciliationEventKind
from app.store.audit.invariants.checks import Check, Pass, only_once

ENTRY_AMOUNT = """
    CASE WHEN e.effect NOT IN ('post', 'settle') THEN 0
        WHEN e.direction = a.normal_balance THEN e.amount ELSE -e.amount END
"""
SIGN = "CASE WHEN x.inverted THEN -1 ELSE 1 END"
LINE_AMOUNT = f"CASE WHEN l.currency <> a.currency THEN 0 ELSE l.amount * {SIGN} END"
_STARTS_AT = "r.from_date::timestamp AT TIME ZONE r.time_zone"
_ENDS_AT = "(r.through_date + 1)::timestamp AT TIME ZONE r.time_zone"
PLACE_OF_LINE = (
    "CASE WHEN l.booked_on < r.from_date THEN -1 WHEN l.booked_on > r.through_date THEN 1"
    " ELSE 0 END"
)
PLACE_OF_ENTRY = (
    f"CASE WHEN e.effective_at < {_STARTS_AT} THEN -1 WHEN e.effective_at >= {_ENDS_AT} THEN 1"
    " ELSE 0 END"
)
"""Before the days of the reconciliation, behind them, or in them."""

_EVENT_KINDS = ", ".join(f"'{kind.value}'" for kind in ReconciliationEventKind)
_EVENTS_OF = """
    SELECT organization_id, reconciliation_id, max(number) AS latest, count(*) AS many,
        count(DISTINCT number) AS numbers,
        (array_agg(recorded_at ORDER BY number))[1] AS made_at,
        (array_agg(api_key_id ORDER BY number))[1] AS made_by,
        (array_agg(recorded_at ORDER BY number DESC)
            FILTER (WHERE kind NOT IN ('created', 'reopened')))[1] AS worked_at,
        (array_agg(CASE kind WHEN 'closed' THEN recorded_at END ORDER BY number DESC)
            FILTER (WHERE kind IN ('closed', 'reopened')))[1] AS frozen_at
    FROM reconciliation_events GROUP BY 1, 2
"""
_ITEMS_OF = """
    SELECT r.organization_id, r.reconciliation_id, sum((item ->> 'amount')::numeric) AS explained,
        string_agg(
            concat(item ->> 'kind', ' ', item ->> 'count', ' ', item ->> 'amount'), ', '
            ORDER BY item ->> 'kind'
        ) FILTER (WHERE (item ->> 'kind' IN ('timing_difference', 'brought_forward')) IS NOT TRUE)
            AS items,
        sum((item ->> 'amount')::numeric) FILTER (WHERE item ->> 'kind' = 'timing_difference')
            AS timing,
        sum((item ->> 'amount')::numeric) FILTER (WHERE item ->> 'kind' = 'brought_forward')
            AS brought
    FROM reconciliations r, jsonb_array_elements(r.items) item
    GROUP BY 1, 2
"""
_DISCREPANCIES_OF = """
    SELECT organization_id, reconciliation_id,
        string_agg(concat(kind, ' ', standing, ' ', amount), ', ' ORDER BY kind)
            FILTER (WHERE standing > 0) AS items,
        sum(open) AS open, sum(accepted) AS accepted, sum(resolved) AS resolved,
        sum(lines) AS lines, sum(of_lines) AS of_lines, sum(entries) AS entries,
        sum(of_entries) AS of_entries
    FROM (
        SELECT organization_id, reconciliation_id, kind,
            count(*) FILTER (WHERE status <> 'resolved') AS standing,
            sum(amount) FILTER (WHERE status <> 'resolved') AS amount,
            count(*) FILTER (WHERE status = 'open') AS open,
            count(*) FILTER (WHERE status = 'accepted') AS accepted,
            count(*) FILTER (WHERE status = 'resolved') AS resolved,
            count(line_number) FILTER (WHERE status <> 'resolved') AS lines,
            sum(amount) FILTER (WHERE status <> 'resolved' AND line_number IS NOT NULL)
                AS of_lines,
            count(entry_sequence) FILTER (WHERE status <> 'resolved') AS entries,
            sum(amount) FILTER (WHERE status <> 'resolved' AND entry_sequence IS NOT NULL)
                AS of_entries
        FROM reconciliation_discrepancies GROUP BY 1, 2, 3
    ) by_kind
    GROUP BY 1, 2
"""
_MATCHES_OF = """
    SELECT organization_id, reconciliation_id, sum(difference) AS differences, sum(reach) AS reach,
        count(*) FILTER (WHERE status = 'confirmed') AS confirmed,
        count(*) FILTER (WHERE status = 'proposed') AS proposed
    FROM reconciliation_matches GROUP BY 1, 2
"""
_ENTRIES_OF = f"""
    SELECT r.organization_id, r.reconciliation_id, sum({ENTRY_AMOUNT}) AS posted,
        sum({ENTRY_AMOUNT}) FILTER (WHERE e.effective_at >= {_STARTS_AT}) AS posted_inside
    FROM reconciliations r
    JOIN accounts a ON a.organization_id = r.organization_id AND a.account_id = r.account_id
    JOIN entries e ON e.organization_id = r.organization_id AND e.account_id = r.account_id
    WHERE e.sequence <= r.examined_version AND e.effective_at < {_ENDS_AT}
    GROUP BY 1, 2
"""  # noqa: S608  all of it is ours
_LINES_OF = f"""
    SELECT r.organization_id, r.reconciliation_id, count(*) AS lines, sum({LINE_AMOUNT}) AS stated,
        count(*) FILTER (WHERE i.number IS NOT NULL) AS proposed
    FROM reconciliations r
    JOIN accounts a ON a.organization_id = r.organization_id AND a.account_id = r.account_id
    JOIN external_accounts x ON x.organization_id = r.organization_id
        AND x.external_account_id = r.external_account_id
    JOIN statement_lines l ON l.organization_id = r.organization_id
        AND l.external_account_id = r.external_account_id
    LEFT JOIN (
        SELECT DISTINCT organization_id, reconciliation_id, number
        FROM reconciliation_match_lines WHERE NOT confirmed
    ) i ON i.organization_id = r.organization_id AND i.reconciliation_id = r.reconciliation_id
        AND i.number = l.number
    WHERE l.number <= r.examined_line AND l.booked_on BETWEEN r.from_date AND r.through_date
    GROUP BY 1, 2
"""  # noqa: S608  all of it is ours

# The statement with the last balance is the one that ends last, and of several the newest. One is
# surely among those that were seen if a line of it was; newer ones may have been seen or not.
_STATED_OF = f"""
    SELECT organization_id, reconciliation_id, bool_or(balance IS NOT DISTINCT FROM kept) AS fits,
        string_agg(balance::text, ' or ' ORDER BY balance) AS balances
    FROM (
        SELECT s.organization_id, s.reconciliation_id, s.kept, s.place,
            s.closing + coalesce(sum(s.sign * l.amount) FILTER (WHERE l.currency = s.currency), 0)
                AS balance
        FROM (
            SELECT *, max(place) FILTER (WHERE seen) OVER (
                PARTITION BY organization_id, reconciliation_id
            ) AS surely
            FROM (
                SELECT r.organization_id, r.reconciliation_id, r.external_account_id,
                    r.examined_line, r.statement_balance AS kept, r.through_date AS upto,
                    s.through_date AS since, s.currency, {SIGN} AS sign,
                    {SIGN} * s.closing_balance AS closing, f.number <= r.examined_line AS seen,
                    row_number() OVER (
                        PARTITION BY r.organization_id, r.reconciliation_id
                        ORDER BY s.through_date, s.number
                    ) AS place
                FROM reconciliations r
                JOIN accounts a ON a.organization_id = r.organization_id
                    AND a.account_id = r.account_id
                JOIN external_accounts x ON x.organization_id = r.organization_id
                    AND x.external_account_id = r.external_account_id
                JOIN external_statements s ON s.organization_id = r.organization_id
                    AND s.external_account_id = r.external_account_id
                LEFT JOIN (
                    SELECT organization_id, external_statement_id, min(number) AS number
                    FROM statement_lines GROUP BY 1, 2
                ) f ON f.organization_id = s.organization_id
                    AND f.external_statement_id = s.external_statement_id
                WHERE s.currency = a.currency AND s.through_date <= r.through_date
                    AND s.closing_balance IS NOT NULL AND r.examined_at IS NOT NULL
            ) placed
        ) s
        LEFT JOIN statement_lines l ON l.organization_id = s.organization_id
            AND l.external_account_id = s.external_account_id AND l.booked_on > s.since
            AND l.booked_on <= s.upto AND l.number <= s.examined_line
        WHERE s.place >= s.surely
        GROUP BY s.organization_id, s.reconciliation_id, s.kept, s.place, s.closing
    ) stated
    GROUP BY 1, 2
"""  # noqa: S608  all of it is ours

# The differences of the days before; what was opened again since may have ended in another one.
_BEFORE_OF = """
    SELECT r.organization_id, r.reconciliation_id,
        bool_or(v.reopened) AS moved,
        array_agg(p.statement_balance - p.ledger_balance) FILTER (WHERE p.status = 'closed')
            AS differences
    FROM reconciliations r
    JOIN reconciliations p ON p.organization_id = r.organization_id
        AND p.external_account_id = r.external_account_id AND p.through_date = r.from_date - 1
    JOIN (
        SELECT organization_id, reconciliation_id, bool_or(kind = 'reopened') AS reopened
        FROM reconciliation_events GROUP BY 1, 2
    ) v ON v.organization_id = p.organization_id AND v.reconciliation_id = p.reconciliation_id
    GROUP BY 1, 2
"""


def _joined(name: str, query: str) -> str:
    return (
        f" LEFT JOIN ({query}) {name} ON {name}.organization_id = r.organization_id"
        f" AND {name}.reconciliation_id = r.reconciliation_id"
    )


_COUNTS = """
    jsonb_build_object(
        'lines', lines, 'matched_lines', lines - proposed_lines - free_lines,
        'proposed_lines', proposed_lines, 'unmatched_entries', free_entries,
        'confirmed_matches', confirmed, 'proposed_matches', proposed,
        'open_discrepancies', open, 'accepted_discrepancies', accepted,
        'resolved_discrepancies', resolved
    )
"""

RECONCILIATIONS = Pass(
    title="reconciliations",
    rows=f"""
        SELECT r.*, x.external_account_id IS NULL OR x.account_id IS DISTINCT FROM r.account_id
                OR a.account_id IS NULL OR r.examined_version > a.version
                OR r.examined_line > x.last_line AS astray,
            v.latest, v.many, v.numbers, v.made_at, v.made_by, v.worked_at, v.frozen_at,
            coalesce(b.explained, 0) AS explained, b.items AS told_items, d.items AS found_items,
            coalesce(b.timing, 0) AS timing, coalesce(b.brought, 0) AS brought,
            coalesce(f.posted, 0) AS posted, coalesce(l.lines, 0) AS lines,
            coalesce(l.proposed, 0) AS proposed_lines, coalesce(d.lines, 0) AS free_lines,
            coalesce(d.entries, 0) AS free_entries, coalesce(d.open, 0) AS open,
            coalesce(d.accepted, 0) AS accepted, coalesce(d.resolved, 0) AS resolved,
            coalesce(m.confirmed, 0) AS confirmed, coalesce(m.proposed, 0) AS proposed,
            coalesce(l.stated, 0) - coalesce(d.of_lines, 0) - coalesce(f.posted_inside, 0)
                - coalesce(d.of_entries, 0) - coalesce(m.differences, 0) + coalesce(m.reach, 0)
                AS due_timing,
            coalesce(m.reach, 0) AS reach, s.fits, s.balances, p.moved, p.differences AS before
        FROM reconciliations r
        LEFT JOIN external_accounts x ON x.organization_id = r.organization_id
            AND x.external_account_id = r.external_account_id AND x.ledger_id = r.ledger_id
        LEFT JOIN accounts a ON a.organization_id = r.organization_id
            AND a.account_id = r.account_id AND a.ledger_id = r.ledger_id
        {_joined("v", _EVENTS_OF)}
        {_joined("b", _ITEMS_OF)}
        {_joined("d", _DISCREPANCIES_OF)}
        {_joined("m", _MATCHES_OF)}
        {_joined("f", _ENTRIES_OF)}
        {_joined("l", _LINES_OF)}
        {_joined("s", _STATED_OF)}
        {_joined("p", _BEFORE_OF)}
    """,  # noqa: S608  all of it is ours
    subject="concat('reconciliation ', reconciliation_id)",
    checks=(
        Check(
            4,
            "RECONCILIATION_ASTRAY",
            "astray",
            "'the ledger has no such account, or no such external account of it, that goes so far'",
        ),
        Check(
            3,
            "RECONCILIATION_EVENTS_BROKEN",
            "last_event IS DISTINCT FROM latest OR many IS DISTINCT FROM latest"
            " OR numbers IS DISTINCT FROM latest",
            "concat('it counts ', last_event, ' events, there are ', coalesce(many, 0),"
            " ', the last is ', coalesce(latest, 0))",
        ),
        Check(
            5,
            "RECONCILIATION_NOT_OF_EVENTS",
            "closed_at IS DISTINCT FROM frozen_at OR (closed_at IS NULL) <> (status = 'open')"
            " OR examined_at IS DISTINCT FROM worked_at"
            " OR row(created_at, api_key_id) IS DISTINCT FROM row(made_at, made_by)",
            "concat('it is ', status, ' since ', coalesce(closed_at, created_at), ', examined at ',"
            " coalesce(examined_at::text, 'no time'), '; by its events it was made at ', made_at,"
            " ', closed at ', coalesce(frozen_at::text, 'no time'), ', worked on at ',"
            " coalesce(worked_at::text, 'no time'))",
        ),
        Check(
            5,
            "CLOSED_WITH_WORK_LEFT",
            "status = 'closed' AND (proposed > 0 OR open > 0)",
            "concat('it is closed, with ', proposed, ' proposed matches and ', open,"
            " ' open discrepancies')",
        ),
        Check(
            2,
            "BRIDGE_WRONG",
            "statement_balance <> ledger_balance + explained",
            "concat('from ', ledger_balance, ' its items lead to ', ledger_balance + explained,"
            " ', not to ', statement_balance)",
        ),
        Check(
            2,
            "RECONCILED_BALANCE_WRONG",
            "examined_at IS NOT NULL AND ledger_balance IS DISTINCT FROM posted",
            "concat('it is ', coalesce(ledger_balance::text, 'unknown'), ', its entries come to ',"
            " posted)",
        ),
        Check(
            2,
            "STATED_BALANCE_WRONG",
            "NOT fits",
            "concat('it is ', coalesce(statement_balance::text, 'unknown'),"
            " ', its statements come to ', balances)",
        ),
        Check(
            2,
            "BRIDGE_ITEMS_WRONG",
            "examined_at IS NOT NULL"
            " AND (items IS NULL OR told_items IS DISTINCT FROM found_items)",
            "concat('its items are ', coalesce(told_items, 'none'), '; its discrepancies come to ',"
            " coalesce(found_items, 'none'))",
        ),
        Check(
            2,
            "TIMING_DIFFERENCE_WRONG",
            "examined_at IS NOT NULL AND timing <> due_timing",
            "concat('it is ', timing, ', matches leave ', due_timing)",
        ),
        Check(
            2,
            "BROUGHT_FORWARD_WRONG",
            "brought <> 0 AND moved IS NOT TRUE AND (brought + reach = ANY (before)) IS NOT TRUE",
            "concat('it is ', brought, ' and what matches reach back to ', reach,"
            " ', those before it ended in ', coalesce(before::text, 'nothing'))",
        ),
        Check(
            2,
            "RECONCILIATION_COUNTS_WRONG",
            f"examined_at IS NOT NULL AND (counts @> {_COUNTS}) IS NOT TRUE",
            f"concat('it counts ', counts, ', there are ', {_COUNTS})",
        ),
    ),
)

RECONCILIATION_EVENTS = Pass(
    title="events of reconciliations",
    rows="""
        SELECT v.*, r.ledger_id, r.reconciliation_id IS NULL OR k.api_key_id IS NULL AS astray,
            v.kind = 'run' AND n.run_id IS NULL AS runless
        FROM reconciliation_events v
        LEFT JOIN reconciliations r ON r.organization_id = v.organization_id
            AND r.reconciliation_id = v.reconciliation_id
        LEFT JOIN api_keys k ON k.organization_id = v.organization_id
            AND k.api_key_id = v.api_key_id
        LEFT JOIN reconciliation_runs n ON n.organization_id = v.organization_id
            AND n.reconciliation_id = v.reconciliation_id AND n.run_id::text = v.details ->> 'run'
            AND n.status = 'completed'
    """,
    subject="concat('event ', number, ' of reconciliation ', reconciliation_id)",
    checks=(
        Check(
            4,
            "RECONCILIATION_EVENT_ASTRAY",
            "astray",
            "'there is no such reconciliation, or no such API key'",
        ),
        Check(
            5,
            "RECONCILIATION_EVENT_KIND_WRONG",
            f"(kind = 'created') <> (number = 1) OR kind NOT IN ({_EVENT_KINDS})",
            "concat('it is ', kind)",
        ),
        Check(
            4, "RUN_EVENT_WITHOUT_RUN", "runless", "'no completed run of the reconciliation is it'"
        ),
    ),
)

RECONCILIATION_RUNS = Pass(
    title="runs of reconciliations",
    rows="""
        SELECT n.*, r.ledger_id IS DISTINCT FROM n.ledger_id OR k.api_key_id IS NULL AS astray,
            v.number IS NOT NULL AS told,
            count(*) OVER (PARTITION BY n.organization_id, n.run_id) AS namesakes,
            row(v.api_key_id, v.details) IS NOT DISTINCT FROM row(n.api_key_id, jsonb_build_object(
                'run', n.run_id, 'confirmed', n.confirmed, 'proposed', n.proposed,
                'withdrawn', n.withdrawn, 'appeared', n.appeared, 'vanished', n.vanished
            )) AS as_told
        FROM reconciliation_runs n
        LEFT JOIN reconciliations r ON r.organization_id = n.organization_id
            AND r.reconciliation_id = n.reconciliation_id
        LEFT JOIN api_keys k ON k.organization_id = n.organization_id
            AND k.api_key_id = n.api_key_id
        LEFT JOIN reconciliation_events v ON v.organization_id = n.organization_id
            AND v.reconciliation_id = n.reconciliation_id AND v.kind = 'run'
            AND v.details ->> 'run' = n.run_id::text
    """,
    subject="concat('run ', run_id)",
    checks=(
        Check(
            4,
            "RUN_ASTRAY",
            "astray",
            "'the ledger has no such reconciliation, or the organization no such API key'",
        ),
        only_once(4, "RUN_REPEATED"),
        Check(
            5,
            "RUN_NOT_OF_EVENT",
            "CASE status WHEN 'completed' THEN NOT as_told ELSE told"
            " OR row(confirmed, proposed, withdrawn, appeared, vanished) <> row(0, 0, 0, 0, 0) END"
            " OR (finished_at IS NULL) <> (status IN ('waiting', 'running'))"
            " OR (failure IS NULL) <> (status <> 'failed')",
            "concat('it is ', status, ' with ', row(confirmed, proposed, withdrawn, appeared,"
            " vanished), CASE WHEN told THEN '; its event says otherwise'"
            " ELSE '; no event is of it' END)",
        ),
    ),
)
