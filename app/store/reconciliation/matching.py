"""The engine of reconciliations: matches and discrepancies, found set by set in SQL.

Whoever uses it holds the locks of the external account and of the reconciliation, in that order,
until commit: no line arrives meanwhile, and no other reconciliation of the external account takes
one. Entries go on arriving, so nothing looks beyond `version`, the last entry when the work began.
What is written is a function of the rows that were read, so doing it again changes nothing.

Lines and entries that are not accounted for lie in temporary tables, and leave them as they are
matched. A rule puts them in two piles (`match_left`, `match_right`), where several that count as
one are one row, and pairs the piles: those of one reference by the rank that they have among their
equals, those of one amount by the same, one distance in days after the other. Both are a fixed
number of joins, however many are equal: nothing is quadratic in a thousand payments of ten dollars.
Where a closer look is needed (at amounts within a tolerance, at texts, after a rejection), each row
of the left gets a few candidates, and in each round those pairs are taken in which either is the
other's best.

A young table has no statistics, and then the planner takes any join for a small one (seen: minutes
for ten thousand lines). So the temporary tables are analyzed, and what they look up in others
stands in a LATERAL with OFFSET 0, which stays as it is written: by full key, row by row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from app.ledger.accounts.balances import Direction
from app.ledger.reconciliation.comparison import (
    BASIS,
    Bridge,
    BridgeItem,
    BridgeItemKind,
    Counts,
    DiscrepancyKind,
    EntryField,
    LineField,
    Rule,
    RuleKind,
    Statement,
    Sums,
    faults_of,
)
from app.store.accounts.history import balances_of_version
from app.store.database import Connection, Row, all_rows

ROUNDS = 100
CANDIDATES_A_DAY = 10
ALIKE_A_DAY = 50

CERTAIN, SEVERAL, REVERSED, DIFFERING, FOREIGN, EQUAL, APART = 1000, 900, 850, 800, 700, 600, 200


@dataclass(frozen=True, slots=True)
class Subject:
    """A locked reconciliation, with what it takes to read lines and entries in the same terms."""

    organization_id: UUID
    reconciliation_id: UUID
    ledger_id: UUID
    external_account_id: UUID
    account_id: UUID
    from_date: date
    through_date: date
    time_zone: str
    margin_days: int
    rules: tuple[Rule, ...]
    status: str
    last_event: int
    is_examined: bool
    sign: int  # of the outside's amounts on the account's normal side
    last_line: int
    normal_balance: str
    currency: str
    version: int
    starts_at: datetime
    ends_at: datetime  # the first moment after the days

    @property
    def parameters(self) -> dict[str, Any]:
        """What every statement may name."""
        return {
            "organization": self.organization_id,
            "reconciliation": self.reconciliation_id,
            "ledger": self.ledger_id,
            "external": self.external_account_id,
            "account": self.account_id,
            "from": self.from_date,
            "through": self.through_date,
            "zone": self.time_zone,
            "margin": self.margin_days,
            "sign": self.sign,
            "normal": self.normal_balance,
            "currency": self.currency,
            "version": self.version,
            "starts_at": self.starts_at,
            "ends_at": self.ends_at,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """What a run changed."""

    confirmed: int
    proposed: int
    withdrawn: int
    appeared: int
    vanished: int


AMOUNT_OF_LINE = (
    "CASE WHEN l.currency = %(currency)s THEN l.amount * %(sign)s::int4 ELSE 0 END::numeric"
)
AMOUNT_OF_ENTRY = "CASE WHEN e.direction = %(normal)s THEN e.amount ELSE -e.amount END"
POSTED = "e.amount > 0 AND e.effect IN ('post', 'settle')"

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
    labels = f"CROSS JOIN LATERAL ({_TRANSACTION}) t" if paths else ""
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


_TRANSACTION = """
    SELECT t.sequence, t.description, t.external_id, t.metadata, t.reverses_sequence
    FROM transactions t
    WHERE t.organization_id = %(organization)s AND t.ledger_id = %(ledger)s
        AND t.sequence = e.transaction_sequence
    OFFSET 0
"""
"""That of an entry `e`."""
_EVENT = """
    SELECT v.idempotency_key FROM transaction_events v
    WHERE v.organization_id = %(organization)s AND v.ledger_id = %(ledger)s
        AND v.transaction_sequence = e.transaction_sequence AND v.number = e.event
    OFFSET 0
"""
"""The same of its event."""

_LOAD_REJECTED = """
    INSERT INTO match_rejected
    SELECT number, sequence FROM reconciliation_rejections
    WHERE organization_id = %(organization)s AND reconciliation_id = %(reconciliation)s
"""

_LINE_KEY = {
    LineField.REFERENCE: "l.reference",
    LineField.END_TO_END_ID: "l.end_to_end_id",
    LineField.DESCRIPTION_WORD: "w.word",
}
_WORDS_OF_LINE = r"""
    CROSS JOIN LATERAL (
        SELECT DISTINCT word
        FROM regexp_split_to_table(l.description, '[][[:space:],;:()"'']+') AS word
        WHERE length(word) >= 3
    ) w
"""
_SIGN = "CASE WHEN sum({0}) < 0 THEN -1 ELSE 1 END"
_HELD_LEFT = "EXISTS (SELECT FROM match_rejected j WHERE j.number = l.number)"
_HELD_RIGHT = "EXISTS (SELECT FROM match_rejected j WHERE j.sequence = e.sequence)"

_REFUSED = """
    EXISTS (
        SELECT FROM match_rejected j
        WHERE j.number = ANY(l.members) AND j.sequence = ANY(r.members)
    )
