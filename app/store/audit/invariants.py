"""What `verify` looks for: each check has a stable name, a condition that must not hold, and words.

A pass reads rows once and puts several checks to each of them. The rows come from the tables alone
and nothing is taken on trust that keys and constraints promise: a check joins where a foreign key
would have refused, and counts where a unique key would have. Every join, group and window begins
with the organization, so a row that was moved to another tenant is a stranger wherever it is met.

A condition that is NULL has found nothing; where a side may be missing it says IS DISTINCT FROM.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from app.ledger.accounts.balances import STEPS
from app.ledger.amounts import MAX_AMOUNT
from app.store.accounts.totals import BITS, CHANGES, TICKS, TOP, TOTALS


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must not be: the SQL condition that finds it and the SQL text that tells it.

    `invariant` is the number in the design's list.
    """

    invariant: int
    name: str
    broken: str
    detail: str


@dataclass(frozen=True, slots=True)
class Pass:
    """A query over whole tables and the checks on its rows.

    The query has at least the columns organization_id and ledger_id; `subject` is the SQL text that
    names the row.
    """

    title: str
    rows: str
    subject: str
    checks: tuple[Check, ...]


def _step(on: int) -> str:
    """An entry's sign on posted (0) or on pending (1), as `balances.STEPS` has it."""
    signs = " ".join(f"WHEN '{effect.value}' THEN {signs[on]}" for effect, signs in STEPS.items())
    return f"CASE e.effect {signs} END"


_ON_POSTED, _ON_PENDING = _step(0), _step(1)
_TOTALS = "posted_debits, posted_credits, pending_debits, pending_credits"
_BEFORE, _FOLD, _KEPT = (
    ", ".join(prefix + total for total in _TOTALS.split(", "))
    for prefix in ("before_", "fold_", "kept_")
)
"""Totals as they stand in a row, in the row before it, as its entries come to, in the account."""

LEDGERS = Pass(
    title="ledgers",
    rows="""
        SELECT l.*, o.organization_id IS NULL AS unowned, t.last, v.latest, p.told
        FROM ledgers l
        LEFT JOIN organizations o USING (organization_id)
        LEFT JOIN (
            SELECT organization_id, ledger_id, max(sequence) AS last
            FROM transactions GROUP BY 1, 2
        ) t USING (organization_id, ledger_id)
        LEFT JOIN (
            SELECT organization_id, ledger_id, max(recorded_at) AS latest
            FROM transaction_events GROUP BY 1, 2
        ) v USING (organization_id, ledger_id)
        LEFT JOIN (
            SELECT DISTINCT ON (organization_id, ledger_id) organization_id, ledger_id,
                closed_through AS told
            FROM period_events ORDER BY organization_id, ledger_id, number DESC
        ) p USING (organization_id, ledger_id)
    """,
    subject="concat('ledger ', ledger_id)",
    checks=(
        Check(4, "LEDGER_WITHOUT_ORGANIZATION", "unowned", "'its organization does not exist'"),
        Check(
            3,
            "LAST_SEQUENCE_WRONG",
            "last_sequence IS DISTINCT FROM coalesce(last, 0)",
            "concat('the counter is at ', last_sequence, ', the last transaction is ',"
            " coalesce(last, 0))",
        ),
        Check(
            3,
            "LAST_RECORDED_AT_WRONG",
            "latest > last_recorded_at",
            "concat('an event is of ', latest, ', the ledger''s latest is ', last_recorded_at)",
        ),
        Check(
            7,
            "CLOSED_THROUGH_WRONG",
            "closed_through IS DISTINCT FROM told",
            "concat('closed through ', coalesce(closed_through::text, 'no time'),"
            " ', by its periods through ', coalesce(told::text, 'no time'))",
        ),
    ),
)

PERIODS = Pass(
    title="periods",
    rows="""
        SELECT v.*, l.ledger_id IS NULL AS homeless, k.api_key_id IS NULL AS nobodys
        FROM (
            SELECT *, lag(number, 1, 0) OVER past AS before,
                lag(recorded_at) OVER past AS recorded_before
            FROM period_events
            WINDOW past AS (PARTITION BY organization_id, ledger_id ORDER BY number)
        ) v
        LEFT JOIN ledgers l USING (organization_id, ledger_id)
        LEFT JOIN api_keys k ON k.organization_id = v.organization_id
            AND k.api_key_id = v.api_key_id
    """,
    subject="concat('period ', number)",
    checks=(
        Check(4, "PERIOD_WITHOUT_LEDGER", "homeless", "'the organization has no such ledger'"),
        Check(4, "PERIOD_WITHOUT_KEY", "nobodys", "'the organization has no such API key'"),
        Check(3, "PERIOD_NUMBERS_BROKEN", "number <> before + 1", "concat('it follows ', before)"),
        Check(
            3,
            "PERIOD_TIME_DECREASES",
            "recorded_at < recorded_before",
            "concat('recorded at ', recorded_at, ', the one before it at ', recorded_before)",
        ),
    ),
)

CLOSED_PERIODS = Pass(
    title="entries by closed period",
    rows="""
        SELECT e.organization_id, e.ledger_id, e.account_id, e.sequence, e.effective_at,
            e.recorded_at, v.closed_through
        FROM entries e
        JOIN (
            SELECT *, lead(recorded_at, 1, 'infinity') OVER (
                PARTITION BY organization_id, ledger_id ORDER BY number
            ) AS until
            FROM period_events
        ) v ON v.organization_id = e.organization_id AND v.ledger_id = e.ledger_id
            AND v.recorded_at < e.recorded_at AND e.recorded_at <= v.until
    """,
    subject="concat('entry ', account_id, '/', sequence)",
    checks=(
        Check(
            7,
            "ENTRY_IN_CLOSED_PERIOD",
            "effective_at <= closed_through",
            "concat('effective at ', effective_at, ', recorded at ', recorded_at,"
            " ', when the ledger was closed through ', closed_through)",
        ),
    ),
)

CURRENCIES = Pass(
    title="currencies",
    rows="""
        SELECT c.*, l.ledger_id IS NULL AS homeless,
            count(*) OVER (PARTITION BY c.organization_id, c.ledger_id, c.code) AS namesakes,
            a.posted_debits, a.posted_credits, a.pending_debits, a.pending_credits
        FROM currencies c
        LEFT JOIN ledgers l USING (organization_id, ledger_id)
        LEFT JOIN (
            SELECT organization_id, ledger_id, currency AS code,
                sum(posted_debits) AS posted_debits, sum(posted_credits) AS posted_credits,
                sum(pending_debits) AS pending_debits, sum(pending_credits) AS pending_credits
            FROM accounts GROUP BY 1, 2, 3
        ) a USING (organization_id, ledger_id, code)
    """,
    subject="concat('currency ', code)",
    checks=(
        Check(4, "CURRENCY_WITHOUT_LEDGER", "homeless", "'the organization has no such ledger'"),
        Check(
            1, "CURRENCY_REPEATED", "namesakes > 1", "concat('it is there ', namesakes, ' times')"
        ),
        Check(
            1,
            "POSTED_UNBALANCED",
            "posted_debits <> posted_credits",
            "concat('posted debits are ', posted_debits, ', credits ', posted_credits)",
        ),
        Check(
            1,
            "PENDING_UNBALANCED",
            "pending_debits <> pending_credits",
            "concat('pending debits are ', pending_debits, ', credits ', pending_credits)",
        ),
    ),
)

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
                sum({_ON_POSTED} * e.amount) FILTER (WHERE direction = 'debit') AS posted_debits,
                sum({_ON_POSTED} * e.amount) FILTER (WHERE direction = 'credit') AS posted_credits,
                sum({_ON_PENDING} * e.amount) FILTER (WHERE direction = 'debit') AS pending_debits,
                sum({_ON_PENDING} * e.amount) FILTER (WHERE direction = 'credit')
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
        Check(
            4, "ACCOUNT_ID_REPEATED", "namesakes > 1", "concat('it is there ', namesakes, ' times')"
        ),
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
            CASE direction WHEN 'debit' THEN {_ON_POSTED} * amount ELSE 0 END
                AS on_posted_debits,
            CASE direction WHEN 'credit' THEN {_ON_POSTED} * amount ELSE 0 END
                AS on_posted_credits,
            CASE direction WHEN 'debit' THEN {_ON_PENDING} * amount ELSE 0 END
                AS on_pending_debits,
            CASE direction WHEN 'credit' THEN {_ON_PENDING} * amount ELSE 0 END
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
        Check(
            2, "ENTRY_SEQUENCES_BROKEN", "sequence <> before + 1", "concat('it follows ', before)"
        ),
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
        Check(
            3,
            "ENTRY_TIME_DECREASES",
            "recorded_at < recorded_before",
            "concat('recorded at ', recorded_at, ', the one before it at ', recorded_before)",
        ),
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
        Check(
            6,
            "VELOCITY_LIMIT_REPEATED",
            "namesakes > 1",
            "concat('it is there ', namesakes, ' times')",
        ),
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

