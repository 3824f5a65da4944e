"""Accounts: their totals, their lines of entries, their limits, and totals kept span by span."""

from app.ledger.amounts import MAX_AMOUNT
from app.store.accounts.totals import BITS, CHANGES, TICKS, TOP, TOTALS
from app.store.audit.invariants.checks import (
    ON_PENDING,
    ON_POSTED,
    Check,
    Pass,
    not_back_in_time,
    only_once,
    without_gap,
)

_TOTALS = "posted_debits, posted_credits, pending_debits, pending_credits"
_BEFORE, _FOLD, _KEPT = (
    ", ".join(prefix + total for total in _TOTALS.split(", "))
    for prefix in ("before_", "fold_", "kept_")
)
"""Totals as they stand in a row, in the row before it, as its entries come to, in the account."""

ACCOUNTS = Pass(
    title="accounts",
    rows=f"""
        SELECT a.*, c.exponent AS currency_exponent, coalesce(f.last, 0) AS last,
            coalesce(f.posted_debits, 0) AS fold_posted_debits,
            coalesce(f.posted_credits, 0) AS fold_posted_credits,
            coalesce(f.pending_debits, 0) AS fold_pending_debits,
            coalesce(f.pending_credits, 0) AS fold_pending_credits,
            coalesce(v.limits, 0) AS limits
        FROM (
            SELECT *, count(*) OVER (PARTITION BY organization_id, account_id) AS namesakes,
                count(external_id) OVER (
                    PARTITION BY organization_id, ledger_id, external_id COLLATE "C"
                ) AS external_namesakes
            FROM accounts
        ) a
        LEFT JOIN (
            SELECT DISTINCT organization_id, ledger_id, code, exponent FROM currencies
        ) c ON c.organization_id = a.organization_id AND c.ledger_id = a.ledger_id
            AND c.code = a.currency AND c.exponent = a.exponent
        LEFT JOIN (
            SELECT e.organization_id, e.account_id, max(e.sequence) AS last,
                sum({ON_POSTED} * e.amount) FILTER (WHERE direction = 'debit') AS posted_debits,
                sum({ON_POSTED} * e.amount) FILTER (WHERE direction = 'credit') AS posted_credits,
                sum({ON_PENDING} * e.amount) FILTER (WHERE direction = 'debit') AS pending_debits,
                sum({ON_PENDING} * e.amount) FILTER (WHERE direction = 'credit')
                    AS pending_credits
            FROM entries e GROUP BY 1, 2
        ) f ON f.organization_id = a.organization_id AND f.account_id = a.account_id
        LEFT JOIN (
            SELECT organization_id, account_id, count(*) AS limits
            FROM velocity_limits GROUP BY 1, 2
        ) v ON v.organization_id = a.organization_id AND v.account_id = a.account_id
    """,  # noqa: S608  the steps are ours
    subject="concat('account ', account_id)",
    checks=(
        Check(
            4,
            "ACCOUNT_WITHOUT_CURRENCY",
            "currency_exponent IS NULL",
            "concat('its ledger does not count ', currency, ' with exponent ', exponent)",
        ),
        only_once(4, "ACCOUNT_ID_REPEATED"),
        Check(
            5,
            "ACCOUNT_EXTERNAL_ID_REPEATED",
            "external_namesakes > 1",
            "concat(external_namesakes, ' accounts have the external id ', external_id)",
        ),
        Check(
            2,
            "ACCOUNT_MALFORMED",
            "normal_balance NOT IN ('debit', 'credit')"
            " OR status NOT IN ('open', 'frozen', 'closed')"
            f" OR least({_TOTALS}) < 0 OR floor_version NOT BETWEEN 0 AND version"
            " OR ceiling_version NOT BETWEEN 0 AND version"
            " OR maximum_version NOT BETWEEN 0 AND version",
            f"concat('normal balance ', normal_balance, ', version ', version,"
            f" ', floor since version ', floor_version, ', ceiling since ', ceiling_version,"
            f" ', entry maximum since ', maximum_version, ', totals ', row({_TOTALS}))",
        ),
        Check(
            6,
            "VELOCITY_LIMITED_WRONG",
            "velocity_limited IS DISTINCT FROM (limits > 0)",
            "concat('it says ', velocity_limited, ', velocity limits of it: ', limits)",
        ),
        Check(
            2,
            "ACCOUNT_VERSION_WRONG",
            "version IS DISTINCT FROM last",
            "concat('its version is ', version, ', its last entry ', last)",
        ),
        Check(
            2,
            "ACCOUNT_TOTALS_NOT_OF_ENTRIES",
            f"row({_TOTALS}) IS DISTINCT FROM row({_FOLD})",
            f"concat('its totals are ', row({_TOTALS}), ', its entries come to ', row({_FOLD}))",
        ),
    ),
)

