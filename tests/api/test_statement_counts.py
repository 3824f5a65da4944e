"""Golden numbers: how many statements an operation costs, however many rows there are.

One statement a level and a loader. A number that grows with the rows is a loader that was bypassed;
a number that fell is a reason to write a smaller one here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio

from app.api.engine import context
from app.api.engine.loading import Loader
from app.store import rows
from app.store.audit.sealing import seal, unsealed
from app.store.database import Row, Snapshot
from app.store.reading import Listing, Lookup, key_statement, page_statement
from tests.api_client import SETTLE, Api, Json

ONE_OF_EACH = (
    "id sequence status idempotencyKey ledger { id } history { kind idempotencyKey }"
    " entries { id account { id name } transaction { id } balancesAfter { posted { amount } } }"
)
BALANCES = "posted { amount } pending { amount } available { amount } projected { amount }"

QUERIES: dict[str, tuple[str, int]] = {
    "viewer": ("{ viewer { organization ledgers { id } } }", 0),
    "one account": ("query ($a: ID!) { account(id: $a) { id balances { version } } }", 1),
    "one account, its ledger": ("query ($a: ID!) { account(id: $a) { ledger { id name } } }", 2),
    "balances at three times": (
        (
            "query ($a: ID!) { account(id: $a) {"
            ' then: balances(asOf: "2026-01-01T00:00:00Z") { version }'
            ' known: balances(knownAt: "2026-01-01T00:00:00Z") { version }'
            ' both: balances(asOf: "2026-01-01T00:00:00Z", knownAt: "2026-01-01T00:00:00Z")'
            " { version } now: balances { version } } }"
        ),
        4,
    ),
    "past balances of all accounts": (
        (
            "{ ledgers { nodes { accounts { nodes {"
            ' balances(asOf: "2026-01-01T00:00:00Z") { version } } } } } }'
        ),
        3,
    ),
    "known balances of all accounts": (
        (
            "{ ledgers { nodes { accounts { nodes {"
            ' balances(knownAt: "2100-01-01T00:00:00Z") { version } } } } } }'
        ),
        3,
    ),
    "histories of all accounts": (
        (
            "{ ledgers { nodes { accounts { nodes { balanceHistory(interval: DAY,"
            ' from: "2026-01-01T00:00:00Z", to: "2026-01-20T00:00:00Z") { endsAt } } } } } }'
        ),
        3,
    ),
    "one transaction with everything": (
        f"query ($t: ID!) {{ transaction(id: $t) {{ {ONE_OF_EACH} }} }}",
        # the transaction, its ledger, events and entries, their accounts and transactions
        6,
    ),
    "transactions with everything": (
        (
            "query ($l: ID!) { ledger(id: $l) {"
            f" transactions(first: 20) {{ nodes {{ {ONE_OF_EACH} }} }} }} }}"
        ),
        # the ledger is known from the first level
        6,
    ),
    "the whole graph": (
        (
            "{ ledgers { nodes { id accounts(first: 9) { nodes { id"
            f" balances {{ {BALANCES} }}"
            " entries(first: 5) { nodes { id transaction { id entries { id } } } } } } } } }"
        ),
        # ledgers, accounts, entries, transactions, entries of those
        5,
    ),
    "there and back": (
        (
            "query ($a: ID!) { account(id: $a) { entries(first: 4) { nodes {"
            " transaction { entries {"
            " account { ledger { accounts(first: 3) { nodes { holds(first: 2) { nodes { entries {"
            " account { id } } } } } } } } } } } } } }"
        ),
        # account, entries, transactions, their entries, accounts, ledger, its accounts, holds; what
        # is below those is known by then
        8,
    ),
    "entries in both orders, and periods": (
        (
            "{ ledgers { nodes { entries(first: 2) { nodes { id } } periods { nodes { kind } }"
            " late: entries(first: 2, orderBy: {field: EFFECTIVE_AT, direction: DESC}) { nodes"
            " { id } } accounts { nodes { entries(last: 2, orderBy: {field: EFFECTIVE_AT}) { nodes"
            " { id } } } } } } }"
        ),
        # ledgers, their entries twice, their periods, accounts, entries of those
        6,
    ),
    "checkpoints, and proofs of all transactions": (
        (
            '{ ledgers { nodes { checkpoint { line } first: checkpoint(block: "1") { line }'
            " transactions(first: 9) { nodes { proof { leaf headers checkpoint { hash } } } } } } }"
        ),
        # ledgers, their checkpoints together, transactions; leaves, blocks
        5,
    ),
    "nodes of four types": (
        "query ($l: ID!, $a: ID!, $t: ID!, $e: ID!) { nodes(ids: [$l, $a, $t, $e, $a]) { id } }",
        4,
    ),
    "nodes of one type": ("query ($a: ID!, $b: ID!) { nodes(ids: [$a, $b, $a]) { id } }", 1),
    "siblings that ask for the same": (
        (
            "query ($a: ID!) { one: account(id: $a) { id } two: account(id: $a) { name }"
            " three: node(id: $a) { id } }"
        ),
        1,
    ),
    "by names of the client": (
        (
            'query ($l: ID!) { accountByExternalId(ledgerId: $l, externalId: "a0") { id }'
            ' other: accountByExternalId(ledgerId: $l, externalId: "a1") { id }'
            ' transactionByExternalId(ledgerId: $l, externalId: "t0") { id }'
            ' transactionByIdempotencyKey(ledgerId: $l, idempotencyKey: "k0") { id } }'
        ),
        3,
    ),
    "availability of all accounts": (
        (
            "{ ledgers { nodes { accounts(first: 9) { nodes { availability { posted available"
            " holds(first: 5) { amount reason transaction { id status } } } } } } } }"
        ),
        # ledgers, accounts, their holds, the transactions behind those
        4,
    ),
    "credit lots of all accounts": (
        (
            "{ ledgers(first: 9) { nodes { accounts(first: 3) { nodes { lots(first: 2) {"
            " nodes { code openedBy { id lot { id } } movements(first: 2) { nodes { amount"
            " transaction { id } entry { lotMovements { amount } } } } } } } } } } }"
        ),
        # ledgers, accounts, lots; what opened them, its lots; movements, their transactions and
        # entries, what those took
        9,
    ),
    "reversals both ways": (
        (
            "query ($l: ID!) { ledger(id: $l) { transactions(first: 20) { nodes { id"
            " reverses { id reversedBy { id } } reversedBy { id reverses { id } } } } } }"
        ),
        # the ledger, its transactions, what reverses them, what they reverse
        4,
    ),
    "trial balances of all ledgers": (
        (
            "{ ledgers { nodes { now: trialBalance { debits }"
            ' then: trialBalance(asOf: "2026-01-01T00:00:00Z") { debits }'
            ' known: trialBalance(knownAt: "2026-01-01T00:00:00Z") { debits } } } }'
        ),
        4,
    ),
    "two pages of one list": (
        (
            "query ($l: ID!) { ledger(id: $l) { one: accounts(first: 1) { nodes { id } }"
            " two: accounts(first: 2) { nodes { id } } same: accounts(first: 2) {"
            " nodes { name } } } }"
        ),
        3,
    ),
    "a page and its edges": (
        (
            "query ($l: ID!) { ledger(id: $l) { entries(first: 3) { edges { cursor node { id } }"
            " nodes { id } pageInfo { hasNextPage } } } }"
        ),
        2,
    ),
    "limits of accounts that have none": (
        "{ ledgers { nodes { accounts { nodes { balanceCeiling velocityLimits { name } } } } } }",
        2,
    ),
    "nothing to see": ('{ node(id: "x") { id } account(id: "") { id } nodes(ids: []) { id } }', 0),
}


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that snapshots have run, as they run them."""
    seen: list[str] = []
    run = Snapshot.rows

    async def counted(
        self: Snapshot, statement: str, parameters: Mapping[str, Any]
    ) -> Sequence[Row]:
        seen.append(statement)
        return await run(self, statement, parameters)

    monkeypatch.setattr(Snapshot, "rows", counted)
    return seen


