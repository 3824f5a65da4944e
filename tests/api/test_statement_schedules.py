"""Scheduled statements: every month once, when it is over where the holders live."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import psycopg
import pytest
import pytest_asyncio

from app.ledger.statements.schedules import beginning, following
from app.store.statements import schedules as statement_schedules
from app.store.statements import statements
from app.store.statements.schedules import FIND_DUE_SCHEDULES, DueSchedule, run_step
from tests.api_client import Api, Json, open_api

SCHEDULE = """
mutation ($input: CreateStatementScheduleInput!) {
  createStatementSchedule(input: $input) {
    __typename
    ... on CreateStatementScheduleSuccess { schedule {
      id timeZone startingFrom nextMonth accountIds externalIdPrefix metadata deletedAt
      ledger { id }
    } }
    ... on UserError { code path }
  }
}
"""
DELETE = """
mutation ($input: DeleteStatementScheduleInput!) {
  deleteStatementSchedule(input: $input) {
    __typename
    ... on DeleteStatementScheduleSuccess { schedule { deletedAt } }
    ... on UserError { code path }
  }
}
"""
STATED = """
query ($id: ID!) { ledger(id: $id) {
  statementSchedules { nodes { id nextMonth } }
  accounts(first: 9) { nodes { name statements(first: 9) { nodes {
    number scheduled from to opening { amount } closing { amount } previous { number }
  } } } }
} }
"""
ARCHIVE = """
mutation ($input: ArchiveLedgerInput!) {
  archiveLedger(input: $input) { ... on ArchiveLedgerSuccess { ledger { id } } }
}
"""


@pytest_asyncio.fixture
async def quick(database_url: str) -> AsyncIterator[Api]:
    """A server that looks for due work all the time."""
    async with open_api(database_url, due_poll_seconds=0.02) as api:
        yield api


@pytest_asyncio.fixture
async def idle(database_url: str) -> AsyncIterator[Api]:
    """A server that leaves due work alone."""
    async with open_api(database_url, due_work=False) as api:
        yield api


def month_ago(months: int) -> date:
    """The first day of the month so many months ago, in UTC."""
    today = datetime.now(UTC).date()
    count = today.year * 12 + today.month - 1 - months
    return date(count // 12, count % 12 + 1, 1)


async def stated(api: Api, ledger_id: str) -> dict[str, list[Json]]:
    ledger = (await api.run(STATED, {"id": ledger_id}))["ledger"]
    return {a["name"]: a["statements"]["nodes"] for a in ledger["accounts"]["nodes"]}


async def all_stated(api: Api, ledger_id: str) -> dict[str, list[Json]]:
    """The statements once every schedule of the ledger has come to the present month."""
    present = month_ago(0).isoformat()[:7]
    while True:
        ledger = (await api.run(STATED, {"id": ledger_id}))["ledger"]
        if all(one["nextMonth"] == present for one in ledger["statementSchedules"]["nodes"]):
            return await stated(api, ledger_id)
        await asyncio.sleep(0.02)


async def books(api: Api) -> str:
    """A ledger with three accounts and a posting in each of the last three months."""
    ledger_id = await api.ledger()
    cash = await api.account(ledger_id, name="cash", normalBalance="DEBIT")
    ann = await api.account(ledger_id, name="ann", externalId="wallet:ann", metadata={"to": "mail"})
    await api.account(ledger_id, name="bob", externalId="wallet:bob")
    for months in (3, 2, 1):
        day = month_ago(months) + timedelta(days=9)
        await api.post(ledger_id, cash, ann, 10**months, effectiveAt=f"{day}T12:00:00Z")
    return ledger_id


async def schedule(api: Api, ledger_id: str, **fields: Any) -> Json:
    return await api.answer(
        SCHEDULE,
        **{
            "ledgerId": ledger_id,
            "timeZone": "UTC",
            "startingFrom": month_ago(3).isoformat()[:7],
            **fields,
        },
    )


@pytest.mark.parametrize(
    ("zone", "month", "begins"),
    [
        ("UTC", date(2026, 3, 1), "2026-03-01T00:00:00+00:00"),
        ("Europe/Paris", date(2026, 3, 1), "2026-02-28T23:00:00+00:00"),
        ("Europe/Paris", date(2026, 4, 1), "2026-03-31T22:00:00+00:00"),
        ("America/New_York", date(2026, 11, 1), "2026-11-01T04:00:00+00:00"),
        ("America/New_York", date(2026, 12, 1), "2026-12-01T05:00:00+00:00"),
        ("Africa/Cairo", date(2014, 8, 1), "2014-07-31T22:00:00+00:00"),  # clocks skip midnight
        ("Asia/Kathmandu", date(2026, 1, 1), "2025-12-31T18:15:00+00:00"),
    ],
)
def test_months_begin_where_the_holders_live(zone: str, month: date, begins: str) -> None:
    """A month begins at its first moment there, whatever the clocks do."""
    first = beginning(month, ZoneInfo(zone))
    assert first.isoformat() == begins
    assert first.astimezone(ZoneInfo(zone)).date() == month
    assert (first - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() < month


async def test_missed_months_follow_one_another(quick: Api) -> None:
    """All months that are over are stated once, each following the one before; no later one is."""
    ledger_id = await books(quick)
    zone = ZoneInfo("America/New_York")
    answer = await schedule(quick, ledger_id, timeZone="America/New_York")
    assert answer["schedule"]["ledger"] == {"id": ledger_id}
    found = await all_stated(quick, ledger_id)
    months = [month_ago(3), month_ago(2), month_ago(1)]
    assert [(s["from"], s["to"]) for s in found["ann"]] == [
        tuple(
            beginning(edge, zone).isoformat(timespec="microseconds").replace("+00:00", "Z")
            for edge in (month, following(month))
        )
        for month in months
    ]
    assert [
        (s["number"], s["opening"]["amount"], s["closing"]["amount"], s["previous"])
        for s in found["ann"]
    ] == [
        ("1", "0", "1000", None),
        ("2", "1000", "1100", {"number": "1"}),
        ("3", "1100", "1110", {"number": "2"}),
    ]
    assert {name: len(statements) for name, statements in found.items()} == {
        "cash": 3, "ann": 3, "bob": 0,
    }  # fmt: skip
    await asyncio.sleep(0.2)
    assert await stated(quick, ledger_id) == found


async def test_accounts_are_chosen(quick: Api) -> None:
    """By name, by the beginning of the external id, or by metadata; two schedules state once."""
    for choice, names in (
        ({"metadata": {"to": "mail"}}, {"ann"}),
        ({"externalIdPrefix": "wallet:"}, {"ann"}),  # bob had nothing before the months' ends
        ({"externalIdPrefix": "wallet:b"}, set()),
        ({}, {"cash", "ann"}),
    ):
        ledger_id = await books(quick)
        assert "schedule" in await schedule(quick, ledger_id, **choice)
        assert "schedule" in await schedule(quick, ledger_id, **choice)
        found = await all_stated(quick, ledger_id)
        assert {name: len(of) for name, of in found.items() if of} == dict.fromkeys(names, 3)
    ledger_id = await quick.ledger()
    named = await quick.account(ledger_id, name="named")
    answer = await schedule(quick, ledger_id, accountIds=[named])
    assert answer["schedule"]["accountIds"] == [named]


async def test_whoever_is_killed_leaves_nothing_undone_or_done_twice(
    idle: Api, database_url: str
) -> None:
    """A step done again, as after a crash before the schedule moved on, states nothing again."""
    ledger_id = await books(idle)
    await schedule(idle, ledger_id)
    async with await idle.server.database.connect() as connection:

        async def due() -> list[DueSchedule]:
            nothing = (datetime(1, 1, 1, tzinfo=UTC), "0" * 32, "0" * 32, 10)
            cursor = await connection.execute(FIND_DUE_SCHEDULES, nothing)
            return [DueSchedule._make(row) for row in await cursor.fetchall()]

        with (
            patch.object(statement_schedules, "STEP", 2),
            patch.object(statement_schedules, "STEP_SECONDS", 0),  # so one account a step
        ):
            before = await due()
            assert await run_step(idle.server.database, connection, before[0]) == 0
            with psycopg.connect(database_url) as owner:
                owner.execute("UPDATE statement_schedules SET stated_through = NULL")
            while pieces := await due():
                for piece in (*pieces, *pieces):
                    assert await run_step(idle.server.database, connection, piece) == 0
    found = await stated(idle, ledger_id)
    assert {name: [s["number"] for s in of] for name, of in found.items()} == {
        "cash": ["1", "2", "3"],
        "ann": ["1", "2", "3"],
        "bob": [],
    }


async def test_a_failure_keeps_nobody_else_from_a_statement(idle: Api) -> None:
    """An account that cannot be stated is tried again; the others of its step are stated."""
    ledger_id = await books(idle)
    await schedule(idle, ledger_id, startingFrom=month_ago(1).isoformat()[:7])
    create = statements.create_statement
    failing = iter([True])

    async def fail_once(*args: Any) -> Any:
        if next(failing, False):
            raise RuntimeError
        return await create(*args)

    async with await idle.server.database.connect() as connection:
        nothing = (datetime(1, 1, 1, tzinfo=UTC), "0" * 32, "0" * 32, 10)
        cursor = await connection.execute(FIND_DUE_SCHEDULES, nothing)
        (row,) = await cursor.fetchall()
        piece = DueSchedule._make(row)
        with patch.object(statement_schedules, "create_statement", fail_once):
            assert await run_step(idle.server.database, connection, piece) == 1
            assert {n: len(s) for n, s in (await stated(idle, ledger_id)).items() if s} == {
                "ann": 1
            }
            assert await run_step(idle.server.database, connection, piece) == 0
    assert {n: len(s) for n, s in (await stated(idle, ledger_id)).items() if s} == {
        "ann": 1, "cash": 1,
    }  # fmt: skip


async def test_an_archived_ledger_is_not_due(quick: Api) -> None:
    """A schedule of an archived ledger states nothing, and does not keep the server busy."""
    ledger_id = await books(quick)
    other = await books(quick)
    await quick.answer(ARCHIVE, ledgerId=ledger_id)
    assert (await schedule(quick, ledger_id))["code"] == "LEDGER_ARCHIVED"
    await schedule(quick, other)
    await all_stated(quick, other)
    await quick.answer(ARCHIVE, ledgerId=other)
    async with await quick.server.database.connect() as connection:
        await connection.execute("SELECT 1")
        cursor = await connection.execute(statement_schedules.NEXT_DUE_SCHEDULE)
        assert await cursor.fetchall() == []


async def test_deleted_schedules(idle: Api) -> None:
    """A deleted schedule is listed no more and not due; strangers cannot delete it."""
    ledger_id = await books(idle)
    made = (await schedule(idle, ledger_id))["schedule"]
    stranger = await idle.stranger()
    refused = await stranger.answer(DELETE, scheduleId=made["id"])
    assert (refused["code"], refused["path"]) == (
        "STATEMENT_SCHEDULE_NOT_FOUND",
        ["input", "scheduleId"],
    )
    first = await idle.answer(DELETE, scheduleId=made["id"])
    assert first["schedule"]["deletedAt"] is not None
    assert await idle.answer(DELETE, scheduleId=made["id"]) == first
    ledger = (await idle.run(STATED, {"id": ledger_id}))["ledger"]
    assert ledger["statementSchedules"]["nodes"] == []


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"timeZone": "Europe/Nowhere"}, "VALIDATION_FAILED", ["input", "timeZone"]),
        ({"timeZone": "../etc/passwd"}, "VALIDATION_FAILED", ["input", "timeZone"]),
        ({"startingFrom": "2026-13"}, "VALIDATION_FAILED", ["input", "startingFrom"]),
        ({"startingFrom": "1800-01"}, "VALIDATION_FAILED", ["input", "startingFrom"]),
        ({"accountIds": []}, "VALIDATION_FAILED", ["input", "accountIds"]),
        ({"accountIds": ["acct"]}, "VALIDATION_FAILED", ["input", "accountIds", "0"]),
        (
            {"accountIds": ["acct_" + "0" * 32]},
            "ACCOUNT_NOT_FOUND",
            ["input", "accountIds", "0"],
        ),
        ({"externalIdPrefix": " "}, "VALIDATION_FAILED", ["input", "externalIdPrefix"]),
        ({"metadata": {}}, "VALIDATION_FAILED", ["input", "metadata"]),
        ({"metadata": {"a": 1}, "externalIdPrefix": "b"}, "VALIDATION_FAILED", ["input"]),
        ({"ledgerId": "ldgr_" + "0" * 32}, "LEDGER_NOT_FOUND", ["input", "ledgerId"]),
    ],
)
async def test_refusals(idle: Api, fields: Json, code: str, path: list[str]) -> None:
    """What is no schedule is refused, and nothing is kept."""
    ledger_id = await idle.ledger()
    answer = await schedule(idle, ledger_id, **fields)
    assert (answer.get("code"), answer.get("path")) == (code, path)
    ledger = (await idle.run(STATED, {"id": ledger_id}))["ledger"]
    assert ledger["statementSchedules"]["nodes"] == []
