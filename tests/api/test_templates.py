"""Transaction templates over HTTP: made, numbered, used, replayed, archived."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from app.ledger.accounts.state import Mode
from app.store.audit.verify import verify
from app.store.identity import Permission
from tests.api.market import STATE, TRANSACTION
from tests.api_client import SETTLE, Api, Json

ERROR = """
    ... on UserError { code message path retryable }
    ... on EntriesUnbalanced { debits credits }
    ... on InsufficientFunds { available required account { name } }
    ... on IdempotencyConflict { transaction { sequence } }
    ... on AccountNotOpen { account { name } }
"""
TEMPLATE = """
    id code version description createdAt archivedAt ledger { id }
    parameters { name kind description default minimum maximum } values { name amount }
    entries {
      direction amount account { name } accountExternalId accountParameter metadata
    }
"""
CREATE = f"""
mutation ($input: CreateTransactionTemplateInput!) {{
  createTransactionTemplate(input: $input) {{
    __typename
    ... on CreateTransactionTemplateSuccess {{ template {{ {TEMPLATE} }} }}
    ... on UserError {{ code message path retryable }}
  }}
}}
"""
ARCHIVE = """
mutation ($input: ArchiveTransactionTemplateInput!) {
  archiveTransactionTemplate(input: $input) {
    __typename
    ... on ArchiveTransactionTemplateSuccess { template { code version archivedAt } }
    ... on UserError { code message path retryable }
  }
}
"""
POST = f"""
mutation ($input: PostTemplateInput!) {{
  postTemplate(input: $input) {{
    __typename
    ... on PostTemplateSuccess {{
      replayed
      transaction {{ {TRANSACTION} template {{ code version }} templateParams }}
    }}
    {ERROR}
  }}
}}
"""

CLOSED = "2026-01-31T23:59:59.999999Z"
CLOSE = f"""mutation ($ledger: ID!) {{
  closePeriod(input: {{ledgerId: $ledger, through: "{CLOSED}"}}) {{ __typename }}
}}"""

PARAMETERS: list[Json] = [
    {"name": "amount", "kind": "AMOUNT", "minimum": "1"},
    {"name": "sellerId", "kind": "TEXT"},
    {"name": "feeRate", "kind": "INTEGER", "default": "250", "minimum": "0", "maximum": "10000"},
]
VALUES: list[Json] = [
    {"name": "tax", "amount": "share(amount, 19, 119)"},
    {"name": "fee", "amount": "share(amount - tax, feeRate, 10000)"},
]


class Orders:
    """Cash, taxes, fees and two sellers; a template for an order with a fee and a tax."""

    api: Api
    ledger: str
    accounts: dict[str, str]

    @classmethod
    async def open(cls, api: Api) -> "Orders":
        orders = cls()
        orders.api, orders.ledger = api, await api.ledger()
        orders.accounts = {
            "cash": await api.account(orders.ledger, name="cash", normalBalance="DEBIT"),
            **{
                name: await api.account(orders.ledger, name=name, externalId=f"seller:{name}")
                for name in ("ada", "bob")
            },
            **{name: await api.account(orders.ledger, name=name) for name in ("tax", "fees")},
        }
        return orders

    def definition(self, **changes: Any) -> Json:
        """The input that makes the template."""
        return {
            "ledgerId": self.ledger,
            "code": "order",
            "parameters": PARAMETERS,
            "values": VALUES,
            "entries": [
                {"direction": "DEBIT", "amount": "amount", "accountId": self.accounts["cash"]},
                {"direction": "CREDIT", "amount": "tax", "accountId": self.accounts["tax"]},
                {"direction": "CREDIT", "amount": "fee", "accountId": self.accounts["fees"]},
                {
                    "direction": "CREDIT",
                    "amount": "amount - tax - fee",
                    "accountExternalId": "seller:{sellerId}",
                },
            ],
            **changes,
        }

    async def create(self, **changes: Any) -> Json:
        answer = await self.api.answer(CREATE, **self.definition(**changes))
        assert "template" in answer, answer
        template: Json = answer["template"]
        return template

    def use(self, /, **changes: Any) -> Json:
        return {
            "ledgerId": self.ledger,
            "code": "order",
            "params": {"amount": "10000", "sellerId": "ada"},
            "idempotencyKey": "order-1",
            **changes,
        }

    async def post(self, /, **changes: Any) -> Json:
        return await self.api.answer(POST, **self.use(**changes))

    async def refused(self, /, **changes: Any) -> Json:
        """Use the template in a way that must be refused; the books stay."""
        before = await self.state()
        answer = await self.post(**changes)
        assert answer["__typename"] != "PostTemplateSuccess"
        assert await self.state() == before
        return answer

    async def state(self) -> Json:
        return await self.api.run(STATE, {"id": self.ledger})

    async def archive(self) -> Json:
        return await self.api.answer(ARCHIVE, ledgerId=self.ledger, code="order")


@pytest_asyncio.fixture
async def orders(api: Api) -> Orders:
    orders = await Orders.open(api)
    await orders.create()
    return orders


def lines(answer: Json) -> list[tuple[str, str, int]]:
    return [
        (entry["account"]["name"], entry["direction"], int(entry["amount"]))
        for entry in answer["transaction"]["entries"]
    ]


# ---- making --------------------------------------------------------------------------------------


async def test_a_template_is_shown_as_it_was_made(orders: Orders) -> None:
    """What was defined is there again, under its code, as a node, and in the ledger's list."""
    found = await orders.api.run(
        f"""query ($l: ID!) {{
            transactionTemplate(ledgerId: $l, code: "order") {{ {TEMPLATE} }}
            ledger(id: $l) {{ transactionTemplates {{ nodes {{ {TEMPLATE} }} }} }} }}""",
        {"l": orders.ledger},
    )
    template = found["transactionTemplate"]
    assert found["ledger"]["transactionTemplates"]["nodes"] == [template]
    query = (
        f"query ($id: ID!) {{ node(id: $id) {{ ... on TransactionTemplate {{ {TEMPLATE} }} }} }}"
    )
    assert (await orders.api.run(query, {"id": template["id"]}))["node"] == template
    absent = {"description": None, "default": None, "minimum": None, "maximum": None}
    assert template["parameters"] == [{**absent, **parameter} for parameter in PARAMETERS]
    assert template["values"] == VALUES
    assert (template["version"], template["archivedAt"]) == (1, None)
    assert template["ledger"] == {"id": orders.ledger}
    assert template["entries"][0] == {
        "direction": "DEBIT",
        "amount": "amount",
        "account": {"name": "cash"},
        "accountExternalId": None,
        "accountParameter": None,
        "metadata": {},
    }
    assert template["entries"][3]["accountExternalId"] == "seller:{sellerId}"


