"""What a rule compares: lines in one pile and entries in the other, `match_left` and `match_right`.

Several that count as one (the lines of a reference, the entries of a batch) are one row. A rule
that goes by reference takes only entries with a reference that some line has, looked up by it.
"""

from app.ledger.reconciliation.comparison import EntryField, LineField, Rule, RuleKind
from app.store.reconciliation.matching.loading import EVENT, TRANSACTION
from app.store.reconciliation.matching.work import Work

LINE_KEY = {
    LineField.REFERENCE: "l.reference",
    LineField.END_TO_END_ID: "l.end_to_end_id",
    LineField.DESCRIPTION_WORD: "w.word",
}
WORDS_OF_LINE = r"""
    CROSS JOIN LATERAL (
        SELECT DISTINCT word
        FROM regexp_split_to_table(l.description, '[][[:space:],;:()"'']+') AS word
        WHERE length(word) >= 3
    ) w
"""
_SIGN = "CASE WHEN sum({0}) < 0 THEN -1 ELSE 1 END"
_HELD_LEFT = "EXISTS (SELECT FROM match_rejected j WHERE j.number = l.number)"
_HELD_RIGHT = "EXISTS (SELECT FROM match_rejected j WHERE j.sequence = e.sequence)"


def _left(rule: Rule) -> str:
    """The lines that a rule looks at, each by itself or those that count as one."""
    if rule.kind is RuleKind.MANY_LINES_TO_ONE_ENTRY:
        key = "l.day::text" if rule.line_field is None else LINE_KEY[rule.line_field]
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
        key = LINE_KEY[rule.line_field]
    words = WORDS_OF_LINE if rule.line_field is LineField.DESCRIPTION_WORD else ""
    wanted = f"AND {key} IS NOT NULL" if rule.by_reference else "AND l.plain"
    return f"""
        INSERT INTO match_left
        SELECT l.number, ARRAY[l.number], {key}, l.amount, sign(l.stated)::int4, l.day, l.inside,
            l.inside, l.plain, true, {_HELD_LEFT}
        FROM match_lines l {words}
        WHERE l.free {wanted}
    """  # noqa: S608  all of it is ours


# A rule that goes by reference looks only at entries with a reference that some line has.
BY_TRANSACTION = {
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
        source, key = BY_TRANSACTION[rule.entry_field], "k.key"
    elif rule.entry_field is EntryField.EXTERNAL_ID:
        source += f" CROSS JOIN LATERAL ({TRANSACTION}) t"
        key = "t.external_id"
    elif rule.entry_field is EntryField.IDEMPOTENCY_KEY:
        source += f" CROSS JOIN LATERAL ({EVENT}) v"
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


async def pile(work: Work, rule: Rule) -> bool:
    """Put what is free and of interest to the rule in two piles; say whether there is any."""
    await work.do("TRUNCATE match_left, match_right")
    path = work.path(rule)
    if not await work.do(_left(rule)):
        return False
    await work.analyze("match_left")
    if not await work.do(_right(rule, path)):
        return False
    if rule.line_field is LineField.DESCRIPTION_WORD:
        for statement in _KEEP_KNOWN_WORDS.split(";"):
            await work.do(statement)
    await work.analyze("match_left", "match_right")
    return True
