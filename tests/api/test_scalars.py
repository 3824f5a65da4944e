"""Values of our own scalars: what is taken, and that all else is refused with a code."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from app.ledger.transactions.commands import MAX_METADATA_BYTES, MAX_METADATA_DEPTH
from tests.api_client import CREATE_ACCOUNT, CREATE_LEDGER, POST, Api, Json

LARGEST = 10**36
METADATA = """
mutation ($input: CreateLedgerInput!) {
  createLedger(input: $input) {
    ... on CreateLedgerSuccess { ledger { metadata } }
    ... on UserError { code path }
  }
}
"""

GOOD_AMOUNTS = ["0", "1", "-1", "10", "1250", "-300", str(LARGEST), str(-LARGEST), str(2**63)]
BAD_AMOUNTS = [
    "", " ", "-", "+1", "-0", "00", "01", "-01", "1.0", "1e3", "0x10", "1_000", "1,000", " 1", "1 ",
    "1\n", "NaN", "Infinity", "-Infinity", "\u0661\u0662", "\uff11", "1\u00b2", "\u22121",
    "1\u200b", "1\x01", "one", "1e400", "9" * 5_000, str(LARGEST + 1), str(-LARGEST - 1),
]  # fmt: skip
OTHER_TYPES: list[Any] = [1, -1, 0, 1.0, 1.5, True, False, [], ["1"], {}, {"a": "1"}, 10**18]

GOOD_TIMES = {
    "2026-01-31T12:00:00Z": "2026-01-31T12:00:00.000000Z",
    "2026-01-31t12:00:00z": "2026-01-31T12:00:00.000000Z",
    "2026-01-31T12:00:00+02:00": "2026-01-31T10:00:00.000000Z",
    "2026-01-31T12:00:00-00:00": "2026-01-31T12:00:00.000000Z",
    "2026-01-31T23:59:59.999999+23:59": "2026-01-31T00:00:59.999999Z",
    "2026-01-31T12:00:00.1Z": "2026-01-31T12:00:00.100000Z",
    "2026-01-31T12:00:00.123456789Z": "2026-01-31T12:00:00.123456Z",
    "2024-02-29T00:00:00Z": "2024-02-29T00:00:00.000000Z",
    "1900-01-01T00:00:00Z": "1900-01-01T00:00:00.000000Z",
    "2199-12-31T23:59:59.999999Z": "2199-12-31T23:59:59.999999Z",
}
BAD_TIMES = [
    "", "now", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00Z", "2026-01-31 12:00:00Z",
    "2026-1-31T12:00:00Z", "20260131T120000Z", "2026-02-29T00:00:00Z", "2026-02-30T00:00:00Z",
    "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:60:00Z",
    "2026-12-31T23:59:60Z", "2026-01-31T12:00:00+24:00", "2026-01-31T12:00:00+02",
    "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00.1234567890Z", "2026-01-31T12:00:00,5Z",
    "\u0662\u0660\u0662\u0666-01-31T12:00:00Z", "1899-12-31T23:59:59Z", "1900-01-01T00:00:00+00:01",
    "2200-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59",
    "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-W05-6T12:00:00Z", "1769860800",
    " 2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z\n", "2026-01-31T12:00:00 +02:00",
]  # fmt: skip

GOOD_SEQUENCES = ["0", "1", "42", str(2**31), str(2**53 + 1), str(2**63 - 1)]
BAD_SEQUENCES = [
    "", "-1", "-0", "+1", "01", "1.0", "1e3", " 1", "1 ", "\u0661", str(2**63), "9" * 5_000, "x",
]  # fmt: skip

GOOD_OBJECTS: list[Json] = [
    {},
    {"a": None, "b": True, "c": [1, 2.5, "x"], "d": {"e": {}}, "ключ": "日本語 🎉"},
    {"": "blank key"},
    {"big": 2**63 - 1, "small": -(2**63) + 1, "tiny": 5e-324, "minus": -0.0},
]
BAD_JSON: list[Any] = [1, 1.5, "text", True, [], [{}]]


def _coded(response: httpx.Response) -> str:
    """The code of a request that failed before it ran."""
    body = response.json()
    assert response.status_code == 400, body
    assert "data" not in body
    codes = {error["extensions"]["code"] for error in body["errors"]}
    assert len(codes) == 1
    return str(codes.pop())


def _quoted(text: str) -> str:
    """The text as a literal of GraphQL, every character beyond printable ASCII by its number."""
    return json.dumps(text)


@pytest_asyncio.fixture
async def books(api: Api) -> tuple[Api, str, str, str]:
    """A ledger with two accounts."""
    ledger = await api.ledger()
    return (
        api,
        ledger,
        await api.account(ledger, normalBalance="DEBIT"),
        await api.account(ledger),
    )


async def test_amounts_that_are_taken(api: Api) -> None:
    """Canonical whole numbers to 10^36 either way are taken, as variables and as literals alike."""
    query = "query ($a: Amount!) { ledgers { nodes { entries(filter: {amount: {lt: $a}}) { nodes { id } } } } }"  # noqa: E501
    for text in GOOD_AMOUNTS:
        assert await api.run(query, {"a": text}) == {"ledgers": {"nodes": []}}
        literal = query.replace("query ($a: Amount!) ", "").replace("$a", _quoted(text))
        assert await api.run(literal) == {"ledgers": {"nodes": []}}


async def test_amounts_that_are_refused(api: Api) -> None:
    """Every other spelling, and every other type, is BAD_USER_INPUT either way of sending it."""
    query = "query ($a: Amount!) { ledgers { nodes { entries(filter: {amount: {lt: $a}}) { nodes { id } } } } }"  # noqa: E501
    for value in [*BAD_AMOUNTS, *OTHER_TYPES]:
        assert _coded(await api.send(query, {"a": value})) == "BAD_USER_INPUT", value
    literals = [_quoted(text) for text in BAD_AMOUNTS]
    literals += ["1", "-1", "1.5", "1e400", "true", "[]", "{}", "USD", '"""1 2"""', "9" * 5_000]
    for literal in literals:
        text = query.replace("query ($a: Amount!) ", "").replace("$a", literal)
        assert _coded(await api.send(text)) == "BAD_USER_INPUT", literal


async def test_amounts_of_entries(books: tuple[Api, str, str, str]) -> None:
    """An entry's amount is from 1 to 10^36; zero and less are ValidationFailed, and stay out."""
    api, ledger, debit, credit = books
    for amount in ("0", "-1", str(-LARGEST)):
        refused = await api.post(ledger, debit, credit, amount)
        assert (refused["code"], refused["path"]) == (
            "VALIDATION_FAILED",
            ["input", "entries", "0", "amount"],
        )
    assert await api.balances(credit) == (0, 0, 0, 0)
    for amount in (str(LARGEST), "1"):
        posted = await api.post(ledger, debit, credit, amount)
        assert posted["transaction"]["entries"][0]["amount"] == amount
    assert await api.balances(credit) == (LARGEST + 1, 0, LARGEST + 1, LARGEST + 1)


