"""Holds with times of their own: what expires, what posts by itself, and what is refused then."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from app.store.audit.verify import verify
from app.store.shifts import Lock
from tests.api.market import Market
from tests.api.test_periods import CLOSE
from tests.api_client import Api, Json, open_api

PAST, LATER, LATEST = "2026-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "2100-02-01T00:00:00Z"


@pytest_asyncio.fixture
async def quick(database_url: str) -> AsyncIterator[Api]:
    """A server that looks for due work all the time."""
    async with open_api(database_url, due_poll_seconds=0.02) as api:
        yield api


@pytest_asyncio.fixture
async def market(quick: Api) -> Market:
    return await Market.open(quick)


@pytest_asyncio.fixture
async def idle(database_url: str) -> AsyncIterator[Market]:
    """A market on a server that leaves due work alone."""
    async with open_api(database_url, due_work=False) as api:
        yield await Market.open(api)


def kinds(transaction: Json) -> list[tuple[str, str | None]]:
    return [(event["kind"], event["idempotencyKey"]) for event in transaction["history"]]


def is_done(transaction: Json) -> bool:
    return bool(transaction["status"] != "PENDING")


def soon(seconds: float = 2.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_terms_are_shown(idle: Market) -> None:
    """A hold has the reason and the times that it was given."""
    hold = await idle.hold(
        "hold", "wallet", "shop", 40, reason="PAYOUT", postsAt=LATER, expiresAt=LATEST
    )
    shown = await idle.shown(hold)
    assert (shown["reason"], shown["postsAt"], shown["expiresAt"], shown["lastRefusal"]) == (
        "PAYOUT",
        "2100-01-01T00:00:00.000000Z",
        "2100-02-01T00:00:00.000000Z",
        None,
    )
    query = """query ($id: ID!, $reasons: [HoldReason!]) { ledger(id: $id) {
      transactions(filter: {reason: $reasons}) { nodes { id } } } }"""
    for reasons, found in ((["PAYOUT"], [hold]), (["RESERVE", "CUSTOM"], [])):
        data = await idle.api.run(query, {"id": idle.ledger, "reasons": reasons})
        assert [node["id"] for node in data["ledger"]["transactions"]["nodes"]] == found


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"reason": "PAYOUT"}, "reason"),
        ({"postsAt": LATER}, "postsAt"),
        ({"expiresAt": LATER}, "expiresAt"),
        ({"status": "PENDING", "postsAt": LATER, "expiresAt": LATER}, "expiresAt"),
        ({"status": "PENDING", "postsAt": LATEST, "expiresAt": LATER}, "expiresAt"),
    ],
)
async def test_terms_that_make_no_hold(idle: Market, fields: Json, path: str) -> None:
    """Only what is pending has terms, and it expires after the time at which it posts."""
    before = await idle.state()
    answer = await idle.post("key", "wallet", "shop", 40, **fields)
    assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", ["input", path])
    assert await idle.state() == before


async def test_terms_are_content(idle: Market) -> None:
    """The same key with another reason or time is a conflict; the same terms replay."""
    terms = {"reason": "RESERVE", "postsAt": LATER, "expiresAt": LATEST}
    await idle.hold("hold", "wallet", "shop", 40, **terms)
    again = await idle.post("hold", "wallet", "shop", 40, status="PENDING", **terms)
    assert again["replayed"] is True
    for change in ({"reason": "PAYOUT"}, {"postsAt": PAST}, {"expiresAt": None}):
        other: Any = {**terms, **change}
        answer = await idle.post("hold", "wallet", "shop", 40, status="PENDING", **other)
        assert answer["code"] == "IDEMPOTENCY_CONFLICT"


async def test_expires_by_itself(market: Market) -> None:
    """At its time what is left of a hold is released, by an event without a key."""
    expires_at = soon()
    hold = await market.hold("hold", "wallet", "shop", 40, expiresAt=expires_at)
    assert await market.balances("wallet") == (100, -40, 60, 60)
    await market.settle(hold, "part", entries=market.move("wallet", "shop", 15), final=False)
    shown = await market.until(hold, is_done)
    assert (shown["status"], kinds(shown)) == (
        "POSTED",
        [("HELD", "hold"), ("SETTLED", "part"), ("EXPIRED", None)],
    )
    expired = [entry for entry in shown["entries"] if entry["status"] == "VOIDED"]
    assert [(e["account"]["name"], e["amount"]) for e in expired] == [
        ("wallet", "25"),
        ("shop", "25"),
    ]
    assert {entry["effectiveAt"] for entry in expired} == {shown["expiresAt"]}
    assert shown["history"][2]["createdAt"] >= shown["expiresAt"]
    assert await market.balances("wallet") == (85, 0, 85, 85)
    late = await market.settle(hold, "late")
    assert (late["code"], late["expiresAt"]) == ("HOLD_EXPIRED", shown["expiresAt"])


async def test_posts_by_itself(market: Market) -> None:
    """At its time what is left of a hold is posted, effective then."""
    hold = await market.hold("hold", "wallet", "shop", 40, postsAt=soon(), expiresAt=LATER)
    shown = await market.until(hold, is_done)
    assert (shown["status"], kinds(shown)) == ("POSTED", [("HELD", "hold"), ("MATURED", None)])
    assert {e["effectiveAt"] for e in shown["entries"][2:]} == {shown["postsAt"]}
    assert shown["postedAt"] == shown["history"][1]["createdAt"] >= shown["postsAt"]
    assert await market.balances("wallet") == (60, 0, 60, 60)
    assert (await market.settle(hold, "late"))["code"] == "TRANSACTION_NOT_PENDING"


async def test_past_times_are_due_at_once(market: Market) -> None:
    """A hold may be given times that have passed; of both, it posts as the first of them says."""
    terms: list[tuple[Json, str]] = [
        ({"postsAt": PAST}, "POSTED"),
        ({"expiresAt": PAST}, "VOIDED"),
        ({"postsAt": "2025-01-01T00:00:00Z", "expiresAt": PAST}, "POSTED"),
    ]
    for number, (fields, status) in enumerate(terms):
        hold = await market.hold(f"hold {number}", "wallet", "shop", 10, **fields)
        shown = await market.until(hold, is_done)
        assert shown["status"] == status
        # What undoes a hold is not effective before the hold itself.
        assert {e["effectiveAt"] for e in shown["entries"]} == {shown["effectiveAt"]}


async def test_a_settled_hold_is_due_no_more(market: Market) -> None:
    """What a client has settled or voided before its time stays as it is."""
    at = soon(4.0)
    settled = await market.hold("one", "wallet", "shop", 10, postsAt=at)
    voided = await market.hold("two", "wallet", "shop", 10, expiresAt=at)
    probe = await market.hold("probe", "wallet", "shop", 10, expiresAt=at)
    await market.settle(settled, "settle")
    await market.void(voided, "void")
    await market.until(probe, is_done)
    assert kinds(await market.shown(settled)) == [("HELD", "one"), ("SETTLED", "settle")]
    assert kinds(await market.shown(voided)) == [("HELD", "two"), ("VOIDED", "void")]


async def test_expired_though_nobody_has_looked(idle: Market) -> None:
    """From its time on a hold cannot be settled, even before it is released; it can be voided."""
    hold = await idle.hold("hold", "wallet", "shop", 40, expiresAt=PAST)
    before = await idle.state()
    for more in ({}, {"entries": idle.move("wallet", "shop", 1)}):
        assert await idle.settle(hold, "settle", **more) == {
            "__typename": "HoldExpired",
            "code": "HOLD_EXPIRED",
            "message": "The hold expired at 2026-01-01T00:00:00.000000Z.",
            "path": ["input", "transactionId"],
            "retryable": False,
            "expiresAt": "2026-01-01T00:00:00.000000Z",
            "transaction": {"id": hold, "status": "PENDING"},
        }
    assert await idle.state() == before
    assert (await idle.void(hold, "void"))["transaction"]["status"] == "VOIDED"
    assert (await idle.settle(hold, "settle"))["code"] == "HOLD_EXPIRED"
    assert await idle.balances("wallet") == (100, 0, 100, 100)


async def test_settled_before_it_expired(market: Market) -> None:
    """A settlement that came in time is replayed after the expiry."""
    hold = await market.hold("hold", "wallet", "shop", 40, expiresAt=soon(4.0))
    part = {"entries": market.move("wallet", "shop", 1), "final": False}
    assert (await market.settle(hold, "settle", **part))["replayed"] is False
    await market.until(hold, is_done)
    assert (await market.settle(hold, "settle", **part))["replayed"] is True


async def test_refused_and_tried_again(market: Market, database_url: str) -> None:
    """What a rule refuses stays pending, says why, and goes through when it is tried again."""
    hold = await market.hold("hold", "wallet", "shop", 40, postsAt=LATER)
    await market.set("shop", "freeze")
    make_due(database_url)
    shown = await market.until(hold, lambda shown: shown["lastRefusal"] is not None)
    refusal = shown["lastRefusal"]
    assert (refusal["code"], refusal["message"], refusal["attempts"]) == (
        "ACCOUNT_NOT_OPEN",
        "The account is frozen.",
        1,
    )
    assert moment(refusal["nextAttemptAt"]) - moment(refusal["refusedAt"]) == timedelta(minutes=1)
    assert (shown["status"], kinds(shown)) == ("PENDING", [("HELD", "hold")])
    assert await market.balances("shop") == (0, 40, 0, 40)

    make_due(database_url)
    shown = await market.until(hold, lambda shown: shown["lastRefusal"]["attempts"] == 2)
    refusal = shown["lastRefusal"]
    assert moment(refusal["nextAttemptAt"]) - moment(refusal["refusedAt"]) == timedelta(minutes=2)

    await market.set("shop", "unfreeze")
    make_due(database_url)
    shown = await market.until(hold, is_done)
    assert (shown["status"], kinds(shown)[1]) == ("POSTED", ("MATURED", None))
    # It did not happen when it was due but when it went through.
    assert {e["effectiveAt"] for e in shown["entries"][2:]} == {shown["postedAt"]}
    assert shown["lastRefusal"] == {**refusal, "nextAttemptAt": None}
    assert verify(database_url).violations == ()


async def test_refused_until_it_expires(market: Market, database_url: str) -> None:
    """A hold that cannot post by itself is released when it expires, frozen or not."""
    hold = await market.hold("hold", "wallet", "shop", 40, postsAt=LATER, expiresAt=LATEST)
    await market.set("shop", "freeze")
    make_due(database_url)
    await market.until(hold, lambda shown: shown["lastRefusal"] is not None)
    make_due(database_url, "expires_at")
    shown = await market.until(hold, is_done)
    assert (shown["status"], kinds(shown)[1]) == ("VOIDED", ("EXPIRED", None))
    assert shown["lastRefusal"]["attempts"] == 1
    assert {e["effectiveAt"] for e in shown["entries"][2:]} == {shown["expiresAt"]}
    assert verify(database_url).violations == ()


async def test_no_attempt_at_the_expiry(market: Market, database_url: str) -> None:
    """Where a hold expires before it would be tried again, no attempt is announced."""
    hold = await market.hold("hold", "wallet", "shop", 40, postsAt=soon(50), expiresAt=soon(55))
    await market.set("shop", "freeze")
    make_due(database_url)
    shown = await market.until(hold, lambda shown: shown["lastRefusal"] is not None)
    assert (shown["status"], shown["lastRefusal"]["nextAttemptAt"]) == ("PENDING", None)


@pytest.mark.parametrize("frozen", [False, True])
async def test_both_times_pass_unseen(idle: Market, database_url: str, frozen: bool) -> None:
    """With both times over when a server comes, the hold posts as due, or expires as due."""
    early = "2025-01-01T00:00:00Z"
    hold = await idle.hold(
        "hold", "wallet", "shop", 40, effectiveAt=early, postsAt=early, expiresAt=PAST
    )
    assert (await idle.settle(hold, "settle"))["code"] == "HOLD_EXPIRED"
    if frozen:
        await idle.set("shop", "freeze")
    async with open_api(database_url, due_poll_seconds=0.02):
        shown = await idle.until(hold, is_done)
    status, kind, at = (
        ("VOIDED", "EXPIRED", shown["expiresAt"])
        if frozen
        else ("POSTED", "MATURED", shown["postsAt"])
    )
    assert (shown["status"], kinds(shown)[1]) == (status, (kind, None))
    assert {e["effectiveAt"] for e in shown["entries"][2:]} == {at}
    refusal = shown["lastRefusal"]
    assert refusal == (
        {
            "code": "ACCOUNT_NOT_OPEN",
            "message": "The account is frozen.",
            "refusedAt": shown["voidedAt"],
            "attempts": 1,
            "nextAttemptAt": None,
        }
        if frozen
        else None
    )
    assert (await idle.settle(hold, "settle"))["code"] == "HOLD_EXPIRED"
    assert verify(database_url).violations == ()


async def test_dry_runs_are_never_due(market: Market) -> None:
    """What was only tried has no times."""
    answer = await market.post(
        "hold", "wallet", "shop", 40, status="PENDING", expiresAt=PAST, dryRun=True
    )
    assert answer["transaction"]["expiresAt"] == "2026-01-01T00:00:00.000000Z"
    probe = await market.hold("probe", "wallet", "shop", 1, expiresAt=PAST)
    await market.until(probe, is_done)
    state = await market.state()
    assert [t["sequence"] for t in state["ledger"]["transactions"]["nodes"]] == ["1", "2"]


async def test_much_is_due_at_once(market: Market, database_url: str) -> None:
    """More than is tried at a time, of two organizations, is done to the end."""
    stranger = await Market.open(await market.api.stranger(), money=10_000)
    at = soon(1.0)
    holds = await asyncio.gather(
        *(stranger.hold(f"h{n}", "wallet", "shop", 1, expiresAt=at) for n in range(240)),
        *(market.hold(f"h{n}", "cash", "shop", 1, postsAt=at) for n in range(20)),
    )
    for hold in holds:
        home = stranger if hold in holds[:240] else market
        await home.until(hold, is_done)
    assert await stranger.balances("wallet") == (10_000, 0, 10_000, 10_000)
    assert (await market.balances("shop"))[0] == 20
    assert verify(database_url).violations == ()


async def test_settlements_race_the_expiry(market: Market, database_url: str) -> None:
    """However settlements, voids and retries meet the expiry, each hold ends once."""
    at = soon(0.6)
    holds = [
        await market.hold(f"h{n}", "cash", "shop", 10, **{"expiresAt" if n % 2 else "postsAt": at})
        for n in range(20)
    ]

    async def press(hold: str, client: int) -> None:
        for number in range(12):
            key = f"{hold} {client % 3} {number}"
            if client == 4 and number == 9:
                await market.void(hold, key)
            part = market.move("cash", "shop", 1)
            await market.settle(hold, key, entries=part, final=False)
            await asyncio.sleep(0.03)

    await asyncio.gather(*(press(hold, client) for hold in holds for client in range(5)))
    for hold in holds:
        shown = await market.until(hold, is_done)
        ends = [k for k, _ in kinds(shown) if k in {"EXPIRED", "MATURED", "VOIDED"}]
        assert len(ends) <= 1
    assert verify(database_url).violations == ()


async def test_servers_share_the_work(database_url: str) -> None:
    """Several servers on one database do each piece once; one works at a time."""
    async with (
        open_api(database_url, due_poll_seconds=0.02) as one,
        open_api(database_url, due_poll_seconds=0.02),
        open_api(database_url, due_poll_seconds=0.02),
    ):
        market = await Market.open(one)
        with psycopg.connect(database_url) as connection:
            rows = connection.execute(HELD).fetchall()
            assert len(rows) == 1
        at = soon(0.5)
        holds = await asyncio.gather(
            *(market.hold(f"h{n}", "cash", "shop", 1, postsAt=at) for n in range(50))
        )
        for hold in holds:
            await market.until(hold, is_done)
    report = verify(database_url)
    assert report.violations == ()
    with psycopg.connect(database_url) as connection:
        counted = connection.execute(
            "SELECT count(*) FROM transaction_events WHERE kind = 'matured'"
        ).fetchall()
    assert counted == [(50,)]


async def test_work_goes_on_when_its_session_ends(market: Market, database_url: str) -> None:
    """When the session with the lock is ended, the work is taken up again."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        async with asyncio.timeout(60):
            while not (held := connection.execute(HELD).fetchall()):
                await asyncio.sleep(0.02)
        connection.execute("SELECT pg_terminate_backend(%s)", held[0])
    hold = await market.hold("hold", "wallet", "shop", 40, postsAt=PAST)
    assert (await market.until(hold, is_done))["status"] == "POSTED"


