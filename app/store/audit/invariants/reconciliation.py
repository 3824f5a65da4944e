"""Reconciliations: their matches, their discrepancies and the bridge over them.

Whoever changes a match or a discrepancy examines all of the reconciliation in the same commit. So
what is kept in its row agrees with its own matches and discrepancies at any time, and with lines
and entries as far as it had seen them: `examined_line` and `examined_version`. What comes from
elsewhere may have changed since and is no witness: matches of other reconciliations, statements
that arrived later, a reconciliation of the days before that was opened again.

Ids of matches and discrepancies are digests of what they are of, and are computed again.
"""

from app.ledger.reconciliation.comparison import ReconciliationEventKind
from app.store.audit.invariants.checks import Check, Pass, only_once

_ENTRY_AMOUNT = """
    CASE WHEN e.effect NOT IN ('post', 'settle') THEN 0
        WHEN e.direction = a.normal_balance THEN e.amount ELSE -e.amount END
"""
_SIGN = "CASE WHEN x.inverted THEN -1 ELSE 1 END"
_LINE_AMOUNT = f"CASE WHEN l.currency <> a.currency THEN 0 ELSE l.amount * {_SIGN} END"
_STARTS_AT = "r.from_date::timestamp AT TIME ZONE r.time_zone"
_ENDS_AT = "(r.through_date + 1)::timestamp AT TIME ZONE r.time_zone"
_PLACE_OF_LINE = (
    "CASE WHEN l.booked_on < r.from_date THEN -1 WHEN l.booked_on > r.through_date THEN 1"
    " ELSE 0 END"
)
_PLACE_OF_ENTRY = (
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
    SELECT r.organization_id, r.reconciliation_id, sum({_ENTRY_AMOUNT}) AS posted,
        sum({_ENTRY_AMOUNT}) FILTER (WHERE e.effective_at >= {_STARTS_AT}) AS posted_inside
    FROM reconciliations r
    JOIN accounts a ON a.organization_id = r.organization_id AND a.account_id = r.account_id
    JOIN entries e ON e.organization_id = r.organization_id AND e.account_id = r.account_id
    WHERE e.sequence <= r.examined_version AND e.effective_at < {_ENDS_AT}
    GROUP BY 1, 2
"""  # noqa: S608  all of it is ours
_LINES_OF = f"""
    SELECT r.organization_id, r.reconciliation_id, count(*) AS lines, sum({_LINE_AMOUNT}) AS stated,
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
                    s.through_date AS since, s.currency, {_SIGN} AS sign,
                    {_SIGN} * s.closing_balance AS closing, f.number <= r.examined_line AS seen,
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

_MEMBERS = f"""
    SELECT i.organization_id, i.match_id, i.reconciliation_id, i.confirmed, i.number AS line,
        NULL::int8 AS entry, NULL::int8 AS transaction_sequence,
        concat('line ', i.number) AS member,
        l.number IS NULL OR r.external_account_id IS DISTINCT FROM i.external_account_id AS absent,
        {_LINE_AMOUNT} AS amount, {_PLACE_OF_LINE} AS place, l.currency <> a.currency AS stranger,
        count(*) FILTER (WHERE i.confirmed)
            OVER (PARTITION BY i.organization_id, i.external_account_id, i.number) AS times
    FROM reconciliation_match_lines i
    LEFT JOIN statement_lines l ON l.organization_id = i.organization_id
        AND l.external_account_id = i.external_account_id AND l.number = i.number
    LEFT JOIN external_accounts x ON x.organization_id = i.organization_id
        AND x.external_account_id = i.external_account_id
    LEFT JOIN accounts a ON a.organization_id = x.organization_id AND a.account_id = x.account_id
    LEFT JOIN reconciliations r ON r.organization_id = i.organization_id
        AND r.reconciliation_id = i.reconciliation_id
    UNION ALL
    SELECT i.organization_id, i.match_id, i.reconciliation_id, i.confirmed, NULL, i.sequence,
        e.transaction_sequence, concat('entry ', i.sequence),
        (e.effect IN ('post', 'settle') AND r.account_id = i.account_id) IS NOT TRUE,
        -({_ENTRY_AMOUNT}), {_PLACE_OF_ENTRY}, false,
        count(*) FILTER (WHERE i.confirmed)
            OVER (PARTITION BY i.organization_id, i.account_id, i.sequence)
    FROM reconciliation_match_entries i
    LEFT JOIN entries e ON e.organization_id = i.organization_id
        AND e.account_id = i.account_id AND e.sequence = i.sequence
    LEFT JOIN accounts a ON a.organization_id = i.organization_id AND a.account_id = i.account_id
    LEFT JOIN reconciliations r ON r.organization_id = i.organization_id
        AND r.reconciliation_id = i.reconciliation_id
"""  # noqa: S608  all of it is ours

MATCHES = Pass(
    title="matches",
    rows=f"""
        SELECT m.*, r.reconciliation_id IS NULL AS homeless, coalesce(i.total, 0) AS total,
            coalesce(i.members, 0) AS members, i.reach AS due_reach, i.whole AS due_whole,
            i.foreign_currency AS due_foreign,
            md5(concat_ws('|', m.reconciliation_id, coalesce(i.lines, ''),
                coalesce(i.entries, '')))::uuid AS due_id,
            coalesce(d.amounts, false) AS amount_told, coalesce(d.dates, false) AS date_told,
            CASE m.origin WHEN 'rule' THEN u.name IS NOT NULL ELSE m.rule IS NULL END AS ruled,
            v.match_id IS NOT NULL AS told
        FROM reconciliation_matches m
        LEFT JOIN reconciliations r ON r.organization_id = m.organization_id
            AND r.reconciliation_id = m.reconciliation_id AND r.ledger_id = m.ledger_id
        LEFT JOIN (
            SELECT i.organization_id, i.match_id, sum(i.amount) AS total, count(*) AS members,
                coalesce(sum(i.amount) FILTER (WHERE i.place < 0), 0) AS reach,
                bool_and(i.place = 0) AS whole, bool_or(i.stranger) AS foreign_currency,
                string_agg(i.line::text, ',' ORDER BY i.line) AS lines,
                string_agg(i.entry::text, ',' ORDER BY i.entry) FILTER (WHERE j.match_id IS NULL)
                    AS entries
            FROM ({_MEMBERS}) i
            -- adjustments joined it later
            LEFT JOIN (
                SELECT DISTINCT organization_id, match_id, transaction_sequence
                FROM reconciliation_discrepancies WHERE status = 'resolved'
            ) j ON j.organization_id = i.organization_id AND j.match_id = i.match_id
                AND j.transaction_sequence = i.transaction_sequence
            GROUP BY 1, 2
        ) i ON i.organization_id = m.organization_id AND i.match_id = m.match_id
        LEFT JOIN (
            SELECT d.organization_id, d.reconciliation_id, d.match_id,
                bool_or(d.kind <> 'date_mismatch') AS amounts,
                bool_or(d.kind = 'date_mismatch') AS dates
            FROM reconciliation_discrepancies d WHERE d.status <> 'resolved' GROUP BY 1, 2, 3
        ) d ON d.organization_id = m.organization_id
            AND d.reconciliation_id = m.reconciliation_id AND d.match_id = m.match_id
        LEFT JOIN (
            SELECT DISTINCT organization_id, reconciliation_id, rule ->> 'name' AS name
            FROM reconciliations, jsonb_array_elements(rules) rule
        ) u ON u.organization_id = m.organization_id
            AND u.reconciliation_id = m.reconciliation_id AND u.name = m.rule
        LEFT JOIN (
            SELECT DISTINCT m.organization_id, m.match_id
            FROM reconciliation_matches m
            JOIN reconciliation_events v ON v.organization_id = m.organization_id
                AND v.reconciliation_id = m.reconciliation_id AND v.recorded_at = m.decided_at
            WHERE v.kind = 'run' AND m.origin = 'rule' AND m.api_key_id IS NULL
                    AND m.reason IS NULL
                OR v.api_key_id = m.api_key_id AND v.reason IS NOT DISTINCT FROM m.reason
                    AND CASE WHEN v.kind IN ('confirmed', 'matched')
                        THEN v.details -> 'matches' ? m.match_id::text
                        ELSE v.kind IN ('resolved', 'resolution_undone') END
        ) v ON v.organization_id = m.organization_id AND v.match_id = m.match_id
    """,  # noqa: S608  all of it is ours
    subject="concat('match ', match_id)",
    checks=(
        Check(
            4, "MATCH_WITHOUT_RECONCILIATION", "homeless", "'the ledger has no such reconciliation'"
        ),
        Check(
            4,
            "MATCH_NOT_OF_MEMBERS",
            "members < 2 OR match_id <> due_id",
            "concat('of its ', members, ' lines and entries the id would be ', due_id)",
        ),
        Check(
            2,
            "MATCH_DIFFERENCE_WRONG",
            "difference <> total",
            "concat('it is ', difference, ', its lines less its entries are ', total)",
        ),
        Check(
            2,
            "MATCH_REACH_WRONG",
            "row(reach, whole, foreign_currency) <> row(due_reach, due_whole, due_foreign)",
            "concat('it says ', row(reach, whole, foreign_currency), ', its members ',"
            " row(due_reach, due_whole, due_foreign))",
        ),
        Check(
            5,
            "MATCH_DIFFERENCE_UNTOLD",
            "(difference <> 0) <> amount_told OR late <> date_told",
            "concat('its difference is ', difference, CASE WHEN late THEN ' and it is late' END,"
            " ', and no discrepancy of it, or one without cause')",
        ),
        Check(
            5,
            "MATCH_STATUS_WRONG",
            "NOT ruled OR origin NOT IN ('rule', 'manual', 'resolution') OR CASE status"
            " WHEN 'confirmed' THEN NOT told"
            " ELSE (status = 'proposed' AND origin = 'rule'"
            " AND num_nonnulls(decided_at, api_key_id, reason) = 0) IS NOT TRUE END",
            "concat('it is ', status, ' by ', origin, ' ', rule, ', decided at ',"
            " coalesce(decided_at::text, 'no time'), CASE WHEN NOT told THEN ' without event' END)",
        ),
    ),
)

MATCH_MEMBERS = Pass(
    title="members of matches",
    rows=f"""
        SELECT i.*, m.ledger_id,
            i.absent OR m.match_id IS NULL OR m.reconciliation_id <> i.reconciliation_id
                OR i.confirmed <> (m.status = 'confirmed') AS astray
        FROM ({_MEMBERS}) i
        LEFT JOIN reconciliation_matches m ON m.organization_id = i.organization_id
            AND m.match_id = i.match_id
    """,  # noqa: S608  all of it is ours
    subject="concat(member, ' of match ', match_id)",
    checks=(
        Check(
            4,
            "MATCH_MEMBER_ASTRAY",
            "astray",
            "'there is no such line or entry, or no such match of its state'",
        ),
        Check(
            5,
            "MATCHED_TWICE",
            "confirmed AND times > 1",
            "concat('it is in ', times, ' confirmed matches')",
        ),
    ),
)

REJECTIONS = Pass(
    title="rejected pairs",
    rows="""
        SELECT j.*, r.ledger_id,
            count(*) OVER (
                PARTITION BY j.organization_id, j.reconciliation_id, j.number, j.sequence
            ) AS namesakes,
            e.sequence IS NULL OR coalesce(l.number, -o.sequence) IS DISTINCT FROM j.number
                AS astray
        FROM reconciliation_rejections j
        LEFT JOIN reconciliations r ON r.organization_id = j.organization_id
            AND r.reconciliation_id = j.reconciliation_id
        LEFT JOIN entries e ON e.organization_id = r.organization_id
            AND e.account_id = r.account_id AND e.sequence = j.sequence
        LEFT JOIN entries o ON o.organization_id = r.organization_id
            AND o.account_id = r.account_id AND o.sequence = -j.number
        LEFT JOIN statement_lines l ON l.organization_id = r.organization_id
            AND l.external_account_id = r.external_account_id AND l.number = j.number
    """,
    subject="concat('rejection ', number, '/', sequence)",
    checks=(
        Check(
            4,
            "REJECTION_ASTRAY",
            "astray",
            "'its reconciliation has no such line, or no such entry'",
        ),
        only_once(4, "REJECTION_REPEATED"),
    ),
)

# Of a discrepancy's cause nothing is kept where it is in the balances: its id tells.
_CAUSES = "(VALUES ('lines'), ('opening'), ('before'), ('rest'))"

DISCREPANCIES = Pass(
    title="discrepancies",
    rows=f"""
        SELECT d.*, r.reconciliation_id IS NULL AS homeless,
            d.status = 'resolved' AND t.sequence IS NULL AS unfounded,
            row(d.external_account_id, d.account_id)
                    IS DISTINCT FROM row(r.external_account_id, r.account_id)
                OR d.match_id IS NOT NULL AND m.match_id IS NULL
                OR d.resolved_match_id IS NOT NULL AND n.match_id IS NULL
                OR d.line_number IS NOT NULL AND (l.number <= r.examined_line
                    AND {_PLACE_OF_LINE} = 0) IS NOT TRUE
                OR d.entry_sequence IS NOT NULL AND (e.sequence <= r.examined_version
                    AND {_PLACE_OF_ENTRY} = 0) IS NOT TRUE
                OR d.other_line IS NOT NULL AND o.number IS NULL
                OR d.external_statement_id IS NOT NULL AND s.number IS NULL AS astray,
            causes.many AS causes,
            CASE WHEN d.match_id IS NOT NULL THEN CASE WHEN d.kind = 'date_mismatch' AND m.late
                    OR d.status = 'resolved' THEN d.kind
                    WHEN m.foreign_currency THEN 'currency_mismatch' ELSE 'amount_mismatch' END
                WHEN d.line_number IS NOT NULL THEN CASE WHEN l.currency <> a.currency
                    THEN 'currency_mismatch' WHEN d.other_line IS NOT NULL THEN 'duplicate_line'
                    ELSE 'missing_in_ledger' END
                WHEN d.entry_sequence IS NULL THEN 'balance_mismatch'
                WHEN d.other_line IS NULL THEN 'missing_in_statement'
                ELSE 'duplicate_entry' END AS due_kind,
            CASE WHEN d.match_id IS NOT NULL THEN CASE WHEN d.kind = 'date_mismatch' THEN 0
                    WHEN d.status = 'resolved' THEN d.amount ELSE m.difference END
                WHEN d.line_number IS NOT NULL THEN {_LINE_AMOUNT}
                WHEN d.entry_sequence IS NOT NULL THEN -({_ENTRY_AMOUNT})
                WHEN c.cause = 'lines' THEN {_SIGN}
                    * (s.closing_balance - s.opening_balance - s.line_total)
                ELSE d.amount END AS due_amount,
            CASE WHEN d.match_id IS NOT NULL THEN CASE WHEN d.status = 'resolved' THEN d.day
                    ELSE coalesce(i.booked_on, i.day) END
                WHEN d.line_number IS NOT NULL THEN l.booked_on
                WHEN d.entry_sequence IS NOT NULL
                    THEN (e.effective_at AT TIME ZONE r.time_zone)::date
                ELSE r.through_date END AS due_day,
            CASE WHEN o.currency <> a.currency THEN 0 ELSE o.amount * {_SIGN} END AS other_amount,
            CASE WHEN causes.many = 1 THEN md5(concat_ws('|', d.reconciliation_id, d.kind,
                    d.match_id, d.line_number, d.entry_sequence, d.amount,
                    CASE WHEN d.entry_sequence IS NOT NULL THEN 'entry' END))::uuid
                WHEN c.cause IS NOT NULL THEN d.discrepancy_id END AS due_id,
            d.status <> 'resolved' AND (ml.matched OR me.matched) AS matched,
            coalesce(p.posted, 0) AS posted,
            (coalesce(d.match_id, d.resolved_match_id) = d.resolved_match_id
                AND n.status = 'confirmed' AND p.elsewhere = 0
                AND (d.line_number IS NULL OR ml.match_id = d.resolved_match_id)
                AND (d.entry_sequence IS NULL OR me.match_id = d.resolved_match_id)) IS TRUE
                AS held,
            v.number IS NOT NULL AS told
        FROM reconciliation_discrepancies d
        CROSS JOIN LATERAL (
            SELECT num_nonnulls(d.match_id, d.line_number, d.entry_sequence) AS many
        ) causes
        LEFT JOIN reconciliations r ON r.organization_id = d.organization_id
            AND r.reconciliation_id = d.reconciliation_id AND r.ledger_id = d.ledger_id
        LEFT JOIN accounts a ON a.organization_id = d.organization_id
            AND a.account_id = d.account_id
        LEFT JOIN external_accounts x ON x.organization_id = d.organization_id
            AND x.external_account_id = d.external_account_id
        LEFT JOIN transactions t ON t.organization_id = d.organization_id
            AND t.ledger_id = d.ledger_id AND t.sequence = d.transaction_sequence
        LEFT JOIN reconciliation_matches m ON m.organization_id = d.organization_id
            AND m.match_id = d.match_id AND m.reconciliation_id = d.reconciliation_id
        LEFT JOIN reconciliation_matches n ON n.organization_id = d.organization_id
            AND n.match_id = d.resolved_match_id AND n.reconciliation_id = d.reconciliation_id
        LEFT JOIN statement_lines l ON l.organization_id = d.organization_id
            AND l.external_account_id = d.external_account_id AND l.number = d.line_number
        LEFT JOIN statement_lines o ON o.organization_id = d.organization_id
            AND o.external_account_id = d.external_account_id AND o.number = d.other_line
        LEFT JOIN entries e ON e.organization_id = d.organization_id
            AND e.account_id = d.account_id AND e.sequence = d.entry_sequence
        LEFT JOIN external_statements s ON s.organization_id = d.organization_id
            AND s.external_statement_id = d.external_statement_id
            AND s.external_account_id = d.external_account_id
        LEFT JOIN {_CAUSES} c (cause) ON causes.many = 0 AND d.discrepancy_id = md5(concat_ws('|',
            d.reconciliation_id, d.kind, c.cause, d.external_statement_id, d.amount))::uuid
        LEFT JOIN (
            SELECT i.organization_id, i.match_id, min(i.booked_on) AS booked_on, min(i.day) AS day
            FROM (
                SELECT i.organization_id, i.match_id, l.booked_on, NULL::date AS day
                FROM reconciliation_match_lines i
                JOIN statement_lines l ON l.organization_id = i.organization_id
                    AND l.external_account_id = i.external_account_id AND l.number = i.number
                UNION ALL
                SELECT i.organization_id, i.match_id, NULL,
                    (e.effective_at AT TIME ZONE r.time_zone)::date
                FROM reconciliation_match_entries i
                JOIN reconciliations r ON r.organization_id = i.organization_id
                    AND r.reconciliation_id = i.reconciliation_id
                JOIN entries e ON e.organization_id = i.organization_id
                    AND e.account_id = i.account_id AND e.sequence = i.sequence
            ) i
            GROUP BY 1, 2
        ) i ON i.organization_id = d.organization_id AND i.match_id = d.match_id
        LEFT JOIN (
            SELECT DISTINCT ON (organization_id, reconciliation_id, number) organization_id,
                reconciliation_id, number, match_id, true AS matched
            FROM reconciliation_match_lines
            ORDER BY organization_id, reconciliation_id, number, confirmed DESC
        ) ml ON ml.organization_id = d.organization_id
            AND ml.reconciliation_id = d.reconciliation_id AND ml.number = d.line_number
        LEFT JOIN (
            SELECT DISTINCT ON (organization_id, reconciliation_id, sequence) organization_id,
                reconciliation_id, sequence, match_id, true AS matched
            FROM reconciliation_match_entries
            ORDER BY organization_id, reconciliation_id, sequence, confirmed DESC
        ) me ON me.organization_id = d.organization_id
            AND me.reconciliation_id = d.reconciliation_id AND me.sequence = d.entry_sequence
        LEFT JOIN (
            SELECT d.organization_id, d.discrepancy_id, sum({_ENTRY_AMOUNT}) AS posted,
                count(*) FILTER (WHERE i.match_id IS NULL) AS elsewhere
            FROM reconciliation_discrepancies d
            JOIN accounts a ON a.organization_id = d.organization_id
                AND a.account_id = d.account_id
            JOIN entries e ON e.organization_id = d.organization_id
                AND e.ledger_id = d.ledger_id AND e.account_id = d.account_id
                AND e.transaction_sequence = d.transaction_sequence
            LEFT JOIN reconciliation_match_entries i ON i.organization_id = d.organization_id
                AND i.match_id = d.resolved_match_id AND i.account_id = e.account_id
                AND i.sequence = e.sequence
            GROUP BY 1, 2
        ) p ON p.organization_id = d.organization_id AND p.discrepancy_id = d.discrepancy_id
        LEFT JOIN (
            SELECT DISTINCT d.organization_id, d.discrepancy_id, min(v.number) AS number
            FROM reconciliation_discrepancies d
            JOIN reconciliation_events v ON v.organization_id = d.organization_id
                AND v.reconciliation_id = d.reconciliation_id AND v.recorded_at = d.resolved_at
                AND v.api_key_id = d.api_key_id AND v.reason IS NOT DISTINCT FROM d.reason
            LEFT JOIN transactions t ON t.organization_id = d.organization_id
                AND t.ledger_id = d.ledger_id AND t.sequence = d.transaction_sequence
            WHERE v.kind = 'closed' AND d.status = 'accepted' AND v.details ? 'accepted'
                OR v.kind = 'resolved' AND v.details ->> 'resolution' = d.resolution
                    AND v.details -> 'discrepancies' ? d.discrepancy_id::text
                    AND v.details #>> '{{transactions,0}}'
                        IS NOT DISTINCT FROM t.transaction_id::text
            GROUP BY 1, 2
        ) v ON v.organization_id = d.organization_id AND v.discrepancy_id = d.discrepancy_id
    """,  # noqa: S608  all of it is ours
    subject="concat('discrepancy ', discrepancy_id)",
    checks=(
        Check(
            4,
            "DISCREPANCY_WITHOUT_RECONCILIATION",
            "homeless",
            "'the ledger has no such reconciliation'",
        ),
        Check(
            4,
            "DISCREPANCY_ASTRAY",
            "NOT homeless AND astray",
            "'what it is about is not of its reconciliation''s accounts and days'",
        ),
        Check(
            2,
            "DISCREPANCY_NOT_OF_CAUSE",
            "NOT homeless AND NOT astray AND (causes > 1"
            " OR (other_line IS NOT NULL) <> (kind IN ('duplicate_line', 'duplicate_entry'))"
            " OR other_amount <> CASE WHEN line_number IS NULL THEN -amount ELSE amount END"
            " OR external_statement_id IS NOT NULL AND kind <> 'balance_mismatch'"
            " OR row(kind, day, amount) IS DISTINCT FROM row(due_kind, due_day, due_amount))",
            "concat('it is ', row(kind, day, amount), ', of its cause it would be ',"
            " row(due_kind, due_day, due_amount))",
        ),
        Check(
            2,
            "DISCREPANCY_ID_WRONG",
            "discrepancy_id IS DISTINCT FROM due_id",
            "concat('of a ', kind, ' of ', amount, ' it is not the id')",
        ),
        Check(
            5,
            "DISCREPANCY_OF_WHAT_IS_MATCHED",
            "matched",
            "'its line or its entry is in a match of the reconciliation'",
        ),
        Check(
            5,
            "DISCREPANCY_STATUS_WRONG",
            "CASE status"
            " WHEN 'open' THEN num_nonnulls(resolution, reason, api_key_id, resolved_at,"
            " transaction_sequence, resolved_match_id) > 0"
            " WHEN 'accepted' THEN (resolution = 'accepted') IS NOT TRUE"
            " OR num_nonnulls(transaction_sequence, resolved_match_id) > 0"
            " ELSE (status = 'resolved' AND resolution IN ('adjusted', 'written_off')) IS NOT TRUE"
            " END",
            "concat('it is ', status, ', its resolution ', coalesce(resolution, 'none'))",
        ),
        Check(
            4,
            "RESOLUTION_WITHOUT_TRANSACTION",
            "unfounded",
            "concat('transaction ', transaction_sequence, ' is not there')",
        ),
        Check(
            2,
            "RESOLUTION_AMOUNT_WRONG",
            "status = 'resolved' AND NOT unfounded AND posted <> amount",
            "concat('it is of ', amount, ', transaction ', transaction_sequence, ' posts ',"
            " posted)",
        ),
        Check(
            5,
            "RESOLUTION_NOT_MATCHED",
            "status = 'resolved' AND NOT unfounded AND NOT held",
            "concat('transaction ', transaction_sequence, ' and what it mends are not confirmed in'"
            ", ' one match')",
        ),
        Check(
            5,
            "RESOLUTION_NOT_OF_EVENT",
            "status <> 'open' AND NOT unfounded AND NOT told",
            "concat('no event says that it was ', resolution, ' at ', resolved_at)",
        ),
    ),
)