async def test_times(books: tuple[Api, str, str, str]) -> None:
    """Times with an offset are taken to the microsecond and come back in UTC, ten ways."""
    api, ledger, debit, credit = books
    posted = POST.replace("idempotencyKey\n", "idempotencyKey effectiveAt\n")
    entries = [
        {"accountId": debit, "direction": "DEBIT", "amount": "1"},
        {"accountId": credit, "direction": "CREDIT", "amount": "1"},
    ]
    for number, (text, shown) in enumerate(GOOD_TIMES.items()):
        result = await api.answer(
            posted, ledgerId=ledger, idempotencyKey=str(number), entries=entries, effectiveAt=text
        )
        assert result["transaction"]["effectiveAt"] == shown
    stored = await api.run(
        "query ($id: ID!) { ledger(id: $id) { transactions { nodes { effectiveAt } } } }",
        {"id": ledger},
    )
    assert [node["effectiveAt"] for node in stored["ledger"]["transactions"]["nodes"]] == list(
        GOOD_TIMES.values()
    )


async def test_times_that_are_refused(api: Api) -> None:
    """Other spellings, impossible and far-off times are BAD_USER_INPUT either way."""
    query = "query ($t: DateTime!) { ledgers(filter: {createdAt: {lt: $t}}) { nodes { id } } }"
    for value in [*BAD_TIMES, *OTHER_TYPES]:
        assert _coded(await api.send(query, {"t": value})) == "BAD_USER_INPUT", value
    for literal in [*map(_quoted, BAD_TIMES), "1", "1.5", "true", "[]", "{}", "NOW"]:
        text = query.replace("query ($t: DateTime!) ", "").replace("$t", literal)
        assert _coded(await api.send(text)) == "BAD_USER_INPUT", literal


async def test_sequences(books: tuple[Api, str, str, str]) -> None:
    """A counter is taken up to 2^63 - 1; what it means is another matter."""
    api, ledger, debit, credit = books
    for text in GOOD_SEQUENCES[1:]:
        result = await api.post(
            ledger,
            debit,
            credit,
            1,
            entries=[
                {"accountId": debit, "direction": "DEBIT", "amount": "1", "accountVersion": text},
                {"accountId": credit, "direction": "CREDIT", "amount": "1"},
            ],
        )
        assert result["code"] == "VERSION_CONFLICT"
    assert await api.balances(credit) == (0, 0, 0, 0)


