"""Lists by page: whole, in order, stable, and filtered as a loop in Python would filter them."""

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.api_client import SETTLE, VOID, Api, Json

PAGE = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
DAY = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass(frozen=True)
class List:
    """One list of the graph: how to ask for a page of it."""

    name: str
    parent: str
    field: str
    filter: str | None
    order: str | None = None
    backwards: bool = False
    node: str = "id"

    @property
    def query(self) -> str:
        """The text of a query for one page."""
        given = {"first": "Int", "after": "String"}
        if self.backwards:
            given |= {"last": "Int", "before": "String"}
        if self.filter:
            given["filter"] = self.filter
        if self.order:
            given["orderBy"] = self.order
        names = "".join(f", ${name}: {kind}" for name, kind in given.items())
        arguments = ", ".join(f"{name}: ${name}" for name in given)
        page = (
            f"list: {self.field}({arguments}) {{ nodes {{ {self.node} }}"
            f" edges {{ cursor node {{ id }} }} {PAGE} }}"
        )
        if self.parent == "Query":
            return f"query ({names.removeprefix(', ')}) {{ {page} }}"
        return (
            f"query ($id: ID!{names}) {{ node(id: $id) {{ ... on {self.parent} {{ {page} }} }} }}"
        )

    async def page(self, api: Api, id_: str, **arguments: Any) -> Json:
        """One page."""
        given = arguments if self.parent == "Query" else {"id": id_, **arguments}
        data = await api.run(self.query, given)
        page: Json = (data if self.parent == "Query" else data["node"])["list"]
        assert [edge["node"]["id"] for edge in page["edges"]] == [n["id"] for n in page["nodes"]]
        cursors = [edge["cursor"] for edge in page["edges"]]
        assert len(set(cursors)) == len(cursors)
        info = page["pageInfo"]
        assert (info["startCursor"], info["endCursor"]) == (
            (cursors[0], cursors[-1]) if cursors else (None, None)
        )
        return page

    async def refusal(self, api: Api, id_: str, **arguments: Any) -> str:
        """The code with which a page is refused."""
        given = arguments if self.parent == "Query" else {"id": id_, **arguments}
        response = await api.send(self.query, given)
        (error,) = response.json()["errors"]
        return str(error["extensions"]["code"])

    async def walk(self, api: Api, id_: str, size: int, **arguments: Any) -> list[Json]:
        """All rows, forwards, page by page."""
        rows: list[Json] = []
        cursor = None
        while True:
            page = await self.page(api, id_, first=size, after=cursor, **arguments)
            rows += page["nodes"]
            assert len(rows) < 500, "the walk has no end"
            info = page["pageInfo"]
            assert info["hasPreviousPage"] is (cursor is not None)
            if not info["hasNextPage"]:
                assert len(page["nodes"]) <= size
                return rows
            assert len(page["nodes"]) == size
            cursor = info["endCursor"]

    async def walk_back(self, api: Api, id_: str, size: int, **arguments: Any) -> list[Json]:
        """All rows, from the end, page by page."""
        rows: list[Json] = []
        cursor = None
        while True:
            page = await self.page(api, id_, last=size, before=cursor, **arguments)
            rows = page["nodes"] + rows
            assert len(rows) < 500, "the walk has no end"
            info = page["pageInfo"]
            assert info["hasNextPage"] is (cursor is not None)
            if not info["hasPreviousPage"]:
                return rows
            assert len(page["nodes"]) == size
            cursor = info["startCursor"]


LEDGERS = List(
    "ledgers", "Query", "ledgers", "LedgerFilter", node="id name createdAt archivedAt metadata"
)
ACCOUNTS = List(
    "accounts",
    "Ledger",
    "accounts",
    "AccountFilter",
    "AccountOrder",
    node="id name externalId status normalBalance createdAt metadata currency { code }",
)
TRANSACTIONS = List(
    "transactions",
    "Ledger",
    "transactions",
    "TransactionFilter",
    "TransactionOrder",
    node="id sequence status externalId effectiveAt createdAt metadata",
)
ENTRY = "id sequence status direction amount effectiveAt createdAt account { id currency { code } }"
ENTRIES = List(
    "entries of ledger",
    "Ledger",
    "entries",
    "EntryFilter",
    "EntryOrder",
    backwards=True,
    node=ENTRY,
)
LINES = List(
    "entries of account",
    "Account",
    "entries",
    "EntryFilter",
    "EntryOrder",
    backwards=True,
    node=ENTRY,
)
HOLDS = List("holds", "Account", "holds", None, node="id status sequence")
LISTS = [LEDGERS, ACCOUNTS, TRANSACTIONS, ENTRIES, LINES, HOLDS]
LARGEST = 10**36