"""


def _left(rule: Rule) -> str:
    """The lines that a rule looks at, each by itself or those that count as one."""
    if rule.kind is RuleKind.MANY_LINES_TO_ONE_ENTRY:
        key = "l.day::text" if rule.line_field is None else _LINE_KEY[rule.line_field]
        return f"""
            INSERT INTO match_left
            SELECT min(l.number), array_agg(l.number ORDER BY l.number), {key}, sum(l.amount),
                {_SIGN.format("l.stated")}, max(l.day), bool_or(l.inside), bool_and(l.inside),
                true, true, bool_or({_HELD_LEFT})
            FROM match_lines l
            WHERE l.free AND l.plain AND {key} IS NOT NULL
            GROUP BY {key}
            HAVING count(*) > 1
        """  # noqa: S608  all of it is ours
    key = "NULL"
    if rule.by_reference and rule.line_field is not None:
        key = _LINE_KEY[rule.line_field]
    words = _WORDS_OF_LINE if rule.line_field is LineField.DESCRIPTION_WORD else ""
    wanted = f"AND {key} IS NOT NULL" if rule.by_reference else "AND l.plain"
    return f"""
        INSERT INTO match_left
        SELECT l.number, ARRAY[l.number], {key}, l.amount, sign(l.stated)::int4, l.day, l.inside,
            l.inside, l.plain, true, {_HELD_LEFT}
        FROM match_lines l {words}
        WHERE l.free {wanted}
    """  # noqa: S608  all of it is ours


# A rule that goes by reference looks only at entries with a reference that some line has.
_BY_TRANSACTION = {
    EntryField.EXTERNAL_ID: """
        (SELECT DISTINCT key FROM match_left) k
        CROSS JOIN LATERAL (
            SELECT t.sequence FROM transactions t
            WHERE t.organization_id = %(organization)s AND t.external_id = k.key
                AND t.ledger_id = %(ledger)s
            OFFSET 0
        ) t
        JOIN match_entries e ON e.transaction_sequence = t.sequence
    """,
    EntryField.IDEMPOTENCY_KEY: """
        (SELECT DISTINCT key FROM match_left) k
        CROSS JOIN LATERAL (
            SELECT v.transaction_sequence, v.number FROM transaction_events v
            WHERE v.organization_id = %(organization)s AND v.idempotency_key = k.key
                AND v.ledger_id = %(ledger)s
            OFFSET 0
        ) v
        JOIN match_entries e ON e.transaction_sequence = v.transaction_sequence
            AND e.event = v.number
    """,
}


def _right(rule: Rule, path: int) -> str:
    """The entries that a rule looks at; `path` is the place of its metadata path, from 1."""
    many = rule.kind is RuleKind.ONE_LINE_TO_MANY_ENTRIES
    source, key = "match_entries e", "NULL"
    if rule.entry_field is EntryField.METADATA:
        key = f"e.keys[{path}]"
        if rule.by_reference:
            source += f" JOIN (SELECT DISTINCT key FROM match_left) k ON k.key = {key}"  # noqa: S608
    elif rule.entry_field is not None and rule.by_reference:
        source, key = _BY_TRANSACTION[rule.entry_field], "k.key"
    elif rule.entry_field is EntryField.EXTERNAL_ID:
        source += f" CROSS JOIN LATERAL ({_TRANSACTION}) t"
        key = "t.external_id"
    elif rule.entry_field is EntryField.IDEMPOTENCY_KEY:
        source += f" CROSS JOIN LATERAL ({_EVENT}) v"
        key = "v.idempotency_key"
    elif many:
        key = "e.day::text"
    if many:
        return f"""
            INSERT INTO match_right
            SELECT min(e.sequence), array_agg(e.sequence ORDER BY e.sequence), {key}, sum(e.amount),
                {_SIGN.format("e.amount")}, max(e.day), bool_or(e.inside), bool_and(e.inside),
                true, true, bool_or({_HELD_RIGHT})
            FROM {source}
            WHERE {key} IS NOT NULL
            GROUP BY {key}
            HAVING count(*) > 1
        """  # noqa: S608  all of it is ours
    wanted = ""
    if not rule.by_reference and rule.tolerance is None:
        wanted = "WHERE e.amount IN (SELECT amount FROM match_left)"
    return f"""
        INSERT INTO match_right
        SELECT e.sequence, ARRAY[e.sequence], {key}, e.amount, sign(e.amount)::int4, e.day,
            e.inside, e.inside, true, true, {_HELD_RIGHT}
        FROM {source} {wanted}
    """  # noqa: S608  all of it is ours


# Of a line's words those that are references; where there are several none is certain.
_KEEP_KNOWN_WORDS = """
    DELETE FROM match_left l WHERE NOT EXISTS (SELECT FROM match_right r WHERE r.key = l.key);
    UPDATE match_left l SET sure = false
    WHERE EXISTS (SELECT FROM match_left o WHERE o.id = l.id AND o.key <> l.key);
    DELETE FROM match_left l
    WHERE EXISTS (SELECT FROM match_left o WHERE o.id = l.id AND o.key < l.key)
"""

_KEEP_EQUAL_AMOUNTS = """
    DELETE FROM match_left l WHERE NOT EXISTS (
        SELECT FROM match_right r WHERE r.amount = l.amount
    )
"""

_INSIDE = "(l.inside OR r.inside)"
_WITHIN = (
    "abs(l.amount - r.amount)"
    " <= %(tolerance)s::numeric + trunc(abs(l.amount) * %(basis_points)s::int4 / %(basis)s::int4)"
)

_PAIR_CERTAIN = f"""
    INSERT INTO match_new
    SELECT l.id, r.id, {CERTAIN}
    FROM (SELECT *, count(*) OVER (PARTITION BY key, amount) AS equals FROM match_left
        WHERE plain) l
    JOIN (SELECT *, count(*) OVER (PARTITION BY key, amount) AS equals FROM match_right) r
        ON r.key = l.key AND r.amount = l.amount
    WHERE l.equals = 1 AND r.equals = 1 AND l.sure AND {_INSIDE} AND NOT {_REFUSED}
"""  # noqa: S608  all of it is ours


def _pair_ranks(equals: str, order: str, where: str, score: int) -> str:
    """Pair the first of those who are equal with the first, the second with the second."""
    window = f"row_number() OVER (PARTITION BY {equals} ORDER BY {order}) AS rank"
    same = " AND ".join(f"r.{name} = l.{name}" for name in (*equals.split(", "), "rank"))
    return f"""
        INSERT INTO match_new
        SELECT l.id, r.id, {score}
        FROM (SELECT *, {window} FROM match_left WHERE NOT held AND {where}) l
        JOIN (SELECT *, {window} FROM match_right WHERE NOT held) r ON {same}
        WHERE {_INSIDE} AND (%(tolerance)s::numeric IS NULL OR {_WITHIN})
    """  # noqa: S608  all of it is ours


_PAIR_EQUAL = _pair_ranks("key, amount", "day, id", "plain", SEVERAL)
_PAIR_DIFFERING = _pair_ranks("key, sign", "abs(amount), day, id", "plain", DIFFERING)
_PAIR_FOREIGN = _pair_ranks("key, sign", "abs(amount), day, id", "NOT plain", FOREIGN).replace(
    "AND (%(tolerance)s::numeric IS NULL", "AND (true"
)

_PAIR_DAYS_APART = f"""
    INSERT INTO match_new
    SELECT l.id, r.id, {EQUAL} - 10 * least(abs(%(days)s::int4), 30)
        - CASE WHEN l.equals > 1 OR r.equals > 1 THEN 100 ELSE 0 END
    FROM (SELECT *, row_number() OVER past AS rank, count(*) OVER (PARTITION BY amount, day)
            AS equals
        FROM match_left WHERE NOT held WINDOW past AS (PARTITION BY amount, day ORDER BY id)) l
    JOIN (SELECT *, row_number() OVER past AS rank, count(*) OVER (PARTITION BY amount, day)
            AS equals
        FROM match_right WHERE NOT held WINDOW past AS (PARTITION BY amount, day ORDER BY id)) r
        ON r.amount = l.amount AND r.day = l.day + %(days)s::int4 AND r.rank = l.rank
    WHERE {_INSIDE}
