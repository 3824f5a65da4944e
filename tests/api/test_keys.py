"""API keys: who is let in, and to what."""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg
import pytest

from app.api.schema import schema
from app.ledger.accounts.state import Mode
from app.store.identity import Permission, create_key, revoke_key
from tests.api_client import Api, open_api

VIEWER = "{ viewer { organization mode scopes } }"
UUID_HEX = "0" * 32
ADMIN = {"createLedger", "updateLedger", "archiveLedger"} | {
    "freezeAccount",
    "unfreezeAccount",
    "closeAccount",
    "createTransactionTemplate",
    "archiveTransactionTemplate",
    "closePeriod",
    "reopenPeriod",
}
INPUTS: dict[str, dict[str, Any]] = {
    "createLedger": {"name": "Books"},
    "updateLedger": {"ledgerId": f"ldgr_{UUID_HEX}"},
    "archiveLedger": {"ledgerId": f"ldgr_{UUID_HEX}"},
    "createAccount": {
        "ledgerId": f"ldgr_{UUID_HEX}",
        "name": "Wallet",
        "normalBalance": "CREDIT",
        "currency": "USD",
    },
    "createAccounts": {"accounts": []},
    "updateAccount": {"accountId": f"acct_{UUID_HEX}"},
    "freezeAccount": {"accountId": f"acct_{UUID_HEX}"},
    "unfreezeAccount": {"accountId": f"acct_{UUID_HEX}"},
    "closeAccount": {"accountId": f"acct_{UUID_HEX}"},
    "postTransaction": {"ledgerId": f"ldgr_{UUID_HEX}", "idempotencyKey": "key", "entries": []},
    "postTransactions": {"mode": "ATOMIC", "transactions": []},
    "settleTransaction": {"transactionId": f"txn_{UUID_HEX}", "idempotencyKey": "key"},
    "voidTransaction": {"transactionId": f"txn_{UUID_HEX}", "idempotencyKey": "key"},
    "transfer": {
        "ledgerId": f"ldgr_{UUID_HEX}",
        "from": f"acct_{UUID_HEX}",
        "to": f"acct_{UUID_HEX}",
        "amount": "1",
        "idempotencyKey": "key",
    },
    "createTransactionTemplate": {
        "ledgerId": f"ldgr_{UUID_HEX}",
        "code": "order",
        "parameters": [],
        "entries": [],
    },
    "archiveTransactionTemplate": {"ledgerId": f"ldgr_{UUID_HEX}", "code": "order"},
    "setVelocityLimit": {
        "accountId": f"acct_{UUID_HEX}",
        "name": "daily",
        "maximumCount": "1",
        "windowSeconds": 60,
    },
    "removeVelocityLimit": {"accountId": f"acct_{UUID_HEX}", "name": "daily"},
    "reverseTransaction": {"transactionId": f"txn_{UUID_HEX}", "idempotencyKey": "key"},
    "updateTransaction": {"transactionId": f"txn_{UUID_HEX}", "idempotencyKey": "key"},
    "closePeriod": {"ledgerId": f"ldgr_{UUID_HEX}", "through": "2026-01-01T00:00:00Z"},
    "reopenPeriod": {"ledgerId": f"ldgr_{UUID_HEX}", "through": None},
    "createStatement": {
        "accountId": f"acct_{UUID_HEX}",
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-02-01T00:00:00Z",
    },
    "createStatementSchedule": {
        "ledgerId": f"ldgr_{UUID_HEX}",
        "timeZone": "UTC",
        "startingFrom": "2026-01",
    },
    "deleteStatementSchedule": {"scheduleId": f"stsc_{UUID_HEX}"},
    "createSettlement": {
        "accountId": f"acct_{UUID_HEX}",
        "upTo": "2026-02-01T00:00:00Z",
        "counterpartAccountId": f"acct_{'1' * 32}",
        "idempotencyKey": "key",
    },
    "createExternalAccount": {"accountId": f"acct_{UUID_HEX}", "name": "Giro", "kind": "BANK"},
    "updateExternalAccount": {"externalAccountId": f"xacc_{UUID_HEX}"},
    "importStatement": {"externalAccountId": f"xacc_{UUID_HEX}", "lines": []},
    "saveImportProfile": {
        "ledgerId": f"ldgr_{UUID_HEX}",
        "name": "giro",
        "definition": {"columns": {"bookedOn": "Date", "amount": "Amount"}},
    },
    "deleteImportProfile": {"ledgerId": f"ldgr_{UUID_HEX}", "name": "giro"},
    "postTemplate": {"ledgerId": f"ldgr_{UUID_HEX}", "code": "order", "idempotencyKey": "key"},
    "createReconciliation": {
        "externalAccountId": f"xacc_{UUID_HEX}",
        "name": "March",
        "from": "2026-03-01",
        "through": "2026-03-31",
    },
    "runReconciliation": {"reconciliationId": f"rcn_{UUID_HEX}"},
    "confirmMatches": {"matchIds": [f"mtch_{UUID_HEX}"]},
    "rejectMatches": {"matchIds": [f"mtch_{UUID_HEX}"]},
    "matchManually": {
        "reconciliationId": f"rcn_{UUID_HEX}",
        "lineIds": [],
        "entryIds": [],
        "reason": "seen",
    },
    "unmatch": {"matchId": f"mtch_{UUID_HEX}", "reason": "wrong"},
    "resolveDiscrepancy": {"discrepancyId": f"disc_{UUID_HEX}", "accept": {"reason": "known"}},
    "undoResolution": {"discrepancyId": f"disc_{UUID_HEX}", "reason": "wrong"},
    "closeReconciliation": {"reconciliationId": f"rcn_{UUID_HEX}"},
    "reopenReconciliation": {"reconciliationId": f"rcn_{UUID_HEX}", "reason": "more"},
}