@dataclass
class Books:
    """A ledger with enough of everything to page through."""

    api: Api
    ledger: str
    cash: str
    wallet: str

    def parent(self, what: List) -> str:
        return self.cash if what.parent == "Account" else self.ledger


@pytest_asyncio.fixture
async def books(api: Api) -> Books:
    """Seven ledgers, nine accounts in two currencies, and 23 transactions in every state."""
    for number in range(6):
        await api.answer(
            "mutation ($input: CreateLedgerInput!) { createLedger(input: $input) {"
            " ... on CreateLedgerSuccess { ledger { id } } } }",
            name=f"Ledger {number % 3}",
            metadata={"n": number % 2, "nested": {"list": [1, {"x": number}]}},
        )
    ledger = await api.ledger("Main")
    cash = await api.account(ledger, name="Zebra", normalBalance="DEBIT", externalId="cash")
    wallet = await api.account(ledger, name="apple", metadata={"tier": "gold", "n": 1})
    yen = [
        await api.account(ledger, name="Same", currency="JPY", externalId=f"yen-{n}")
        for n in range(4)
    ]
    for name in ("Äpfel", "", "€ account"):
        await api.account(ledger, name=name or "Apple", metadata={"tier": "silver", "n": 1.0})
    freeze = (
        "mutation ($input: FreezeAccountInput!) { freezeAccount(input: $input) { __typename } }"
    )
    await api.answer(freeze, accountId=yen[3])
    holds = []
    for number in range(21):
        amount = (number % 5) + 1 if number < 20 else LARGEST
        status = "PENDING" if number % 3 == 0 else "POSTED"
        debit, credit = (cash, wallet) if number % 4 else (wallet, cash)
        result = await api.post(
            ledger,
            debit,
            credit,
            amount,
            status=status,
            effectiveAt=(DAY + timedelta(days=(number * 7) % 10)).isoformat(),
            externalId=f"t{number}" if number % 2 else None,
            metadata={"n": number % 3, "tags": ["a", "b"] if number % 2 else ["a"]},
        )
        if status == "PENDING":
            holds.append(result["transaction"]["id"])
    await api.post(ledger, yen[0], yen[1], 77)
    await api.post(ledger, yen[1], yen[2], 77, status="PENDING")
    await api.answer(SETTLE, transactionId=holds[0], idempotencyKey="settle")
    await api.answer(VOID, transactionId=holds[1], idempotencyKey="void")
    return Books(api, ledger, cash, wallet)


def _ids(rows: Iterable[Json]) -> list[str]:
    return [row["id"] for row in rows]


@pytest.mark.parametrize("what", LISTS, ids=lambda what: what.name)
async def test_walks_give_each_row_once(books: Books, what: List) -> None:
    """With any page size, either way, a walk gives each row once and in order."""
    whole = (await what.page(books.api, books.parent(what), first=100))["nodes"]
    assert len(whole) > 4
    assert len(set(_ids(whole))) == len(whole)
    for size in (1, 2, 3, len(whole) - 1, len(whole), len(whole) + 1, 100):
        assert await what.walk(books.api, books.parent(what), size) == whole
        if what.backwards:
            assert await what.walk_back(books.api, books.parent(what), size) == whole


async def test_natural_orders(books: Books) -> None:
    """Ledgers and accounts come in order of creation, the others in order of sequence."""
    for what in (LEDGERS, ACCOUNTS):
        rows = await what.walk(books.api, books.ledger, 100)
        assert _ids(rows) == sorted(_ids(rows))
        assert [r["createdAt"] for r in rows] == sorted(r["createdAt"] for r in rows)
    transactions = await TRANSACTIONS.walk(books.api, books.ledger, 100)
    assert [int(t["sequence"]) for t in transactions] == list(range(1, 24))
    lines = await LINES.walk(books.api, books.cash, 100)
    assert [int(line["sequence"]) for line in lines] == list(range(1, len(lines) + 1))
    holds = [int(hold["sequence"]) for hold in await HOLDS.walk(books.api, books.cash, 100)]
    assert holds == sorted(holds)


