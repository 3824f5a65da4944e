"""Corrections: labels of a transaction change, its history and its money stay."""

import pytest
import pytest_asyncio

from app.store.audit.verify import verify
from tests.api.market import Market
from tests.api_client import Api, Json


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    return await Market.open(api)


async def sale(market: Market) -> str:
    answer = await market.post(
        "sale", "wallet", "shop", 40, description="Order 1", metadata={"a": 1}
    )
    return str(answer["transaction"]["id"])


def changes(transaction: Json) -> list[tuple[str, str, Json | None]]:
    return [(e["kind"], e["idempotencyKey"], e["changes"]) for e in transaction["history"]]


async def test_labels_are_corrected(market: Market, database_url: str) -> None:
    """What is given is replaced, what is left out stays, and history has both values of each."""
    identity = await sale(market)
    before = await market.shown(identity)
    one = await market.update(identity, "one", description="Order 2")
    assert (one["__typename"], one["replayed"]) == ("UpdateTransactionSuccess", False)
    two = await market.update(identity, "two", description=None, metadata={"b": [2.5, None]})
    shown = await market.shown(identity)
    assert two["transaction"] == shown
    assert (shown["description"], shown["metadata"]) == (None, {"b": [2.5, None]})
    assert changes(shown) == [
        ("POSTED", "sale", None),
        ("UPDATED", "one", {"description": {"before": "Order 1", "after": "Order 2"}}),
        (
            "UPDATED",
            "two",
            {
                "description": {"before": "Order 2", "after": None},
                "metadata": {"before": {"a": 1}, "after": {"b": [2.5, None]}},
            },
        ),
    ]
    same = set(before) - {"description", "metadata", "history"}
    assert {name: shown[name] for name in same} == {name: before[name] for name in same}
    assert verify(database_url).violations == ()


async def test_again(market: Market) -> None:
    """The same key with the same content replays; nothing is changed twice, nor back."""
    identity = await sale(market)
    await market.update(identity, "one", description="Order 2")
    await market.update(identity, "two", description="Order 3")
    again = await market.update(identity, "one", description="Order 2")
    assert (again["replayed"], again["transaction"]["description"]) == (True, "Order 3")
    others: list[Json] = [{"description": None}, {"metadata": {}}, {"description": "Order 2 "}]
    for change in others:
        answer = await market.update(identity, "one", **change)
        assert answer["code"] == "IDEMPOTENCY_CONFLICT"


async def test_nothing_new(market: Market, database_url: str) -> None:
    """A correction to what is there already is accepted, and changed nothing."""
    identity = await sale(market)
    answer = await market.update(identity, "one", description="Order 1", metadata={"a": 1})
    assert changes(answer["transaction"])[1] == ("UPDATED", "one", {})
    assert verify(database_url).violations == ()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, ["input"]),
        ({"metadata": None}, ["input", "metadata"]),
        ({"metadata": {"a": "x" * 17_000}}, ["input", "metadata"]),
        ({"description": "x" * 2001}, ["input", "description"]),
        ({"description": "a\x7f"}, ["input", "description"]),
    ],
)
async def test_malformed(market: Market, fields: Json, path: list[str]) -> None:
    """What is no correction is named by its field."""
    identity = await sale(market)
    before = await market.shown(identity)
    answer = await market.update(identity, "one", **fields)
    assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", path)
    assert await market.shown(identity) == before


async def test_whatever_the_state(market: Market, database_url: str) -> None:
    """Holds, voided and frozen ones too are corrected, and then go on as they would have."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    await market.set("shop", "freeze")
    await market.update(hold, "one", description="Hold")
    await market.set("shop", "unfreeze")
    await market.settle(hold, "settle", entries=market.move("wallet", "shop", 1), final=False)
    await market.update(hold, "two", metadata={"x": 1})
    await market.void(hold, "void")
    answer = await market.update(hold, "three", description="Done")
    assert [event["kind"] for event in answer["transaction"]["history"]] == [
        *("HELD", "UPDATED", "SETTLED", "UPDATED", "VOIDED", "UPDATED")
    ]
    reversal = (await market.reverse(hold, "refund"))["transaction"]["id"]
    await market.update(reversal, "four", description="Refund")
    assert verify(database_url).violations == ()
    await market.archive()
    answer = await market.update(hold, "five", description="Late")
    assert (answer["code"], answer["path"]) == ("LEDGER_ARCHIVED", ["input", "transactionId"])


async def test_found_by_the_new_metadata(market: Market) -> None:
    """Filters look at the labels as they are now."""
    identity = await sale(market)
    await market.update(identity, "one", metadata={"b": 2})
    query = """query ($id: ID!, $metadata: JSON) { ledger(id: $id) {
      transactions(filter: {metadata: $metadata}) { nodes { id } } } }"""
    for metadata, found in (({"a": 1}, []), ({"b": 2}, [identity])):
        data = await market.api.run(query, {"id": market.ledger, "metadata": metadata})
        assert [node["id"] for node in data["ledger"]["transactions"]["nodes"]] == found