HELD = f"""
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND granted
        AND (classid::int8 << 32 | objid::int8) = {Lock.SCHEDULE.value}
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def make_due(url: str, term: str = "posts_at") -> None:
    """Let what is to be done some day be due now."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "ALTER TABLE transactions DISABLE TRIGGER transactions_stay;"
            f"UPDATE transactions SET due_at = now(), {term} = least({term}, now())"
            " WHERE due_at IS NOT NULL;"
            "ALTER TABLE transactions ENABLE ALWAYS TRIGGER transactions_stay"
        )


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("terms", ["expiresAt", "postsAt"])
async def test_due_in_a_period_closed_meanwhile(
    idle: Market, database_url: str, terms: str
) -> None:
    """What fell due before its period was closed is done at once, effective when it is recorded."""
    hold = await idle.hold("hold", "wallet", "shop", 40, effectiveAt=PAST, **{terms: PAST})
    closed = await idle.api.answer(
        CLOSE, ledgerId=idle.ledger, through=datetime.now(UTC).isoformat()
    )
    assert closed["__typename"] == "ClosePeriodSuccess"
    async with open_api(database_url, due_poll_seconds=0.02):
        shown = await idle.until(hold, is_done)
    assert (shown["status"], shown["lastRefusal"]) == (
        "POSTED" if terms == "postsAt" else "VOIDED",
        None,
    )
    assert verify(database_url).violations == ()