ORDERS: list[tuple[List, str, Callable[[Json], Any]]] = [
    (ACCOUNTS, "CREATED_AT", lambda row: row["id"]),
    (ACCOUNTS, "NAME", lambda row: (row["name"], row["id"])),
    (TRANSACTIONS, "SEQUENCE", lambda row: int(row["sequence"])),
    (TRANSACTIONS, "EFFECTIVE_AT", lambda row: (row["effectiveAt"], int(row["sequence"]))),
]


@pytest.mark.parametrize("descending", [False, True], ids=["ASC", "DESC"])
@pytest.mark.parametrize(
    ("what", "field", "key"), ORDERS, ids=lambda v: v if isinstance(v, str) else ""
)
async def test_orders(
    books: Books, what: List, field: str, key: Callable[[Json], Any], descending: bool
) -> None:
    """Each order is total, the same at every page size, and by code points where by name."""
    order = {"field": field, "direction": "DESC" if descending else "ASC"}
    rows = await what.walk(books.api, books.ledger, 2, orderBy=order)
    assert rows == sorted(rows, key=key, reverse=descending)
    assert await what.walk(books.api, books.ledger, 100, orderBy=order) == rows
    assert sorted(_ids(rows)) == sorted(_ids(await what.walk(books.api, books.ledger, 100)))


@pytest.mark.parametrize("what", [ENTRIES, LINES], ids=lambda what: what.name)
@pytest.mark.parametrize("field", ["SEQUENCE", "EFFECTIVE_AT"])
async def test_orders_of_entries(books: Books, what: List, field: str) -> None:
    """On either axis, either way and from either end; what took effect at once, as recorded."""
    parent = books.parent(what)
    natural = await what.walk(books.api, parent, 100)
    expected = natural if field == "SEQUENCE" else sorted(natural, key=lambda e: e["effectiveAt"])
    assert (natural == expected) is (field == "SEQUENCE")
    for direction, rows in (("ASC", expected), ("DESC", expected[::-1])):
        order = {"field": field, "direction": direction}
        for size in (2, 100):
            assert await what.walk(books.api, parent, size, orderBy=order) == rows
            assert await what.walk_back(books.api, parent, size, orderBy=order) == rows
        within = {"effectiveAt": {"gte": rows[-1]["effectiveAt"], "lt": rows[0]["effectiveAt"]}}
        if direction == "DESC":
            chosen = [r for r in rows if r["effectiveAt"] < rows[0]["effectiveAt"]]
            assert await what.walk(books.api, parent, 3, orderBy=order, filter=within) == [
                r for r in chosen if r["effectiveAt"] >= rows[-1]["effectiveAt"]
            ]


async def test_page_sizes(books: Books) -> None:
    """Fifty rows by default, a hundred at most; none, fewer and more are dealt with as said."""
    for _ in range(5):
        batch = [
            {"ledgerId": books.ledger, "name": "x", "normalBalance": "DEBIT", "currency": "USD"}
        ] * 30
        await books.api.answer(
            "mutation ($input: CreateAccountsInput!) { createAccounts(input: $input)"
            " { ... on CreateAccountsSuccess { accounts { id } } } }",
            accounts=batch,
        )

    async def sizes(**arguments: Any) -> tuple[int, bool, bool]:
        page = await ACCOUNTS.page(books.api, books.ledger, **arguments)
        info = page["pageInfo"]
        return len(page["nodes"]), info["hasPreviousPage"], info["hasNextPage"]

    assert await sizes() == (50, False, True)
    assert await sizes(first=None, after=None) == (50, False, True)
    assert await sizes(first=100) == (100, False, True)
    assert await sizes(first=1) == (1, False, True)
    assert await sizes(first=0) == (0, False, True)
    assert await sizes(first=0, filter={"name": ["nobody"]}) == (0, False, False)
    for size in (-1, 101, -(2**31), 2**31 - 1):
        for what in LISTS:
            code = await what.refusal(books.api, books.parent(what), first=size)
            # A page too large for the price of a query is refused before it runs.
            assert code in {"BAD_USER_INPUT", "QUERY_TOO_COMPLEX"}
    assert await LINES.refusal(books.api, books.cash, last=-1) == "BAD_USER_INPUT"
    assert await LINES.refusal(books.api, books.cash, last=101) == "BAD_USER_INPUT"


