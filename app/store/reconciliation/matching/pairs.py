"""Pairing two piles: those who are equal by rank, the others by a closer look.

Those of one reference are paired by the rank that they have among their equals, those of one amount
by the same, one distance in days after the other. Both are a fixed number of joins, however many
are equal: nothing is quadratic in a thousand payments of ten dollars. Where a closer look is needed
(at amounts within a tolerance, at texts, after a rejection), each row of the left gets a few
candidates, and in each round those pairs are taken in which either is the other's best.
"""

from collections.abc import Mapping
from typing import Any

from app.ledger.reconciliation.comparison import BASIS, Rule, RuleKind
from app.store.reconciliation.matching.loading import TRANSACTION
from app.store.reconciliation.matching.piles import pile
from app.store.reconciliation.matching.work import Work

ROUNDS = 100
CANDIDATES_A_DAY = 10
ALIKE_A_DAY = 50
CERTAIN, SEVERAL, REVERSED, DIFFERING, FOREIGN, EQUAL, APART = 1000, 900, 850, 800, 700, 600, 200
"""Scores."""

_REFUSED = """
    EXISTS (
        SELECT FROM match_rejected j
        WHERE j.number = ANY(l.members) AND j.sequence = ANY(r.members)
    )
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
        CROSS JOIN LATERAL ({TRANSACTION}) t
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
        CROSS JOIN LATERAL ({TRANSACTION}) t
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


async def match(work: Work) -> None:
    """Pair what is loaded, rule by rule: what is certain first, whichever rule finds it."""
    certain = [rule for rule in work.subject.rules if rule.by_reference]
    while sum([await _be_certain(work, rule) for rule in certain]):
        pass
    for rule in work.subject.rules:
        if rule.kind is RuleKind.REVERSED_ENTRIES:
            await work.do(_PAIR_REVERSED, rule=rule.name)
        elif rule.by_reference:
            await _propose_by_reference(work, rule)
        else:
            await _propose_by_amount(work, rule)


async def _be_certain(work: Work, rule: Rule) -> int:
    await pile(work, rule)
    return await _pair(work, rule, _PAIR_CERTAIN)


async def _propose_by_reference(work: Work, rule: Rule) -> None:
    if not await pile(work, rule):
        return
    tolerance = _tolerance(rule)
    for statement in (_PAIR_EQUAL, _PAIR_DIFFERING, _PAIR_FOREIGN):
        await _pair(work, rule, statement, **tolerance)
    await _choose(work, rule, _CANDIDATES_BY_KEY, **tolerance)


async def _propose_by_amount(work: Work, rule: Rule) -> None:
    if not await pile(work, rule):
        return
    reach = {"before": rule.days_before, "after": rule.days_after}
    by_text = rule.kind is RuleKind.AMOUNT_AND_TEXT
    if rule.tolerance is None and not by_text:
        for days in sorted(
            range(-rule.days_before, rule.days_after + 1), key=lambda n: (abs(n), n)
        ):
            await _pair(work, rule, _PAIR_DAYS_APART, days=days)
        await work.do(_KEEP_EQUAL_AMOUNTS)
    await work.do("CREATE INDEX match_right_amount ON match_right (day, amount, id)")
    tolerance = _tolerance(rule) if rule.tolerance else {**_tolerance(rule), "tolerance": 0}
    limit = ALIKE_A_DAY if by_text else CANDIDATES_A_DAY
    await _choose(
        work, rule, _CANDIDATES_BY_AMOUNT, by_text=by_text, limit=limit, **reach, **tolerance
    )
    await work.do("DROP INDEX match_right_amount")


async def _pair(work: Work, rule: Rule, statement: str, **parameters: Any) -> int:
    found = await work.do(statement, **parameters)
    if found:
        await _take(work, rule)
    return found


async def _choose(
    work: Work, rule: Rule, statement: str, *, by_text: bool = False, **parameters: Any
) -> None:
    """Pair by a few candidates of each, the best of both sides in each round."""
    await work.do("TRUNCATE match_candidates")
    if not await work.do(statement, **parameters):
        return
    await work.analyze("match_candidates")
    if by_text:
        await work.do(_SCORE_TEXTS, minimum=rule.minimum_score)
    for _ in range(ROUNDS):
        if not await work.do(_TAKE_BEST):
            return
        await work.do(_DROP_TAKEN_CANDIDATES)
        await _take(work, rule)


async def _take(work: Work, rule: Rule) -> None:
    """Keep the new pairs, and take what is in them from all tables."""
    await work.do(
        _TAKE,
        rule=rule.name,
        by_reference=rule.by_reference,
        before=rule.days_before,
        after=rule.days_after,
    )
    await work.do(_TAKE_LINES)
    await work.do(_TAKE_ENTRIES)
    for statement in _TAKE_SIDES:
        await work.do(statement)
    await work.do("TRUNCATE match_new")


def _tolerance(rule: Rule) -> Mapping[str, Any]:
    tolerance = rule.tolerance
    return {
        "tolerance": None if tolerance is None else tolerance.amount,
        "basis_points": 0 if tolerance is None else tolerance.basis_points,
        "basis": BASIS,
    }