@dataclass
class Books:
    """Ledgers with accounts and transactions, and the ids to ask for."""

    api: Api
    ids: dict[str, str]


async def _grow(api: Api, ledgers: int, accounts: int, transactions: int) -> list[dict[str, str]]:
    """Open ledgers with accounts and transactions, and name one of each of each ledger."""
    grown = []
    for _ in range(ledgers):
        ledger = await api.ledger()
        wallets = [await api.account(ledger, externalId=f"a{n}") for n in range(accounts)]
        for number in range(transactions):
            result = await api.post(
                ledger,
                wallets[number % accounts],
                wallets[(number + 1) % accounts],
                5,
                status="PENDING" if number % 3 == 0 else "POSTED",
                idempotencyKey=f"k{number}",
                externalId=f"t{number}",
            )
        for number, wallet in enumerate(wallets):
            lot = {"expiresAt": "2100-01-01T00:00:00Z", "breakageAccountId": wallets[number - 1]}
            one, other = {"accountId": wallet}, {"accountId": wallets[number - 1]}
            for key, amount, more in (("credit", "9", {"lot": lot}), ("spent", "4", {})):
                sides = ("CREDIT", "DEBIT") if more else ("DEBIT", "CREDIT")
                await api.answer(
                    "mutation ($input: PostTransactionInput!) { postTransaction(input: $input) {"
                    " ... on PostTransactionSuccess { replayed } } }",
                    ledgerId=ledger,
                    idempotencyKey=f"{key} {number}",
                    entries=[
                        {**one, "direction": sides[0], "amount": amount, **more},
                        {**other, "direction": sides[1], "amount": amount},
                    ],
                )
        reversal = await api.answer(
            "mutation ($input: ReverseTransactionInput!) { reverseTransaction(input: $input) {"
            " ... on ReverseTransactionSuccess { transaction { id } } } }",
            transactionId=(await _posted(api, ledger))["id"],
            idempotencyKey="reversal",
        )
        assert reversal
        transaction = result["transaction"]
        entry = transaction["entries"][0]["id"]
        grown.append(
            {"l": ledger, "a": wallets[0], "b": wallets[1], "t": transaction["id"], "e": entry}
        )
    async with await api.server.database.connect() as connection:
        for found in await unsealed(connection):
            await seal(connection, *found)
    return grown