async def test_last_pages(books: Books) -> None:
    """`last` reads from the end, in ascending order, and tells what lies before."""
    whole = await LINES.walk(books.api, books.cash, 100)
    page = await LINES.page(books.api, books.cash, last=2)
    assert page["nodes"] == whole[-2:]
    assert (page["pageInfo"]["hasPreviousPage"], page["pageInfo"]["hasNextPage"]) == (True, False)
    before = await LINES.page(books.api, books.cash, before=page["pageInfo"]["startCursor"])
    assert before["nodes"] == whole[:-2]
    assert (await LINES.page(books.api, books.cash, last=0))["nodes"] == []
    assert (await LINES.page(books.api, books.cash, last=0))["pageInfo"]["hasPreviousPage"]


@pytest.mark.parametrize(
    "arguments", [{"first": 1, "last": 1}, {"first": 1, "before": "c"}, {"after": "c", "last": 1},
                  {"after": "c", "before": "c"}],
)  # fmt: skip
async def test_both_ways_at_once(books: Books, arguments: Json) -> None:
    """A page runs one way: first with last, or after with before, is BAD_USER_INPUT."""
    given = {k: v if v != "c" else "Y3Vyc29y" for k, v in arguments.items()}
    assert await LINES.refusal(books.api, books.cash, **given) == "BAD_USER_INPUT"


@pytest.mark.parametrize("what", LISTS, ids=lambda what: what.name)
async def test_pages_are_stable_while_rows_are_added(books: Books, what: List) -> None:
    """Rows added during a walk come at its end: none is given twice and none is skipped."""
    api, parent = books.api, books.parent(what)
    before = _ids(await what.walk(api, parent, 100))
    seen: list[str] = []
    cursor, added = None, 0
    while True:
        page = await what.page(api, parent, first=3, after=cursor)
        seen += _ids(page["nodes"])
        assert len(seen) < 500, "the walk has no end"
        cursor = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
        if added < 3:
            added += 1
            await api.ledger(f"Ledger {added}")
            await api.account(books.ledger, name="A")
            await api.post(books.ledger, books.cash, books.wallet, 1, status="PENDING")
    assert len(set(seen)) == len(seen)
    assert seen[: len(before)] == before
    assert seen == _ids(await what.walk(api, parent, 100))
    assert len(seen) == len(before) + added * (2 if what is ENTRIES else 1)


async def test_rows_that_leave_take_no_others_along(books: Books) -> None:
    """Holds that are settled during a walk do not hide those behind them."""
    whole = _ids(await HOLDS.walk(books.api, books.cash, 100))
    page = await HOLDS.page(books.api, books.cash, first=3)
    for number, hold in enumerate(_ids(page["nodes"])):
        await books.api.answer(VOID, transactionId=hold, idempotencyKey=f"v{number}")
    rest = await HOLDS.page(books.api, books.cash, after=page["pageInfo"]["endCursor"])
    assert _ids(rest["nodes"]) == whole[3:]


# ---- cursors -------------------------------------------------------------------------------------


def _decoded(cursor: str) -> list[Any]:
    parts: list[Any] = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return parts


