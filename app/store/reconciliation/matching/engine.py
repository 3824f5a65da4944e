"""The engine of reconciliations: matches and discrepancies, found set by set in SQL.

Whoever uses it holds the locks of the external account and of the reconciliation, in that order,
until commit: no line arrives meanwhile, and no other reconciliation of the external account takes
one. Entries go on arriving, so nothing looks beyond `version`, the last entry when the work began.
What is written is a function of the rows that were read, so doing it again changes nothing.

    loading.py        lines and entries into temporary tables
    piles.py          what a rule compares, in two piles
    pairs.py          the piles in pairs
    keeping.py        pairs as matches
    bridging.py       what both sides come to
    discrepancies.py  what does not agree
"""

from dataclasses import dataclass

from app.store.database import Connection
from app.store.reconciliation.matching.bridging import add_up, write_state
from app.store.reconciliation.matching.discrepancies import find
from app.store.reconciliation.matching.keeping import keep, withdraw_taken
from app.store.reconciliation.matching.loading import load
from app.store.reconciliation.matching.pairs import match
from app.store.reconciliation.matching.work import Subject, Work


@dataclass(frozen=True, slots=True)
class Found:
    """What a run changed."""

    confirmed: int
    proposed: int
    withdrawn: int
    appeared: int
    vanished: int


async def run(connection: Connection, subject: Subject) -> Found:
    """Find matches, keep them, and find what is wrong then."""
    work = Work(connection, subject)
    await load(work, proposals=False)
    await match(work)
    confirmed, proposed, withdrawn = await keep(work)
    # What is left of the tables is what no match has.
    appeared, vanished = await _look(work)
    return Found(confirmed, proposed, withdrawn, appeared, vanished)


async def examine(connection: Connection, subject: Subject) -> tuple[int, int]:
    """Find what is wrong as the matches are: how many discrepancies are new, and gone."""
    work = Work(connection, subject)
    await withdraw_taken(work)
    await load(work, proposals=True)
    return await _look(work)


async def _look(work: Work) -> tuple[int, int]:
    sums, statements = await add_up(work)
    changed = await find(work, sums, statements)
    await write_state(work, sums)
    return changed