TRANSACTION_LINES = Pass(
    title="entries by transaction",
    rows="""
        SELECT e.*, t.sequence IS NULL AS astray, t.effective_at AS transaction_effective_at,
            v.number IS NULL AS uncaused, v.recorded_at AS event_recorded_at,
            CASE WHEN v.number IS NOT NULL THEN greatest(t.effective_at, CASE
                WHEN e.event = 1 THEN t.effective_at
                WHEN v.kind = 'matured' AND (t.refused_at >= t.posts_at) IS NOT TRUE THEN t.posts_at
                -- not what was put off; that it could not post is told by the expiry itself
                WHEN v.kind = 'expired' AND (t.refused_at >= t.expires_at
                    AND t.refused_at < v.recorded_at) IS NOT TRUE THEN t.expires_at
                ELSE v.recorded_at
            END) END AS due_effective_at,
            -- what fell due in a period closed meanwhile
            CASE WHEN v.kind IN ('matured', 'expired') THEN greatest(v.recorded_at, t.effective_at)
            END AS late_effective_at
        FROM (
            SELECT organization_id, ledger_id, transaction_sequence, line, event, effective_at,
                recorded_at, lag(line, 1, 0) OVER line AS before,
                lag(event, 1, 0) OVER line AS event_before
            FROM entries
            WINDOW line AS (
                PARTITION BY organization_id, ledger_id, transaction_sequence
                ORDER BY line, event DESC
            )
        ) e
        LEFT JOIN transactions t ON t.organization_id = e.organization_id
            AND t.ledger_id = e.ledger_id AND t.sequence = e.transaction_sequence
        LEFT JOIN transaction_events v ON v.organization_id = e.organization_id
            AND v.ledger_id = e.ledger_id AND v.transaction_sequence = e.transaction_sequence
            AND v.number = e.event
    """,
    subject="concat('line ', transaction_sequence, '/', line)",
    checks=(
        Check(4, "ENTRY_WITHOUT_TRANSACTION", "astray", "'its ledger has no such transaction'"),
        Check(
            4,
            "ENTRY_WITHOUT_EVENT",
            "uncaused",
            "concat('its transaction has no event ', event)",
        ),
        Check(
            4,
            "LINES_BROKEN",
            "line <> before + 1 OR event < event_before",
            "concat('of event ', event, ', follows line ', before, ' of event ', event_before)",
        ),
        Check(
            3,
            "ENTRY_TIME_NOT_OF_EVENT",
            "recorded_at <> event_recorded_at",
            "concat('recorded at ', recorded_at, ', its event at ', event_recorded_at)",
        ),
        Check(
            4,
            "EFFECTIVE_TIME_NOT_OF_TRANSACTION",
            "effective_at <> due_effective_at AND effective_at IS DISTINCT FROM late_effective_at",
            "concat('effective at ', effective_at, ', its transaction at ',"
            " transaction_effective_at, ', its event at ', event_recorded_at)",
        ),
    ),
)

EVENT_CURRENCIES = Pass(
    title="entries by event and currency",
    rows="""
        SELECT e.organization_id, e.ledger_id, e.transaction_sequence, e.event, e.effect,
            a.currency, coalesce(sum(e.amount) FILTER (WHERE e.direction = 'debit'), 0) AS debits,
            coalesce(sum(e.amount) FILTER (WHERE e.direction = 'credit'), 0) AS credits
        FROM entries e
        LEFT JOIN accounts a ON a.organization_id = e.organization_id
            AND a.account_id = e.account_id
        GROUP BY 1, 2, 3, 4, 5, 6
    """,
    subject="concat('event ', transaction_sequence, '/', event)",
    checks=(
        Check(
            1,
            "ENTRIES_UNBALANCED",
            "debits <> credits",
            "concat('what it did as ', effect, ' in ', currency, ' is ', debits, ' in debits and ',"
            " credits, ' in credits')",
        ),
    ),
)

HOLD_SIDES = Pass(
    title="holds by side of account",
    rows="""
        SELECT organization_id, ledger_id, transaction_sequence, account_id, direction,
            coalesce(sum(amount) FILTER (WHERE effect = 'hold'), 0) AS held,
            coalesce(sum(amount) FILTER (WHERE effect <> 'hold'), 0) AS undone
        FROM entries
        WHERE effect <> 'post'
        GROUP BY 1, 2, 3, 4, 5
    """,
    subject="concat('transaction ', transaction_sequence)",
    checks=(
        Check(
            5,
            "HOLD_EXCEEDED",
            "undone > held",
            "concat('of the ', direction, ' of ', held, ' on account ', account_id, ', ', undone,"
            " ' was settled or released')",
        ),
    ),
)

EVENTS = Pass(
    title="events",
    rows="""
        SELECT v.*, t.sequence IS NULL AS astray, t.created_at, t.expires_at, t.posts_at,
            t.refused_at, coalesce(e.entries, 0) AS entries, e.effects
        FROM (
            SELECT *, lag(number, 1, 0) OVER past AS before,
                lag(recorded_at) OVER past AS recorded_before,
                max(kind) FILTER (
                    WHERE kind IN ('posted', 'voided', 'expired', 'matured', 'lot_expired')
                ) OVER (past ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS ended,
                count(idempotency_key) OVER (
                    PARTITION BY organization_id, ledger_id, idempotency_key COLLATE "C"
                ) AS namesakes
            FROM transaction_events
            WINDOW past AS (
                PARTITION BY organization_id, ledger_id, transaction_sequence ORDER BY number
            )
        ) v
        LEFT JOIN transactions t ON t.organization_id = v.organization_id
            AND t.ledger_id = v.ledger_id AND t.sequence = v.transaction_sequence
        LEFT JOIN (
            SELECT organization_id, ledger_id, transaction_sequence, event AS number,
                sum(entries) AS entries, string_agg(effect, ', ' ORDER BY effect) AS effects
            FROM (
                SELECT organization_id, ledger_id, transaction_sequence, event, effect,
                    count(*) AS entries
                FROM entries GROUP BY 1, 2, 3, 4, 5
            ) by_effect
            GROUP BY 1, 2, 3, 4
        ) e ON e.organization_id = v.organization_id AND e.ledger_id = v.ledger_id
            AND e.transaction_sequence = v.transaction_sequence AND e.number = v.number
    """,
    subject="concat('event ', transaction_sequence, '/', number)",
    checks=(
        Check(4, "EVENT_WITHOUT_TRANSACTION", "astray", "'its ledger has no such transaction'"),
        Check(
            4, "EVENT_NUMBERS_BROKEN", "number <> before + 1", "concat('it follows event ', before)"
        ),
        Check(
            4,
            "EVENT_ENTRIES_TOO_FEW",
            "entries < 2 AND kind <> 'updated'",
            "concat('entries of it: ', entries, '; at least 2 are needed')",
        ),
        Check(
            5,
            "EVENT_KIND_WRONG",
            "kind NOT IN ('posted', 'held', 'settled', 'voided', 'matured', 'expired', 'updated',"
            " 'lot_expired') OR (number = 1) <> (kind IN ('posted', 'held', 'lot_expired'))",
            "concat('it is ', kind)",
        ),
        Check(
            5,
            "EVENT_KEY_WRONG",
            "(idempotency_key IS NULL) <> (kind IN ('matured', 'expired', 'lot_expired'))",
            "concat('it is ', kind, ', its key is ', coalesce(idempotency_key, 'missing'))",
        ),
        Check(
            5,
            "EVENT_AFTER_END",
            "kind <> 'updated' AND ended IS NOT NULL",
            "concat('it is ', kind, ', after one that was ', ended)",
        ),
        Check(
            5,
            "SETTLED_AFTER_EXPIRY",
            "recorded_at >= expires_at"
            " AND (kind = 'settled' OR kind = 'matured' AND refused_at IS NOT NULL)",
            "concat('it is ', kind, ' at ', recorded_at, ', the hold expired at ', expires_at)",
        ),
        Check(
            5,
            "DONE_BEFORE_IT_WAS_DUE",
            "(kind = 'matured' AND (recorded_at >= posts_at) IS NOT TRUE)"
            " OR (kind = 'expired' AND (recorded_at >= expires_at) IS NOT TRUE)",
            "concat('it is ', kind, ' at ', recorded_at, ', to post at ',"
            " coalesce(posts_at::text, 'no time'), ', to expire at ',"
            " coalesce(expires_at::text, 'no time'))",
        ),
        Check(
            5,
            "EVENT_EFFECTS_WRONG",
            "NOT CASE kind WHEN 'posted' THEN effects = 'post' WHEN 'held' THEN effects = 'hold'"
            " WHEN 'lot_expired' THEN effects = 'post'"
            " WHEN 'settled' THEN effects IN ('settle', 'release, settle')"
            " WHEN 'matured' THEN effects = 'settle' WHEN 'updated' THEN effects IS NULL"
            " WHEN 'voided' THEN effects = 'release' WHEN 'expired' THEN effects = 'release' END",
            "concat('it is ', kind, ', its entries are ', effects)",
        ),
        Check(
            5,
            "IDEMPOTENCY_KEY_REPEATED",
            "namesakes > 1",
            "concat(namesakes, ' events have the key ', idempotency_key)",
        ),
        Check(
            3,
            "EVENT_TIME_DECREASES",
            "recorded_at < recorded_before",
            "concat('recorded at ', recorded_at, ', the one before it at ', recorded_before)",
        ),
        Check(
            3,
            "CREATED_AT_NOT_OF_EVENT",
            "number = 1 AND recorded_at <> created_at",
            "concat('recorded at ', recorded_at, ', its transaction created at ', created_at)",
        ),
    ),
)