async def test_sequences_that_are_refused(books: tuple[Api, str, str, str]) -> None:
    """Other spellings of a counter are BAD_USER_INPUT, and nothing is posted."""
    api, ledger, debit, credit = books
    for value in [*BAD_SEQUENCES, *OTHER_TYPES]:
        entries = [
            {"accountId": debit, "direction": "DEBIT", "amount": "1", "accountVersion": value},
            {"accountId": credit, "direction": "CREDIT", "amount": "1"},
        ]
        given = {"ledgerId": ledger, "idempotencyKey": "k", "entries": entries}
        assert _coded(await api.send(POST, {"input": given})) == "BAD_USER_INPUT", value
    assert await api.balances(credit) == (0, 0, 0, 0)


async def test_objects_that_are_taken(api: Api) -> None:
    """JSON objects come back as they were sent, from the answer and from the books."""
    for metadata in GOOD_OBJECTS:
        result = await api.answer(METADATA, name="x", metadata=metadata)
        assert result == {"ledger": {"metadata": metadata}}


async def test_json_that_is_no_object(api: Api) -> None:
    """JSON that is no object is BAD_USER_INPUT, as a variable and as a literal."""
    for value in BAD_JSON:
        given = {"input": {"name": "x", "metadata": value}}
        assert _coded(await api.send(METADATA, given)) == "BAD_USER_INPUT", value
        literal = METADATA.replace("($input: CreateLedgerInput!)", "").replace(
            "$input", f'{{name: "x", metadata: {json.dumps(value)}}}'.replace('"a":', "a:")
        )
        assert _coded(await api.send(literal)) == "BAD_USER_INPUT", value


def _nested(levels: int) -> Json:
    value: Json = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": 2**63},
        {"a": -(2**63)},
        {"a": 1e19},
        {"a": [[-1e300]]},
        {"a": "x" * MAX_METADATA_BYTES},
        {"x" * MAX_METADATA_BYTES: 1},
        {"a": "é" * (MAX_METADATA_BYTES // 2)},
        _nested(MAX_METADATA_DEPTH),
        {"a": [[[[[[[["deep"]]]]]]]]},
    ],
    ids=["2^63", "-2^63", "1e19", "-1e300", "long", "long key", "bytes", "deep", "deep list"],
)
async def test_objects_that_are_refused(api: Api, metadata: Json) -> None:
    """Large numbers, objects over 16 KiB and over 8 levels are a typed ValidationFailed."""
    result = await api.answer(METADATA, name="x", metadata=metadata)
    assert result == {"code": "VALIDATION_FAILED", "path": ["input", "metadata"]}
    assert await api.run("{ ledgers { nodes { id } } }") == {"ledgers": {"nodes": []}}


async def test_objects_at_the_limits(api: Api) -> None:
    """16 KiB and 8 levels are within the limits."""
    largest = {"a": "x" * (MAX_METADATA_BYTES - len('{"a": ""}'))}
    for metadata in (largest, _nested(MAX_METADATA_DEPTH - 1)):
        result = await api.answer(METADATA, name="x", metadata=metadata)
        assert result == {"ledger": {"metadata": metadata}}


@pytest.mark.parametrize(
    ("literal", "code"),
    [
        ("{a: 1e400}", "VALIDATION_FAILED"),
        ("{a: -1e400}", "VALIDATION_FAILED"),
        ("{a: 99999999999999999999}", "VALIDATION_FAILED"),
        ('{a: "\\u0000"}', "BAD_USER_INPUT"),
        ('{a: "\\ud800"}', "GRAPHQL_PARSE_FAILED"),
        ("{a: 1, a: 2}", "GRAPHQL_VALIDATION_FAILED"),
        ("{a: NaN}", "BAD_USER_INPUT"),
        ("{a: " + "9" * 5_000 + "}", "BAD_USER_INPUT"),
        ("{a: 01}", "GRAPHQL_PARSE_FAILED"),
        ("{a: $missing}", "GRAPHQL_VALIDATION_FAILED"),
        ("{a: " + "[" * 100 + "]" * 100 + "}", "VALIDATION_FAILED"),
    ],
    ids=lambda text: text[:20],
)
async def test_literal_objects_that_are_refused(api: Api, literal: str, code: str) -> None:
    """In the text of a query, too, what JSON cannot keep is a coded refusal and no fault."""
    text = METADATA.replace("($input: CreateLedgerInput!)", "").replace(
        "$input", f'{{name: "x", metadata: {literal}}}'
    )
    response = await api.send(text)
    body = response.json()
    if "data" in body:
        assert body == {"data": {"createLedger": {"code": code, "path": ["input", "metadata"]}}}
    else:
        assert _coded(response) == code
    assert await api.run("{ ledgers { nodes { id } } }") == {"ledgers": {"nodes": []}}