ACCOUNT_LINES = Pass(
    title="entries by account",
    rows=f"""
        SELECT e.*, a.account_id IS NULL AS astray,
            a.posted_debits AS kept_posted_debits, a.posted_credits AS kept_posted_credits,
            a.pending_debits AS kept_pending_debits, a.pending_credits AS kept_pending_credits,
            CASE direction WHEN 'debit' THEN {ON_POSTED} * amount ELSE 0 END
                AS on_posted_debits,
            CASE direction WHEN 'credit' THEN {ON_POSTED} * amount ELSE 0 END
                AS on_posted_credits,
            CASE direction WHEN 'debit' THEN {ON_PENDING} * amount ELSE 0 END
                AS on_pending_debits,
            CASE direction WHEN 'credit' THEN {ON_PENDING} * amount ELSE 0 END
                AS on_pending_credits,
            CASE WHEN e.sequence >= a.floor_version THEN a.available_floor END AS floor,
            CASE WHEN e.sequence >= a.ceiling_version THEN a.balance_ceiling END AS ceiling,
            CASE WHEN e.sequence > a.maximum_version AND e.effect IN ('post', 'hold')
                THEN a.entry_maximum END AS maximum,
            CASE a.normal_balance
                WHEN 'credit' THEN e.posted_credits - e.posted_debits - e.pending_debits
                WHEN 'debit' THEN e.posted_debits - e.posted_credits - e.pending_credits
            END AS available,
            CASE a.normal_balance
                WHEN 'credit' THEN e.posted_credits + e.pending_credits - e.posted_debits
                WHEN 'debit' THEN e.posted_debits + e.pending_debits - e.posted_credits
            END AS highest
        FROM (
            SELECT organization_id, ledger_id, account_id, sequence, direction, effect, amount,
                {_TOTALS}, recorded_at, lag(sequence, 1, 0::bigint) OVER line AS before,
                lag(posted_debits, 1, 0::numeric) OVER line AS before_posted_debits,
                lag(posted_credits, 1, 0::numeric) OVER line AS before_posted_credits,
                lag(pending_debits, 1, 0::numeric) OVER line AS before_pending_debits,
                lag(pending_credits, 1, 0::numeric) OVER line AS before_pending_credits,
                lag(recorded_at) OVER line AS recorded_before,
                lead(sequence) OVER line IS NULL AS last
            FROM entries
            WINDOW line AS (PARTITION BY organization_id, account_id ORDER BY sequence)
        ) e
        LEFT JOIN accounts a ON a.organization_id = e.organization_id
            AND a.ledger_id = e.ledger_id AND a.account_id = e.account_id
    """,  # noqa: S608  the steps are ours
    subject="concat('entry ', account_id, '/', sequence)",
    checks=(
        Check(4, "ENTRY_WITHOUT_ACCOUNT", "astray", "'its ledger has no such account'"),
        Check(
            2,
            "ENTRY_MALFORMED",
            "direction NOT IN ('debit', 'credit')"
            " OR effect NOT IN ('post', 'hold', 'settle', 'release')"
            f" OR amount NOT BETWEEN 1 AND {MAX_AMOUNT} OR least({_TOTALS}) < 0",
            f"concat(direction, ' ', effect, ' ', amount, ', after it ', row({_TOTALS}))",
        ),
        without_gap(2, "ENTRY_SEQUENCES_BROKEN", "sequence"),
        Check(
            2,
            "BALANCES_AFTER_BROKEN",
            "posted_debits <> before_posted_debits + on_posted_debits"
            " OR posted_credits <> before_posted_credits + on_posted_credits"
            " OR pending_debits <> before_pending_debits + on_pending_debits"
            " OR pending_credits <> before_pending_credits + on_pending_credits",
            f"concat('before it ', row({_BEFORE}), ', ', direction, ' ', effect, ' ', amount,"
            f" ', after it ', row({_TOTALS}))",
        ),
        Check(
            2,
            "BALANCES_AFTER_NOT_OF_ACCOUNT",
            f"last AND NOT astray AND row({_TOTALS}) IS DISTINCT FROM row({_KEPT})",
            f"concat('it is the last; after it ', row({_TOTALS}), ', the account has ',"
            f" row({_KEPT}))",
        ),
        not_back_in_time("ENTRY_TIME_DECREASES"),
        Check(
            6,
            "AVAILABLE_BELOW_FLOOR",
            "available < floor",
            "concat('available is ', available, ' after it, the floor ', floor)",
        ),
        Check(
            6,
            "BALANCE_ABOVE_CEILING",
            "highest > ceiling",
            "concat('the account could come to ', highest, ' after it, the ceiling is ', ceiling)",
        ),
        Check(
            6,
            "ENTRY_ABOVE_MAXIMUM",
            "amount > maximum",
            "concat('it is of ', amount, ', the entry maximum is ', maximum)",
        ),
    ),
)