TRANSACTIONS = Pass(
    title="transactions",
    rows=f"""
        SELECT t.*, l.ledger_id IS NULL AS homeless, v.number IS NULL AS uncaused, v.latest,
            coalesce(v.voided, false) AS void, coalesce(e.entries, 0) AS entries,
            r.status AS reversed_status, r.reverses_sequence AS reversed_reverses,
            o.sequence IS NOT NULL AS left_open,
            CASE WHEN o.sequence IS NOT NULL THEN 'pending' WHEN e.done THEN 'posted'
                ELSE 'voided' END AS reached
        FROM (
            SELECT *, lag(sequence, 1, 0::bigint) OVER past AS before,
                lag(created_at) OVER past AS created_before,
                count(*) OVER (PARTITION BY organization_id, transaction_id) AS namesakes,
                count(external_id) OVER (
                    PARTITION BY organization_id, ledger_id, external_id COLLATE "C"
                ) AS external_namesakes
            FROM transactions
            WINDOW past AS (PARTITION BY organization_id, ledger_id ORDER BY sequence)
        ) t
        LEFT JOIN ledgers l ON l.organization_id = t.organization_id AND l.ledger_id = t.ledger_id
        LEFT JOIN (
            SELECT organization_id, ledger_id, transaction_sequence AS sequence,
                max(number) AS number,
                max(recorded_at) FILTER (WHERE kind <> 'updated') AS latest,
                bool_or(kind IN ('voided', 'expired')) AS voided
            FROM transaction_events GROUP BY 1, 2, 3
        ) v ON v.organization_id = t.organization_id AND v.ledger_id = t.ledger_id
            AND v.sequence = t.sequence
        LEFT JOIN (
            SELECT organization_id, ledger_id, transaction_sequence AS sequence,
                count(*) AS entries, bool_or({_ON_POSTED} = 1) AS done
            FROM entries e GROUP BY 1, 2, 3
        ) e ON e.organization_id = t.organization_id AND e.ledger_id = t.ledger_id
            AND e.sequence = t.sequence
        LEFT JOIN (
            SELECT DISTINCT organization_id, ledger_id, transaction_sequence AS sequence
            FROM entries e
            WHERE effect <> 'post'
            GROUP BY 1, 2, 3, account_id, direction
            HAVING sum({_ON_PENDING} * amount) <> 0
        ) o ON o.organization_id = t.organization_id AND o.ledger_id = t.ledger_id
            AND o.sequence = t.sequence
        LEFT JOIN (
            SELECT DISTINCT organization_id, ledger_id, sequence, status, reverses_sequence
            FROM transactions
        ) r ON r.organization_id = t.organization_id AND r.ledger_id = t.ledger_id
            AND r.sequence = t.reverses_sequence
    """,  # noqa: S608  the steps are ours
    subject="concat('transaction ', sequence)",
    checks=(
        Check(4, "TRANSACTION_WITHOUT_LEDGER", "homeless", "'the organization has no such ledger'"),
        Check(4, "TRANSACTION_WITHOUT_EVENT", "uncaused", "'no event made it'"),
        Check(
            4,
            "TRANSACTION_ENTRIES_TOO_FEW",
            "entries < 2",
            "concat('entries of it: ', entries, '; at least 2 are needed')",
        ),
        Check(
            4,
            "TRANSACTION_ID_REPEATED",
            "namesakes > 1",
            "concat(namesakes, ' transactions have the id ', transaction_id)",
        ),
        Check(
            3,
            "TRANSACTION_SEQUENCES_BROKEN",
            "sequence <> before + 1",
            "concat('it follows transaction ', before)",
        ),
        Check(
            3,
            "CREATED_AT_DECREASES",
            "created_at < created_before",
            "concat('created at ', created_at, ', the one before it at ', created_before)",
        ),
        Check(
            5,
            "TRANSACTION_EXTERNAL_ID_REPEATED",
            "external_namesakes > 1",
            "concat(external_namesakes, ' transactions have the external id ', external_id)",
        ),
        Check(
            5,
            "STATUS_WRONG",
            "entries > 0 AND status IS DISTINCT FROM reached",
            "concat('it is ', status, ', its entries make it ', reached)",
        ),
        Check(
            5,
            "STATUS_TIME_WRONG",
            "posted_at IS DISTINCT FROM CASE status WHEN 'posted' THEN latest END"
            " OR voided_at IS DISTINCT FROM CASE status WHEN 'voided' THEN latest END",
            "concat('it is ', status, ', posted at ', coalesce(posted_at::text, 'no time'),"
            " ', voided at ', coalesce(voided_at::text, 'no time'), '; its last event was at ',"
            " coalesce(latest::text, 'no time'))",
        ),
        Check(
            5,
            "VOID_INCOMPLETE",
            "void AND left_open",
            "'it was voided and something is left pending'",
        ),
        Check(
            5,
            "DUE_THOUGH_DONE",
            "due_at IS NOT NULL AND status <> 'pending'",
            "concat('it is ', status, ', and due at ', due_at)",
        ),
        Check(
            5,
            "NEVER_DUE",
            "status = 'pending' AND CASE WHEN refused_at IS NULL"
            " THEN due_at IS DISTINCT FROM least(posts_at, expires_at) ELSE due_at IS NULL END",
            "concat('it is due at ', coalesce(due_at::text, 'no time'), ', to post at ',"
            " coalesce(posts_at::text, 'no time'), ', to expire at ',"
            " coalesce(expires_at::text, 'no time'), ', refused at ',"
            " coalesce(refused_at::text, 'no time'))",
        ),
        Check(
            5,
            "REVERSAL_OF_WHAT_CANNOT_BE",
            "reverses_sequence IS NOT NULL"
            " AND (reversed_status = 'posted' AND reversed_reverses IS NULL"
            " AND reverses_sequence < sequence) IS NOT TRUE",
            "concat('it reverses transaction ', reverses_sequence, ', which is ',"
            " coalesce(reversed_status, 'missing'),"
            " CASE WHEN reversed_reverses IS NOT NULL THEN ' and itself a reversal' END)",
        ),
    ),
)

