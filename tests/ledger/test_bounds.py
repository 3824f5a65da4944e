"""What a command may hold at most and at least, and which contents are one content."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Mode, Scope
from app.ledger.refusals import ValidationFailed
from app.ledger.transactions.commands import (
    MAX_ENTRIES,
    MAX_METADATA_BYTES,
    AmountRange,
    BalanceCondition,
    Command,
    EntryDraft,
    PostTransaction,
    SettleLine,
    SettleTransaction,
    VoidTransaction,
    check_together,
)

SCOPE = Scope(UUID(int=1), Mode.TEST)
DRAFT = EntryDraft(UUID(int=3), Direction.DEBIT, 5)
LINE = SettleLine(UUID(int=3), Direction.DEBIT, 5)
POSTING = PostTransaction(SCOPE, UUID(int=9), UUID(int=2), "key", (DRAFT, DRAFT))
SETTLING = SettleTransaction(SCOPE, UUID(int=9), "key", (LINE, LINE))
VOIDING = VoidTransaction(SCOPE, UUID(int=9), "key")


def nested(levels: int) -> dict[str, Any]:
    """Metadata of that many levels, the object itself being the first."""
    return {"a": nested(levels - 1) if levels > 1 else 1}


def sized(size: int) -> dict[str, Any]:
    """Metadata of that many bytes of JSON."""
    return {"a": "ö" + "x" * (size - len('{"a": "ö"}'.encode()))}


def with_metadata(metadata: dict[str, Any]) -> list[tuple[Command, tuple[str, ...]]]:
    return [
        (replace(POSTING, metadata=metadata), ("input", "metadata")),
        (
            replace(POSTING, entries=(DRAFT, replace(DRAFT, metadata=metadata))),
            ("input", "entries", "1", "metadata"),
        ),
    ]


def with_amount(amount: int) -> list[tuple[Command, tuple[str, ...]]]:
    path = ("input", "entries", "1", "amount")
    return [
        (replace(POSTING, entries=(DRAFT, replace(DRAFT, amount=amount))), path),
        (replace(SETTLING, lines=(LINE, replace(LINE, amount=amount))), path),
    ]


def with_count(count: int) -> list[tuple[Command, tuple[str, ...]]]:
    return [
        (replace(POSTING, entries=(DRAFT,) * count), ("input", "entries")),
        (replace(SETTLING, lines=(LINE,) * count), ("input", "entries")),
    ]


def with_key(key: str) -> list[tuple[Command, tuple[str, ...]]]:
    path = ("input", "idempotencyKey")
    return [(replace(c, idempotency_key=key), path) for c in (POSTING, SETTLING, VOIDING)]


def with_description(text: str) -> list[tuple[Command, tuple[str, ...]]]:
    path = ("input", "description")
    return [(replace(c, description=text), path) for c in (POSTING, VOIDING)]


def with_external_id(text: str) -> list[tuple[Command, tuple[str, ...]]]:
    return [(replace(POSTING, external_id=text), ("input", "externalId"))]


BOUNDS: list[tuple[Callable[[Any], list[tuple[Command, tuple[str, ...]]]], list[Any], list[Any]]]
BOUNDS = [
    (with_amount, [1, 10**36], [0, -1, 10**36 + 1]),
    (with_count, [2, MAX_ENTRIES], [0, 1, MAX_ENTRIES + 1]),
    (with_key, ["x", "x" * 255, "ключ 👍", " x "], ["", " ", "x" * 256, "\n", "a\x85", "\ud800"]),
    (with_external_id, ["x", "x" * 255], ["", "\t", "x" * 256, "a\0", "a\udfff"]),
    (
        with_description,
        ["", " ", "x" * 2000, "a\r\n\tb"],
        ["x" * 2001, "\0", "\x1b", "\x7f", "\x9f", "\ud800"],
    ),
    (
        with_metadata,
        [{}, nested(8), sized(MAX_METADATA_BYTES), {"a": -(2**63) + 1}, {"a": 1e18}],
        [nested(9), sized(MAX_METADATA_BYTES + 1), {"a": [-(2**63)]}, {"a": 1e19}, {"a\0": 1}],
    ),
]


@pytest.mark.parametrize(("build", "kept", "refused"), BOUNDS)
def test_bounds(
    build: Callable[[Any], list[tuple[Command, tuple[str, ...]]]],
    kept: list[Any],
    refused: list[Any],
) -> None:
    """What is at a bound is taken, what is beyond it is refused under the path of its field."""
    for value in kept:
        for command, _ in build(value):
            command.check()
    for value in refused:
        for command, path in build(value):
            with pytest.raises(ValidationFailed) as caught:
                command.check()
            assert (caught.value.code, caught.value.path) == ("VALIDATION_FAILED", path)


def test_settling_all_has_no_lines() -> None:
    """A settlement without lines means all of the hold, and is well formed."""
    replace(SETTLING, lines=None).check()


@given(
    st.builds(AmountRange, *[st.none() | st.integers(-2, 2)] * 5),
    st.integers(-3, 3),
)
def test_ranges(bounds: AmountRange, amount: int) -> None:
    """A range is kept exactly where every bound that is given holds; what it names is broken."""
    holds = {
        ">=": bounds.gte is None or amount >= bounds.gte,
        ">": bounds.gt is None or amount > bounds.gt,
        "<=": bounds.lte is None or amount <= bounds.lte,
        "<": bounds.lt is None or amount < bounds.lt,
        "=": bounds.eq is None or amount == bounds.eq,
    }
    broken = bounds.broken_by(amount)
    if broken is None:
        assert all(holds.values())
    else:
        sign, limit = broken.split(" ")
        assert not holds[sign]
        named = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt", "=": "eq"}[sign]
        assert int(limit) == getattr(bounds, named)


# ---- one content ---------------------------------------------------------------------------------

small = st.integers(0, 2)
ids = small.map(lambda number: UUID(int=number))
texts = st.sampled_from([None, "a", "b"])
metadata = st.sampled_from([{}, {"a": 1}, {"a": "1"}, {"a": [1]}, {"b": {"a": 1}}])
directions = st.sampled_from(Direction)
# A condition that asks for nothing is the same as none, also as content.
conditions = st.none() | st.builds(
    BalanceCondition,
    *[st.none() | st.builds(AmountRange, gte=small, lt=st.none() | small)] * 3,
).filter(lambda condition: condition != BalanceCondition())
drafts = st.builds(
    EntryDraft, ids, directions, st.integers(1, 2), metadata, conditions, st.none() | small
)
times = st.none() | small.map(lambda number: datetime(2026, 1, 1 + number, tzinfo=UTC))
keys = st.sampled_from(["k", "l"])
postings = st.builds(
    PostTransaction,
    st.just(SCOPE),
    ids,
    st.just(UUID(int=2)),
    keys,
    st.tuples(drafts, drafts),
    st.booleans(),
    texts,
    texts,
    metadata,
    times,
    st.booleans(),
)
lines = st.builds(SettleLine, ids, directions, st.integers(1, 2))
settlements = st.builds(
    SettleTransaction, st.just(SCOPE), ids, keys, st.none() | st.tuples(lines, lines), st.booleans()
)
voids = st.builds(VoidTransaction, st.just(SCOPE), ids, keys, texts)
commands: st.SearchStrategy[Command] = st.one_of(postings, settlements, voids)


def content(command: Command) -> Any:
    """What of a command is its content."""
    if isinstance(command, PostTransaction):
        return replace(command, idempotency_key="", transaction_id=UUID(int=0), dry_run=False)
    return replace(command, idempotency_key="")


@given(st.data())
def test_fingerprints_tell_contents_apart(data: st.DataObject) -> None:
    """Two commands have one fingerprint exactly where they have one content."""
    one: Command = data.draw(commands)
    other: Command = data.draw(commands | st.just(one))
    if type(one) is type(other) and data.draw(st.booleans()):
        # Nearly the same: only one field of another command.
        name = data.draw(
            st.sampled_from(sorted({f.name for f in fields(one)} - {"scope", "ledger_id"}))
        )
        other = replace(one, **{name: getattr(other, name)})
    same = content(one) == content(other)
    assert (one.fingerprint() == other.fingerprint()) is same


@given(st.lists(postings, max_size=4))
def test_one_key_for_one_content_in_a_group(group: list[PostTransaction]) -> None:
    """A group is refused exactly where one key stands for two contents, at the second of them."""
    known: dict[str, Any] = {}
    at = next(
        (
            place
            for place, posting in enumerate(group)
            if known.setdefault(posting.idempotency_key, content(posting)) != content(posting)
        ),
        None,
    )
    if at is None:
        check_together(group)
        return
    with pytest.raises(ValidationFailed) as caught:
        check_together(group)
    assert caught.value.path == ("input", "transactions", str(at), "idempotencyKey")