VELOCITY_LIMITS = Pass(
    title="velocity limits",
    rows="""
        SELECT v.*, a.ledger_id, a.account_id IS NULL AS astray,
            count(*) OVER (PARTITION BY v.organization_id, v.account_id, v.name) AS namesakes,
            coalesce(u.amount, 0) AS amount, coalesce(u.count, 0) AS count
        FROM velocity_limits v
        LEFT JOIN accounts a ON a.organization_id = v.organization_id
            AND a.account_id = v.account_id
        LEFT JOIN (
            SELECT v.organization_id, v.account_id, v.name,
                sum(o.amount) FILTER (WHERE o.made_at >= v.counted_from) AS amount,
                count(*) FILTER (WHERE o.made_at >= v.counted_from AND o.amount > 0) AS count
            FROM velocity_limits v
            JOIN (
                SELECT e.organization_id, e.account_id, e.transaction_sequence,
                    min(e.recorded_at) AS made_at,
                    sum(CASE effect WHEN 'post' THEN amount WHEN 'hold' THEN amount
                        WHEN 'release' THEN -amount ELSE 0 END) AS amount
                FROM entries e
                JOIN accounts a ON a.organization_id = e.organization_id
                    AND a.account_id = e.account_id
                WHERE e.direction <> a.normal_balance AND a.velocity_limited
                GROUP BY 1, 2, 3
            ) o ON o.organization_id = v.organization_id AND o.account_id = v.account_id
            GROUP BY 1, 2, 3
        ) u ON u.organization_id = v.organization_id AND u.account_id = v.account_id
            AND u.name = v.name
    """,
    subject="concat('velocity limit ', name, ' of account ', account_id)",
    checks=(
        Check(4, "VELOCITY_LIMIT_WITHOUT_ACCOUNT", "astray", "'the organization has no such one'"),
        only_once(6, "VELOCITY_LIMIT_REPEATED"),
        Check(
            6,
            "VELOCITY_USAGE_WRONG",
            "NOT astray AND row(used_amount, used_count) IS DISTINCT FROM row(amount, count)",
            "concat('used is ', used_amount, ' by ', used_count, ', its entries come to ', amount,"
            " ' by ', count)",
        ),
    ),
)

_ON = {f"on_{total}": change for total, change in zip(TOTALS, CHANGES, strict=True)}
_COUNTS = ("latest", "entries", *TOTALS)

