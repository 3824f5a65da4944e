"""Logs tell what happened, and never what a client or a credential said."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
import pytest
from psycopg import errors

from app.store.database import Row, Snapshot
from app.store.transactions import writer
from tests.api_client import CREATE_ACCOUNT, CREATE_LEDGER, POST, SETTLE, Api, open_api

SECRET = "canary5ecret"
FULL = "mutation ($input: PostTransactionInput!) { postTransaction(input: $input) { __typename } }"
Read = Callable[[], str]


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Read:
    """All that was logged so far, by structlog and by the libraries at their most talkative."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        # The client of these tests is none of ours.
        caplog.set_level(logging.WARNING, name)
    written: list[str] = []

    def read() -> str:
        written.extend(capfd.readouterr())
        records = (f"{r.name} {r.getMessage()} {r.exc_text} {r.exc_info}" for r in caplog.records)
        return "\n".join([*written, *records])

    return read


def _url(database_url: str) -> str:
    """The same database, with a password in the address that the server does not ask for."""
    scheme, _, rest = database_url.partition("://")
    user, _, place = rest.rpartition("@")
    name, _, password = user.partition(":")
    return f"{scheme}://{name}:{password or SECRET}@{place}"


async def _everything(api: Api) -> None:
    """Say the secret in every place that takes a text, in good requests and in bad ones."""
    labels = {"name": SECRET, "description": SECRET, "metadata": {SECRET: SECRET}}
    ledger = (await api.answer(CREATE_LEDGER, **labels))["ledger"]["id"]
    fields = {"ledgerId": ledger, "normalBalance": "CREDIT", "currency": "USD"}
    cash, wallet = [
        (await api.answer(CREATE_ACCOUNT, **fields, **labels, externalId=f"{SECRET} {n}"))[
            "account"
        ]["id"]
        for n in range(2)
    ]
    taken = await api.answer(CREATE_ACCOUNT, **fields, **labels, externalId=f"{SECRET} 0")
    assert taken["code"] == "EXTERNAL_ID_TAKEN"
    words = {"description": SECRET, "metadata": {"a": SECRET}, "externalId": SECRET}
    for _ in range(2):
        await api.post(ledger, cash, wallet, 5, idempotencyKey=SECRET, status="PENDING", **words)
    conflict = await api.post(ledger, cash, wallet, 6, idempotencyKey=SECRET, **words)
    assert conflict["code"] == "IDEMPOTENCY_CONFLICT"
    await api.answer(SETTLE, transactionId=SECRET, idempotencyKey=SECRET)
    for query, variables in (
        (f'query {{ ledger(id: "{SECRET}") {{ id }}', {}),
        (f"query {{ {SECRET} }}", {}),
        (f'{{ ledgers(filter: {{name: "{SECRET}", archived: "{SECRET}"}}) {{ __typename }} }}', {}),
        (("query ($a: Amount!) { node(id: 1) { ... on Ledger {"
         " entries(filter: {amount: {eq: $a}}) { __typename } } } }"), {"a": SECRET}),
        ("query ($c: String) { ledgers(after: $c) { nodes { id } } }", {"c": SECRET}),
        ("query ($t: DateTime) { ledgers(filter: {createdAt: {gt: $t}}) { __typename } }",
         {"t": SECRET}),
        (FULL, {"input": {SECRET: SECRET}}),
        (POST, {"input": {"ledgerId": ledger, "idempotencyKey": f"{SECRET}\x1b", "entries": []}}),
    ):  # fmt: skip
        await api.send(query, variables)
    for body in (b'{"query": "%s' % SECRET.encode(), b"[%s]" % SECRET.encode()):
        await api.http.post(
            "/graphql",
            content=body,
            headers={"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"},
        )


async def test_requests_leave_no_trace_of_what_they_say(database_url: str, logged: Read) -> None:
    """Names, texts, keys, metadata and bad values are not logged; that requests came is."""
    async with open_api(_url(database_url)) as api:
        await _everything(api)
        written = logged()
        assert SECRET not in written
        assert api.token not in written
        assert api.token[31:64] not in written
        for code in ("BAD_USER_INPUT", "GRAPHQL_PARSE_FAILED", "INVALID_CURSOR", "BAD_REQUEST"):
            assert code in written