"""  # noqa: S608  all of it is ours

# A few candidates of each left row that is looked at more closely.
_CANDIDATES_BY_KEY = f"""
    INSERT INTO match_candidates
    SELECT l.id, r.id,
        CASE WHEN NOT l.plain THEN {FOREIGN} WHEN l.amount = r.amount THEN {SEVERAL}
            ELSE {DIFFERING} END,
        abs(r.day - l.day)
    FROM match_left l CROSS JOIN LATERAL (
        SELECT * FROM match_right r
        WHERE r.key = l.key AND r.sign = l.sign AND {_INSIDE} AND NOT {_REFUSED}
            AND (NOT l.plain OR %(tolerance)s::numeric IS NULL OR {_WITHIN})
        ORDER BY abs(r.amount - l.amount), abs(r.day - l.day), r.id
        LIMIT {ALIKE_A_DAY}
    ) r
"""  # noqa: S608  all of it is ours
_CANDIDATES_BY_AMOUNT = f"""
    INSERT INTO match_candidates
    SELECT l.id, r.id,
        {EQUAL} - 10 * least(abs(r.day - l.day), 30)
            - CASE WHEN l.amount = r.amount THEN 0
                ELSE ceil({APART} * abs(l.amount - r.amount) / greatest(1, %(tolerance)s::numeric
                    + trunc(abs(l.amount) * %(basis_points)s::int4 / %(basis)s::int4))) END,
        abs(r.day - l.day)
    FROM match_left l
    CROSS JOIN generate_series(-%(before)s::int4, %(after)s::int4) AS distance (days)
    CROSS JOIN LATERAL (
        (SELECT * FROM match_right r
        WHERE r.day = l.day + distance.days AND r.amount >= l.amount AND {_WITHIN}
            AND r.amount <= l.amount + %(tolerance)s::numeric
                + trunc(abs(l.amount) * %(basis_points)s::int4 / %(basis)s::int4)
            AND {_INSIDE} AND NOT {_REFUSED}
        ORDER BY r.amount, r.id LIMIT %(limit)s)
        UNION ALL
        (SELECT * FROM match_right r
        WHERE r.day = l.day + distance.days AND r.amount < l.amount AND {_WITHIN}
            AND r.amount >= l.amount - %(tolerance)s::numeric
                - trunc(abs(l.amount) * %(basis_points)s::int4 / %(basis)s::int4)
            AND {_INSIDE} AND NOT {_REFUSED}
        ORDER BY r.amount DESC, r.id LIMIT %(limit)s)
    ) r
    WHERE r.sign = l.sign
"""  # noqa: S608  all of it is ours

# How much of the shorter text's words the other has too.
_WORDS = r"""
    array(
        SELECT DISTINCT word FROM regexp_split_to_table(lower({0}), '[^[:alnum:]]+') AS word
        WHERE length(word) > 1
    )
"""
_SCORE_TEXTS = f"""
    WITH lefts AS MATERIALIZED (
        SELECT c.left_id, {_WORDS.format("concat_ws(' ', l.description, l.counterparty, l.reference, l.end_to_end_id)")}
            AS words
        FROM (SELECT DISTINCT left_id FROM match_candidates) c
        JOIN match_lines l ON l.number = c.left_id
    ), rights AS MATERIALIZED (
        SELECT c.right_id, {_WORDS.format("concat_ws(' ', t.description, t.external_id)")} AS words
        FROM (SELECT DISTINCT right_id FROM match_candidates) c
        JOIN match_entries e ON e.sequence = c.right_id
        CROSS JOIN LATERAL ({_TRANSACTION}) t
    ), scored AS (
        SELECT c.left_id, c.right_id, 1000 * cardinality(array(
            SELECT unnest(l.words) INTERSECT SELECT unnest(r.words)
        )) / greatest(1, least(cardinality(l.words), cardinality(r.words))) AS likeness
        FROM match_candidates c
        JOIN lefts l USING (left_id)
        JOIN rights r USING (right_id)
    )
    UPDATE match_candidates c
    SET score = CASE WHEN s.likeness >= %(minimum)s THEN s.likeness * 8 / 10 ELSE -1 END
    FROM scored s
    WHERE s.left_id = c.left_id AND s.right_id = c.right_id
"""  # noqa: S608, E501  all of it is ours
_TAKE_BEST = """
    INSERT INTO match_new
    SELECT l.left_id, l.right_id, l.score
    FROM (
        SELECT DISTINCT ON (left_id) * FROM match_candidates WHERE score >= 0
        ORDER BY left_id, score DESC, days, right_id
    ) l
    JOIN (
        SELECT DISTINCT ON (right_id) * FROM match_candidates WHERE score >= 0
        ORDER BY right_id, score DESC, days, left_id
    ) r ON r.left_id = l.left_id AND r.right_id = l.right_id
"""
_DROP_TAKEN_CANDIDATES = """
    DELETE FROM match_candidates c
    WHERE c.left_id IN (SELECT left_id FROM match_new)
        OR c.right_id IN (SELECT right_id FROM match_new)
"""

# A transaction and its reversals, where their entries on the account come to nothing.
_PAIR_REVERSED = f"""
    WITH undone AS (
        SELECT array_agg(e.sequence ORDER BY e.sequence) AS entries,
            bool_or(e.inside) AS inside, bool_and(e.inside) AS whole,
            max(e.day) - min(e.day) AS days
        FROM match_entries e
        CROSS JOIN LATERAL ({_TRANSACTION}) t
        GROUP BY coalesce(t.reverses_sequence, t.sequence)
        HAVING sum(e.amount) = 0 AND bool_or(t.reverses_sequence IS NOT NULL)
            AND bool_or(t.reverses_sequence IS NULL)
    ), kept AS (
        INSERT INTO match_pairs
        SELECT %(rule)s, {REVERSED}, '{{}}', entries, 0, days, false, true, whole
        FROM undone
        WHERE inside AND NOT EXISTS (
            SELECT FROM match_rejected j
            WHERE -j.number = ANY(entries) AND j.sequence = ANY(entries)
        )
        RETURNING entries
    )
    DELETE FROM match_entries e USING (SELECT unnest(entries) AS sequence FROM kept) k
    WHERE k.sequence = e.sequence
