"""Ids as clients see them: a prefix that tells the type, and the UUID in hexadecimal.

They are opaque: clients keep and send them, nothing more. An entry's id holds its account's UUID
and its sequence, a transaction template's its UUID and its version, a statement line's its external
account's UUID and its number.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import strawberry

LEDGER, ACCOUNT, TRANSACTION, ENTRY = "ldgr", "acct", "txn", "ent"
TEMPLATE, LOT = "tmpl", "lot"
EXTERNAL_ACCOUNT, IMPORT, EXTERNAL_STATEMENT, LINE = "xacc", "imp", "xstm", "line"
RECONCILIATION, RUN, MATCH, DISCREPANCY = "rcn", "run", "mtch", "disc"
STATEMENT, STATEMENT_SCHEDULE, SETTLEMENT = "stmt", "stsc", "stlm"

NUMBERED = (ENTRY, TEMPLATE, LINE)

_ID = re.compile(
    r"(ldgr|acct|txn|ent|tmpl|lot|xacc|imp|xstm|line|rcn|run|mtch|disc|stmt|stsc|stlm)"
    r"_([0-9a-f]{32})(?:_([1-9][0-9]{0,18}))?",
    re.ASCII,
)
_LAST_SEQUENCE = 2**63 - 1
_DIGITS = len("_") + 32


class Decoded(NamedTuple):
    """What an id names; `sequence` for entries, else a template's version or a line's number."""

    prefix: str
    uuid: UUID
    sequence: int | None


def encode(prefix: str, uuid: UUID) -> strawberry.ID:
    return strawberry.ID(f"{prefix}_{uuid.int:032x}")


def encode_entry(account_id: UUID, sequence: int) -> strawberry.ID:
    return strawberry.ID(f"{ENTRY}_{account_id.hex}_{sequence}")


def encode_template(template_id: UUID, version: int) -> strawberry.ID:
    return strawberry.ID(f"{TEMPLATE}_{template_id.hex}_{version}")


def encode_line(external_account_id: UUID, number: int) -> strawberry.ID:
    return strawberry.ID(f"{LINE}_{external_account_id.hex}_{number}")


def decode(text: str) -> Decoded | None:
    """Read an id of any type; None where it is none."""
    match = _ID.fullmatch(text)
    if match is None or (match[1] in NUMBERED) != (match[3] is not None):
        return None
    sequence = None if match[3] is None else int(match[3])
    if sequence is not None and sequence > _LAST_SEQUENCE:
        return None
    return Decoded(match[1], UUID(match[2]), sequence)


def decode_as(prefix: str, text: str) -> UUID | None:
    """Read an id that must be of one type, other than an entry's; None where it is not."""
    return _decode_as(prefix, text) if len(text) == len(prefix) + _DIGITS else None


@lru_cache(20_000)
def _decode_as(prefix: str, text: str) -> UUID | None:
    """Busy clients name the same few thousand ids again and again; what is longer is none."""
    match = _ID.fullmatch(text)
    if match is None or match[1] != prefix or match[3] is not None:
        return None
    return UUID(int=int(match[2], 16))