async def test_versions(orders: Orders) -> None:
    """Another definition is the next version; the same sent again makes none; all stay."""
    second = await orders.create(description="Second")
    again = await orders.create(description="Second")
    assert (second["version"], again) == (2, second)
    await orders.create()
    found = await orders.api.run(
        """query ($l: ID!) {
            newest: transactionTemplate(ledgerId: $l, code: "order") {
                version versions { nodes { version description } }
                page: versions(first: 1) { pageInfo { hasNextPage endCursor } } }
            second: transactionTemplate(ledgerId: $l, code: "order", version: 2) { description }
            none: transactionTemplate(ledgerId: $l, code: "order", version: 4) { version }
            other: transactionTemplate(ledgerId: $l, code: "other") { version } }""",
        {"l": orders.ledger},
    )
    assert found["newest"]["versions"]["nodes"] == [
        {"version": 3, "description": None},
        {"version": 2, "description": "Second"},
        {"version": 1, "description": None},
    ]
    assert (found["newest"]["version"], found["second"]) == (3, {"description": "Second"})
    assert (found["none"], found["other"]) == (None, None)
    cursor = found["newest"]["page"]["pageInfo"]["endCursor"]
    rest = await orders.api.run(
        """query ($l: ID!, $after: String) { transactionTemplate(ledgerId: $l, code: "order") {
            versions(after: $after) { nodes { version } } } }""",
        {"l": orders.ledger, "after": cursor},
    )
    assert rest["transactionTemplate"]["versions"]["nodes"] == [{"version": 2}, {"version": 1}]