"""  # noqa: S608  all of it is ours

_TAKE = """
    INSERT INTO match_pairs
    SELECT %(rule)s, n.score, l.members, r.members, l.amount - r.amount, r.day - l.day,
        %(by_reference)s AND NOT r.day - l.day BETWEEN -%(before)s::int4 AND %(after)s::int4,
        l.plain, l.whole AND r.whole
    FROM match_new n JOIN match_left l ON l.id = n.left_id JOIN match_right r ON r.id = n.right_id
"""
_TAKE_LINES = f"""
    UPDATE match_lines l SET free = false, proposed = t.score < {CERTAIN}
    FROM (
        SELECT unnest(l.members) AS number, n.score
        FROM match_new n JOIN match_left l ON l.id = n.left_id
    ) t
    WHERE t.number = l.number
"""  # noqa: S608  all of it is ours
_TAKE_ENTRIES = """
    DELETE FROM match_entries e
    USING (
        SELECT unnest(r.members) AS sequence
        FROM match_new n JOIN match_right r ON r.id = n.right_id
    ) t
    WHERE t.sequence = e.sequence
"""
_TAKE_SIDES = (
    "DELETE FROM match_left l USING match_new n WHERE n.left_id = l.id",
    "DELETE FROM match_right r USING match_new n WHERE n.right_id = r.id",
)

# ---- what is kept --------------------------------------------------------------------------------

MATCH_ID = (
    "md5(concat_ws('|', %(reconciliation)s::uuid, array_to_string({lines}, ','),"
    " array_to_string({entries}, ',')))::uuid"
)
REACH = f"""
    coalesce((
        SELECT sum({AMOUNT_OF_LINE}) FROM statement_lines l
        WHERE l.organization_id = %(organization)s AND l.external_account_id = %(external)s
            AND l.number = ANY({{lines}}) AND l.booked_on < %(from)s
    ), 0) - coalesce((
        SELECT sum({AMOUNT_OF_ENTRY}) FROM entries e
        WHERE e.organization_id = %(organization)s AND e.account_id = %(account)s
            AND e.sequence = ANY({{entries}}) AND e.effective_at < %(starts_at)s
    ), 0)
"""  # noqa: S608  all of it is ours

_NAME_PAIRS = """
    CREATE TEMP TABLE match_named ON COMMIT DROP AS
    SELECT NULL::uuid AS match_id, *, NULL::numeric AS reach FROM match_pairs LIMIT 0;
"""
_FILL_NAMED = f"""
    INSERT INTO match_named
    SELECT {MATCH_ID.format(lines="p.lines", entries="p.entries")}, p.*,
        CASE WHEN p.whole THEN 0 ELSE {REACH.format(lines="p.lines", entries="p.entries")} END
    FROM match_pairs p
"""  # noqa: S608  all of it is ours
_LOAD_BEFORE = """
    CREATE TEMP TABLE match_before (
        match_id uuid NOT NULL, rule text, score int4 NOT NULL, days int4 NOT NULL,
        late bool NOT NULL, whole bool NOT NULL, reach numeric NOT NULL
    ) ON COMMIT DROP;
    INSERT INTO match_before
    SELECT m.match_id, m.rule, m.score, m.days, m.late, m.whole, m.reach
    FROM reconciliation_matches m
    WHERE m.organization_id = %(organization)s AND m.reconciliation_id = %(reconciliation)s
        AND m.score >= 0 AND m.status = 'proposed'
"""
_STALE = f"""
    SELECT array_agg(m.match_id) FROM match_before m
    WHERE NOT EXISTS (
        SELECT FROM match_named n
        WHERE n.match_id = m.match_id AND n.rule = m.rule AND n.score = m.score
            AND n.score < {CERTAIN} AND n.days = m.days AND n.late = m.late
            AND n.reach = m.reach AND n.whole = m.whole
    )
"""  # noqa: S608  all of it is ours
_TAKEN_ELSEWHERE = """
    SELECT array_agg(DISTINCT m.match_id) FROM reconciliation_matches m
    CROSS JOIN LATERAL (
        SELECT FROM reconciliation_match_lines i
        CROSS JOIN LATERAL (
            SELECT FROM reconciliation_match_lines o
            WHERE o.organization_id = %(organization)s AND o.external_account_id = %(external)s
                AND o.number = i.number AND o.confirmed
            OFFSET 0
        ) o
        WHERE i.organization_id = %(organization)s AND i.match_id = m.match_id
        UNION ALL
        SELECT FROM reconciliation_match_entries i
        CROSS JOIN LATERAL (
            SELECT FROM reconciliation_match_entries o
            WHERE o.organization_id = %(organization)s AND o.account_id = %(account)s
                AND o.sequence = i.sequence AND o.confirmed
            OFFSET 0
        ) o
        WHERE i.organization_id = %(organization)s AND i.match_id = m.match_id
        OFFSET 0
    ) taken
    WHERE m.organization_id = %(organization)s AND m.reconciliation_id = %(reconciliation)s
        AND m.score >= 0 AND m.status = 'proposed'
"""
DELETE_MATCHES = tuple(
    f"DELETE FROM {table} WHERE organization_id = %(organization)s"  # noqa: S608  all of it is ours
    " AND match_id = ANY(%(matches)s::uuid[])"
    for table in (
        "reconciliation_match_lines",
        "reconciliation_match_entries",
        "reconciliation_matches",
    )
)
_KEEP_NEW = f"""
    INSERT INTO reconciliation_matches (organization_id, match_id, reconciliation_id, ledger_id,
        status, origin, rule, score, difference, reach, days, whole, late, foreign_currency,
        decided_at)
    SELECT %(organization)s, n.match_id, %(reconciliation)s, %(ledger)s,
        CASE WHEN n.score = {CERTAIN} THEN 'confirmed' ELSE 'proposed' END, 'rule', n.rule,
        n.score, n.difference, n.reach, n.days, n.whole, n.late, NOT n.plain,
        CASE WHEN n.score = {CERTAIN} THEN now() END
    FROM match_named n
    ON CONFLICT DO NOTHING
    RETURNING match_id, status
"""  # noqa: S608  all of it is ours
_NOTE_NEW = f"WITH kept AS ({_KEEP_NEW}) INSERT INTO match_kept SELECT * FROM kept"  # noqa: S608
_KEEP_LINES = f"""
    INSERT INTO reconciliation_match_lines (organization_id, match_id, external_account_id, number,
        reconciliation_id, confirmed)
    SELECT %(organization)s, n.match_id, %(external)s, unnest(n.lines), %(reconciliation)s,
        n.score = {CERTAIN}
    FROM match_named n JOIN match_kept k USING (match_id)
