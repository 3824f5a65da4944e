"""Many postings in one mutation: all or none, each by itself, or only tried."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from app.ledger.transactions.commands import Command
from app.ledger.transactions.posting import Decision
from app.store.transactions.writer import Writer
from tests.api.market import ERROR, POSTING, TRANSACTION, Market
from tests.api_client import Api, Json

BATCH = f"""
mutation ($input: PostTransactionsInput!) {{
  postTransactions(input: $input) {{
    __typename
    ... on PostTransactionsSuccess {{
      results {{
        __typename
        ... on PostTransactionSuccess {{ replayed transaction {{ id sequence status }} }}
        {ERROR}
      }}
    }}
    {ERROR}
  }}
}}
"""


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    return await Market.open(api)


async def batch(market: Market, mode: str, *transactions: Json) -> Json:
    return await market.api.answer(BATCH, mode=mode, transactions=list(transactions))


async def refused(market: Market, mode: str, *transactions: Json) -> Json:
    """Post a batch that must be refused as a whole; nothing changes."""
    before = await market.state()
    answer = await batch(market, mode, *transactions)
    assert "code" in answer, answer
    assert await market.state() == before
    return answer


# ---- the place of a refusal ----------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
async def test_path_of_a_single_posting(market: Market, dry_run: bool) -> None:
    """A refusal of postTransaction names the field of its own input, tried or meant."""
    before = await market.state()
    answer = await market.post("key", "wallet", "cash", 101, dryRun=dry_run)
    assert (answer["code"], answer["path"]) == (
        "INSUFFICIENT_FUNDS",
        ["input", "entries", "0", "amount"],
    )
    assert await market.state() == before


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("place", [0, 1])
async def test_path_in_an_independent_batch(market: Market, dry_run: bool, place: int) -> None:
    """A refusal of an independent batch names the place of its posting, tried or meant."""
    postings = [market.posting("good", "cash", "wallet", 1, dryRun=dry_run)]
    postings.insert(place, market.posting("bad", "wallet", "cash", 200, dryRun=dry_run))
    results = (await batch(market, "INDEPENDENT", *postings))["results"]
    assert results[1 - place]["__typename"] == "PostTransactionSuccess"
    assert results[place] == {
        "__typename": "InsufficientFunds",
        "code": "INSUFFICIENT_FUNDS",
        "message": results[place]["message"],
        "path": ["input", "transactions", str(place), "entries", "0", "amount"],
        "retryable": False,
        "available": "100" if dry_run or place == 0 else "101",
        "required": "200",
        "account": {"name": "wallet"},
    }


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("size", [1, 2])
async def test_path_in_an_atomic_batch(market: Market, dry_run: bool, size: int) -> None:
    """A refusal of an atomic batch names the place of its posting, though it be the only one."""
    good = [market.posting("good", "cash", "shop", 1, dryRun=dry_run)] * (size - 1)
    bad = market.posting("bad", "wallet", "cash", 101, dryRun=dry_run)
    answer = await refused(market, "ATOMIC", *good, bad)
    assert answer["path"] == ["input", "transactions", str(size - 1), "entries", "0", "amount"]
    malformed = market.posting("", "wallet", "cash", 1, dryRun=dry_run)
    answer = await refused(market, "ATOMIC", *good, malformed)
    assert answer["path"] == ["input", "transactions", str(size - 1), "idempotencyKey"]


async def test_every_refusal_in_its_place(market: Market) -> None:
    """Each refusal of an independent batch stands at its place, under its place in the input."""
    await market.account("frozen")
    await market.set("frozen", "freeze")
    await market.post("named", "cash", "wallet", 1, externalId="taken")
    postings = [
        market.posting("a", "frozen", "cash", 1),
        market.posting("b", "wallet", "cash", 1, externalId="taken"),
        market.posting("named", "wallet", "cash", 1),
        market.posting("c", "cash", "purse", 1),
        {**market.posting("d", "cash", "wallet", 1), "ledgerId": "ldgr_" + "0" * 32},
        market.posting("e", "wallet", "cash", 1, description="\1"),
    ]
    postings[1]["entries"][0]["accountVersion"] = "9"
    before = await market.state()
    results = (await batch(market, "INDEPENDENT", *postings))["results"]
    assert [(result["code"], result["path"][2:]) for result in results] == [
        ("ACCOUNT_NOT_OPEN", ["0", "entries", "0", "accountId"]),
        ("EXTERNAL_ID_TAKEN", ["1", "externalId"]),
        ("IDEMPOTENCY_CONFLICT", ["2", "idempotencyKey"]),
        ("ENTRIES_UNBALANCED", ["3", "entries"]),
        ("LEDGER_NOT_FOUND", ["4", "ledgerId"]),
        ("VALIDATION_FAILED", ["5", "description"]),
    ]
    assert {tuple(result["path"][:2]) for result in results} == {("input", "transactions")}
    assert await market.state() == before


# ---- one key twice -------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_key_twice_in_an_atomic_batch(market: Market, dry_run: bool) -> None:
    """The same posting twice in an atomic batch is recorded once and answered twice."""
    same = market.posting("same", "cash", "shop", 5, dryRun=dry_run)
    before = await market.state()
    results = (await batch(market, "ATOMIC", same, same))["results"]
    assert [result["replayed"] for result in results] == [False, True]
    assert results[0]["transaction"] == results[1]["transaction"]
    assert results[0]["transaction"]["sequence"] == "2"
    if dry_run:
        assert await market.state() == before
    else:
        assert await market.balances("shop") == (5, 0, 5, 5)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_two_contents_in_an_atomic_batch(market: Market, dry_run: bool) -> None:
    """Two contents under one key of a ledger are no atomic batch, whatever the books hold."""
    first = market.posting("same", "cash", "shop", 5, dryRun=dry_run)
    other = market.posting("same", "cash", "shop", 6, dryRun=dry_run)
    answer = await refused(market, "ATOMIC", first, first, other)
    assert (answer["code"], answer["path"]) == (
        "VALIDATION_FAILED",
        ["input", "transactions", "2", "idempotencyKey"],
    )


async def test_two_contents_in_an_independent_batch(market: Market) -> None:
    """Of two contents under one key the first is recorded, the second is told of it."""
    first = market.posting("same", "cash", "shop", 5)
    results = (
        await batch(market, "INDEPENDENT", first, market.posting("same", "cash", "shop", 6), first)
    )["results"]
    assert [result["__typename"] for result in results] == [
        "PostTransactionSuccess",
        "IdempotencyConflict",
        "PostTransactionSuccess",
    ]
    assert results[1]["transaction"] == {"sequence": "2"}
    assert (results[2]["replayed"], results[2]["transaction"]) == (True, results[0]["transaction"])
    assert await market.balances("shop") == (5, 0, 5, 5)


async def test_one_key_in_two_ledgers(market: Market) -> None:
    """One atomic batch may span ledgers, each with its own keys, sequences and refusals."""
    other = await Market.open(market.api)
    here, there = market.posting("k", "cash", "shop", 1), other.posting("k", "cash", "shop", 2)
    too_much = other.posting("x", "wallet", "cash", 101)
    before = await other.state()
    await refused(market, "ATOMIC", here, there, too_much)
    assert await other.state() == before
    results = (await batch(market, "ATOMIC", here, there))["results"]
    assert [result["replayed"] for result in results] == [False, False]
    assert [result["transaction"]["sequence"] for result in results] == ["2", "2"]
    assert (await market.balances("shop"), await other.balances("shop")) == (
        (1, 0, 1, 1),
        (2, 0, 2, 2),
    )


# ---- one after another ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["ATOMIC", "INDEPENDENT"])
async def test_each_sees_those_before_it(market: Market, mode: str) -> None:
    """A posting spends what the one before it brought, and expects the version it left."""
    first = market.posting("a", "cash", "wallet", 50)
    second = market.posting("b", "wallet", "shop", 150)
    second["entries"][0] |= {"accountVersion": "2", "condition": {"posted": {"eq": "0"}}}
    results = (await batch(market, mode, first, second))["results"]
    assert [result["transaction"]["sequence"] for result in results] == ["2", "3"]
    assert await market.balances("wallet") == (0, 0, 0, 0)


@pytest.mark.parametrize("mode", ["ATOMIC", "INDEPENDENT"])
async def test_a_thousand_holds_and_postings(market: Market, mode: str) -> None:
    """A thousand postings in one mutation are recorded in order, and all answered once more."""
    many = [
        market.posting(f"key-{n}", "cash", "shop", 1, status="PENDING" if n % 2 else "POSTED")
        for n in range(1000)
    ]
    if mode == "ATOMIC":
        await refused(market, mode, *many[:999], market.posting("bad", "wallet", "cash", 101))
    results = (await batch(market, mode, *many))["results"]
    assert [(r["transaction"]["sequence"], r["replayed"]) for r in results] == [
        (str(n + 2), False) for n in range(1000)
    ]
    again = (await batch(market, mode, *many))["results"]
    assert [r["transaction"] for r in again] == [r["transaction"] for r in results]
    assert {r["replayed"] for r in again} == {True}
    assert await market.balances("shop") == (500, 500, 500, 1000)


async def test_sizes(market: Market) -> None:
    """A batch has one posting at least and a thousand at most."""
    for count in (0, 1001):
        for mode in ("ATOMIC", "INDEPENDENT"):
            postings = [market.posting(f"k{n}", "cash", "shop", 1) for n in range(count)]
            answer = await refused(market, mode, *postings)
            assert (answer["code"], answer["path"]) == (
                "VALIDATION_FAILED",
                ["input", "transactions"],
            )


async def test_atomic_batches_race(market: Market) -> None:
    """Of atomic batches that race for the same money each is recorded wholly or not at all."""
    answers = await asyncio.gather(
        *(
            batch(
                market,
                "ATOMIC",
                market.posting(f"{n}-a", "wallet", "cash", 30),
                market.posting(f"{n}-b", "wallet", "shop", 10),
            )
            for n in range(10)
        )
    )
    names = sorted(answer["__typename"] for answer in answers)
    assert names == ["InsufficientFunds"] * 8 + ["PostTransactionsSuccess"] * 2
    assert await market.balances("wallet") == (20, 0, 20, 20)
    assert await market.balances("shop") == (20, 0, 20, 20)


async def test_a_refused_atomic_batch_keeps_no_key(market: Market) -> None:
    """Every key of an atomic batch that was refused is free for another content."""
    good = [market.posting(f"k{n}", "cash", "shop", 5, externalId=f"x{n}") for n in range(2)]
    answer = await refused(market, "ATOMIC", *good, market.posting("k2", "wallet", "cash", 101))
    assert (answer["code"], answer["path"]) == (
        "INSUFFICIENT_FUNDS",
        ["input", "transactions", "2", "entries", "0", "amount"],
    )
    others = [market.posting(f"k{n}", "cash", "shop", 6, externalId=f"x{n}") for n in range(3)]
    results = (await batch(market, "ATOMIC", *others))["results"]
    assert [result["replayed"] for result in results] == [False] * 3
    assert [result["transaction"]["sequence"] for result in results] == ["2", "3", "4"]
    assert await market.balances("shop") == (18, 0, 18, 18)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_one_external_id_twice_in_a_batch(market: Market, dry_run: bool) -> None:
    """Of two postings of an atomic batch that take one external id the second is refused."""
    postings = [
        market.posting(f"k{n}", "cash", "shop", 5, externalId="same", dryRun=dry_run)
        for n in range(2)
    ]
    answer = await refused(market, "ATOMIC", *postings)
    assert (answer["code"], answer["externalId"], answer["path"]) == (
        "EXTERNAL_ID_TAKEN",
        "same",
        ["input", "transactions", "1", "externalId"],
    )


async def test_batches_again_after_archiving(market: Market) -> None:
    """An archived ledger answers a batch that it recorded, and refuses what is new at its place."""
    known = [market.posting(f"k{n}", "cash", "shop", 5) for n in range(2)]
    first = (await batch(market, "ATOMIC", *known))["results"]
    await market.archive()
    before = await market.state()
    for mode in ("ATOMIC", "INDEPENDENT"):
        again = (await batch(market, mode, *known))["results"]
        assert [result["replayed"] for result in again] == [True, True]
        assert [r["transaction"] for r in again] == [r["transaction"] for r in first]
    new = market.posting("new", "cash", "shop", 5)
    answer = await refused(market, "ATOMIC", known[0], new, known[1])
    assert (answer["code"], answer["path"]) == (
        "LEDGER_ARCHIVED",
        ["input", "transactions", "1", "ledgerId"],
    )
    results = (await batch(market, "INDEPENDENT", known[0], new, known[1]))["results"]
    assert [result.get("code") for result in results] == [None, "LEDGER_ARCHIVED", None]
    assert results[1]["path"] == ["input", "transactions", "1", "ledgerId"]
    assert await market.state() == before


@pytest.mark.parametrize("mode", ["ATOMIC", "INDEPENDENT"])
async def test_one_batch_from_many_clients(market: Market, mode: str) -> None:
    """Twenty clients send one batch, some of them backwards: each posting is made once."""
    postings = [market.posting(f"k{n}", "cash", "shop", 1) for n in range(10)]
    answers = await asyncio.gather(
        *(batch(market, mode, *(postings[::-1] if n % 2 else postings)) for n in range(20))
    )
    by_key: dict[int, list[Json]] = {n: [] for n in range(10)}
    for number, answer in enumerate(answers):
        for place, result in enumerate(answer["results"]):
            by_key[9 - place if number % 2 else place].append(result)
    for results in by_key.values():
        assert sorted(result["replayed"] for result in results) == [False] + [True] * 19
        assert len({result["transaction"]["id"] for result in results}) == 1
    sequences = {results[0]["transaction"]["sequence"] for results in by_key.values()}
    assert sequences == {str(n) for n in range(2, 12)}
    if mode == "ATOMIC":
        made = [{result["replayed"] for result in answer["results"]} for answer in answers]
        assert made.count({False}) == 1
        assert made.count({True}) == 19
    assert await market.balances("shop") == (10, 0, 10, 10)


# ---- trying --------------------------------------------------------------------------------------


async def test_dry_runs_see_one_another_only_together(market: Market) -> None:
    """Tried together, postings see one another; tried alone, each sees the books as they are."""
    postings = [market.posting(f"{n}", "wallet", "cash", 60, dryRun=True) for n in range(2)]
    before = await market.state()
    results = (await batch(market, "INDEPENDENT", *postings))["results"]
    assert [result["transaction"]["sequence"] for result in results] == ["2", "2"]
    answer = await refused(market, "ATOMIC", *postings)
    assert (answer["code"], answer["available"], answer["required"]) == (
        "INSUFFICIENT_FUNDS",
        "40",
        "60",
    )
    assert await market.state() == before


async def test_dry_run_beside_the_real_thing(market: Market) -> None:
    """In an independent batch a trial counts what was posted before it and leaves nothing."""
    results = (
        await batch(
            market,
            "INDEPENDENT",
            market.posting("a", "wallet", "cash", 60),
            market.posting("b", "wallet", "cash", 40, dryRun=True),
            market.posting("c", "wallet", "cash", 50, dryRun=True),
            market.posting("d", "wallet", "cash", 40),
        )
    )["results"]
    assert [result["__typename"] for result in results] == [
        "PostTransactionSuccess",
        "PostTransactionSuccess",
        "InsufficientFunds",
        "PostTransactionSuccess",
    ]
    sequences = [results[place]["transaction"]["sequence"] for place in (0, 1, 3)]
    assert sequences == ["2", "3", "3"]
    assert await market.balances("wallet") == (0, 0, 0, 0)


async def test_mixed_trials_are_no_atomic_batch(market: Market) -> None:
    """An atomic batch is tried or meant as a whole."""
    answer = await refused(
        market,
        "ATOMIC",
        market.posting("a", "cash", "shop", 1),
        market.posting("b", "cash", "shop", 1, dryRun=True),
    )
    assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", ["input", "transactions"])


@pytest.mark.parametrize("status", ["POSTED", "PENDING"])
async def test_a_trial_shows_what_would_be(market: Market, status: str) -> None:
    """A dry run answers with all that the posting would have, but for times and ids."""
    fields: dict[str, Any] = {
        "status": status,
        "description": "words",
        "externalId": "name",
        "metadata": {"a": [1, {"b": None}]},
        "effectiveAt": "2026-01-02T03:04:05.000006Z",
    }
    before = await market.state()
    tried = await market.post("key", "wallet", "shop", 40, dryRun=True, **fields)
    assert await market.state() == before
    posted = await market.post("key", "wallet", "shop", 40, **fields)
    assert (tried["replayed"], posted["replayed"]) == (False, False)

    passing = {"id", "createdAt", "postedAt"}

    def lasting(value: Any) -> Any:
        if isinstance(value, list):
            return [lasting(item) for item in value]
        if not isinstance(value, dict) or value.keys() == {"id"}:
            return value
        return {name: lasting(item) for name, item in value.items() if name not in passing}

    assert lasting(tried["transaction"]) == lasting(posted["transaction"])
    assert [event["kind"] for event in tried["transaction"]["history"]] == [
        "POSTED" if status == "POSTED" else "HELD"
    ]


# ---- a replay of what somebody else has just recorded --------------------------------------------


async def test_a_replay_is_read_after_it_was_decided(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay is shown though the operation was already reading before it was recorded."""
    write = Writer.write
    posting = market.posting("theirs", "cash", "shop", 5)

    async def overtaken(writer: Writer, command: Command) -> Decision:
        if command.idempotency_key == "theirs":
            monkeypatch.setattr(Writer, "write", write)
            await market.api.answer(POSTING, **posting)
        return await write(writer, command)

    monkeypatch.setattr(Writer, "write", overtaken)
    data = await market.api.run(
        "mutation ($one: PostTransactionInput!, $two: PostTransactionInput!) {"
        " one: postTransaction(input: $one)"
        f" {{ ... on PostTransactionSuccess {{ transaction {{ {TRANSACTION} }} }} }}"
        " two: postTransaction(input: $two)"
        f" {{ ... on PostTransactionSuccess {{ replayed transaction {{ {TRANSACTION} }} }} }} }}",
        {"one": market.posting("mine", "cash", "shop", 1), "two": posting},
    )
    assert (data["two"]["replayed"], data["two"]["transaction"]["sequence"]) == (True, "3")


async def test_a_batch_that_takes_two_commits(market: Market) -> None:
    """Replays of an independent batch are shown though it was decided in several commits."""
    market.api.server.writer.max_batch_entries = 4
    old = market.posting("open", "cash", "wallet", 100)
    new = [market.posting(f"k{n // 2}", "cash", "shop", 1) for n in range(20)]
    results = (await batch(market, "INDEPENDENT", old, *new))["results"]
    assert [result["replayed"] for result in results] == [True, *[False, True] * 10]
    assert await market.balances("shop") == (10, 0, 10, 10)
