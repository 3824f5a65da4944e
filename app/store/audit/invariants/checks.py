"""What a check is, and the SQL that makes a pass of them over whole tables."""

from dataclasses import dataclass

from app.ledger.accounts.balances import STEPS


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


def only_once(invariant: int, name: str) -> Check:
    """Each is there once; `namesakes` counts its equals, itself included."""
    return Check(invariant, name, "namesakes > 1", "concat('it is there ', namesakes, ' times')")


def without_gap(invariant: int, name: str, number: str) -> Check:
    """Numbers go 1, 2, 3: each follows `before`, which is 0 at the first."""
    return Check(invariant, name, f"{number} <> before + 1", "concat('it follows ', before)")


def not_back_in_time(name: str) -> Check:
    """What is recorded after something is not recorded earlier."""
    return Check(
        3,
        name,
        "recorded_at < recorded_before",
        "concat('recorded at ', recorded_at, ', the one before it at ', recorded_before)",
    )


def _step(on: int) -> str:
    """An entry's sign on posted (0) or on pending (1), as `balances.STEPS` has it."""
    signs = " ".join(f"WHEN '{effect.value}' THEN {signs[on]}" for effect, signs in STEPS.items())
    return f"CASE e.effect {signs} END"


ON_POSTED, ON_PENDING = _step(0), _step(1)


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