"""  # noqa: S608  all of it is ours
_KEEP_ENTRIES = f"""
    INSERT INTO reconciliation_match_entries (organization_id, match_id, account_id, sequence,
        reconciliation_id, confirmed)
    SELECT %(organization)s, n.match_id, %(account)s, unnest(n.entries), %(reconciliation)s,
        n.score = {CERTAIN}
    FROM match_named n JOIN match_kept k USING (match_id)
"""  # noqa: S608  all of it is ours

# ---- what is wrong -------------------------------------------------------------------------------


def _discrepancy_id(kind: str, *facts: str) -> str:
    return f"md5(concat_ws('|', %(reconciliation)s::uuid, {kind}, {', '.join(facts)}))::uuid"


_FIND_IN_MATCHES = f"""
    INSERT INTO match_found (discrepancy_id, kind, day, amount, match_id)
    SELECT {_discrepancy_id("v.kind", "m.match_id", "v.amount")}, v.kind, first.day, v.amount,
        m.match_id
    FROM reconciliation_matches m
    CROSS JOIN LATERAL (VALUES
        (CASE WHEN m.foreign_currency THEN 'currency_mismatch' ELSE 'amount_mismatch' END,
            m.difference, m.difference <> 0),
        ('date_mismatch', 0, m.late)
    ) AS v (kind, amount, holds)
    CROSS JOIN LATERAL (
        SELECT coalesce((
            SELECT min(l.booked_on) FROM reconciliation_match_lines i
            CROSS JOIN LATERAL (
                SELECT l.booked_on FROM statement_lines l
                WHERE l.organization_id = %(organization)s
                    AND l.external_account_id = %(external)s AND l.number = i.number
                OFFSET 0
            ) l
            WHERE i.organization_id = m.organization_id AND i.match_id = m.match_id
        ), (
            SELECT min((e.effective_at AT TIME ZONE %(zone)s)::date)
            FROM reconciliation_match_entries i
            CROSS JOIN LATERAL (
                SELECT e.effective_at FROM entries e
                WHERE e.organization_id = %(organization)s AND e.account_id = %(account)s
                    AND e.sequence = i.sequence
                OFFSET 0
            ) e
            WHERE i.organization_id = m.organization_id AND i.match_id = m.match_id
        )) AS day
    ) first
    WHERE m.organization_id = %(organization)s AND m.reconciliation_id = %(reconciliation)s
        AND m.score >= 0 AND v.holds
"""  # noqa: S608  all of it is ours

# A line doubles another of the same reference, or one of the same content that is matched.
_FIND_IN_LINES = f"""
    INSERT INTO match_found (discrepancy_id, kind, day, amount, line_number, other_line)
    WITH named AS (
        SELECT reference, stated, min(number) AS first, min(number) FILTER (WHERE NOT free) AS kept
        FROM match_lines WHERE plain AND reference IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
    ), ended AS (
        SELECT end_to_end_id, stated, min(number) AS kept
        FROM match_lines WHERE plain AND NOT free AND end_to_end_id IS NOT NULL GROUP BY 1, 2
    ), alike AS (
        SELECT day, stated, description, coalesce(counterparty, '') AS counterparty,
            min(number) AS kept
        FROM match_lines
        WHERE plain AND NOT free AND end_to_end_id IS NULL AND description IS NOT NULL
        GROUP BY 1, 2, 3, 4
    ), lines AS (
        SELECT l.*, CASE WHEN l.plain THEN
            coalesce(n.kept, e.kept, a.kept, CASE WHEN n.first < l.number THEN n.first END)
        END AS other
        FROM match_lines l
        LEFT JOIN named n ON n.reference = l.reference AND n.stated = l.stated
        LEFT JOIN ended e ON e.end_to_end_id = l.end_to_end_id AND e.stated = l.stated
        LEFT JOIN alike a ON l.end_to_end_id IS NULL AND a.day = l.day AND a.stated = l.stated
            AND a.description = l.description AND a.counterparty = coalesce(l.counterparty, '')
        WHERE l.free AND l.inside
    ), kinds AS (
        SELECT *, CASE WHEN NOT plain THEN 'currency_mismatch'
            WHEN other IS NOT NULL THEN 'duplicate_line' ELSE 'missing_in_ledger' END AS kind
        FROM lines
    )
    SELECT {_discrepancy_id("kind", "number", "amount")}, kind, day, amount, number, other
    FROM kinds
"""  # noqa: S608  all of it is ours


def _find_in_entries(rules: Sequence[tuple[Rule, int]]) -> str:
    """An entry doubles another if the line that it names is matched, and to the same amount."""
    claims = [_claim(rule, path) for rule, path in rules if rule.by_reference]
    claimed = " UNION ALL ".join(claims) or "SELECT NULL::int8, NULL::int8 WHERE false"
    return f"""
        INSERT INTO match_found (discrepancy_id, kind, day, amount, entry_sequence, other_line)
        SELECT {_discrepancy_id("kind", "sequence", "amount", "'entry'")}, kind, day, amount,
            sequence, other
        FROM (
            SELECT e.sequence, e.day, -e.amount AS amount, c.number AS other,
                CASE WHEN c.number IS NULL THEN 'missing_in_statement' ELSE 'duplicate_entry' END
                    AS kind
            FROM match_entries e
            LEFT JOIN (
                SELECT sequence, min(number) AS number FROM ({claimed}) AS c (sequence, number)
                GROUP BY sequence
            ) c ON c.sequence = e.sequence
            WHERE e.inside
        ) e
    """  # noqa: S608  all of it is ours


def _claim(rule: Rule, path: int) -> str:
    assert rule.line_field is not None
    assert rule.entry_field is not None
    words = _WORDS_OF_LINE if rule.line_field is LineField.DESCRIPTION_WORD else ""
    named = f"""
        SELECT {_LINE_KEY[rule.line_field]} AS key, l.number, l.amount
        FROM match_lines l {words} WHERE NOT l.free AND l.plain
    """  # noqa: S608  all of it is ours
    if rule.entry_field is EntryField.METADATA:
        source = f"match_entries e JOIN named k ON k.key = e.keys[{path}]"
    else:
        source = _BY_TRANSACTION[rule.entry_field].replace(
            "(SELECT DISTINCT key FROM match_left) k", "named k"
        )
    return f"""
        (WITH named AS ({named}) SELECT e.sequence, k.number FROM {source}
        WHERE e.inside AND e.amount = k.amount)
    """  # noqa: S608  all of it is ours


_FIND_FAULT = f"""
    INSERT INTO match_found (discrepancy_id, kind, day, amount, external_statement_id)
    VALUES ({_discrepancy_id("'balance_mismatch'", "%(cause)s::text", "%(of)s::uuid", "%(amount)s::numeric")},
        'balance_mismatch', %(through)s, %(amount)s, %(of)s)