# Entries by every span that should have a row: those in spans which were split. What came before
# the splitting counts at that point.
KEPT_TOTALS = Pass(
    title="kept totals",
    rows=f"""
        SELECT f.*, a.ledger_id, a.account_id IS NULL AS astray
        FROM (
            SELECT organization_id, account_id, level, span, sequence, copies,
                {", ".join(f"kept_{name}" for name in _COUNTS)}, max(latest) OVER kept AS latest,
                {", ".join(f"sum({name}) OVER kept AS {name}" for name in _COUNTS[1:])}
            FROM (
                SELECT organization_id, account_id, level, span, sequence,
                    count(kept_entries) AS copies,
                    {", ".join(f"min(kept_{name}) AS kept_{name}" for name in _COUNTS)},
                    max(latest) AS latest,
                    {", ".join(f"sum({name}) AS {name}" for name in _COUNTS[1:])}
                FROM (
                    SELECT e.organization_id, e.account_id, l.level,
                        e.ticks >> ({BITS} * l.level) AS span,
                        greatest(e.upto, p.since) AS sequence,
                        {", ".join(f"NULL::numeric AS kept_{name}" for name in _COUNTS)},
                        e.sequence AS latest, 1 AS entries,
                        {", ".join(f"on_{total} AS {total}" for total in TOTALS)}
                    FROM (
                        SELECT e.organization_id, e.account_id, e.sequence, {TICKS} AS ticks,
                            {", ".join(f"{change} AS {name}" for name, change in _ON.items())},
                            min(b.sequence) OVER (
                                PARTITION BY e.organization_id, e.account_id
                                ORDER BY e.sequence DESC
                            ) AS upto
                        FROM entries e
                        JOIN (SELECT DISTINCT organization_id, account_id FROM account_totals) k
                            ON k.organization_id = e.organization_id
                            AND k.account_id = e.account_id
                        LEFT JOIN (
                            SELECT DISTINCT organization_id, account_id, sequence
                            FROM account_totals WHERE level = {TOP} AND span = 0
                        ) b ON b.organization_id = e.organization_id
                            AND b.account_id = e.account_id AND b.sequence = e.sequence
                    ) e
                    CROSS JOIN generate_series(0, {TOP}) AS l (level)
                    JOIN (
                        SELECT organization_id, account_id, level, span, min(sequence) AS since
                        FROM account_totals WHERE split GROUP BY 1, 2, 3, 4
                        UNION ALL
                        SELECT DISTINCT organization_id, account_id, {TOP + 1}, 0::int8, 0::int8
                        FROM account_totals
                    ) p ON p.organization_id = e.organization_id AND p.account_id = e.account_id
                        AND p.level = l.level + 1
                        AND p.span = e.ticks >> least({BITS} * (l.level + 1), 62)
                    WHERE e.upto IS NOT NULL
                    UNION ALL
                    SELECT organization_id, account_id, level, span, sequence,
                        {", ".join(_COUNTS)}, NULL, 0, {", ".join("0" for _ in TOTALS)}
                    FROM account_totals
                ) counted
                GROUP BY 1, 2, 3, 4, 5
            ) summed
            WINDOW kept AS (
                PARTITION BY organization_id, account_id, level, span ORDER BY sequence
            )
        ) f
        LEFT JOIN accounts a ON a.organization_id = f.organization_id
            AND a.account_id = f.account_id
    """,  # noqa: S608  all of it is ours
    subject="concat('totals ', account_id, '/', level, '/', span, '/', sequence)",
    checks=(
        Check(4, "KEPT_TOTALS_WITHOUT_ACCOUNT", "astray", "'there is no such account'"),
        Check(2, "KEPT_TOTALS_MISSING", "copies = 0", "concat('entries in it: ', entries)"),
        Check(
            2, "KEPT_TOTALS_REPEATED", "copies > 1", "concat('they are there ', copies, ' times')"
        ),
        Check(
            2,
            "KEPT_TOTALS_NOT_OF_ENTRIES",
            f"copies > 0 AND row({', '.join(f'kept_{name}' for name in _COUNTS)})"
            f" IS DISTINCT FROM row({', '.join(_COUNTS)})",
            f"concat('kept is ', row({', '.join(f'kept_{name}' for name in _COUNTS)}),"
            f" ', the entries come to ', row({', '.join(_COUNTS)}))",
        ),
    ),
)