async def test_versions_made_at_once_are_numbered(orders: Orders) -> None:
    """Definitions that come together get numbers of their own, without a gap."""
    made = await asyncio.gather(*(orders.create(description=f"{n}") for n in range(8)))
    assert sorted(template["version"] for template in made) == list(range(2, 10))


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"code": "an order"}, "code", "A code is a letter or digit and up to 63 of"),
        ({"parameters": PARAMETERS * 20}, "parameters", "A template has from 0 to 50 parameters."),
        ({"parameters": PARAMETERS + PARAMETERS[:1]}, "parameters.3.name", "is used twice"),
        (
            {"parameters": [{"name": "a-b", "kind": "TEXT"}]},
            "parameters.0.name",
            "A name is a letter and",
        ),
        (
            {"parameters": [{"name": "a", "kind": "TEXT", "minimum": "1"}]},
            "parameters.0.minimum",
            "Only a number has a minimum.",
        ),
        (
            {"parameters": [{"name": "a", "kind": "AMOUNT", "minimum": "5", "maximum": "4"}]},
            "parameters.0.maximum",
            "No number is from 5 to 4.",
        ),
        (
            {"parameters": [{"name": "a", "kind": "AMOUNT", "default": "-1"}]},
            "parameters.0.default",
            "it is from 0 to",
        ),
        (
            {"parameters": [{"name": "a", "kind": "ACCOUNT", "default": "nobody"}]},
            "parameters.0.default",
            "it is the id of an account.",
        ),
        (
            {"values": [{"name": "fee", "amount": "tax"}, *VALUES[:1]]},
            "values.0.amount",
            "At character 1: there is no number tax.",
        ),
        (
            {"values": [{"name": "amount", "amount": "1"}]},
            "values.0.name",
            "The name amount is used twice.",
        ),
        (
            {"values": [{"name": "fee", "amount": "amount * (1"}]},
            "values.0.amount",
            "At character 12: the expression ends too early.",
        ),
        (
            {"values": [{"name": "fee", "amount": "sellerId + 1"}]},
            "values.0.amount",
            "At character 1: there is no number sellerId.",
        ),
    ],
)
async def test_definitions_that_are_refused(
    orders: Orders, changes: Json, path: str, message: str
) -> None:
    """What cannot be a template is refused with the field at fault, and is no version."""
    answer = await orders.api.answer(CREATE, **orders.definition(**changes))
    assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", ["input", *path.split(".")])
    assert message in answer["message"]
    assert (await orders.create())["version"] == 1