"""  # noqa: S608, E501  all of it is ours

_LOAD_OLD = """
    CREATE TEMP TABLE match_old (discrepancy_id uuid NOT NULL, status text NOT NULL) ON COMMIT DROP;
    INSERT INTO match_old
    SELECT d.discrepancy_id, d.status FROM reconciliation_discrepancies d
    WHERE d.organization_id = %(organization)s AND d.reconciliation_id = %(reconciliation)s
        AND d.kind <> ''
"""
_VANISHED = """
    SELECT array_agg(o.discrepancy_id) FROM match_old o
    WHERE o.status <> 'resolved'
        AND NOT EXISTS (SELECT FROM match_found f WHERE f.discrepancy_id = o.discrepancy_id)
"""
_DROP_VANISHED = """
    DELETE FROM reconciliation_discrepancies
    WHERE organization_id = %(organization)s AND discrepancy_id = ANY(%(vanished)s::uuid[])
"""
_KEEP_FOUND = """
    INSERT INTO reconciliation_discrepancies (organization_id, discrepancy_id, reconciliation_id,
        ledger_id, external_account_id, account_id, kind, day, amount, match_id, line_number,
        entry_sequence, other_line, external_statement_id, status)
    SELECT %(organization)s, f.discrepancy_id, %(reconciliation)s, %(ledger)s, %(external)s,
        %(account)s, f.kind, f.day, f.amount, f.match_id, f.line_number, f.entry_sequence,
        f.other_line, f.external_statement_id, 'open'
    FROM match_found f
    WHERE NOT EXISTS (SELECT FROM match_old o WHERE o.discrepancy_id = f.discrepancy_id)
"""

# ---- sums ----------------------------------------------------------------------------------------

_STATEMENTS = """
    SELECT s.external_statement_id, s.number, s.from_date, s.through_date,
        s.opening_balance * %(sign)s::int4, s.closing_balance * %(sign)s::int4,
        s.line_total * %(sign)s::int4
    FROM external_statements s
    WHERE s.organization_id = %(organization)s AND s.external_account_id = %(external)s
        AND s.number > 0 AND s.currency = %(currency)s
"""
_LINES_BETWEEN = f"""
    SELECT coalesce(sum({AMOUNT_OF_LINE}), 0) FROM statement_lines l
    WHERE l.organization_id = %(organization)s AND l.external_account_id = %(external)s
        AND l.number > 0 AND l.booked_on BETWEEN %(first)s AND %(last)s
"""  # noqa: S608  all of it is ours
_FREE = """
    SELECT coalesce((SELECT sum(amount) FROM match_lines WHERE free AND inside), 0),
        coalesce((SELECT sum(amount) FROM match_entries WHERE inside), 0)
"""
_OF_MATCHES = """
    SELECT coalesce(sum(m.difference), 0), coalesce(sum(m.reach), 0),
        count(*) FILTER (WHERE m.status = 'confirmed'),
        count(*) FILTER (WHERE m.status = 'proposed')
    FROM reconciliation_matches m
    WHERE m.organization_id = %(organization)s AND m.reconciliation_id = %(reconciliation)s
        AND m.score >= 0
"""
_OF_DISCREPANCIES = """
    SELECT d.kind, d.status, count(*), sum(d.amount) FROM reconciliation_discrepancies d
    WHERE d.organization_id = %(organization)s AND d.reconciliation_id = %(reconciliation)s
        AND d.kind <> ''
    GROUP BY 1, 2
"""
_OF_LINES = """
    SELECT count(*), count(*) FILTER (WHERE NOT free AND NOT proposed),
        count(*) FILTER (WHERE proposed)
    FROM match_lines WHERE inside
"""
_BEFORE = """
    SELECT r.statement_balance - r.ledger_balance FROM reconciliations r
    WHERE r.organization_id = %(organization)s AND r.external_account_id = %(external)s
        AND r.last_event > 0 AND r.status = 'closed' AND r.through_date = %(from)s::date - 1
        AND r.statement_balance IS NOT NULL
    ORDER BY r.closed_at DESC, r.reconciliation_id LIMIT 1
"""
_CROSSING = """
    SELECT count(*) FROM reconciliation_matches m
    WHERE m.organization_id = %(organization)s AND m.ledger_id = %(ledger)s AND NOT m.whole
        AND (m.reconciliation_id = %(reconciliation)s OR m.status = 'confirmed')
        AND (EXISTS (
            SELECT FROM reconciliation_match_lines i
            JOIN statement_lines l USING (organization_id, external_account_id, number)
            WHERE i.organization_id = m.organization_id AND i.match_id = m.match_id
                AND i.external_account_id = %(external)s
                AND l.booked_on BETWEEN %(from)s AND %(through)s
        ) OR EXISTS (
            SELECT FROM reconciliation_match_entries i
            JOIN entries e USING (organization_id, account_id, sequence)
            WHERE i.organization_id = m.organization_id AND i.match_id = m.match_id
                AND i.account_id = %(account)s
                AND e.effective_at >= %(starts_at)s AND e.effective_at < %(ends_at)s
        ))
"""
_WRITE_STATE = """
    UPDATE reconciliations SET examined_at = now(), examined_version = %(version)s,
        examined_line = %(last_line)s, ledger_balance = %(ledger_balance)s,
        statement_balance = %(statement_balance)s, items = %(items)s, counts = %(counts)s
    WHERE organization_id = %(organization)s AND reconciliation_id = %(reconciliation)s