REVERSED_SIDES = Pass(
    title="reversals by side of account",
    rows=f"""
        SELECT organization_id, ledger_id, transaction_sequence, account_id, direction,
            coalesce(sum(amount) FILTER (WHERE NOT turned), 0) AS posted,
            coalesce(sum(amount) FILTER (WHERE turned), 0) AS reversed
        FROM (
            SELECT e.organization_id, e.ledger_id, e.account_id, e.direction, e.amount,
                e.transaction_sequence, false AS turned
            FROM entries e
            WHERE {_ON_POSTED} = 1
            UNION ALL
            SELECT e.organization_id, e.ledger_id, e.account_id,
                CASE e.direction WHEN 'debit' THEN 'credit' ELSE 'debit' END, e.amount,
                t.reverses_sequence, true
            FROM entries e
            JOIN transactions t ON t.organization_id = e.organization_id
                AND t.ledger_id = e.ledger_id AND t.sequence = e.transaction_sequence
            WHERE t.reverses_sequence IS NOT NULL
        ) sides
        GROUP BY 1, 2, 3, 4, 5
    """,  # noqa: S608  the steps are ours
    subject="concat('transaction ', transaction_sequence)",
    checks=(
        Check(
            5,
            "REVERSED_BEYOND_AMOUNT",
            "reversed > posted",
            "concat('of the ', direction, ' of ', posted, ' on account ', account_id, ', ',"
            " reversed, ' was reversed')",
        ),
    ),
)

CORRECTIONS = Pass(
    title="corrections",
    rows="""
        SELECT v.*, CASE v.label WHEN 'description' THEN to_jsonb(t.description) ELSE t.metadata END
            AS kept
        FROM (
            SELECT c.*, coalesce(after, 'null'::jsonb) AS became,
                lag(coalesce(after, 'null'::jsonb)) OVER past AS became_before,
                lead(number) OVER past IS NULL AS last
            FROM (
                SELECT organization_id, ledger_id, transaction_sequence, number, label.key AS label,
                    label.value -> 'before' AS before, label.value -> 'after' AS after
                FROM transaction_events, jsonb_each(changes) label
                WHERE kind = 'updated'
            ) c
            WINDOW past AS (
                PARTITION BY organization_id, ledger_id, transaction_sequence, label
                ORDER BY number
            )
        ) v
        JOIN transactions t ON t.organization_id = v.organization_id
            AND t.ledger_id = v.ledger_id AND t.sequence = v.transaction_sequence
    """,
    subject="concat('event ', transaction_sequence, '/', number)",
    checks=(
        Check(
            7,
            "CORRECTION_NOT_KEPT",
            "last AND became <> coalesce(kept, 'null'::jsonb)",
            "concat('the ', label, ' became ', became, ' and is ', coalesce(kept, 'null'::jsonb))",
        ),
        Check(
            7,
            "CORRECTIONS_BROKEN",
            "before <> became_before",
            "concat('the ', label, ' was ', before, ', and had become ', became_before)",
        ),
    ),
)

TEMPLATES = Pass(
    title="templates",
    rows="""
        SELECT p.*, l.ledger_id IS NULL AS homeless
        FROM (
            SELECT *, lag(version, 1, 0) OVER past AS before,
                lag(template_id) OVER past AS template_before,
                lead(version) OVER past AS next
            FROM transaction_templates
            WINDOW past AS (
                PARTITION BY organization_id, ledger_id, code COLLATE "C" ORDER BY version
            )
        ) p
        LEFT JOIN ledgers l USING (organization_id, ledger_id)
    """,
    subject="concat('template ', code, '/', version)",
    checks=(
        Check(4, "TEMPLATE_WITHOUT_LEDGER", "homeless", "'the organization has no such ledger'"),
        Check(
            4,
            "TEMPLATE_VERSIONS_BROKEN",
            "version <> before + 1 OR template_id <> template_before"
            " OR (superseded_at IS NULL) <> (next IS NULL)",
            "concat('it follows version ', before, ' and is followed by ', coalesce(next, 0))",
        ),
    ),
)

TEMPLATE_USES = Pass(
    title="template uses",
    rows="""
        SELECT u.*, t.sequence IS NULL AS astray, p.code IS NULL AS unknown,
            count(*) OVER (
                PARTITION BY u.organization_id, u.ledger_id, u.transaction_sequence
            ) AS namesakes
        FROM template_uses u
        LEFT JOIN (SELECT DISTINCT organization_id, ledger_id, sequence FROM transactions) t
            ON t.organization_id = u.organization_id AND t.ledger_id = u.ledger_id
            AND t.sequence = u.transaction_sequence
        LEFT JOIN (
            SELECT DISTINCT organization_id, ledger_id, code, version FROM transaction_templates
        ) p ON p.organization_id = u.organization_id AND p.ledger_id = u.ledger_id
            AND p.code = u.code AND p.version = u.version
    """,
    subject="concat('template use ', transaction_sequence)",
    checks=(
        Check(
            4, "TEMPLATE_USE_WITHOUT_TRANSACTION", "astray", "'its ledger has no such transaction'"
        ),
        Check(
            4,
            "TEMPLATE_USE_WITHOUT_TEMPLATE",
            "unknown",
            "concat('its ledger has no template ', code, '/', version)",
        ),
        Check(
            4,
            "TEMPLATE_USE_REPEATED",
            "namesakes > 1",
            "concat('its transaction has ', namesakes, ' of them')",
        ),
    ),
)

CREDIT_LOTS = Pass(
    title="credit lots",
    rows="""
        SELECT v.*, v.number AS entry, a.account_id IS NULL AS astray,
            a.ledger_id IS DISTINCT FROM v.ledger_id OR b.ledger_id IS DISTINCT FROM v.ledger_id
                OR row(a.currency, a.exponent) IS DISTINCT FROM row(b.currency, b.exponent)
                AS elsewhere,
            e.amount AS brought, e.transaction_sequence AS brought_by,
            (e.effect = 'post' AND e.direction = a.normal_balance
                AND e.effective_at < v.expires_at AND e.recorded_at < v.expires_at) IS TRUE
                AS brings,
            coalesce(m.taken, 0) AS taken, coalesce(m.taken_expired, 0) AS taken_expired,
            greatest(0, least(v.remaining, CASE a.normal_balance
                WHEN 'credit' THEN a.pending_debits ELSE a.pending_credits END - v.ahead))
                AS reserved,
            count(*) OVER (PARTITION BY v.organization_id, v.lot_id) AS namesakes,
            count(*) OVER (PARTITION BY v.organization_id, v.account_id, v.number) AS twins
        FROM (
            SELECT *, coalesce(sum(remaining) OVER (
                PARTITION BY organization_id, account_id ORDER BY expires_at, number
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ), 0) AS ahead
            FROM credit_lots
        ) v
        LEFT JOIN accounts a ON a.organization_id = v.organization_id
            AND a.account_id = v.account_id
        LEFT JOIN accounts b ON b.organization_id = v.organization_id
            AND b.account_id = v.breakage_account_id
        LEFT JOIN entries e ON e.organization_id = v.organization_id
            AND e.account_id = v.account_id AND e.sequence = v.number
        LEFT JOIN (
            SELECT organization_id, lot_id, sum(amount) AS taken,
                sum(amount) FILTER (WHERE kind = 'expired') AS taken_expired
            FROM lot_movements GROUP BY 1, 2
        ) m ON m.organization_id = v.organization_id AND m.lot_id = v.lot_id
    """,
    subject="concat('credit lot ', account_id, '/', entry)",
    checks=(
        Check(4, "LOT_WITHOUT_ACCOUNT", "astray", "'the organization has no such account'"),
        Check(
            4,
            "LOT_REPEATED",
            "namesakes > 1 OR twins > 1",
            "concat('of its id there are ', namesakes, ', of its entry ', twins)",
        ),
        Check(
            4,
            "LOT_IN_OTHER_LEDGER",
            "NOT astray AND elsewhere",
            "concat('its accounts are not both in ledger ', ledger_id, ' and in one currency')",
        ),
        Check(
            4,
            "LOT_WITHOUT_ENTRY",
            "NOT astray AND (NOT brings OR brought IS DISTINCT FROM amount"
            " OR brought_by IS DISTINCT FROM transaction_sequence)",
            "concat('it is of ', amount, ' by transaction ', transaction_sequence,"
            " ', the entry of ', coalesce(brought::text, 'nothing'), ' by ',"
            " coalesce(brought_by::text, 'none'))",
        ),
        Check(
            2,
            "LOT_REMAINDER_WRONG",
            "remaining IS DISTINCT FROM amount - taken",
            "concat('it has ', remaining, ' left of ', amount, ', ', taken, ' was taken')",
        ),
        Check(
            2,
            "LOT_EXPIRED_WRONG",
            "expired IS DISTINCT FROM taken_expired",
            "concat('it says that ', expired, ' expired, ', taken_expired, ' did')",
        ),
        Check(
            2,
            "LOT_OVERDRAWN",
            "least(remaining, expired) < 0 OR remaining + expired > amount",
            "concat('of ', amount, ' it has ', remaining, ' left, and ', expired, ' expired')",
        ),
        Check(
            5,
            "LOT_NEVER_DUE",
            "NOT astray AND remaining > 0 AND due_at IS NULL AND reserved < remaining",
            "concat('of ', remaining, ' holds reserve ', reserved, ', and it is never due')",
        ),
        Check(
            5,
            "LOT_DUE_TOO_EARLY",
            "due_at < expires_at OR due_at IS NOT NULL AND remaining <= 0",
            "concat('it is due at ', due_at, ', expires at ', expires_at, ' and has ', remaining,"
            " ' left')",
        ),
    ),
)