async def _posted(api: Api, ledger: str) -> Json:
    query = """query ($id: ID!) { ledger(id: $id) {
      transactions(first: 1, filter: {status: POSTED}) { nodes { id } } } }"""
    (first,) = (await api.run(query, {"id": ledger}))["ledger"]["transactions"]["nodes"]
    posted: Json = first
    return posted


@pytest_asyncio.fixture
async def books(api: Api) -> Books:
    """Small books: two ledgers of two accounts and four transactions."""
    return Books(api, (await _grow(api, 2, 2, 4))[0])


async def _count(books: Books, statements: list[str], query: str) -> int:
    statements.clear()
    await books.api.run(query, {k: v for k, v in books.ids.items() if f"${k}:" in query})
    return len(statements)


async def test_golden_numbers(books: Books, statements: list[str]) -> None:
    """Each operation costs the statements said above, in small books."""
    counts = {name: await _count(books, statements, query) for name, (query, _) in QUERIES.items()}
    assert counts == {name: number for name, (_, number) in QUERIES.items()}


async def test_numbers_do_not_grow_with_the_rows(api: Api, statements: list[str]) -> None:
    """They cost the same in books with several times the ledgers, accounts and transactions."""
    books = Books(api, (await _grow(api, 5, 6, 15))[0])
    counts = {name: await _count(books, statements, query) for name, (query, _) in QUERIES.items()}
    assert counts == {name: number for name, (_, number) in QUERIES.items()}