async def test_entries_that_are_refused(orders: Orders) -> None:
    """Each entry has one account, known parameters, and an expression; there are two sides."""
    cash, _, _, seller = orders.definition()["entries"]
    nobody = f"acct_{uuid4().hex}"
    for index, entry, code, path in (
        (0, {**cash, "amount": "fees"}, "VALIDATION_FAILED", ["0", "amount"]),
        (0, {**cash, "accountExternalId": "x"}, "VALIDATION_FAILED", ["0"]),
        (0, {**cash, "accountId": None}, "VALIDATION_FAILED", ["0"]),
        (0, {**cash, "accountId": "x"}, "VALIDATION_FAILED", ["0", "accountId"]),
        (0, {**cash, "accountId": nobody}, "ACCOUNT_NOT_FOUND", ["0", "accountId"]),
        (0, {**cash, "direction": "CREDIT"}, "VALIDATION_FAILED", []),
        (
            3,
            {**seller, "accountExternalId": "{x}"},
            "VALIDATION_FAILED",
            ["3", "accountExternalId"],
        ),
        (3, {**seller, "accountExternalId": "{"}, "VALIDATION_FAILED", ["3", "accountExternalId"]),
        (3, {**seller, "accountExternalId": ""}, "VALIDATION_FAILED", ["3", "accountExternalId"]),
        (
            3,
            {**seller, "accountExternalId": "{amount}"},
            "VALIDATION_FAILED",
            ["3", "accountExternalId"],
        ),
        (
            3,
            {"direction": "CREDIT", "amount": "1", "accountParameter": "sellerId"},
            "VALIDATION_FAILED",
            ["3", "accountParameter"],
        ),
    ):
        definition = orders.definition()
        definition["entries"][index] = entry
        answer = await orders.api.answer(CREATE, **definition)
        assert (answer["code"], answer["path"]) == (code, ["input", "entries", *path]), entry
    answer = await orders.api.answer(CREATE, **orders.definition(entries=[cash]))
    assert answer["path"] == ["input", "entries"]
    assert (await orders.create())["version"] == 1


# ---- using ---------------------------------------------------------------------------------------


async def test_an_order_with_a_fee_and_a_tax(orders: Orders, database_url: str) -> None:
    """The parts are rounded as said and come to the whole; the transaction tells its template."""
    answer = await orders.post(
        description="Order 1", externalId="1", metadata={"a": 1}, effectiveAt="2026-01-01T00:00:00Z"
    )
    assert lines(answer) == [
        ("cash", "DEBIT", 10000),
        ("tax", "CREDIT", 1597),
        ("fees", "CREDIT", 210),
        ("ada", "CREDIT", 8193),
    ]
    transaction = answer["transaction"]
    assert (transaction["description"], transaction["externalId"]) == ("Order 1", "1")
    assert (transaction["metadata"], transaction["status"]) == ({"a": 1}, "POSTED")
    assert transaction["template"] == {"code": "order", "version": 1}
    assert transaction["templateParams"] == {
        "amount": "10000",
        "feeRate": "250",
        "sellerId": "ada",
    }
    read = await orders.api.run(
        f"query ($id: ID!) {{ transaction(id: $id) {{ {TRANSACTION} template {{ code version }}"
        " templateParams } }",
        {"id": transaction["id"]},
    )
    assert read["transaction"] == transaction
    assert await orders.api.balances(orders.accounts["ada"]) == (8193, 0, 8193, 8193)
    assert verify(database_url).violations == ()


async def test_a_posting_has_no_template(orders: Orders) -> None:
    """A transaction that was posted otherwise shows neither template nor parameters."""
    accounts = orders.accounts
    posted = await orders.api.post(orders.ledger, accounts["cash"], accounts["ada"], 5)
    read = await orders.api.run(
        "query ($id: ID!) { transaction(id: $id) { template { code } templateParams } }",
        {"id": posted["transaction"]["id"]},
    )
    assert read["transaction"] == {"template": None, "templateParams": None}


async def test_what_comes_to_nothing_is_left_out(orders: Orders) -> None:
    """An entry of 0 is left out; with fewer than two left, the use is refused."""
    free = {"amount": "10000", "sellerId": "bob", "feeRate": 0}
    assert lines(await orders.post(params=free))[1:] == [
        ("tax", "CREDIT", 1597),
        ("bob", "CREDIT", 8403),
    ]
    await orders.create(
        values=[], entries=[{**e, "amount": "0"} for e in orders.definition()["entries"]]
    )
    answer = await orders.refused(idempotencyKey="2")
    assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", ["input", "params"])