LOTS_OF_ACCOUNTS = Pass(
    title="credit lots by account",
    rows="""
        SELECT a.*, coalesce(v.remaining, 0) AS in_lots,
            greatest(0, CASE normal_balance WHEN 'credit' THEN posted_credits - posted_debits
                ELSE posted_debits - posted_credits END) AS posted
        FROM accounts a
        LEFT JOIN (
            SELECT organization_id, account_id, sum(remaining) AS remaining
            FROM credit_lots GROUP BY 1, 2
        ) v ON v.organization_id = a.organization_id AND v.account_id = a.account_id
        WHERE a.has_lots OR v.account_id IS NOT NULL
    """,
    subject="concat('account ', account_id)",
    checks=(
        Check(
            2,
            "HAS_LOTS_WRONG",
            "has_lots IS DISTINCT FROM (in_lots > 0)",
            "concat('it says ', has_lots, ', its lots have ', in_lots, ' left')",
        ),
        Check(
            2,
            "LOTS_BEYOND_POSTED",
            "in_lots > posted",
            "concat('its lots have ', in_lots, ' left, posted is ', posted)",
        ),
    ),
)

LOT_MOVEMENTS = Pass(
    title="movements of credit lots",
    rows="""
        SELECT m.organization_id, m.account_id, m.sequence, m.amount, m.kind,
            coalesce(v.ledger_id, a.ledger_id) AS ledger_id,
            m.amount > 0 AS moves,
            v.lot_id IS NULL OR v.account_id IS DISTINCT FROM m.account_id AS astray,
            v.number AS opened, e.amount AS entry_amount,
            (m.sequence = v.number OR m.sequence > v.number
                AND e.direction <> a.normal_balance AND e.effect IN ('post', 'settle')) IS TRUE
                AS takes,
            CASE x.kind WHEN 'lot_expired' THEN 'expired' ELSE 'spent' END AS kind_of_event,
            sum(m.amount) OVER (PARTITION BY m.organization_id, m.account_id, m.sequence) AS taken,
            count(*) OVER (PARTITION BY m.organization_id, m.lot_id, m.sequence) AS namesakes
        FROM lot_movements m
        LEFT JOIN credit_lots v ON v.organization_id = m.organization_id AND v.lot_id = m.lot_id
        LEFT JOIN accounts a ON a.organization_id = m.organization_id
            AND a.account_id = m.account_id
        LEFT JOIN entries e ON e.organization_id = m.organization_id
            AND e.account_id = m.account_id AND e.sequence = m.sequence
        LEFT JOIN transaction_events x ON x.organization_id = e.organization_id
            AND x.ledger_id = e.ledger_id AND x.transaction_sequence = e.transaction_sequence
            AND x.number = e.event
    """,
    subject="concat('lot movement ', account_id, '/', sequence)",
    checks=(
        Check(4, "MOVEMENT_WITHOUT_LOT", "astray", "'the account has no such lot'"),
        Check(
            4,
            "MOVEMENT_REPEATED",
            "namesakes > 1",
            "concat('it is there ', namesakes, ' times')",
        ),
        Check(
            4,
            "MOVEMENT_WITHOUT_ENTRY",
            "NOT astray AND NOT takes",
            "concat('no entry takes ', amount, ' from the lot of entry ', opened)",
        ),
        Check(
            2,
            "MOVEMENTS_BEYOND_ENTRY",
            "NOT moves OR taken > entry_amount",
            "concat('it took ', amount, ', with others ', taken, ', the entry is of ',"
            " entry_amount)",
        ),
        Check(
            5,
            "MOVEMENT_KIND_WRONG",
            "takes AND kind IS DISTINCT FROM kind_of_event",
            "concat('it is ', kind, ', its event makes it ', kind_of_event)",
        ),
    ),
)

_ENTRY_AMOUNT = """
    CASE WHEN e.effect NOT IN ('post', 'settle') THEN 0
        WHEN e.direction = a.normal_balance THEN e.amount ELSE -e.amount END
"""

RECONCILIATIONS = Pass(
    title="reconciliations",
    rows=f"""
        SELECT r.*, x.external_account_id IS NULL OR x.account_id IS DISTINCT FROM r.account_id
                OR a.account_id IS NULL AS astray,
            v.latest, v.many, b.explained, f.posted
        FROM reconciliations r
        LEFT JOIN external_accounts x ON x.organization_id = r.organization_id
            AND x.external_account_id = r.external_account_id AND x.ledger_id = r.ledger_id
        LEFT JOIN accounts a ON a.organization_id = r.organization_id
            AND a.account_id = r.account_id AND a.ledger_id = r.ledger_id
        LEFT JOIN (
            SELECT organization_id, reconciliation_id, max(number) AS latest, count(*) AS many
            FROM reconciliation_events GROUP BY 1, 2
        ) v ON v.organization_id = r.organization_id AND v.reconciliation_id = r.reconciliation_id
        LEFT JOIN LATERAL (
            SELECT coalesce(sum((item ->> 'amount')::numeric), 0) AS explained
            FROM jsonb_array_elements(r.items) item
        ) b ON true
        LEFT JOIN LATERAL (
            SELECT coalesce(sum({_ENTRY_AMOUNT}), 0) AS posted
            FROM entries e
            WHERE e.organization_id = r.organization_id AND e.account_id = r.account_id
                AND e.sequence <= r.examined_version
                AND e.effective_at < (r.through_date + 1)::timestamp AT TIME ZONE r.time_zone
        ) f ON true
    """,  # noqa: S608  all of it is ours
    subject="concat('reconciliation ', reconciliation_id)",
    checks=(
        Check(
            4,
            "RECONCILIATION_ASTRAY",
            "astray",
            "'the ledger has no such account, or no such external account of it'",
        ),
        Check(
            3,
            "RECONCILIATION_EVENTS_BROKEN",
            "last_event IS DISTINCT FROM latest OR many IS DISTINCT FROM latest",
            "concat('it counts ', last_event, ' events, there are ', coalesce(many, 0),"
            " ', the last is ', coalesce(latest, 0))",
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
            "ledger_balance <> posted",
            "concat('it is ', ledger_balance, ', its entries come to ', posted)",
        ),
    ),
)

_MEMBERS = f"""
    SELECT i.organization_id, i.match_id, i.reconciliation_id, i.confirmed,
        concat('line ', i.number) AS member, l.number IS NULL AS absent,
        CASE WHEN l.currency <> a.currency THEN 0 WHEN x.inverted THEN -l.amount ELSE l.amount END
            AS amount,
        count(*) FILTER (WHERE i.confirmed)
            OVER (PARTITION BY i.organization_id, i.external_account_id, i.number) AS times
    FROM reconciliation_match_lines i
    LEFT JOIN statement_lines l ON l.organization_id = i.organization_id
        AND l.external_account_id = i.external_account_id AND l.number = i.number
    LEFT JOIN external_accounts x ON x.organization_id = i.organization_id
        AND x.external_account_id = i.external_account_id
    LEFT JOIN accounts a ON a.organization_id = x.organization_id AND a.account_id = x.account_id
    UNION ALL
    SELECT i.organization_id, i.match_id, i.reconciliation_id, i.confirmed,
        concat('entry ', i.sequence), e.sequence IS NULL, -({_ENTRY_AMOUNT}),
        count(*) FILTER (WHERE i.confirmed)
            OVER (PARTITION BY i.organization_id, i.account_id, i.sequence)
    FROM reconciliation_match_entries i
    LEFT JOIN entries e ON e.organization_id = i.organization_id
        AND e.account_id = i.account_id AND e.sequence = i.sequence
    LEFT JOIN accounts a ON a.organization_id = i.organization_id AND a.account_id = i.account_id
"""  # noqa: S608  all of it is ours