"""


class Work:
    """One piece of work on a locked reconciliation, in one transaction."""

    def __init__(self, connection: Connection, subject: Subject) -> None:
        self._connection = connection
        self.subject = subject
        paths = {rule.metadata_path: None for rule in subject.rules if rule.metadata_path}
        self._paths = list(paths)
        self._parameters = subject.parameters | {
            f"path{n}": list(path) for n, path in enumerate(self._paths)
        }

    async def run(self) -> Found:
        """Find matches, keep them, and find what is wrong then."""
        await self._load(proposals=False)
        await self._match()
        confirmed, proposed, withdrawn = await self._keep_matches()
        # What is left of the tables is what no match has.
        appeared, vanished = await self._examine()
        return Found(confirmed, proposed, withdrawn, appeared, vanished)

    async def examine(self) -> tuple[int, int]:
        """Find what is wrong as the matches are: how many discrepancies are new, and gone.

        Proposals that lost a line or an entry to another reconciliation go first.
        """
        ((taken,),) = await self._rows(_TAKEN_ELSEWHERE)
        if taken:
            await delete_matches(self._connection, self.subject, taken)
        await self._load(proposals=True)
        return await self._examine()

    # ---- matching ----

    async def _load(self, *, proposals: bool) -> None:
        for statement in (_DROP_TABLES, *_TABLES.split(";")):
            await self._do(statement)
        await self._do(_LOAD_LINES, proposals=proposals)
        await self._do(_load_entries(len(self._paths)), proposals=proposals)
        await self._do(_LOAD_REJECTED)
        await self._analyze("match_lines", "match_entries", "match_rejected")

    async def _match(self) -> None:
        certain = [rule for rule in self.subject.rules if rule.by_reference]
        while sum([await self._be_certain(rule) for rule in certain]):
            pass
        for rule in self.subject.rules:
            if rule.kind is RuleKind.REVERSED_ENTRIES:
                await self._do(_PAIR_REVERSED, rule=rule.name)
            elif rule.by_reference:
                await self._propose_by_reference(rule)
            else:
                await self._propose_by_amount(rule)

    async def _be_certain(self, rule: Rule) -> int:
        await self._pile(rule)
        return await self._pair(rule, _PAIR_CERTAIN)

    async def _propose_by_reference(self, rule: Rule) -> None:
        if not await self._pile(rule):
            return
        tolerance = _tolerance(rule)
        for statement in (_PAIR_EQUAL, _PAIR_DIFFERING, _PAIR_FOREIGN):
            await self._pair(rule, statement, **tolerance)
        await self._choose(rule, _CANDIDATES_BY_KEY, **tolerance)

    async def _propose_by_amount(self, rule: Rule) -> None:
        if not await self._pile(rule):
            return
        reach = {"before": rule.days_before, "after": rule.days_after}
        by_text = rule.kind is RuleKind.AMOUNT_AND_TEXT
        if rule.tolerance is None and not by_text:
            for days in sorted(
                range(-rule.days_before, rule.days_after + 1), key=lambda n: (abs(n), n)
            ):
                await self._pair(rule, _PAIR_DAYS_APART, days=days)
            await self._do(_KEEP_EQUAL_AMOUNTS)
        await self._do("CREATE INDEX match_right_amount ON match_right (day, amount, id)")
        tolerance = _tolerance(rule) if rule.tolerance else {**_tolerance(rule), "tolerance": 0}
        limit = ALIKE_A_DAY if by_text else CANDIDATES_A_DAY
        await self._choose(
            rule, _CANDIDATES_BY_AMOUNT, by_text=by_text, limit=limit, **reach, **tolerance
        )
        await self._do("DROP INDEX match_right_amount")

    async def _pile(self, rule: Rule) -> bool:
        """Put what is free and of interest to the rule in two piles; say whether there is any."""
        await self._do("TRUNCATE match_left, match_right")
        path = self._path(rule)
        if not await self._do(_left(rule)):
            return False
        await self._analyze("match_left")
        if not await self._do(_right(rule, path)):
            return False
        if rule.line_field is LineField.DESCRIPTION_WORD:
            for statement in _KEEP_KNOWN_WORDS.split(";"):
                await self._do(statement)
        await self._analyze("match_left", "match_right")
        return True

    async def _pair(self, rule: Rule, statement: str, **parameters: Any) -> int:
        found = await self._do(statement, **parameters)
        if found:
            await self._take(rule)
        return found

    async def _choose(
        self, rule: Rule, statement: str, *, by_text: bool = False, **parameters: Any
    ) -> None:
        """Pair by a few candidates of each, the best of both sides in each round."""
        await self._do("TRUNCATE match_candidates")
        if not await self._do(statement, **parameters):
            return
        await self._analyze("match_candidates")
        if by_text:
            await self._do(_SCORE_TEXTS, minimum=rule.minimum_score)
        for _ in range(ROUNDS):
            if not await self._do(_TAKE_BEST):
                return
            await self._do(_DROP_TAKEN_CANDIDATES)
            await self._take(rule)

    async def _take(self, rule: Rule) -> None:
        """Keep the new pairs, and take what is in them from all tables."""
        await self._do(
            _TAKE,
            rule=rule.name,
            by_reference=rule.by_reference,
            before=rule.days_before,
            after=rule.days_after,
        )
        await self._do(_TAKE_LINES)
        await self._do(_TAKE_ENTRIES)
        for statement in _TAKE_SIDES:
            await self._do(statement)
        await self._do("TRUNCATE match_new")

    def _path(self, rule: Rule) -> int:
        return self._paths.index(rule.metadata_path) + 1 if rule.metadata_path else 0

    async def _keep_matches(self) -> tuple[int, int, int]:
        for statement in (_NAME_PAIRS, _FILL_NAMED, *_LOAD_BEFORE.split(";")):
            await self._do(statement)
        await self._analyze("match_named", "match_before")
        ((stale,),) = await self._rows(_STALE)
        if stale:
            await delete_matches(self._connection, self.subject, stale)
        await self._do("CREATE TEMP TABLE match_kept (match_id uuid, status text) ON COMMIT DROP")
        await self._do(_NOTE_NEW)
        await self._analyze("match_kept")
        await self._do(_KEEP_LINES)
        await self._do(_KEEP_ENTRIES)
        ((confirmed, proposed),) = await self._rows(
            "SELECT count(*) FILTER (WHERE status = 'confirmed'),"
            " count(*) FILTER (WHERE status = 'proposed') FROM match_kept"
        )
        return confirmed, proposed, len(stale or ())

    # ---- examining ----

    async def _examine(self) -> tuple[int, int]:
        rules = [(rule, self._path(rule)) for rule in self.subject.rules]
        await self._analyze("match_lines", "match_entries")
        await self._do(_FIND_IN_MATCHES)
        await self._do(_FIND_IN_LINES)
        await self._do(_find_in_entries(rules))
        sums = await self._sums()
        await self._find_faults(sums)
        await self._analyze("match_found")
        for statement in _LOAD_OLD.split(";"):
            await self._do(statement)
        await self._analyze("match_old")
        ((vanished,),) = await self._rows(_VANISHED)
        if vanished:
            await self._do(_DROP_VANISHED, vanished=vanished)
        appeared = await self._do(_KEEP_FOUND)
        await self._write_state(sums)
        return appeared, len(vanished or ())

    async def _sums(self) -> Sums:
        subject = self.subject
        opening, closing = await balances_of_version(
            self._connection,
            subject.organization_id,
            subject.account_id,
            subject.version,
            [subject.starts_at, subject.ends_at],
            Direction(subject.normal_balance),
        )
        self._statements = [Statement(*row) for row in await self._rows(_STATEMENTS)]
        ((free_lines, free_entries),) = await self._rows(_FREE)
        ((differences, reach, *_),) = await self._rows(_OF_MATCHES)
        before = await self._rows(_BEFORE)
        return Sums(
            ledger_opening=opening,
            ledger_closing=closing,
            statement_opening=await self._stated_before(subject.from_date),
            statement_closing=await self._stated_after(subject.through_date),
            lines=await self._lines_between(subject.from_date, subject.through_date),
            free_lines=free_lines,
            free_entries=free_entries,
            differences=differences,
            reach=reach,
            brought_forward=before[0][0] if before else None,
        )

    async def _stated_before(self, day: date) -> int | None:
        """The balance with which a day began, as stated or as lines lead to it."""
        for one in sorted(self._statements, key=lambda one: one.number):
            if one.from_date == day and one.opening is not None:
                return one.opening
        known = [s for s in self._statements if s.through_date and s.through_date < day]
        stated = await self._stated_by(known, day.fromordinal(day.toordinal() - 1))
        if stated is not None:
            return stated
        later = [
            s
            for s in self._statements
            if s.from_date
            and day < s.from_date <= self.subject.through_date
            and s.opening is not None
        ]
        if not later:
            return None
        first = min(later, key=lambda one: (one.from_date, one.number))
        assert first.from_date is not None
        assert first.opening is not None
        last = first.from_date.fromordinal(first.from_date.toordinal() - 1)
        return first.opening - await self._lines_between(day, last)

    async def _stated_after(self, day: date) -> int | None:
        """The balance with which a day ended, as stated or as lines lead to it."""
        known = [s for s in self._statements if s.through_date and s.through_date <= day]
        return await self._stated_by(known, day)

    async def _stated_by(self, statements: Sequence[Statement], day: date) -> int | None:
        stated = [s for s in statements if s.closing is not None]
        if not stated:
            return None
        latest = max(stated, key=lambda one: (one.through_date, one.number))
        assert latest.through_date is not None
        assert latest.closing is not None
        if latest.through_date >= day:
            return latest.closing
        first = latest.through_date.fromordinal(latest.through_date.toordinal() + 1)
        return latest.closing + await self._lines_between(first, day)

    async def _lines_between(self, first: date, last: date) -> int:
        ((total,),) = await self._rows(_LINES_BETWEEN, first=first, last=last)
        return int(total)

    async def _find_faults(self, sums: Sums) -> None:
        """What statements say of balances that lines and entries do not explain."""
        subject = self.subject
        faults = faults_of(self._statements, subject.from_date, subject.through_date)
        for fault in faults:
            await self._do(
                _FIND_FAULT, cause=fault.cause, of=fault.statement_id, amount=fault.amount
            )
        rest = sums.unstated - sum(fault.amount for fault in faults)
        for cause, amount in (("before", sums.opening_fault), ("rest", rest)):
            if amount and sums.closing is not None:
                await self._do(_FIND_FAULT, cause=cause, of=None, amount=amount)

    async def _write_state(self, sums: Sums) -> None:
        ((_, _, confirmed, proposed),) = await self._rows(_OF_MATCHES)
        ((lines, matched, of_proposals),) = await self._rows(_OF_LINES)
        ((crossing,),) = await self._rows(_CROSSING)
        ((free_entries,),) = await self._rows("SELECT count(*) FROM match_entries WHERE inside")
        found = [
            (kind, status, count, amount)
            for kind, status, count, amount in await self._rows(_OF_DISCREPANCIES)
        ]
        standing: dict[str, tuple[int, int]] = {}
        by_status: dict[str, int] = {}
        for kind, status, count, amount in found:
            by_status[status] = by_status.get(status, 0) + count
            if status != "resolved":
                before = standing.get(kind, (0, 0))
                standing[kind] = before[0] + count, before[1] + amount
        items = [
            *_item(BridgeItemKind.BROUGHT_FORWARD, 1, sums.carried),
            *_item(BridgeItemKind.TIMING_DIFFERENCE, crossing, sums.timing),
            *(
                BridgeItem(BridgeItemKind(kind.value), *standing[kind.value])
                for kind in DiscrepancyKind
                if kind.value in standing
            ),
        ]
        bridge = Bridge(sums.ledger_closing, sums.closing, tuple(items))
        counts = Counts(
            lines=lines,
            matched_lines=matched,
            proposed_lines=of_proposals,
            unmatched_entries=free_entries,
            confirmed_matches=confirmed,
            proposed_matches=proposed,
            open_discrepancies=by_status.get("open", 0),
            accepted_discrepancies=by_status.get("accepted", 0),
            resolved_discrepancies=by_status.get("resolved", 0),
        )
        await self._do(
            _WRITE_STATE,
            last_line=self.subject.last_line,
            ledger_balance=bridge.ledger_balance,
            statement_balance=bridge.statement_balance,
            items=Jsonb(
                [
                    {"kind": i.kind.value, "count": i.count, "amount": str(i.amount)}
                    for i in bridge.items
                ]
            ),
            counts=Jsonb(asdict(counts)),
        )

    # ---- statements ----

    async def _do(self, statement: str, **parameters: Any) -> int:
        cursor = await self._connection.execute(
            statement, {**self._parameters, **parameters}, prepare=False
        )
        return max(cursor.rowcount, 0)

    async def _rows(self, statement: str, **parameters: Any) -> Sequence[Row]:
        given = {**self._parameters, **parameters}
        return await all_rows(self._connection, statement, given, prepare=False)

    async def _analyze(self, *tables: str) -> None:
        await self._do(f"ANALYZE {', '.join(tables)}")


async def delete_matches(
    connection: Connection, subject: Subject, match_ids: Sequence[UUID]
) -> None:
    """Take matches away, with all that is in them."""
    for statement in DELETE_MATCHES:
        await connection.execute(
            statement, {"organization": subject.organization_id, "matches": list(match_ids)}
        )


def _item(kind: BridgeItemKind, count: int, amount: int) -> Sequence[BridgeItem]:
    return [BridgeItem(kind, count, amount)] if amount else []


def _tolerance(rule: Rule) -> Mapping[str, Any]:
    tolerance = rule.tolerance
    return {
        "tolerance": None if tolerance is None else tolerance.amount,
        "basis_points": 0 if tolerance is None else tolerance.basis_points,
        "basis": BASIS,
    }
