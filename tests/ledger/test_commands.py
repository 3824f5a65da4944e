"""Commands as values: what is refused, and what identifies a content."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Mode, Scope
from app.ledger.refusals import ValidationFailed
from app.ledger.transactions.commands import (
    AmountRange,
    BalanceCondition,
    Command,
    EntryDraft,
    HoldReason,
    PostTransaction,
    ReverseTransaction,
    SettleLine,
    SettleTransaction,
    UpdateTransaction,
    VoidTransaction,
    check_metadata,
)

SCOPE = Scope(UUID(int=1), Mode.TEST)
ENTRIES = (
    EntryDraft(UUID(int=3), Direction.DEBIT, 5),
    EntryDraft(UUID(int=4), Direction.CREDIT, 5),
)
POSTING = PostTransaction(SCOPE, UUID(int=9), UUID(int=2), "key", ENTRIES)
SETTLING = SettleTransaction(SCOPE, UUID(int=9), "key")
VOIDING = VoidTransaction(SCOPE, UUID(int=9), "key")
REVERSING = ReverseTransaction(SCOPE, UUID(int=9), UUID(int=10), "key")
UPDATING = UpdateTransaction(SCOPE, UUID(int=9), "key", {"description": "x"})


EVERY_BOUND = BalanceCondition(
    posted=AmountRange(eq=-1), pending=AmountRange(gt=-(10**36), lte=0), available=AmountRange()
)
GOLDEN = {
    "posting": "7cdd07788769e4fccadfeada20889160ec073d2e958511e37452d3c262185078",
    "full": "cfac297c83baea4e788f1f4ffb89f52453ed8e78c99e640a2c2963f383a6a4fa",
    "bounded": "1a567ded73ae303f8053b086214e49717d1bc34da92310cdbe31ea6c435ec473",
    "settling": "0ad712d34beaf0426005c4431069bcaf70fa3e25ed24ddd2db06af30ca9a0a3e",
    "not final": "d3ed1d13c0036eea1645300a048e53a24b34942b89d66cf1f1b903570ac41141",
    "part": "5edab4bddc3fc28151dfb086d0d08e7f32940f48336e74ab95de4e5694c55001",
    "voiding": "1de0929e0addd3ba424f1e1b20a3956b3401aa5b4953c76760779d9816b809b8",
    "described": "e8c1dbc91dad5ee2dad2f2c53ffaeb8e56a99787c83776c66de125bd4b609a5f",
    "terms": "8a948fbe3006f5dea6e0cfa62f60c297d6c8d3d6376ecf3db55450b1f0418242",
    "reversing": "6b81e720f632a4c18374694b8c0c4841d90e049cdb49eb9d16a1d568f1641a8d",
    "reversing a part": "f307ae4375afd9b7158bdd70adb325583e5df5ad30fe4a2c2ce86c2c28903060",
    "updating": "76786d615a7f1b7499029d3d71292c52bee07d24d9d5c2641a86fca95d319570",
    "clearing": "80c07fca60b1d9386a52df9ef521a48319a1a1c32307300d3488e714e4bdd14a",
}


def test_fingerprints_never_change() -> None:
    """The digests of known commands are those of the first release; keys are kept for ever."""
    full = replace(
        POSTING,
        pending=True,
        description="Größe\n",
        external_id="order",
        metadata={"b": [1, 2.5, None], "a": {"x": True}},
        effective_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        entries=(
            replace(
                ENTRIES[0],
                metadata={"k": "v"},
                condition=BalanceCondition(available=AmountRange(gte=0, lt=10**36)),
                account_version=0,
            ),
            ENTRIES[1],
        ),
    )
    lines = (SettleLine(UUID(int=3), Direction.DEBIT, 5),)
    terms = replace(
        POSTING,
        pending=True,
        reason=HoldReason.PAYOUT,
        posts_at=datetime(2026, 1, 1, tzinfo=UTC),
        expires_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    part = replace(
        REVERSING,
        lines=lines,
        effective_at=datetime(2026, 1, 1, tzinfo=UTC),
        description="why",
        metadata={"k": "v"},
    )
    cleared = replace(UPDATING, changes={"description": None, "metadata": {}})
    known: dict[str, Command] = {
        "posting": POSTING,
        "full": full,
        "bounded": replace(
            POSTING, entries=(replace(ENTRIES[0], condition=EVERY_BOUND), ENTRIES[1])
        ),
        "settling": SETTLING,
        "not final": replace(SETTLING, final=False),
        "part": replace(SETTLING, lines=lines, final=False),
        "voiding": VOIDING,
        "described": replace(VOIDING, description="why"),
        "terms": terms,
        "reversing": REVERSING,
        "reversing a part": part,
        "updating": UPDATING,
        "clearing": cleared,
    }
    assert {name: command.fingerprint().hex() for name, command in known.items()} == GOLDEN


@pytest.mark.parametrize(
    "change",
    [
        {"pending": True},
        {"description": "x"},
        {"external_id": "x"},
        {"metadata": {"x": 1}},
        {"effective_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"entries": ENTRIES[::-1]},
        {"entries": (replace(ENTRIES[0], amount=6), ENTRIES[1])},
        {"entries": (replace(ENTRIES[0], account_id=UUID(int=5)), ENTRIES[1])},
        {"entries": (replace(ENTRIES[0], metadata={"x": 1}), ENTRIES[1])},
        {"entries": (replace(ENTRIES[0], account_version=0), ENTRIES[1])},
        {"entries": (replace(ENTRIES[0], account_version=1), ENTRIES[1])},
        {
            "entries": (
                replace(ENTRIES[0], condition=BalanceCondition(posted=AmountRange(eq=0))),
                ENTRIES[1],
            )
        },
    ],
)
def test_what_is_content(change: dict[str, Any]) -> None:
    """Every field that changes what is recorded, or whether, changes the fingerprint."""
    assert replace(POSTING, **change).fingerprint() != POSTING.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"reason": HoldReason.CUSTOM},
        {"posts_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"expires_at": datetime(2026, 1, 1, tzinfo=UTC)},
    ],
)
def test_what_is_content_of_a_hold(change: dict[str, Any]) -> None:
    """So does each of the terms of a hold."""
    hold = replace(POSTING, pending=True)
    assert replace(hold, **change).fingerprint() != hold.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"idempotency_key": "other"},
        {"transaction_id": UUID(int=8)},
        {"dry_run": True},
        {"scope": Scope(UUID(int=7), Mode.LIVE)},
        {"description": None},
        {"metadata": {}},
    ],
)
def test_what_is_not_content(change: dict[str, Any]) -> None:
    """The key itself, ids of ours, dry runs, who asks, and defaults do not enter."""
    assert replace(POSTING, **change).fingerprint() == POSTING.fingerprint()


def test_one_moment_in_two_zones() -> None:
    """A time is the same content whatever offset it was written with."""
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    elsewhere = noon.astimezone(timezone(timedelta(hours=5)))
    assert (
        replace(POSTING, effective_at=noon).fingerprint()
        == replace(POSTING, effective_at=elsewhere).fingerprint()
    )


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": "\0"},
        {"\0": "a"},
        {"a": "\ud800"},
        {"a": 2**63},
        {"a": -(2.0**63)},
        {"a": float("inf")},
        {"a": float("nan")},
        {"a": [[[[[[[[1]]]]]]]]},
        {"a": "x" * 16_384},
    ],
)
def test_metadata_that_cannot_be_kept(metadata: dict[str, Any]) -> None:
    """What PostgreSQL or other readers of JSON could not hold as it is, is refused."""
    with pytest.raises(ValidationFailed):
        check_metadata(metadata, ("input", "metadata"))


def test_metadata_at_its_limits() -> None:
    """Eight levels, large numbers, and any writing are kept."""
    check_metadata({"a": [[[[[[[1]]]]]]]}, ())
    check_metadata({"a": 2**63 - 1, "b": "👨‍👩‍👧 Größe", "c": None, "": True}, ())


@pytest.mark.parametrize("text", ["", " ", "a\nb", "a\x7f", "x" * 256])
def test_keys_that_are_none(text: str) -> None:
    """An idempotency key is 1 to 255 characters, none of them for control."""
    with pytest.raises(ValidationFailed) as caught:
        replace(POSTING, idempotency_key=text).check()
    assert caught.value.path == ("input", "idempotencyKey")