MATCHES = Pass(
    title="matches",
    rows=f"""
        SELECT m.*, r.reconciliation_id IS NULL AS homeless, coalesce(i.total, 0) AS total
        FROM reconciliation_matches m
        LEFT JOIN reconciliations r ON r.organization_id = m.organization_id
            AND r.reconciliation_id = m.reconciliation_id AND r.ledger_id = m.ledger_id
        LEFT JOIN (
            SELECT organization_id, match_id, sum(amount) AS total FROM ({_MEMBERS}) i GROUP BY 1, 2
        ) i ON i.organization_id = m.organization_id AND i.match_id = m.match_id
    """,  # noqa: S608  all of it is ours
    subject="concat('match ', match_id)",
    checks=(
        Check(
            4, "MATCH_WITHOUT_RECONCILIATION", "homeless", "'the ledger has no such reconciliation'"
        ),
        Check(
            2,
            "MATCH_DIFFERENCE_WRONG",
            "difference <> total",
            "concat('it is ', difference, ', its lines less its entries are ', total)",
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

STATEMENTS = Pass(
    title="statements",
    rows=f"""
        SELECT s.*, a.account_id IS NULL AS astray, f.opening_debits AS fold_opening_debits,
            f.opening_credits AS fold_opening_credits, f.closing_debits AS fold_closing_debits,
            f.closing_credits AS fold_closing_credits, f.lines AS fold_lines, p.number AS adjoining
        FROM (
            SELECT *, lag(number, 1, 0::bigint) OVER past AS before,
                lag(account_version, 1, 0::bigint) OVER past AS version_before,
                count(*) OVER (PARTITION BY organization_id, statement_id) AS namesakes,
                count(*) FILTER (WHERE scheduled)
                    OVER (PARTITION BY organization_id, account_id, from_at, to_at) AS of_period,
                count(idempotency_key) OVER (
                    PARTITION BY organization_id, ledger_id, idempotency_key COLLATE "C"
                ) AS of_key
            FROM account_statements
            WINDOW past AS (PARTITION BY organization_id, account_id ORDER BY number)
        ) s
        LEFT JOIN accounts a ON a.organization_id = s.organization_id
            AND a.ledger_id = s.ledger_id AND a.account_id = s.account_id
        LEFT JOIN (
            SELECT s.organization_id, s.account_id, s.number, max(p.number) AS number_before
            FROM account_statements s JOIN account_statements p
                ON p.organization_id = s.organization_id AND p.account_id = s.account_id
                AND p.to_at = s.from_at AND p.number < s.number
            GROUP BY 1, 2, 3
        ) p (organization_id, account_id, of, number) ON p.organization_id = s.organization_id
            AND p.account_id = s.account_id AND p.of = s.number
        LEFT JOIN (
            SELECT s.organization_id, s.account_id, s.number,
                coalesce(sum(amount) FILTER (WHERE early AND side = 'debit'), 0),
                coalesce(sum(amount) FILTER (WHERE early AND side = 'credit'), 0),
                coalesce(sum(amount) FILTER (WHERE side = 'debit'), 0),
                coalesce(sum(amount) FILTER (WHERE side = 'credit'), 0),
                count(*) FILTER (WHERE NOT early)
            FROM account_statements s
            LEFT JOIN LATERAL (
                SELECT {_ON_POSTED} * e.amount AS amount, e.direction AS side,
                    e.effective_at < s.from_at AS early
                FROM entries e
                WHERE e.organization_id = s.organization_id AND e.account_id = s.account_id
                    AND e.sequence <= s.account_version AND e.effective_at < s.to_at
                    AND {_ON_POSTED} <> 0
            ) e ON true
            GROUP BY 1, 2, 3
        ) f (organization_id, account_id, number, opening_debits, opening_credits, closing_debits,
            closing_credits, lines) ON f.organization_id = s.organization_id
            AND f.account_id = s.account_id AND f.number = s.number
    """,  # noqa: S608  the steps are ours
    subject="concat('statement ', account_id, '/', number)",
    checks=(
        Check(4, "STATEMENT_WITHOUT_ACCOUNT", "astray", "'its ledger has no such account'"),
        Check(
            5,
            "STATEMENT_REPEATED",
            "namesakes > 1 OR of_period > 1 OR of_key > 1",
            "concat('statements of its id ', namesakes, ', scheduled for its period ', of_period,"
            " ', of its idempotency key ', of_key)",
        ),
        Check(
            3,
            "STATEMENT_NUMBERS_BROKEN",
            "number <> before + 1 OR account_version < version_before",
            "concat('it follows ', before, ', at version ', account_version, ' after ',"
            " version_before)",
        ),
        Check(
            5,
            "STATEMENT_PREVIOUS_WRONG",
            "previous_number IS DISTINCT FROM adjoining",
            "concat('it follows on ', coalesce(previous_number::text, 'none'), ', adjoining is ',"
            " coalesce(adjoining::text, 'none'))",
        ),
        Check(
            2,
            "STATEMENT_TOTALS_NOT_OF_ENTRIES",
            "row(opening_debits, opening_credits, closing_debits, closing_credits, line_count)"
            " IS DISTINCT FROM row(fold_opening_debits, fold_opening_credits,"
            " fold_closing_debits, fold_closing_credits, fold_lines)",
            "concat('it says ', row(opening_debits, opening_credits, closing_debits,"
            " closing_credits, line_count), ', its entries come to ', row(fold_opening_debits,"
            " fold_opening_credits, fold_closing_debits, fold_closing_credits, fold_lines))",
        ),
    ),
)

DISCREPANCIES = Pass(
    title="discrepancies",
    rows="""
        SELECT d.*, r.reconciliation_id IS NULL AS homeless,
            d.status = 'resolved' AND t.sequence IS NULL AS unfounded
        FROM reconciliation_discrepancies d
        LEFT JOIN reconciliations r ON r.organization_id = d.organization_id
            AND r.reconciliation_id = d.reconciliation_id AND r.ledger_id = d.ledger_id
        LEFT JOIN transactions t ON t.organization_id = d.organization_id
            AND t.ledger_id = d.ledger_id AND t.sequence = d.transaction_sequence
    """,
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
            "RESOLUTION_WITHOUT_TRANSACTION",
            "unfounded",
            "concat('transaction ', transaction_sequence, ' is not there')",
        ),
    ),
)

STATEMENT_SCHEDULES = Pass(
    title="schedules of statements",
    rows="""
        SELECT s.*, l.ledger_id IS NULL AS homeless
        FROM statement_schedules s LEFT JOIN ledgers l USING (organization_id, ledger_id)
    """,
    subject="concat('statement schedule ', schedule_id)",
    checks=(
        Check(4, "SCHEDULE_WITHOUT_LEDGER", "homeless", "'the organization has no such ledger'"),
        Check(
            5,
            "SCHEDULE_NEVER_DUE",
            "(due_at IS NULL) <> (deleted_at IS NOT NULL)",
            "concat('due ', coalesce(due_at::text, 'never'), ', deleted ',"
            " coalesce(deleted_at::text, 'never'))",
        ),
    ),
)

SETTLEMENTS = Pass(
    title="settlements",
    rows=f"""
        SELECT s.*, t.transaction_id IS NULL AS unpaid, r.sequence AS reversed,
            coalesce(m.net, 0) AS net, coalesce(m.entries, 0) AS entries,
            coalesce(o.left_out, 0) AS left_out
        FROM (
            SELECT *, lag(number, 1, 0::bigint) OVER past AS before
            FROM settlements
            WINDOW past AS (PARTITION BY organization_id, account_id ORDER BY number)
        ) s
        LEFT JOIN accounts a ON a.organization_id = s.organization_id
            AND a.ledger_id = s.ledger_id AND a.account_id = s.account_id
        LEFT JOIN entries e ON e.organization_id = s.organization_id
            AND e.account_id = s.account_id AND e.transaction_sequence = s.transaction_sequence
            AND e.direction <> a.normal_balance AND e.amount = s.amount AND e.effect = 'post'
        LEFT JOIN transactions t ON t.organization_id = e.organization_id
            AND t.ledger_id = e.ledger_id AND t.sequence = e.transaction_sequence
            AND t.transaction_id = s.settlement_id AND t.ledger_id = s.ledger_id
        LEFT JOIN transactions r ON r.organization_id = s.organization_id
            AND r.ledger_id = s.ledger_id AND r.reverses_sequence = s.transaction_sequence
        LEFT JOIN (
            SELECT m.organization_id, m.settlement_id, count(*) AS entries,
                sum(CASE WHEN e.direction = a.normal_balance THEN e.amount ELSE -e.amount END)
                    AS net
            FROM settlement_entries m
            JOIN entries e ON e.organization_id = m.organization_id
                AND e.account_id = m.account_id AND e.sequence = m.sequence
            JOIN accounts a ON a.organization_id = m.organization_id
                AND a.account_id = m.account_id
            GROUP BY 1, 2
        ) m ON m.organization_id = s.organization_id AND m.settlement_id = s.settlement_id
        LEFT JOIN (
            SELECT e.organization_id, e.account_id, last.number, count(*) AS left_out
            FROM (
                SELECT DISTINCT ON (organization_id, account_id) organization_id, account_id,
                    number, open_from, transaction_sequence
                FROM settlements ORDER BY organization_id, account_id, number DESC
            ) last
            JOIN entries e ON e.organization_id = last.organization_id
                AND e.account_id = last.account_id AND {_ON_POSTED} <> 0
            LEFT JOIN (
                SELECT m.organization_id, m.account_id, m.sequence
                FROM settlement_entries m JOIN settlements s
                    ON s.organization_id = m.organization_id
                    AND s.settlement_id = m.settlement_id AND s.released_sequence IS NULL
            ) live ON live.organization_id = e.organization_id
                AND live.account_id = e.account_id AND live.sequence = e.sequence
            LEFT JOIN (
                SELECT organization_id, account_id, transaction_sequence AS own FROM settlements
                UNION ALL SELECT organization_id, account_id, released_sequence FROM settlements
            ) own ON own.organization_id = e.organization_id
                AND own.account_id = e.account_id AND own.own = e.transaction_sequence
            LEFT JOIN (
                SELECT s.organization_id, s.account_id, s.released_sequence, s.first_sequence
                FROM settlements s WHERE s.released_sequence IS NOT NULL
            ) released ON released.organization_id = e.organization_id
                AND released.account_id = e.account_id
                AND released.released_sequence > last.transaction_sequence
                AND released.first_sequence <= e.sequence
            WHERE live.sequence IS NULL AND own.own IS NULL AND e.sequence < last.open_from
                AND released.first_sequence IS NULL
            GROUP BY 1, 2, 3
        ) o ON o.organization_id = s.organization_id AND o.account_id = s.account_id
            AND o.number = s.number
    """,  # noqa: S608  the steps are ours
    subject="concat('settlement ', account_id, '/', number)",
    checks=(
        Check(
            5,
            "SETTLEMENT_WITHOUT_PAYOUT",
            "unpaid",
            "concat('transaction ', transaction_sequence, ' does not take ', amount,"
            " ' from the account')",
        ),
        Check(
            3, "SETTLEMENT_NUMBERS_BROKEN", "number <> before + 1", "concat('it follows ', before)"
        ),
        Check(
            2,
            "SETTLEMENT_NOT_OF_ENTRIES",
            "amount <> net OR entry_count <> entries",
            "concat(entry_count, ' entries of ', amount, ', its marks are of ', entries, ' of ',"
            " net)",
        ),
        Check(
            5,
            "SETTLEMENT_RELEASE_WRONG",
            "released_sequence IS DISTINCT FROM reversed",
            "concat('released by ', coalesce(released_sequence::text, 'none'), ', reversed by ',"
            " coalesce(reversed::text, 'none'))",
        ),
        Check(
            2,
            "ENTRIES_NEVER_SETTLED",
            "left_out > 0",
            "concat(left_out, ' entries before ', open_from, ' are unsettled and not looked for')",
        ),
    ),
)

SETTLEMENT_ENTRIES = Pass(
    title="settled entries",
    rows="""
        SELECT m.*, coalesce(s.ledger_id, e.ledger_id) AS ledger_id,
            (e.effect IN ('post', 'settle') AND e.effective_at < s.up_to
                AND s.account_id = m.account_id) IS NOT TRUE AS astray,
            count(*) FILTER (WHERE s.released_sequence IS NULL)
                OVER (PARTITION BY m.organization_id, m.account_id, m.sequence) AS live
        FROM (
            SELECT *, lag(round, 1, 0) OVER (
                PARTITION BY organization_id, account_id, sequence ORDER BY round
            ) AS before
            FROM settlement_entries
        ) m
        LEFT JOIN settlements s ON s.organization_id = m.organization_id
            AND s.settlement_id = m.settlement_id
        LEFT JOIN entries e ON e.organization_id = m.organization_id
            AND e.account_id = m.account_id AND e.sequence = m.sequence
    """,
    subject="concat('settled entry ', account_id, '/', sequence, ', round ', round)",
    checks=(
        Check(
            4,
            "SETTLED_ENTRY_ASTRAY",
            "astray",
            "'its settlement does not collect a posted entry of this account and time'",
        ),
        Check(3, "SETTLED_ROUNDS_BROKEN", "round <> before + 1", "concat('it follows ', before)"),
        Check(
            2, "ENTRY_SETTLED_TWICE", "live > 1", "concat(live, ' settlements have paid it out')"
        ),
    ),
)

EXTERNAL_ACCOUNTS = Pass(
    title="external accounts",
    rows="""
        SELECT x.*, a.ledger_id IS DISTINCT FROM x.ledger_id AS astray,
            coalesce(s.number, 0) AS statements, coalesce(s.last, 0) AS newest_statement,
            coalesce(l.number, 0) AS lines, coalesce(l.last, 0) AS newest_line,
            count(*) OVER (PARTITION BY x.organization_id, x.external_account_id) AS namesakes
        FROM external_accounts x
        LEFT JOIN accounts a ON a.organization_id = x.organization_id
            AND a.account_id = x.account_id
        LEFT JOIN (
            SELECT organization_id, external_account_id, count(*) AS number, max(number) AS last
            FROM external_statements GROUP BY 1, 2
        ) s ON s.organization_id = x.organization_id
            AND s.external_account_id = x.external_account_id
        LEFT JOIN (
            SELECT organization_id, external_account_id, count(*) AS number, max(number) AS last
            FROM statement_lines GROUP BY 1, 2
        ) l ON l.organization_id = x.organization_id
            AND l.external_account_id = x.external_account_id
    """,
    subject="concat('external account ', external_account_id)",
    checks=(
        Check(4, "EXTERNAL_ACCOUNT_WITHOUT_ACCOUNT", "astray", "'its ledger has no such account'"),
        Check(
            4,
            "EXTERNAL_ACCOUNT_REPEATED",
            "namesakes > 1",
            "concat('there are ', namesakes, ' of them')",
        ),
        Check(
            4,
            "STATEMENTS_NOT_COUNTED",
            "last_statement IS DISTINCT FROM statements"
            " OR last_statement IS DISTINCT FROM newest_statement",
            "concat('it counts ', last_statement, ', there are ', statements, ' up to number ',"
            " newest_statement)",
        ),
        Check(
            4,
            "STATEMENT_LINES_NOT_COUNTED",
            "last_line IS DISTINCT FROM lines OR last_line IS DISTINCT FROM newest_line",
            "concat('it counts ', last_line, ', there are ', lines, ' up to number ', newest_line)",
        ),
    ),
)

EXTERNAL_STATEMENTS = Pass(
    title="external statements",
    rows="""
        SELECT s.*, x.ledger_id IS DISTINCT FROM s.ledger_id AS astray,
            i.status IS DISTINCT FROM 'completed'
                OR i.external_account_id IS DISTINCT FROM s.external_account_id AS not_imported,
            coalesce(p.places, 0) AS places, coalesce(p.repeats, 0) AS repeats,
            coalesce(p.first, 1) AS first, coalesce(p.last, 0) AS last,
            coalesce(p.total, 0) AS total,
            count(*) OVER (PARTITION BY s.organization_id, s.external_statement_id) AS namesakes,
            count(*) OVER (PARTITION BY s.organization_id, s.external_account_id, s.number)
                AS twins
        FROM external_statements s
        LEFT JOIN (
            SELECT DISTINCT organization_id, external_account_id, ledger_id FROM external_accounts
        ) x ON x.organization_id = s.organization_id
            AND x.external_account_id = s.external_account_id
        LEFT JOIN statement_imports i ON i.organization_id = s.organization_id
            AND i.import_id = s.import_id
        LEFT JOIN (
            SELECT h.organization_id, h.external_statement_id, count(DISTINCT p.position) AS places,
                count(*) FILTER (WHERE p.repeats) AS repeats, min(p.position) AS first,
                max(p.position) AS last, sum(p.amount) FILTER (WHERE p.currency = h.currency)
                    AS total
            FROM external_statements h
            JOIN (
                SELECT organization_id, external_statement_id, position, amount, currency,
                    false AS repeats
                FROM statement_lines
                UNION ALL
                SELECT r.organization_id, r.external_statement_id, r.position, l.amount,
                    l.currency, true
                FROM statement_line_repeats r
                LEFT JOIN statement_lines l ON l.organization_id = r.organization_id
                    AND l.external_account_id = r.external_account_id AND l.number = r.number
            ) p ON p.organization_id = h.organization_id
                AND p.external_statement_id = h.external_statement_id
            GROUP BY 1, 2
        ) p ON p.organization_id = s.organization_id
            AND p.external_statement_id = s.external_statement_id
    """,
    subject="concat('external statement ', external_account_id, '/', number)",
    checks=(
        Check(
            4,
            "STATEMENT_WITHOUT_EXTERNAL_ACCOUNT",
            "astray",
            "'its ledger has no such external account'",
        ),
        Check(
            4,
            "STATEMENT_WITHOUT_IMPORT",
            "not_imported",
            "'no import of the external account has brought it'",
        ),
        Check(
            4,
            "EXTERNAL_STATEMENT_REPEATED",
            "namesakes > 1 OR twins > 1",
            "concat('of its id there are ', namesakes, ', of its number ', twins)",
        ),
        Check(
            4,
            "STATEMENT_LINES_MISSING",
            "namesakes = 1 AND (places IS DISTINCT FROM line_count OR last IS DISTINCT FROM"
            " line_count OR first <> 1 OR repeats IS DISTINCT FROM known_count)",
            "concat('it has ', line_count, ' lines, ', known_count, ' of them known; there are ',"
            " places, ' from ', first, ' to ', last, ', ', repeats, ' of them repeats')",
        ),
        Check(
            4,
            "STATEMENT_TOTAL_WRONG",
            "namesakes = 1 AND total IS DISTINCT FROM line_total",
            "concat('it says ', line_total, ', its lines come to ', total)",
        ),
    ),
)

STATEMENT_LINES = Pass(
    title="statement lines",
    rows="""
        SELECT l.*, s.ledger_id,
            s.external_account_id IS DISTINCT FROM l.external_account_id AS astray,
            count(*) OVER (PARTITION BY l.organization_id, l.external_account_id, l.number)
                AS namesakes,
            count(*) OVER (PARTITION BY l.organization_id, l.external_account_id, l.fingerprint)
                AS twins
        FROM statement_lines l
        LEFT JOIN external_statements s ON s.organization_id = l.organization_id
            AND s.external_statement_id = l.external_statement_id
    """,
    subject="concat('statement line ', external_account_id, '/', number)",
    checks=(
        Check(
            4,
            "STATEMENT_LINE_WITHOUT_STATEMENT",
            "astray",
            "'its external account has no such statement'",
        ),
        Check(
            4,
            "STATEMENT_LINE_REPEATED",
            "namesakes > 1 OR twins > 1",
            "concat('of its number there are ', namesakes, ', of its fingerprint ', twins)",
        ),
    ),
)

STATEMENT_LINE_REPEATS = Pass(
    title="repeats of statement lines",
    rows="""
        SELECT r.*, s.ledger_id,
            s.external_account_id IS DISTINCT FROM r.external_account_id
                OR l.number IS NULL OR h.number > s.number AS astray
        FROM statement_line_repeats r
        LEFT JOIN external_statements s ON s.organization_id = r.organization_id
            AND s.external_statement_id = r.external_statement_id
        LEFT JOIN statement_lines l ON l.organization_id = r.organization_id
            AND l.external_account_id = r.external_account_id AND l.number = r.number
        LEFT JOIN external_statements h ON h.organization_id = l.organization_id
            AND h.external_statement_id = l.external_statement_id
    """,
    subject="concat('repeat of statement line ', external_account_id, '/', number)",
    checks=(
        Check(
            4,
            "LINE_REPEATS_NOTHING",
            "astray",
            "'no earlier statement of the external account has such a line'",
        ),
    ),
)

STATEMENT_IMPORTS = Pass(
    title="statement imports",
    rows="""
        SELECT i.*, x.ledger_id IS DISTINCT FROM i.ledger_id AS astray,
            coalesce(s.lines, 0) AS lines, coalesce(s.known, 0) AS known
        FROM statement_imports i
        LEFT JOIN external_accounts x ON x.organization_id = i.organization_id
            AND x.external_account_id = i.external_account_id
        LEFT JOIN (
            SELECT organization_id, import_id, sum(line_count) AS lines, sum(known_count) AS known
            FROM external_statements GROUP BY 1, 2
        ) s ON s.organization_id = i.organization_id AND s.import_id = i.import_id
    """,
    subject="concat('statement import ', external_account_id)",
    checks=(
        Check(
            4,
            "IMPORT_WITHOUT_EXTERNAL_ACCOUNT",
            "astray",
            "'its ledger has no such external account'",
        ),
        Check(
            4,
            "IMPORT_IN_PART",
            "CASE status WHEN 'completed' THEN lines_new + lines_known <> lines"
            " OR lines_known <> known OR lines_read <> lines ELSE lines <> 0 END",
            "concat('it is ', status, ' with ', lines_new, ' new and ', lines_known,"
            " ' known lines; its statements have ', lines, ', of them ', known, ' known')",
        ),
    ),
)

PASSES: tuple[Pass, ...] = (
    LEDGERS,
    CURRENCIES,
    ACCOUNTS,
    TRANSACTIONS,
    EVENTS,
    EVENT_CURRENCIES,
    HOLD_SIDES,
    REVERSED_SIDES,
    CORRECTIONS,
    TRANSACTION_LINES,
    ACCOUNT_LINES,
    VELOCITY_LIMITS,
    TEMPLATES,
    TEMPLATE_USES,
    PERIODS,
    CLOSED_PERIODS,
    KEPT_TOTALS,
    CREDIT_LOTS,
    LOTS_OF_ACCOUNTS,
    LOT_MOVEMENTS,
    RECONCILIATIONS,
    MATCHES,
    MATCH_MEMBERS,
    DISCREPANCIES,
    STATEMENTS,
    STATEMENT_SCHEDULES,
    SETTLEMENTS,
    SETTLEMENT_ENTRIES,
    EXTERNAL_ACCOUNTS,
    EXTERNAL_STATEMENTS,
    STATEMENT_LINES,
    STATEMENT_LINE_REPEATS,
    STATEMENT_IMPORTS,
)

CONTENT = Check(
    5, "STATEMENT_CONTENT_WRONG", "", "what it says does not have the hash that it was given"
)
"""The one check that SQL does not make (see `verify.py`)."""

INVARIANT_OF: Mapping[str, int] = MappingProxyType(
    {check.name: check.invariant for one in PASSES for check in one.checks}
    | {CONTENT.name: CONTENT.invariant}
)
"""Name of a violation: the number of the invariant in the design's list."""


def statement(one: Pass) -> str:
    """The SQL of a pass: up to %(limit)s violations of each name, in order of subject."""
    # The inner WHERE lets the details of a row be computed only where something is broken.
    return f"""
        SELECT name, organization_id, ledger_id, subject, detail
        FROM (
            SELECT r.organization_id, r.ledger_id, r.subject, c.name, c.detail,
                row_number() OVER (
                    PARTITION BY c.name
                    ORDER BY r.organization_id, r.ledger_id, r.subject COLLATE "C", c.detail
                ) AS place
            FROM (
                SELECT *, {one.subject} AS subject FROM ({one.rows}) r
                WHERE {" OR ".join(f"({check.broken})" for check in one.checks)}
            ) r
            CROSS JOIN LATERAL (VALUES {", ".join(map(_finding, one.checks))})
                AS c (name, broken, detail)
            WHERE c.broken
        ) found
        WHERE place <= %(limit)s
        ORDER BY name COLLATE "C", place
    """  # noqa: S608  nothing from outside comes near it


def _finding(check: Check) -> str:
    return f"('{check.name}', ({check.broken}), {check.detail})"