def _encoded(parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize("what", LISTS, ids=lambda what: what.name)
async def test_cursors_that_were_made_up(books: Books, what: List) -> None:
    """Garbage and edited cursors are INVALID_CURSOR in every list."""
    parent = books.parent(what)
    cursor = (await what.page(books.api, parent, first=1))["pageInfo"]["endCursor"]
    digest, *key = _decoded(cursor)
    other = (await what.page(books.api, parent, first=2))["pageInfo"]["endCursor"]
    edited: list[Any] = [
        [digest, *_decoded(other)[1:]], [digest], [], {}, {digest: key}, None, 5, "x", [[], *key],
        [digest, *key, *key], [digest, *([5] * len(key))], [digest, *([None] * len(key))],
        [digest, *([{}] * len(key))], [digest, *([["a"]] * len(key))], [digest, *([""] * len(key))],
        [digest, *([True] * len(key))], [digest, *([2**70] * len(key))], [None, *key],
        [digest, *(["9" * 5000] * len(key))], [digest, *(["\0"] * len(key))], [digest + "0", *key],
    ]  # fmt: skip
    garbage = [
        "", " ", "x", "====", "\ud7ff", "%00", cursor[:-1], cursor + "A", cursor + "\n", cursor[1:],
        cursor.swapcase(), cursor * 2, "A" * 10_000, "bnVsbA", "bm90IGpzb24", "{}", "W10",
        base64.urlsafe_b64encode(b"\xff\xfe").decode(), base64.b64encode(b"[" * 3000).decode(),
    ]  # fmt: skip
    for bad in [*map(_encoded, edited), *garbage]:
        assert await what.refusal(books.api, parent, after=bad) == "INVALID_CURSOR", bad
        if what.backwards:
            assert await what.refusal(books.api, parent, before=bad) == "INVALID_CURSOR", bad


async def test_cursors_of_another_list(books: Books) -> None:
    """A cursor opens no list but its own: neither another field's nor another parent's."""
    cursors = {
        what.name: (await what.page(books.api, books.parent(what), first=1))["pageInfo"][
            "endCursor"
        ]
        for what in LISTS
    }
    for what in LISTS:
        for name, cursor in cursors.items():
            if name != what.name:
                refused = await what.refusal(books.api, books.parent(what), after=cursor)
                assert refused == "INVALID_CURSOR", (what.name, name)
    for what in (LINES, HOLDS):
        refused = await what.refusal(books.api, books.wallet, after=cursors[what.name])
        assert refused == "INVALID_CURSOR"
    other = await books.api.ledger()
    for what in (ACCOUNTS, TRANSACTIONS, ENTRIES):
        refused = await what.refusal(books.api, other, after=cursors[what.name])
        assert refused == "INVALID_CURSOR"


async def test_cursors_of_another_order_or_filter(books: Books) -> None:
    """With another order, direction or filter a cursor is INVALID_CURSOR rather than misread."""
    variations: list[Json] = [
        {},
        {"orderBy": {"field": "NAME"}},
        {"orderBy": {"field": "NAME", "direction": "DESC"}},
        {"orderBy": {"direction": "DESC"}},
        {"filter": {"currency": "USD"}},
        {"filter": {"currency": "JPY"}},
        {"filter": {"currency": ["USD", "JPY"]}},
        {"filter": {"metadata": {"n": 1}}},
        {"filter": {"createdAt": {"gt": "2026-01-01T00:00:00Z"}}},
        {"filter": {"createdAt": {"gte": "2026-01-01T00:00:00Z"}}},
        {"filter": {"createdAt": {"gte": "2026-01-01T00:00:01Z"}}},
    ]
    for given in variations:
        cursor = (await ACCOUNTS.page(books.api, books.ledger, first=1, **given))["pageInfo"][
            "endCursor"
        ]
        for asked in variations:
            if asked == given:
                await ACCOUNTS.page(books.api, books.ledger, first=1, after=cursor, **asked)
                continue
            refused = await ACCOUNTS.refusal(books.api, books.ledger, after=cursor, **asked)
            assert refused == "INVALID_CURSOR", (given, asked)


async def test_the_same_order_and_filter_in_other_words(books: Books) -> None:
    """A cursor fits where order and filter are the same though written otherwise."""
    cursor = (await ACCOUNTS.page(books.api, books.ledger, first=1))["pageInfo"]["endCursor"]
    others: list[Json] = [
        {"orderBy": None},
        {"orderBy": {"field": "CREATED_AT", "direction": "ASC"}},
        {"filter": {}},
        {"filter": {"metadata": {}, "createdAt": {}}},
    ]
    for words in others:
        page = await ACCOUNTS.page(books.api, books.ledger, after=cursor, **words)
        assert len(page["nodes"]) == 8


# ---- filters -------------------------------------------------------------------------------------

BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "gte": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "lte": lambda a, b: a <= b,
    "lt": lambda a, b: a < b,
    "eq": lambda a, b: a == b,
}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _contains(whole: Any, part: Any) -> bool:
    """What PostgreSQL's @> says of two JSON values."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            name in whole and _contains(whole[name], value) for name, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(
            any(_contains(item, wanted) for item in whole) for wanted in part
        )
    return type(whole) in {type(part), int, float} and bool(whole == part)


def _keeps(row: Json, filter_: Json) -> bool:
    """Whether a row passes a filter, by the words of the schema."""
    for name, wanted in filter_.items():
        if wanted is None:
            continue
        value = row.get(name)
        if name == "currency":
            value = (
                row["currency"]["code"] if "currency" in row else row["account"]["currency"]["code"]
            )
        if name == "accountId":
            value = row["account"]["id"]
        if name == "archived":
            passes = (row["archivedAt"] is not None) is wanted
        elif name == "metadata":
            passes = _contains(value, wanted)
        elif name in ("createdAt", "effectiveAt"):
            passes = all(
                BOUNDS[bound](datetime.fromisoformat(str(value)), datetime.fromisoformat(limit))
                for bound, limit in wanted.items()
            )
        elif name == "amount":
            passes = all(BOUNDS[b](int(str(value)), int(limit)) for b, limit in wanted.items())
        else:
            passes = value in _listed(wanted)
        if not passes:
            return False
    return True


D3, D5 = (f"{DAY + timedelta(days=n):%Y-%m-%dT%H:%M:%S}Z" for n in (3, 5))
FILTERS: list[tuple[List, Json]] = [
    (LEDGERS, {"name": "Ledger 1"}),
    (LEDGERS, {"name": ["Ledger 1", "Main", "None"]}),
    (LEDGERS, {"name": []}),
    (LEDGERS, {"archived": False}),
    (LEDGERS, {"archived": True}),
    (LEDGERS, {"metadata": {"n": 1}}),
    (LEDGERS, {"metadata": {"nested": {"list": [{"x": 3}]}}}),
    (LEDGERS, {"metadata": {"nested": {"list": [{"x": 3}, 1]}}, "name": "Ledger 0"}),
    (LEDGERS, {"createdAt": {"lt": "2000-01-01T00:00:00Z"}}),
    (ACCOUNTS, {"name": "Same"}),
    (ACCOUNTS, {"externalId": ["cash", "yen-2", "nobody's"]}),
    (ACCOUNTS, {"externalId": []}),
    (ACCOUNTS, {"currency": "JPY", "status": "OPEN"}),
    (ACCOUNTS, {"currency": ["JPY", "USD"], "normalBalance": "DEBIT"}),
    (ACCOUNTS, {"normalBalance": "CREDIT"}),
    (ACCOUNTS, {"status": ["FROZEN", "CLOSED"]}),
    (ACCOUNTS, {"metadata": {"n": 1}}),
    (ACCOUNTS, {"metadata": {"tier": "gold"}, "name": "apple"}),
    (ACCOUNTS, {"metadata": {"tier": None}}),
    (TRANSACTIONS, {"status": "PENDING"}),
    (TRANSACTIONS, {"status": ["POSTED", "VOIDED"]}),
    (TRANSACTIONS, {"externalId": ["t1", "t3", "x"]}),
    (TRANSACTIONS, {"effectiveAt": {"gte": D3, "lt": D5}}),
    (TRANSACTIONS, {"effectiveAt": {"gt": D3, "lte": D5}}),
    (TRANSACTIONS, {"effectiveAt": {"gte": D5, "lte": D3}}),
    (TRANSACTIONS, {"effectiveAt": {"gte": D3, "lte": D3}, "status": "POSTED"}),
    (TRANSACTIONS, {"metadata": {"tags": ["b"]}}),
    (TRANSACTIONS, {"metadata": {"tags": ["b", "a"], "n": 2}}),
    (TRANSACTIONS, {"createdAt": {"gt": "2000-01-01T00:00:00+05:30"}}),
]
OF_ENTRIES: list[Json] = [
    {"status": "PENDING"},
    {"status": ["POSTED"]},
    {"status": ["VOIDED", "PENDING"]},
    {"status": []},
    {"direction": "DEBIT"},
    {"direction": "CREDIT", "status": "POSTED"},
    {"amount": {"eq": "3"}},
    {"amount": {"gte": "2", "lt": "4"}},
    {"amount": {"gt": "2", "lte": "4", "gte": "1"}},
    {"amount": {"eq": str(LARGEST)}},
    {"amount": {"gte": str(LARGEST)}},
    {"amount": {"gt": str(LARGEST - 1), "lte": str(LARGEST)}},
    {"amount": {"lt": str(LARGEST)}},
    {"amount": {"lt": "0"}},
    {"amount": {"gt": str(-LARGEST)}},
    {"currency": "JPY"},
    {"currency": ["USD", "EUR"], "direction": "DEBIT", "amount": {"gt": "1"}},
    {"effectiveAt": {"gt": D3}},
    {"effectiveAt": {"lte": D3}, "createdAt": {"gte": "2020-01-01T00:00:00Z"}},
    {"createdAt": {"lt": "2020-01-01T00:00:00Z"}},
]
FILTERS += [(what, filter_) for what in (ENTRIES, LINES) for filter_ in OF_ENTRIES]


async def test_filters(books: Books) -> None:
    """Every filter lists what a loop over all rows keeps, in the same order, at any page size."""
    archive = (
        "mutation ($input: ArchiveLedgerInput!) { archiveLedger(input: $input) { __typename } }"
    )
    await books.api.answer(archive, ledgerId=(await LEDGERS.walk(books.api, "", 100))[0]["id"])
    kept = 0
    for what, filter_ in FILTERS:
        parent = books.parent(what)
        expected = [row for row in await what.walk(books.api, parent, 100) if _keeps(row, filter_)]
        kept += bool(expected)
        for size in (2, 100):
            found = await what.walk(books.api, parent, size, filter=filter_)
            assert _ids(found) == _ids(expected), (what.name, filter_)
        if what.backwards:
            assert await what.walk_back(books.api, parent, 3, filter=filter_) == expected
    assert kept > len(FILTERS) * 2 / 3, "most filters must keep something, or they prove nothing"


async def test_filter_by_account(books: Books) -> None:
    """Entries of some accounts: each its own, together all, of none none, of strangers none."""
    entries = await ENTRIES.walk(books.api, books.ledger, 100)
    foreign = await (await books.api.stranger()).ledger()
    foreign_account = "acct_" + foreign.removeprefix("ldgr_")
    for ids in (
        [books.cash],
        [books.cash, books.wallet],
        [],
        [foreign_account],
        [books.cash] * 100,
    ):
        found = await ENTRIES.walk(books.api, books.ledger, 7, filter={"accountId": ids})
        assert found == [row for row in entries if row["account"]["id"] in ids]
    for id_ in ("", "cash", books.ledger, books.cash.upper()):
        refused = await ENTRIES.refusal(books.api, books.ledger, filter={"accountId": id_})
        assert refused == "BAD_USER_INPUT"


async def test_filter_by_recorded_time(books: Books) -> None:
    """Recorded times bound a list to the microsecond, on both sides."""
    transactions = await TRANSACTIONS.walk(books.api, books.ledger, 100)
    middle = transactions[10]["createdAt"]
    for bound, compare in BOUNDS.items():
        if bound == "eq":
            continue
        found = await TRANSACTIONS.walk(
            books.api, books.ledger, 100, filter={"createdAt": {bound: middle}}
        )
        assert found == [row for row in transactions if compare(row["createdAt"], middle)]


@pytest.mark.parametrize(
    ("what", "filter_"),
    [
        (LEDGERS, {"name": ["x"] * 101}),
        (ACCOUNTS, {"externalId": ["x"] * 101}),
        (TRANSACTIONS, {"status": ["POSTED"] * 101}),
        (ENTRIES, {"accountId": ["acct_" + "0" * 32] * 101}),
        (ACCOUNTS, {"metadata": {"a": 1e300}}),
        (LEDGERS, {"metadata": {"a": "x" * 20_000}}),
        (TRANSACTIONS, {"metadata": {"a": [[[[[[[[[]]]]]]]]]}}),
    ],
    ids=lambda value: value.name if isinstance(value, List) else None,
)
async def test_filters_that_are_refused(books: Books, what: List, filter_: Json) -> None:
    """Over a hundred values, and metadata that no object can have, are BAD_USER_INPUT."""
    assert await what.refusal(books.api, books.ledger, filter=filter_) == "BAD_USER_INPUT"


async def test_nested_pages_are_of_their_parents(books: Books) -> None:
    """One request pages several parents, each with its own rows and cursors."""
    query = (
        "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Account { id entries(first: 2) {"
        " nodes { account { id } sequence } pageInfo { endCursor hasNextPage } } } } }"
    )
    ids = [books.wallet, books.cash]
    nodes = (await books.api.run(query, {"ids": ids}))["nodes"]
    assert [node["id"] for node in nodes] == ids
    for node in nodes:
        entries = node["entries"]
        assert entries["nodes"] == [
            {"account": {"id": node["id"]}, "sequence": str(n)} for n in (1, 2)
        ]
        rest = await LINES.page(
            books.api, node["id"], first=1, after=entries["pageInfo"]["endCursor"]
        )
        assert rest["nodes"][0]["sequence"] == "3"