async def test_literal_object_with_variables(api: Api) -> None:
    """Variables inside of a JSON literal take their values; one without a value leaves no trace."""
    text = """
    mutation ($text: String!, $number: Int, $object: JSON, $default: Int = 7, $absent: Int) {
      createLedger(input: {name: "x", metadata: {
        text: $text, list: [1, $number, {deep: $object}], default: $default, absent: $absent, no: null
      }}) { ... on CreateLedgerSuccess { ledger { metadata } } }
    }
    """  # noqa: E501
    variables = {"text": "t", "number": None, "object": {"x": [1.5]}}
    assert await api.run(text, variables) == {
        "createLedger": {
            "ledger": {
                "metadata": {
                    "text": "t",
                    "list": [1, None, {"deep": {"x": [1.5]}}],
                    "default": 7,
                    "no": None,
                }
            }
        }
    }


async def test_variable_in_a_literal_is_checked_too(api: Api) -> None:
    """A number too large for metadata is refused however it comes in."""
    text = METADATA.replace("$input: CreateLedgerInput!", "$o: JSON!").replace(
        "$input", '{name: "x", metadata: {a: $o}}'
    )
    assert await api.run(text, {"o": {"b": 1e30}}) == {
        "createLedger": {"code": "VALIDATION_FAILED", "path": ["input", "metadata"]}
    }


@pytest.mark.parametrize(
    "value",
    [b"NaN", b"1e400", b'"\\ud800"', b'"\\u0000"', b"99999999999999999999", b'"\xff"'],
    ids=["NaN", "1e400", "surrogate", "NUL", "20 digits", "not UTF-8"],
)
async def test_bodies_that_json_cannot_keep(api: Api, value: bytes) -> None:
    """NaN, infinity, NUL, lone surrogates and integers past 64 bits end as a coded 400."""
    query = b"query ($i: JSON) { ledgers(filter: {metadata: $i}) { nodes { id } } }"
    body = b'{"query": "%s", "variables": {"i": {"a": %s}}}' % (query, value)
    response = await api.http.post(
        "/graphql",
        content=body,
        headers={
            "Authorization": f"Bearer {api.token}",
            "Content-Type": "application/json",
            "Accept": "application/graphql-response+json",
        },
    )
    assert _coded(response) in {"BAD_REQUEST", "BAD_USER_INPUT"}


async def test_texts_that_cannot_be_kept(books: tuple[Api, str, str, str]) -> None:
    """Control characters in names, keys and ids are a typed ValidationFailed; nothing is kept."""
    api, ledger, debit, credit = books
    for text in ("", " ", "\n", "a\tb", "a\x7f", "a\x85", "x" * 256):
        assert (await api.answer(CREATE_LEDGER, name=text))["code"] == "VALIDATION_FAILED", text
        account = {"ledgerId": ledger, "name": "x", "normalBalance": "DEBIT", "currency": "USD"}
        result = await api.answer(CREATE_ACCOUNT, **account, externalId=text)
        assert (result["code"], result["path"]) == ("VALIDATION_FAILED", ["input", "externalId"])
        for field in ("idempotencyKey", "externalId"):
            result = await api.post(ledger, debit, credit, 1, **{field: text})
            assert (result["code"], result["path"]) == ("VALIDATION_FAILED", ["input", field])
    counted = await api.run(
        "query ($id: ID!) { ledgers { nodes { id } } ledger(id: $id) {"
        " accounts { nodes { id } } transactions { nodes { id } } } }",
        {"id": ledger},
    )
    assert (
        len(counted["ledgers"]["nodes"]),
        len(counted["ledger"]["accounts"]["nodes"]),
        len(counted["ledger"]["transactions"]["nodes"]),
    ) == (1, 2, 0)


async def test_odd_texts_come_back(api: Api) -> None:
    """What is text is kept to the last code point: emoji, right-to-left, combining, 255 long."""
    for name in ("🧾" * 255, "דף חשבון", "e\u0301 ≠ é", "'; DROP TABLE entries; --", "%s %(x)s {}"):
        result = await api.answer(CREATE_LEDGER, name=name)
        found = await api.run(
            "query ($id: ID!) { node(id: $id) { ... on Ledger { name } } }",
            {"id": result["ledger"]["id"]},
        )
        assert found == {"node": {"name": name}}


def test_samples_are_what_they_say() -> None:
    """The tables above hold what JSON can send, so that each reaches the scalar."""
    for value in [*BAD_AMOUNTS, *OTHER_TYPES, *BAD_TIMES, *BAD_SEQUENCES, *BAD_JSON]:
        assert orjson.loads(orjson.dumps(value)) == value
    assert not any(isinstance(v, float) and math.isnan(v) for v in OTHER_TYPES)
    latest = datetime(2200, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
    assert latest.isoformat().replace("+00:00", "Z") in GOOD_TIMES