def mutation_of(name: str) -> str:
    kind = name[0].upper() + name[1:]
    return (
        f"mutation ($input: {kind}Input!)"
        f" {{ {name}(input: $input) {{ __typename ... on UserError {{ code }} }} }}"
    )


def mutations() -> list[str]:
    mutation = schema._schema.mutation_type  # noqa: SLF001
    assert mutation is not None
    return list(mutation.fields)


def test_every_mutation_is_in_the_table() -> None:
    """No mutation escapes the tests of scopes."""
    assert set(mutations()) == set(INPUTS)


async def test_a_read_key_writes_nothing(api: Api) -> None:
    """A key with the scope read is FORBIDDEN every mutation, and reads."""
    reader = await api.with_key(Permission.READ)
    for name in mutations():
        body = (await reader.send(mutation_of(name), {"input": INPUTS[name]})).json()
        assert body["data"] is None
        assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"], name
    assert (await reader.run(VIEWER))["viewer"]["scopes"] == ["READ"]


async def test_a_write_key_administers_nothing(api: Api) -> None:
    """A key with the scope write is FORBIDDEN what opens, archives, freezes and closes."""
    writer = await api.with_key(Permission.WRITE)
    for name in mutations():
        body = (await writer.send(mutation_of(name), {"input": INPUTS[name]})).json()
        assert ("errors" in body) is (name in ADMIN), (name, body)
    assert (await writer.run(VIEWER))["viewer"]["scopes"] == ["READ", "WRITE"]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer x",
        "Bearer ldg_test_" + "A" * 61,
        "Bearer ldg_test_" + "z" * 61,
        "Bearer ldg_test_é",
    ],
)
async def test_strangers_stay_outside(api: Api, authorization: str | None) -> None:
    """Whatever is no key in use is answered 401, with a challenge and a coded error."""
    sent = [] if authorization is None else [authorization.encode("latin-1")]
    headers = [(b"Authorization", value) for value in sent]
    response = await api.http.post("/graphql", json={"query": VIEWER}, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="ledgers"'
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "UNAUTHENTICATED"
    assert "data" not in response.json()


async def test_revoked_and_expired_keys(database_url: str) -> None:
    """A key that was revoked or has ended is answered just as one that never was."""
    async with open_api(database_url, principal_cache_seconds=0) as api:
        soon = datetime.now(UTC) - timedelta(seconds=1)
        expired = await api.with_key(Permission.READ, expires_at=soon)
        async with api.server.database.writing() as connection:
            key, token = await create_key(
                connection,
                api.organization_id,
                name="short-lived",
                mode=Mode.TEST,
                permissions=[Permission.READ],
            )
        revoked = Api(api.server, api.http, api.organization_id, token, iter(()))
        assert (await revoked.send(VIEWER)).status_code == 200
        async with api.server.database.writing() as connection:
            await revoke_key(connection, api.organization_id, key.api_key_id)
        answers = [await expired.send(VIEWER), await revoked.send(VIEWER)]
        never = token[:-1] + ("a" if token[-1] != "a" else "b")
        answers.append(
            await Api(api.server, api.http, api.organization_id, never, iter(())).send(VIEWER)
        )
        assert [answer.status_code for answer in answers] == [401] * 3
        assert len({answer.text for answer in answers}) == 1


async def test_revocation_takes_effect_within_the_time_of_the_cache(database_url: str) -> None:
    """A remembered key is looked up again once its time is over."""
    async with open_api(database_url, principal_cache_seconds=60) as api:
        assert (await api.send(VIEWER)).status_code == 200
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("UPDATE api_keys SET revoked_at = now()")
        assert (await api.send(VIEWER)).status_code == 200
    async with open_api(database_url, principal_cache_seconds=0.001) as other:
        assert (await Api(other.server, other.http, api.organization_id, api.token, iter(())).send(
            VIEWER
        )).status_code == 401  # fmt: skip


async def test_tokens(api: Api, database_url: str) -> None:
    """A token has its mode, 192 random bits and a checksum; the database holds only a hash."""
    assert re.fullmatch(r"ldg_test_[0-9A-Za-z]{61}", api.token)
    others = {(await api.with_key(Permission.READ)).token for _ in range(20)}
    secrets = {token[31:64] for token in others}
    assert len(secrets) == 20
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT api_keys::text, secret_hash FROM api_keys").fetchall()
    stored = {secret_hash for _, secret_hash in rows}
    for secret in secrets:
        assert all(secret not in text for text, _ in rows)
        number = 0
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        for character in secret:
            number = number * 62 + digits.index(character)
        assert sha256(number.to_bytes(24, "big")).digest() in stored


async def test_modes_do_not_mix(api: Api) -> None:
    """A live key sees live ledgers only, a test key test ones."""
    live = await api.with_key(mode=Mode.LIVE)
    assert live.token.startswith("ldg_live_")
    test_ledger, live_ledger = await api.ledger("play"), await live.ledger("real")
    ledgers = "{ ledgers { nodes { id mode } } }"
    assert (await api.run(ledgers))["ledgers"]["nodes"] == [{"id": test_ledger, "mode": "TEST"}]
    assert (await live.run(ledgers))["ledgers"]["nodes"] == [{"id": live_ledger, "mode": "LIVE"}]


async def test_restricted_keys(api: Api) -> None:
    """A key for one ledger sees that one, opens none, and says so."""
    seen, unseen = await api.ledger("seen"), await api.ledger("unseen")
    limited = await api.with_key(ledger_ids=[UUID(seen.removeprefix("ldgr_"))])
    shown = await limited.run("{ ledgers { nodes { id } } viewer { ledgers { name } } }")
    assert shown == {
        "ledgers": {"nodes": [{"id": seen}]},
        "viewer": {"ledgers": [{"name": "seen"}]},
    }
    for identity in (seen, unseen):
        data = await limited.run("query ($id: ID!) { ledger(id: $id) { id } }", {"id": identity})
        assert data["ledger"] == ({"id": seen} if identity == seen else None)
    body = (await limited.send(mutation_of("createLedger"), {"input": {"name": "more"}})).json()
    assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"]