async def test_accounts_by_parameter_and_big_numbers(orders: Orders) -> None:
    """An account may be a parameter; amounts go to 10^36, exactly."""
    await orders.create(
        code="pay",
        parameters=[
            {"name": "to", "kind": "ACCOUNT", "default": orders.accounts["bob"]},
            {"name": "amount", "kind": "AMOUNT"},
        ],
        values=[],
        entries=[
            {"direction": "DEBIT", "amount": "amount", "accountId": orders.accounts["cash"]},
            *(
                {
                    "direction": "CREDIT",
                    "amount": f"split(amount, {part}, 1, 1, 1)",
                    "accountParameter": "to",
                    "metadata": {"part": part},
                }
                for part in (1, 2, 3)
            ),
        ],
    )
    whole = 10**36
    answer = await orders.post(code="pay", params={"amount": str(whole)})
    assert lines(answer) == [
        ("cash", "DEBIT", whole),
        ("bob", "CREDIT", whole // 3),
        ("bob", "CREDIT", whole // 3 + 1),
        ("bob", "CREDIT", whole // 3),
    ]
    assert [e["metadata"] for e in answer["transaction"]["entries"]][1:] == [
        {"part": 1},
        {"part": 2},
        {"part": 3},
    ]
    params = {"amount": "3", "to": orders.accounts["ada"]}
    answer = await orders.post(code="pay", params=params, idempotencyKey="2")
    assert lines(answer)[1] == ("ada", "CREDIT", 1)
    assert answer["transaction"]["templateParams"] == params
    nobody = f"acct_{uuid4().hex}"
    answer = await orders.refused(
        code="pay", params={"amount": "3", "to": nobody}, idempotencyKey="3"
    )
    assert (answer["code"], answer["path"]) == ("ACCOUNT_NOT_FOUND", ["input", "params", "to"])


async def test_it_can_be_held(orders: Orders) -> None:
    """With status PENDING the transaction is a hold, settled as any other."""
    held = await orders.post(status="PENDING")
    assert held["transaction"]["status"] == "PENDING"
    await orders.api.answer(
        SETTLE, transactionId=held["transaction"]["id"], idempotencyKey="settle"
    )
    assert await orders.api.balances(orders.accounts["ada"]) == (8193, 0, 8193, 8193)


async def test_a_dry_run_is_a_preview(orders: Orders) -> None:
    """It shows the entries, the template and the parameters, and keeps nothing."""
    before = await orders.state()
    answer = await orders.post(dryRun=True)
    assert lines(answer)[3] == ("ada", "CREDIT", 8193)
    assert answer["transaction"]["template"] == {"code": "order", "version": 1}
    assert answer["transaction"]["templateParams"]["feeRate"] == "250"
    assert await orders.state() == before
    assert (await orders.post(description="another"))["replayed"] is False


async def test_sent_again_whatever_became_of_the_template(orders: Orders) -> None:
    """The same call gives the first result under newer versions, archived, or wanting more."""
    first = await orders.post()
    more = [*PARAMETERS, {"name": "orderId", "kind": "TEXT"}]
    await orders.create(parameters=more)
    again = await orders.post()
    assert (again["replayed"], again["transaction"]) == (True, first["transaction"])
    assert again["transaction"]["template"] == {"code": "order", "version": 1}
    await orders.archive()
    assert (await orders.post())["replayed"] is True
    for change in (
        {"version": 1},
        {"code": "other"},
        {"params": {"amount": "10000", "sellerId": "bob"}},
        {"params": {"amount": "10000", "sellerId": "ada", "feeRate": 250}},
        {"description": "x"},
        {"status": "PENDING"},
    ):
        answer = await orders.refused(**change)
        assert answer["code"] == "IDEMPOTENCY_CONFLICT", change
        assert answer["transaction"] == {"sequence": first["transaction"]["sequence"]}


async def test_sent_at_once_it_is_done_once(orders: Orders) -> None:
    """Copies that arrive together are recorded once, with one use."""
    answers = await asyncio.gather(*(orders.post() for _ in range(6)))
    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 5
    assert len({answer["transaction"]["id"] for answer in answers}) == 1
    assert {answer["transaction"]["template"]["version"] for answer in answers} == {1}


async def test_a_preview_beside_others(orders: Orders, database_url: str) -> None:
    """Dry runs that share a batch with real uses leave no use of their own, and fail no batch."""
    with capture_logs() as logs:
        answers = await asyncio.gather(
            *(orders.post(idempotencyKey=f"{n}", dryRun=n % 2 == 0) for n in range(12))
        )
    assert {answer["__typename"] for answer in answers} == {"PostTemplateSuccess"}
    assert {event["event"] for event in logs} == {"request"}
    found = await orders.api.run(
        "query ($l: ID!) { ledger(id: $l) { transactions { nodes { template { version } } } } }",
        {"l": orders.ledger},
    )
    assert found["ledger"]["transactions"]["nodes"] == [{"template": {"version": 1}}] * 6
    assert verify(database_url).violations == ()


async def test_the_version_asked_for(orders: Orders) -> None:
    """A version that is named is used though there is a newer one."""
    await orders.create(values=[VALUES[0], {"name": "fee", "amount": "0"}])
    assert lines(await orders.post())[2] == ("ada", "CREDIT", 8403)
    answer = await orders.post(version=1, idempotencyKey="2")
    assert lines(answer)[2:] == [("fees", "CREDIT", 210), ("ada", "CREDIT", 8193)]
    assert answer["transaction"]["template"] == {"code": "order", "version": 1}


async def test_an_archived_template(orders: Orders) -> None:
    """No version can be used after archiving, which can be repeated; a later version can."""
    await orders.create(description="Second")
    first, again = await orders.archive(), await orders.archive()
    assert first == again
    assert (first["template"]["version"], first["template"]["archivedAt"] is None) == (2, False)
    for version in (None, 1, 2):
        answer = await orders.refused(version=version)
        assert (answer["code"], answer["path"]) == ("TEMPLATE_ARCHIVED", ["input", "code"])
    assert (await orders.create(description="Second"))["version"] == 3
    assert (await orders.post())["transaction"]["template"]["version"] == 3
    answer = await orders.refused(version=1, idempotencyKey="2")
    assert answer["code"] == "TEMPLATE_ARCHIVED"


@pytest.mark.parametrize(
    ("params", "path", "message"),
    [
        ({"sellerId": "ada"}, "params.amount", "amount: it must be given."),
        ({"amount": "1", "sellerId": None}, "params.sellerId", "sellerId: it is a text of"),
        (
            {"amount": 1, "sellerId": "ada"},
            "params.amount",
            "amount: it is a whole number in a string",
        ),
        (
            {"amount": "1", "sellerId": "ada", "feeRate": "x"},
            "params.feeRate",
            'feeRate: it is a whole number, or a string of one: 250, or "250".',
        ),
        ({"amount": "01", "sellerId": "ada"}, "params.amount", "amount: an amount is a whole"),
        ({"amount": "0", "sellerId": "ada"}, "params.amount", "amount: it is from 1 to 1000"),
        ({"amount": 1.5, "sellerId": "ada"}, "params.amount", "amount: it is a text of at most"),
        ({"amount": "1", "sellerId": 7}, "params.sellerId", "sellerId: it is a text."),
        ({"amount": "1", "sellerId": " "}, "params.sellerId", "sellerId: it must not be blank."),
        ({"amount": "1", "sellerId": "a\u0007"}, "params.sellerId", "sellerId: it must not hold"),
        ({"amount": "1", "sellerId": "x" * 256}, "params.sellerId", "sellerId: it is a text of"),
        ({"amount": "1", "sellerId": "a", "x": "1"}, "params.x", "x: the template has no such"),
        ({"amount": "1", "sellerId": "a", "": "1"}, "params", "A name is a letter and up to"),
        (
            {"amount": "1", "sellerId": "ada", "feeRate": True},
            "params.feeRate",
            "feeRate: it is a text of at most 255 characters or a whole number.",
        ),
        (
            {"amount": "1", "sellerId": "ada", "feeRate": 10001},
            "params.feeRate",
            "feeRate: it is from 0 to 10000.",
        ),
        ({f"p{n}": "1" for n in range(51)}, "params", "A template has at most 50 parameters."),
    ],
)
async def test_parameters_that_are_refused(
    orders: Orders, params: Json, path: str, message: str
) -> None:
    """Each parameter is held to its kind and bounds, and named where it is at fault."""
    answer = await orders.refused(params=params)
    assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", ["input", *path.split(".")])
    assert answer["message"].startswith(message)


async def test_amounts_that_are_refused(orders: Orders) -> None:
    """An entry below 0, and one without a value, name the place in the template."""
    cash, tax, fees, seller = orders.definition()["entries"]
    await orders.create(values=[{"name": "tax", "amount": "amount - 20000"}], entries=[cash, tax])
    answer = await orders.refused()
    assert (answer["path"], answer["message"]) == (
        ["input", "params"],
        "Entry 2 of the template comes to -10000, below 0.",
    )
    await orders.create(
        values=[{"name": "tax", "amount": "1"}, {"name": "fee", "amount": "floor(1, feeRate)"}],
        entries=[cash, tax, fees, seller],
    )
    answer = await orders.refused(params={"amount": "10", "sellerId": "ada", "feeRate": 0})
    assert (answer["path"], answer["message"]) == (
        ["input", "params"],
        "Value fee of the template has no amount. At character 1: division by zero.",
    )


async def test_the_ordinary_refusals_hold(orders: Orders) -> None:
    """Whatever a posting would be refused for a template is, with the parameter at fault."""
    answer = await orders.refused(params={"amount": "5", "sellerId": "eve"})
    assert answer["message"] == "The ledger has no account with the external id 'seller:eve'."
    assert (answer["code"], answer["path"]) == (
        "ACCOUNT_NOT_FOUND",
        ["input", "params", "sellerId"],
    )
    answer = await orders.refused(code="other")
    assert (answer["code"], answer["path"]) == ("TEMPLATE_NOT_FOUND", ["input", "code"])
    for code, field in (("order", "version"), ("other", "code")):
        answer = await orders.refused(code=code, version=9)
        assert (answer["code"], answer["path"]) == ("TEMPLATE_NOT_FOUND", ["input", field])
    assert (await orders.refused(code="no such"))["code"] == "VALIDATION_FAILED"
    ada, cash = orders.accounts["ada"], orders.accounts["cash"]
    await orders.api.run(
        f'mutation {{ freezeAccount(input: {{accountId: "{ada}"}}) {{ __typename }} }}'
    )
    answer = await orders.refused()
    assert (answer["code"], answer["path"]) == ("ACCOUNT_NOT_OPEN", ["input", "params", "sellerId"])
    await orders.api.run(
        f'mutation {{ freezeAccount(input: {{accountId: "{cash}"}}) {{ __typename }} }}'
    )
    answer = await orders.refused()
    assert (answer["code"], answer["path"]) == ("ACCOUNT_NOT_OPEN", ["input", "code"])
    entries = [
        {**e, "direction": {"DEBIT": "CREDIT", "CREDIT": "DEBIT"}[e["direction"]]}
        for e in orders.definition()["entries"]
    ]
    entries[0]["amount"] = "amount + 1"
    await orders.create(entries=entries)
    answer = await orders.refused()
    assert (answer["code"], answer["path"]) == ("ENTRIES_UNBALANCED", ["input", "params"])
    assert (answer["debits"], answer["credits"]) == ("10000", "10001")
    await orders.api.run(
        f'mutation {{ archiveLedger(input: {{ledgerId: "{orders.ledger}"}}) {{ __typename }} }}'
    )
    assert (await orders.refused(code="other"))["code"] == "LEDGER_ARCHIVED"
    for answer in (
        await orders.archive(),
        await orders.api.answer(CREATE, **orders.definition(description="x")),
    ):
        assert answer["code"] == "LEDGER_ARCHIVED"


async def test_the_floor(orders: Orders) -> None:
    """A template takes out no more than there is."""
    purse = await orders.api.account(orders.ledger, name="purse", availableFloor="0")
    entries = orders.definition()["entries"]
    entries[0]["accountId"] = purse
    await orders.create(entries=entries)
    answer = await orders.refused()
    assert (answer["code"], answer["path"]) == ("INSUFFICIENT_FUNDS", ["input", "params"])
    assert (answer["available"], answer["required"]) == ("0", "10000")


# ---- who may, and who sees -----------------------------------------------------------------------


async def test_scopes(orders: Orders) -> None:
    """Templates are read with read, used with write, made and archived with admin."""
    reader = await orders.api.with_key(Permission.READ)
    writer = await orders.api.with_key(Permission.WRITE)
    query = 'query ($l: ID!) { transactionTemplate(ledgerId: $l, code: "order") { version } }'
    found = await reader.run(query, {"l": orders.ledger})
    assert found == {"transactionTemplate": {"version": 1}}
    asked = [
        (reader, POST, orders.use()),
        (writer, CREATE, orders.definition(description="x")),
        (writer, ARCHIVE, {"ledgerId": orders.ledger, "code": "order"}),
    ]
    for key, mutation, fields in asked:
        response = await key.send(mutation, {"input": fields})
        assert response.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await writer.answer(POST, **orders.use()))["replayed"] is False


async def test_others_templates_are_as_good_as_none(orders: Orders) -> None:
    """Another organization, mode or ledger learns nothing of a template and cannot use it."""
    template = await orders.create()
    own = UUID((await orders.api.ledger("own")).removeprefix("ldgr_"))
    nowhere = f"ldgr_{uuid4().hex}"
    for outsider in (
        await orders.api.stranger(),
        await orders.api.with_key(mode=Mode.LIVE),
        await orders.api.with_key(ledger_ids=[own]),
    ):
        for mutation, fields in (
            (POST, orders.use()),
            (POST, orders.use(code="nothing")),
            (CREATE, orders.definition(description="x")),
            (ARCHIVE, {"ledgerId": orders.ledger, "code": "order"}),
        ):
            answer = await outsider.answer(mutation, **fields)
            assert answer["code"] == "LEDGER_NOT_FOUND"
            assert answer == await outsider.answer(mutation, **{**fields, "ledgerId": nowhere})
        query = """query ($l: ID!, $id: ID!) { node(id: $id) { id }
            transactionTemplate(ledgerId: $l, code: "order") { version } }"""
        found = await outsider.run(query, {"l": orders.ledger, "id": template["id"]})
        assert found == {"node": None, "transactionTemplate": None}
    assert await orders.create() == template


async def test_codes_are_of_a_ledger(orders: Orders) -> None:
    """The same code serves in every ledger, each with versions of its own."""
    other = await Orders.open(orders.api)
    assert (await other.refused())["code"] == "TEMPLATE_NOT_FOUND"
    await orders.create(description="Second")
    assert (await other.create())["version"] == 1
    answer = await other.api.answer(
        CREATE, **other.definition(description="x", entries=orders.definition()["entries"])
    )
    assert (answer["code"], answer["path"]) == (
        "ACCOUNT_NOT_FOUND",
        ["input", "entries", "0", "accountId"],
    )


async def test_a_closed_period(orders: Orders) -> None:
    """An order is not dated into a closed period either."""
    await orders.api.run(CLOSE, {"ledger": orders.ledger})
    answer = await orders.refused(effectiveAt=CLOSED)
    assert (answer["code"], answer["path"]) == ("PERIOD_CLOSED", ["input", "effectiveAt"])
    assert (await orders.post())["__typename"] == "PostTemplateSuccess"