async def test_a_bypassed_loader_is_noticed(
    books: Books, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each key is fetched by itself the numbers rise: this is what the tests above catch."""

    def bypassing(self: context.Loaders, lookup: Lookup[Any]) -> Loader[Any, Any]:
        async def each(keys: Sequence[Any]) -> Sequence[Any]:
            return [(await lookup.fetch(self.snapshot, [key]))[0] for key in keys]

        return Loader(each)

    monkeypatch.setattr(context.Loaders, "_by_key", bypassing)
    query, golden = QUERIES["transactions with everything"]
    assert await _count(books, statements, query) > golden


MUTATIONS: dict[str, tuple[str, int]] = {
    "answer alone": ("{ transaction { id status sequence idempotencyKey } replayed }", 0),
    "lines": ("{ transaction { entries { id amount balancesAfter { version } } } }", 0),
    "accounts of the lines": ("{ transaction { entries { account { id } } } }", 1),
    "template and parameters": ("{ transaction { template { code } templateParams } }", 1),
    "history and ledger": ("{ transaction { history { kind } ledger { id } } }", 1),
}


async def test_numbers_of_a_posting(books: Books, statements: list[str]) -> None:
    """A posting reads nothing back for its answer; what lies beyond costs one statement a level."""
    counts = {}
    for name, (selection, _) in MUTATIONS.items():
        statements.clear()
        result = await books.api.answer(
            "mutation ($input: PostTransactionInput!) { postTransaction(input: $input)"
            f" {{ ... on PostTransactionSuccess {selection} }} }}",
            ledgerId=books.ids["l"],
            idempotencyKey=name,
            entries=[
                {"accountId": books.ids[account], "direction": side, "amount": "1"}
                for account, side in (("a", "DEBIT"), ("b", "CREDIT"))
            ],
        )
        assert result
        counts[name] = len(statements)
    assert counts == {name: number for name, (_, number) in MUTATIONS.items()}


async def test_numbers_of_a_template(books: Books, statements: list[str]) -> None:
    """A use reads the template, and the accounts that it names by external id; no more."""
    made = await books.api.answer(
        "mutation ($input: CreateTransactionTemplateInput!) { createTransactionTemplate("
        "input: $input) { ... on CreateTransactionTemplateSuccess { template { code } } } }",
        ledgerId=books.ids["l"],
        code="pay",
        parameters=[{"name": "of", "kind": "TEXT", "default": "x"}],
        entries=[
            {"direction": "DEBIT", "amount": "5", "accountId": books.ids["a"]},
            {"direction": "CREDIT", "amount": "2", "accountExternalId": "{of}"},
            {"direction": "CREDIT", "amount": "3", "accountExternalId": "{of}{of}"},
        ],
    )
    assert made == {"template": {"code": "pay"}}
    for text in ("x", "xx"):
        await books.api.account(books.ids["l"], externalId=text)
    statements.clear()
    answer = await books.api.answer(
        "mutation ($input: PostTemplateInput!) { postTemplate(input: $input) {"
        " ... on PostTemplateSuccess { transaction { entries { amount } template { version }"
        " templateParams } } } }",
        ledgerId=books.ids["l"],
        code="pay",
        idempotencyKey="pay",
    )
    assert answer["transaction"]["template"] == {"version": 1}
    assert len(statements) == 2


async def test_numbers_of_a_batch(books: Books, statements: list[str]) -> None:
    """A batch of postings costs no statement a posting, sent anew or sent again."""
    batch = (
        "mutation ($input: PostTransactionsInput!) { postTransactions(input: $input) {"
        " ... on PostTransactionsSuccess { results { ... on PostTransactionSuccess { replayed"
        " transaction { id entries { account { id } } } } } } } }"
    )
    transactions: list[Json] = [
        {
            "ledgerId": books.ids["l"],
            "idempotencyKey": f"batch {number}",
            "entries": [
                {"accountId": books.ids[account], "direction": side, "amount": "1"}
                for account, side in (("a", "DEBIT"), ("b", "CREDIT"))
            ],
        }
        for number in range(20)
    ]
    for mode in ("ATOMIC", "INDEPENDENT"):
        statements.clear()
        fresh = [t | {"idempotencyKey": f"{mode} {t['idempotencyKey']}"} for t in transactions]
        results = (await books.api.answer(batch, mode=mode, transactions=fresh))["results"]
        assert [result["replayed"] for result in results] == [False] * 20
        assert len(statements) == 1
        statements.clear()
        results = (await books.api.answer(batch, mode=mode, transactions=fresh))["results"]
        assert [result["replayed"] for result in results] == [True] * 20
        # An atomic group's replays are looked up one after another, those of others together.
        assert len(statements) == 3


async def test_mutations_of_one_operation_see_each_other(
    books: Books, statements: list[str]
) -> None:
    """Each mutation field reads from a snapshot after its own write and those before it."""
    hold = await books.api.post(books.ids["l"], books.ids["a"], books.ids["b"], 9, status="PENDING")
    settle = SETTLE.replace("transaction { id status }", "transaction { status }").split("{", 1)[1]
    statements.clear()
    text = (
        "mutation ($one: CreateAccountInput!, $input: SettleTransactionInput!) {"
        " createAccount(input: $one) { ... on CreateAccountSuccess { account { ledger {"
        " trialBalance { currency { code } accounts } } } } } " + settle
    )
    data = await books.api.run(
        text,
        {
            "one": {
                "ledgerId": books.ids["l"],
                "name": "New",
                "normalBalance": "DEBIT",
                "currency": "EUR",
            },
            "input": {"transactionId": hold["transaction"]["id"], "idempotencyKey": "settle"},
        },
    )
    assert data["createAccount"]["account"]["ledger"]["trialBalance"] == [
        {"currency": {"code": "EUR"}, "accounts": 1},
        {"currency": {"code": "USD"}, "accounts": 2},
    ]
    assert data["settleTransaction"]["transaction"] == {"status": "POSTED"}
    assert len(statements) == 2


# ---- plans ---------------------------------------------------------------------------------------

FILL = """
    INSERT INTO organizations SELECT gen_random_uuid(), 'other', now() FROM generate_series(1, 3);
    INSERT INTO ledgers SELECT o.organization_id, gen_random_uuid(), 'L', NULL, 'test', '{}', now(),
        NULL, 0, now() FROM organizations o, generate_series(1, 2);
    INSERT INTO currencies SELECT organization_id, ledger_id, 'USD', 2 FROM ledgers
        ON CONFLICT DO NOTHING;
    INSERT INTO accounts (organization_id, account_id, ledger_id, name, external_id, normal_balance,
        currency, exponent, status, floor_version, metadata, created_at, version, posted_debits,
        posted_credits, pending_debits, pending_credits)
    SELECT organization_id, gen_random_uuid(), ledger_id, 'N' || n, 'x' || n, 'credit', 'USD', 2,
        'open', 0, '{}', now(), 0, 0, 0, 0, 0 FROM ledgers, generate_series(1, 600) n
        WHERE last_sequence = 0;
    INSERT INTO transactions (organization_id, transaction_id, ledger_id, sequence, status,
        external_id, metadata, effective_at, created_at, posted_at, reverses_sequence)
    SELECT organization_id, gen_random_uuid(), ledger_id, n,
        CASE WHEN n % 50 = 0 THEN 'pending' ELSE 'posted' END, 'x' || n, '{}',
        now() - n * interval '1 minute', now(), CASE WHEN n % 50 <> 0 THEN now() END,
        CASE WHEN n % 7 = 0 THEN n - 1 END
        FROM ledgers, generate_series(1, 1500) n WHERE last_sequence = 0;
    INSERT INTO transaction_events (organization_id, ledger_id, transaction_sequence, number, kind,
        idempotency_key, fingerprint, recorded_at)
    SELECT organization_id, ledger_id, sequence, 1, 'posted', 'key' || sequence,
        sha256('x'), created_at FROM transactions WHERE external_id LIKE 'x%';
    INSERT INTO entries (organization_id, account_id, sequence, ledger_id, transaction_sequence,
        effective_at, recorded_at, line, event, direction, effect, amount, posted_debits,
        posted_credits, pending_debits, pending_credits)
    SELECT t.organization_id, a.account_id, (t.sequence - 1) / 30 + 1, t.ledger_id, t.sequence,
        t.effective_at, t.created_at, line, 1, CASE line WHEN 1 THEN 'debit' ELSE 'credit' END,
        CASE t.status WHEN 'pending' THEN 'hold' ELSE 'post' END, 1, 0, 0, 0, 0
    FROM transactions t JOIN (SELECT organization_id, ledger_id, account_id,
            row_number() OVER (PARTITION BY ledger_id ORDER BY account_id) - 1 AS place
            FROM accounts WHERE external_id LIKE 'x%') a USING (organization_id, ledger_id)
        CROSS JOIN generate_series(1, 2) line
    WHERE a.place = (t.sequence % 30) * 2 + line - 1 AND t.external_id LIKE 'x%';
    INSERT INTO transaction_templates (organization_id, template_id, version, ledger_id, code,
        definition, created_at, superseded_at)
    SELECT c.organization_id, c.template_id, version, c.ledger_id, c.code, '{}', now(),
        CASE WHEN version < 4 THEN now() END
    FROM (SELECT organization_id, ledger_id, gen_random_uuid() AS template_id, 'code' || n AS code
            FROM ledgers, generate_series(1, 300) n WHERE last_sequence = 0) c
        CROSS JOIN generate_series(1, 4) version;
    INSERT INTO template_uses (organization_id, ledger_id, transaction_sequence, code, version,
        params)
    SELECT organization_id, ledger_id, sequence, 'code' || (sequence % 300 + 1), 2, '{}'
        FROM transactions WHERE external_id LIKE 'x%';
    INSERT INTO credit_lots (organization_id, lot_id, account_id, number, ledger_id,
        transaction_sequence, amount, remaining, expired, expires_at, breakage_account_id)
    SELECT organization_id, gen_random_uuid(), account_id, sequence, ledger_id,
        transaction_sequence, 9, sequence % 2, 0, effective_at,
        CASE account_id WHEN one.id THEN one.other ELSE one.id END
    FROM entries JOIN (SELECT organization_id, ledger_id, min(account_id::text)::uuid AS id,
            max(account_id::text)::uuid AS other FROM accounts GROUP BY 1, 2) one
        USING (organization_id, ledger_id);
    INSERT INTO lot_movements (organization_id, lot_id, account_id, sequence, kind, amount)
    SELECT organization_id, lot_id, account_id, n, 'spent', 1
        FROM credit_lots, generate_series(number, number + 2) n;
    INSERT INTO account_statements (organization_id, statement_id, ledger_id, account_id, number,
        from_at, to_at, account_version, ledger_sequence, known_at, previous_number,
        organization_name, ledger_name, account_name, opening_debits, opening_credits,
        closing_debits, closing_credits, line_count, content_hash, scheduled, created_at)
    SELECT a.organization_id, gen_random_uuid(), a.ledger_id, a.account_id, n,
        now() - (61 - n) * interval '25 minutes', now() - (60 - n) * interval '25 minutes',
        CASE n WHEN 1 THEN 5 ELSE 25 END, 1500, now(), nullif(n - 1, 0), 'o', 'L', a.name, 0, 0, 0,
        0, 1, sha256('x'), true, now()
        FROM (SELECT *, row_number() OVER (PARTITION BY ledger_id ORDER BY account_id) AS place
            FROM accounts WHERE external_id LIKE 'x%') a, generate_series(1, 60) n
        WHERE place < 40;
    INSERT INTO statement_schedules (organization_id, schedule_id, ledger_id, time_zone,
        starting_from, next_month, due_at, created_at)
    SELECT organization_id, gen_random_uuid(), ledger_id, 'UTC', '2026-01-01', '2026-01-01', now(),
        now() FROM ledgers, generate_series(1, 1500);
    INSERT INTO settlements (organization_id, settlement_id, ledger_id, account_id, number,
        transaction_sequence, up_to, amount, entry_count, first_sequence, open_from)
    SELECT organization_id, gen_random_uuid(), ledger_id, account_id, sequence,
        transaction_sequence, now(), 1, 1, sequence, sequence + 1
        FROM entries WHERE line = 1;
    INSERT INTO settlement_entries (organization_id, account_id, sequence, round, settlement_id)
    SELECT e.organization_id, e.account_id, e.sequence, 1, s.settlement_id
        FROM entries e JOIN settlements s USING (organization_id, account_id)
        WHERE s.number = 1 AND e.line = 1;
    INSERT INTO import_profiles SELECT organization_id, ledger_id, 'N' || n, '{}', now(), now()
        FROM ledgers, generate_series(1, 100) n WHERE last_sequence = 0;
    INSERT INTO external_accounts SELECT organization_id, gen_random_uuid(), ledger_id, account_id,
        'N' || n, 'bank', NULL, false, '{}', now(), 0, 0
    FROM accounts, generate_series(1, 60) n WHERE external_id IN ('x1', 'x2');
    INSERT INTO statement_imports (organization_id, import_id, ledger_id, external_account_id,
        api_key_id, format, content_hash, status, bytes_read, lines_read, lines_new, lines_known,
        lines_skipped, created_at, finished_at)
    SELECT organization_id, gen_random_uuid(), ledger_id, external_account_id, account_id, 'rows',
        sha256(n::text::bytea), 'completed', 0, 20, 10, 10, 0, now(), now()
    FROM external_accounts, generate_series(1, 60) n WHERE name < 'N2';
    INSERT INTO external_statements SELECT organization_id, gen_random_uuid(), ledger_id,
        external_account_id, import_id, row_number() OVER (PARTITION BY external_account_id), NULL,
        'USD', NULL, NULL, NULL, NULL, 20, 20, 10, now()
    FROM statement_imports;
    INSERT INTO statement_lines SELECT organization_id, external_account_id,
        (number - 1) * 10 + place, external_statement_id, place, NULL,
        date '2026-01-01' + number::int, NULL, 1, 'USD', NULL, NULL, NULL, NULL, NULL,
        sha256((number * 100 + place)::text::bytea), 1
    FROM external_statements, generate_series(1, 10) place WHERE number <= 10;
    INSERT INTO statement_line_repeats SELECT organization_id, external_statement_id, 10 + place,
        external_account_id, place
    FROM external_statements, generate_series(1, 10) place WHERE number <= 10;
"""
KEYS = {
    "ledgers_by_id": "SELECT ledger_id FROM ledgers",
    "accounts_by_id": "SELECT account_id FROM accounts",
    "accounts_by_external_id": "SELECT ledger_id, external_id FROM accounts",
    "transactions_by_id": "SELECT transaction_id FROM transactions",
    "transactions_by_sequence": "SELECT ledger_id, sequence FROM transactions",
    "transactions_by_external_id": "SELECT ledger_id, external_id FROM transactions",
    "transactions_by_idempotency_key": "SELECT ledger_id, idempotency_key FROM transaction_events",
    "reversals_by_transaction": (
        "SELECT ledger_id, reverses_sequence"
        " FROM (SELECT * FROM transactions WHERE reverses_sequence > 0) reversals"
    ),
    "events_by_transaction": "SELECT ledger_id, transaction_sequence FROM transaction_events",
    "entries_by_id": "SELECT account_id, sequence FROM entries",
    "entries_by_transaction": "SELECT DISTINCT ledger_id, transaction_sequence FROM entries",
    "templates_by_id": "SELECT template_id, version FROM transaction_templates",
    "templates_by_version": "SELECT ledger_id, code, version FROM transaction_templates",
    "newest_templates_by_code": "SELECT DISTINCT ledger_id, code FROM transaction_templates",
    "template_uses_by_transaction": "SELECT ledger_id, transaction_sequence FROM template_uses",
    "lots_by_id": "SELECT lot_id FROM credit_lots",
    "lots_by_entry": "SELECT account_id, number FROM credit_lots",
    "movements_by_entry": "SELECT account_id, number FROM credit_lots",
    "statements_by_id": "SELECT statement_id FROM account_statements",
    "statements_by_number": "SELECT account_id, number FROM account_statements",
    "schedules_by_id": "SELECT schedule_id FROM statement_schedules",
    "settlements_by_id": "SELECT settlement_id FROM settlements",
    "settlements_by_entry": "SELECT account_id, sequence FROM settlement_entries",
    "external_accounts_by_id": "SELECT external_account_id FROM external_accounts",
    "import_profiles_by_name": "SELECT ledger_id, name FROM import_profiles",
    "imports_by_id": "SELECT import_id FROM statement_imports",
    "external_statements_by_id": "SELECT external_statement_id FROM external_statements",
    "external_statements_by_import": "SELECT import_id FROM external_statements",
    "statement_lines_by_id": "SELECT external_account_id, number FROM statement_lines",
}
PARENTS = {
    "ledgers_of_organization": "organization_id",
    "accounts_of_ledger": "ledger_id",
    "transactions_of_ledger": "ledger_id",
    "holds_of_account": "account_id",
    "outgoing_holds_of_account": "account_id",
    "entries_of_account": "account_id",
    "entries_of_ledger": "ledger_id",
    "templates_of_ledger": "ledger_id",
    "versions_of_template": "template_id",
    "periods_of_ledger": "ledger_id",
    "lots_of_account": "account_id",
    "movements_of_lot": "lot_id",
    "statements_of_account": "account_id",
    "late_adjustments_of_statement": "statement_id",
    "adjustments_of_statement": "statement_id",
    "schedules_of_ledger": "ledger_id",
    "settlements_of_account": "account_id",
    "entries_of_settlement": "settlement_id",
    "external_accounts_of_ledger": "ledger_id",
    "external_accounts_of_account": "account_id",
    "import_profiles_of_ledger": "ledger_id",
    "imports_of_external_account": "external_account_id",
    "statements_of_external_account": "external_account_id",
    "statements_of_import": "import_id",
    "lines_of_external_account": "external_account_id",
    "lines_of_statement": "external_statement_id",
}
_HELD = """
    SELECT e.account_id FROM entries e JOIN accounts a USING (account_id)
    WHERE e.organization_id = %(organization)s AND e.effect = 'hold' AND e.direction
"""
_TOLD = "SELECT DISTINCT account_id FROM external_accounts"
PARENTS_SOUGHT = {  # one whose holds are to be found, and one all of whose holds come in
    "outgoing_holds_of_account": f"({_HELD} <> a.normal_balance LIMIT 1) UNION ALL"
    f" ({_HELD} = a.normal_balance LIMIT 1)",
    "external_accounts_of_account": f"{_TOLD} WHERE organization_id = %(organization)s LIMIT 2",
}
MIDDLE: Mapping[str, Any] = {
    "external_account_id": UUID(int=2**127),
    "import_id": UUID(int=2**127),
    "booked_on": date(2026, 2, 1),
    "position": 9,
    "ledger_id": UUID(int=2**127),
    "account_id": UUID(int=2**127),
    "name": "N3",
    "sequence": 25,
    "transaction_sequence": 700,
    "line": 1,
    "effective_at": datetime(2026, 1, 1, tzinfo=UTC),
    "code": "code150",
    "version": 2,
    "expires_at": datetime(2026, 1, 1, tzinfo=UTC),
    "number": 25,
    "schedule_id": UUID(int=2**127),
}


@pytest.fixture
def filled(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A database with 4,800 accounts and 24,000 entries in eight ledgers of four organizations."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in FILL.split(";"):
            connection.execute(statement)
        connection.execute("VACUUM ANALYZE")
        yield connection


def _tenant(connection: psycopg.Connection[Any]) -> Json:
    row = connection.execute("SELECT organization_id FROM ledgers LIMIT 1").fetchone()
    assert row is not None
    return {"organization": row[0], "mode": "test", "restricted": False, "ledgers": []}


def _touched(
    connection: psycopg.Connection[Any], statement: str, parameters: Mapping[str, Any]
) -> tuple[int, int]:
    """How many rows a statement gives, and how many of tables and indexes it looked at for them."""
    row = connection.execute(
        "EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) " + statement, parameters
    ).fetchone()
    assert row is not None

    def nodes(plan: Json) -> Iterator[Json]:
        yield plan
        for below in plan.get("Plans", ()):
            yield from nodes(below)

    plan: Json = row[0][0]["Plan"]
    looked_at = sum(
        node["Actual Loops"]
        * (
            node["Actual Rows"]
            + node.get("Rows Removed by Filter", 0)
            + node.get("Rows Removed by Index Recheck", 0)
        )
        for node in nodes(plan)
        if "Relation Name" in node or "Index Name" in node
    )
    return int(plan["Actual Rows"]), int(looked_at)


def test_every_way_to_read_is_measured() -> None:
    """No look-up and no listing escapes the tests below."""
    found = {name for name, value in vars(rows).items() if isinstance(value, Lookup | Listing)}
    assert found == set(KEYS) | set(PARENTS)


def test_reading_touches_little_more_than_it_gives(filled: psycopg.Connection[Any]) -> None:
    """Keys and pages deep in a list, in every order and direction, are read through indexes."""
    tenant = _tenant(filled)
    touched = {
        **_touched_by_lookups(filled, tenant, rows, KEYS),
        **_touched_by_pages(filled, tenant),
    }
    # A row, what it is joined with, its ledger, which is on one page with all others; and the
    # accounts of an organization, which are few enough here to be read whole, where those of its
    # entries are wanted. Whether a hold takes from its account is seen when it is looked at: the
    # ten that come in are looked at for nothing. External accounts are few as well, and each line
    # and statement is joined with its own.
    aside = {"entries": 1200, "outgoing_holds": 6 * 10, "statement": 1200, "external_accounts": 300}
    excessive = {
        place: (given, looked_at)
        for place, (given, looked_at) in touched.items()
        if looked_at
        > 8 * max(given, 10) + sum(more for name, more in aside.items() if place.startswith(name))
    }
    assert excessive == {}


def _touched_by_lookups(
    connection: psycopg.Connection[Any], tenant: Json, lookups: Any, keys_of: Mapping[str, str]
) -> dict[str, tuple[int, int]]:
    touched = {}
    for name, source in keys_of.items():
        lookup: Lookup[Any] = getattr(lookups, name)
        keys = connection.execute(
            f"SELECT * FROM ({source} WHERE organization_id = %(organization)s) k"
            " ORDER BY random() LIMIT 40",
            tenant,
        ).fetchall()
        parameters = {f"key{n}": [key[n] for key in keys] for n in range(len(keys[0]))}
        touched[name] = _touched(connection, key_statement(lookup), {**parameters, **tenant})
        assert touched[name][0] >= len(keys)
    return touched


def _touched_by_pages(
    connection: psycopg.Connection[Any], tenant: Json
) -> dict[str, tuple[int, int]]:
    touched = {}
    for name, parent in PARENTS.items():
        listing: Listing[Any] = getattr(rows, name)
        table = {
            "account_id": "accounts",
            "ledger_id": "ledgers",
            "template_id": "transaction_templates",
            "lot_id": "credit_lots",
            "statement_id": "account_statements",
            "settlement_id": "settlements",
            "external_account_id": "statement_imports",
            "import_id": "statement_imports",
            "external_statement_id": "external_statements",
        }.get(parent, "organizations")
        parents = connection.execute(
            PARENTS_SOUGHT.get(name)
            or f"SELECT {parent} FROM {table} WHERE organization_id = %(organization)s LIMIT 2",
            tenant,
        ).fetchall()
        for order, key in listing.orders.items():
            for descending in (False, True):
                after = [MIDDLE[column] for column in key]
                statement = page_statement(listing, order, descending, True, ())
                touched[f"{name} by {order}, {descending}"] = _touched(
                    connection,
                    statement,
                    {
                        "parents": [row[0] for row in parents],
                        "rows": 10,
                        **{f"after{n}": value for n, value in enumerate(after)},
                        **tenant,
                    },
                )
    return touched