async def test_credentials_leave_no_trace(database_url: str, logged: Read) -> None:
    """Whatever is sent as a credential is not logged, good, garbled or of another scheme."""
    async with open_api(_url(database_url)) as api:
        for credential in (
            f"Bearer {api.token}", f"Bearer {api.token}x", f"Bearer {SECRET}", f"Basic {SECRET}",
            SECRET, f"Bearer {api.token[:-1]}", f"Bearer {SECRET * 500}",
        ):  # fmt: skip
            await api.http.post(
                "/graphql",
                json={"query": "{ viewer { organization } }"},
                headers={
                    "Authorization": credential,
                    "Cookie": SECRET,
                    "X-Request-Id": SECRET + "!",
                },
            )
        written = logged()
        assert "UNAUTHENTICATED" in written
        assert [
            text for text in (SECRET, api.token[9:40], api.token[31:64]) if text in written
        ] == []


FAULTS: list[Callable[[], Exception]] = [
    lambda: KeyError(SECRET),
    lambda: ValueError(f"{SECRET!r} is no value"),
    lambda: RuntimeError(SECRET),
    lambda: errors.UniqueViolation(f"Key (external_id)=({SECRET}) already exists."),
    lambda: errors.CheckViolation(f"Failing row contains ({SECRET})."),
    lambda: psycopg.OperationalError(f"connection to postgresql://u:{SECRET}@host failed"),
    lambda: ExceptionGroup(SECRET, [KeyError(SECRET)]),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault()).__name__)
async def test_faults_while_reading(
    api: Api, logged: Read, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], Exception]
) -> None:
    """A fault is logged with type and place and without its words, and masked in the answer."""

    async def failing(*_: object) -> Sequence[Row]:
        raise fault() from LookupError(SECRET)

    monkeypatch.setattr(Snapshot, "rows", failing)
    response = await api.send("{ ledgers { nodes { id } } }")
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    written = logged()
    assert "internal_error" in written
    assert type(fault()).__name__ in written
    assert (SECRET in response.text, SECRET in written) == (False, False)


async def test_faults_of_the_database_itself(
    api: Api, logged: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message of PostgreSQL that quotes values reaches neither the log nor the client."""
    run = Snapshot.rows

    async def failing(self: Snapshot, _: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        return await run(
            self,
            "SELECT %(secret)s::text::int WHERE %(organization)s::uuid IS NOT NULL",
            {**parameters, "secret": SECRET},
        )

    monkeypatch.setattr(Snapshot, "rows", failing)
    response = await api.send("{ ledgers { nodes { id } } }")
    written = logged()
    assert "22P02" in written
    assert (SECRET in response.text, SECRET in written) == (False, False)


@pytest.mark.parametrize("fault", FAULTS[:-1], ids=lambda fault: type(fault()).__name__)
async def test_faults_while_writing(
    api: Api, logged: Read, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], Exception]
) -> None:
    """The writer's faults, retried or not, are logged and answered without their words."""
    ledger = await api.ledger()
    cash, wallet = await api.account(ledger), await api.account(ledger)

    async def failing(*_: object) -> object:
        raise fault()

    monkeypatch.setattr(writer, "post", failing)
    monkeypatch.setattr(writer, "FIRST_PAUSE_SECONDS", 0)
    given = {"ledgerId": ledger, "idempotencyKey": SECRET, "description": SECRET}
    entries = [
        {"accountId": account, "direction": side, "amount": "5", "metadata": {"a": SECRET}}
        for account, side in ((cash, "DEBIT"), (wallet, "CREDIT"))
    ]
    response = await api.send(POST, {"input": {**given, "entries": entries}})
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] in {"INTERNAL_SERVER_ERROR", "UNAVAILABLE"}
    assert (SECRET in response.text, SECRET in logged()) == (False, False)


async def test_a_database_that_is_not_there(logged: Read) -> None:
    """An address that cannot be reached is not logged with its password."""
    with pytest.raises(psycopg.OperationalError) as caught:
        async with open_api(f"postgresql://postgres:{SECRET}@127.0.0.1:1/none?connect_timeout=2"):
            pass
    assert (SECRET in str(caught.value), SECRET in logged()) == (False, False)


async def test_connections_that_are_lost(database_url: str, logged: Read) -> None:
    """Lost connections are logged without the address and cost the client a retryable error."""
    async with open_api(_url(database_url)) as api:
        await api.ledger(SECRET)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        codes = set()
        for _ in range(12):
            body = (await api.send("{ ledgers { nodes { name } } }")).json()
            codes |= {error["extensions"]["code"] for error in body.get("errors", ())}
        assert codes <= {"UNAVAILABLE"}
        assert body["data"]["ledgers"]["nodes"] == [{"name": SECRET}]
        assert SECRET not in logged()
