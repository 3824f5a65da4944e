"""What others say of our money: accounts in their books, and the statements they send."""

from enum import Enum


class ExternalAccountKind(Enum):
    """Whose books an external account is in."""

    BANK = "bank"
    ACQUIRER = "acquirer"
    PARTNER = "partner"
    OTHER = "other"


class StatementFormat(Enum):
    """What a statement comes as; ROWS are those of a mutation."""

    CSV = "csv"
    CAMT_053 = "camt.053"
    CAMT_054 = "camt.054"
    MT940 = "mt940"
    OFX = "ofx"
    ROWS = "rows"


class ImportStatus(Enum):
    """How far a file has come."""

    IMPORTING = "importing"
    COMPLETED = "completed"
    FAILED = "failed"
