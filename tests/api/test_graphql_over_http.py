"""The endpoint speaks GraphQL over HTTP to the letter, and never answers bad input with a 500."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlencode

import httpx
import psycopg.errors
import pytest
from graphql import ExecutionResult, Executor
from structlog.testing import capture_logs

from app.api.errors import Code, CodedError, RequestRefused, report_fault
from app.api.http.graphql import GRAPHQL_RESPONSE, JSON, MAX_JSON_DEPTH, GraphQLEndpoint, negotiate

from .small_schema import KEY, LIMITS, SECRET, Contexts, build

Message = MutableMapping[str, Any]


@pytest.fixture
def contexts() -> Contexts:
    return Contexts()


@pytest.fixture
async def client(contexts: Contexts) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(build(contexts)) as client:
        yield client


def connect(endpoint: GraphQLEndpoint) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(endpoint),
        base_url="http://ledgers.test",
        headers={"Authorization": KEY, "Accept": GRAPHQL_RESPONSE},
    )


async def post(client: httpx.AsyncClient, query: str, **parameters: Any) -> httpx.Response:
    return await client.post("/", json={"query": query, **parameters})


async def post_raw(
    client: httpx.AsyncClient, body: bytes, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    sent = {"Content-Type": "application/json", **(headers or {})}
    return await client.post("/", content=body, headers=sent)


def codes(response: httpx.Response) -> list[str]:
    return [error["extensions"]["code"] for error in response.json()["errors"]]


def body_with(value: str) -> bytes:
    """A good request, but for one value among its variables."""
    return b'{"query": "{ hello }", "variables": {"v": ' + value.encode() + b"}}"


# Every kind of type and resolver under graphql-core's own execution -------------------------------


async def test_types_and_resolvers(client: httpx.AsyncClient, contexts: Contexts) -> None:
    """Sync and async fields, interfaces, enums, custom scalars and futures give their values."""
    response = await post(
        client,
        '{ hello later node(id: "a1") { __typename id ... on Account { name direction balance } } '
        'other: account(id: "a22") { direction balance } none: node(id: "zz") { id } }',
    )
    assert response.status_code == 200
    assert response.json() == {
        "data": {
            "hello": "Hello, world!",
            "later": "later",
            "node": {
                "__typename": "Account",
                "id": "a1",
                "name": "Account 1",
                "direction": "CREDIT",
                "balance": "200000000000000000000",
            },
            "other": {"direction": "DEBIT", "balance": "300000000000000000000"},
            "none": None,
        }
    }
    assert contexts.opened[0].batches == [["a1", "a22"]]


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        ("a1", {"__typename": "Posted", "total": "12", "account": {"id": "a1"}}),
        ("zz", {"__typename": "NotFound", "message": "There is no such account."}),
    ],
)
async def test_inputs_and_unions(
    client: httpx.AsyncClient, account: str, expected: dict[str, object]
) -> None:
    """An input with defaults is coerced to its class, and a union answers with either member."""
    response = await post(
        client,
        "mutation ($input: PostInput!) { post(input: $input) { __typename"
        " ... on Posted { total account { id } } ... on Failure { message } } }",
        variables={"input": {"accountId": account, "amount": "12"}},
    )
    assert response.json() == {"data": {"post": expected}}


async def test_variables_reach_resolvers(client: httpx.AsyncClient) -> None:
    """The `Info` of strawberry finds the coerced variables, defaults included."""
    response = await post(
        client,
        "query ($n: Int!, $m: Int = 4) { variables(number: $n) again: variables(number: $m) }",
        variables={"n": 3},
    )
    assert response.json() == {"data": {"variables": ["m", "n"], "again": ["m", "n"]}}


async def test_context_reaches_resolvers(client: httpx.AsyncClient) -> None:
    """Resolvers get the context opened for the principal and the request's id."""
    response = await client.post(
        "/", json={"query": "{ caller }"}, headers={"X-Request-Id": "from-client.1_2"}
    )
    assert response.json() == {"data": {"caller": "somebody from-client.1_2"}}


async def test_mutations_run_in_series(client: httpx.AsyncClient) -> None:
    """Root fields of a mutation wait for each other, the slow one first."""
    response = await post(
        client,
        "mutation { a: append(value: 1, turns: 9) b: append(value: 2, turns: 0)"
        " c: append(value: 3, turns: 3) }",
    )
    assert response.json() == {"data": {"a": [1], "b": [1, 2], "c": [1, 2, 3]}}


async def test_introspection_works(client: httpx.AsyncClient) -> None:
    """Callers may ask for the schema."""
    response = await post(client, '{ __type(name: "Amount") { kind name } }')
    assert response.json() == {"data": {"__type": {"kind": "SCALAR", "name": "Amount"}}}


# Requests that are not well-formed ---------------------------------------------------------------

DEEP = MAX_JSON_DEPTH - 2  # two levels stand above a variable's value

MALFORMED = {
    "empty": b"",
    "number": b"1",
    "string": b'"str"',
    "null": b"null",
    "true": b"true",
    "list": b"[]",
    "batch": b'[{"query": "{ hello }"}]',
    "list of numbers": b"[1, 2]",
    "not JSON": b'{ "not a JSON',
    "trailing": b'{"query": "{ hello }"} {}',
    "invalid UTF-8": b'{"query": "\xff\xfe"}',
    "UTF-16": '{"query": "{ hello }"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"query": "{ hello }"}',
    "encoded surrogate": b'{"query": "{ hello }", "variables": {"v": "\xed\xa0\x80"}}',
    "escaped surrogate": body_with('"\\ud800"'),
    "escaped surrogate in a name": body_with('{"\\udc00": 1}'),
    "NUL": body_with('"a\\u0000b"'),
    "NUL in a name": body_with('{"\\u0000": 1}'),
    "NUL in a list": body_with('[["\\u0000"]]'),
    "raw NUL": b'{"query": "{ hello }", "variables": {"v": "\x00"}}',
    "NaN": body_with("NaN"),
    "Infinity": body_with("-Infinity"),
    "1e400": body_with("1e400"),
    "integer of 5,000 digits": body_with("9" * 5000),
    "integer of 30 digits": body_with("-" + "9" * 30),
    "2^64": body_with("18446744073709551616"),
    "-2^63 - 1": body_with("-9223372036854775809"),
    "too deep": body_with("[" * (DEEP + 1) + "]" * (DEEP + 1)),
    "far too deep": body_with('{"a":' * 10_000 + "1" + "}" * 10_000),
    "no query": b"{}",
    "misspelt query": b'{"qeury": "{ hello }"}',
    "query null": b'{"query": null}',
    "query number": b'{"query": 1}',
    "query list": b'{"query": ["{ hello }"]}',
    "query object": b'{"query": {"a": 1}}',
    "operationName number": b'{"query": "{ hello }", "operationName": 1}',
    "operationName list": b'{"query": "{ hello }", "operationName": ["a"]}',
    "variables list": b'{"query": "{ hello }", "variables": []}',
    "variables string": b'{"query": "{ hello }", "variables": "{}"}',
    "variables false": b'{"query": "{ hello }", "variables": false}',
    "extensions list": b'{"query": "{ hello }", "extensions": []}',
    "extensions string": b'{"query": "{ hello }", "extensions": "a"}',
}


@pytest.mark.parametrize("digits", [20, 30, 400, 5000])
async def test_integers_beyond_64_bits(client: httpx.AsyncClient, digits: int) -> None:
    """However long an integer is, the refusal says that it is too long."""
    response = await post_raw(client, body_with("9" * digits), {"Accept": JSON})
    (error,) = response.json()["errors"]
    assert error["message"] == "Integers must fit into 64 bits; send longer ones as strings."


@pytest.mark.parametrize("accept", [JSON, GRAPHQL_RESPONSE])
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_bodies(client: httpx.AsyncClient, body: bytes, accept: str) -> None:
    """A body that is not a request is a 400 with one coded error, in the type asked for."""
    response = await post_raw(client, body, {"Accept": accept})
    assert response.status_code == 400
    assert response.headers["content-type"] == f"{accept}; charset=utf-8"
    assert list(response.json()) == ["errors"]
    assert codes(response) == ["BAD_REQUEST"]


@pytest.mark.parametrize(
    "value",
    [
        "18446744073709551615",
        "-9223372036854775808",
        '"99999999999999999999999999"',
        "1234567890.12345678901234567890",
        '"\\\\u0000"',
        '"\\ud83c\\udfc3"',
        "[" * DEEP + "]" * DEEP,
        "[" + "[]," * 200 + "[]]",
        '{"a": 1, "a": 2}',
    ],
)
async def test_unusual_values_are_taken(client: httpx.AsyncClient, value: str) -> None:
    """What JSON can hold, and we can keep, passes: extremes, escapes, duplicates."""
    response = await post_raw(client, body_with(value))
    assert (response.status_code, response.json()) == (200, {"data": {"hello": "Hello, world!"}})


@pytest.mark.parametrize("parameter", ["operationName", "variables", "extensions"])
async def test_parameters_may_be_null(client: httpx.AsyncClient, parameter: str) -> None:
    """A null is the same as nothing."""
    response = await post(client, "{ hello }", **{parameter: None})
    assert response.json() == {"data": {"hello": "Hello, world!"}}


async def test_an_empty_operation_name_is_none(client: httpx.AsyncClient) -> None:
    """No operation has an empty name, so it is the same as nothing."""
    response = await post(client, "query A { hello }", operationName="")
    assert response.json() == {"data": {"hello": "Hello, world!"}}


# Negotiation and HTTP's own errors ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL_RESPONSE, GRAPHQL_RESPONSE),
        ("Application/JSON", JSON),
        ("application/json; charset=utf-8", JSON),
        ('application/json; charset="UTF-8"', JSON),
        ("application/json; charset=iso-8859-1", None),
        (f"{GRAPHQL_RESPONSE}, {JSON}", GRAPHQL_RESPONSE),
        (f"{JSON}, {GRAPHQL_RESPONSE}", JSON),
        (f"{GRAPHQL_RESPONSE};q=0.5, {JSON}", JSON),
        (f"{JSON};q=0.5, {GRAPHQL_RESPONSE};q=0.501", GRAPHQL_RESPONSE),
        (f"{GRAPHQL_RESPONSE},{JSON};q=0.9", GRAPHQL_RESPONSE),
        (f"*/*, {GRAPHQL_RESPONSE}", GRAPHQL_RESPONSE),
        (f"{JSON};q=0, */*", GRAPHQL_RESPONSE),
        ("*/*;q=0", None),
        (f"{JSON};q=0", None),
        (f"{JSON};q=nan", None),
        (f"{JSON};q=2", None),
        (f"{GRAPHQL_RESPONSE}, {JSON}, text/event-stream, multipart/mixed", GRAPHQL_RESPONSE),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", JSON),
        ("image/png", None),
        ("text/event-stream", None),
        ("text/*", None),
        (";;,,;q", None),
        ("application/jsonx", None),
        ("\xff", None),
    ],
)
async def test_accept(client: httpx.AsyncClient, accept: str, expected: str | None) -> None:
    """The most preferred of two types is served; without any of them it is a 406."""
    response = await client.post(
        "/", json={"query": "{ hello }"}, headers=[(b"Accept", accept.encode("latin-1"))]
    )
    if expected is None:
        assert response.status_code == 406
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        assert codes(response) == ["NOT_ACCEPTABLE"]
    else:
        assert response.status_code == 200
        assert response.headers["content-type"] == f"{expected}; charset=utf-8"


def test_accept_without_the_header() -> None:
    """A client that does not say what it accepts gets application/json."""
    assert negotiate(b"") == JSON


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
async def test_other_methods(client: httpx.AsyncClient, method: str) -> None:
    """Methods other than GET and POST are a 405 that names those."""
    response = await client.request(method, "/")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
    assert codes(response) == ["METHOD_NOT_ALLOWED"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'APPLICATION/JSON;charset="UTF-8"',
        "application/json; charset=utf8; x=y",
    ],
)
async def test_content_types_taken(client: httpx.AsyncClient, content_type: str) -> None:
    """JSON in UTF-8 is what is read."""
    response = await post_raw(client, b'{"query": "{ hello }"}', {"Content-Type": content_type})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/jsonx",
        "application/graphql",
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "\xff",
    ],
)
async def test_content_types_refused(client: httpx.AsyncClient, content_type: str) -> None:
    """Anything else is a 415, which no form of a foreign page can avoid."""
    response = await client.post(
        "/",
        content=b'{"query": "{ hello }"}',
        headers=[(b"Content-Type", content_type.encode("latin-1"))],
    )
    assert response.status_code == 415
    assert codes(response) == ["UNSUPPORTED_MEDIA_TYPE"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
async def test_content_encodings_refused(client: httpx.AsyncClient, encoding: str) -> None:
    """Compressed bodies are a 415, before anything is unpacked."""
    response = await post_raw(client, b'{"query": "{ hello }"}', {"Content-Encoding": encoding})
    assert (response.status_code, response.headers["accept-encoding"]) == (415, "identity")


async def test_a_body_announced_too_large_is_not_read(contexts: Contexts) -> None:
    """Content-Length past the limit is a 413 at once, and the connection closes."""
    endpoint = build(contexts, max_body_bytes=1024)
    received: list[str] = []

    async def receive() -> Message:
        received.append("asked")
        return {"type": "http.request", "body": b"", "more_body": False}

    status, headers, body = await call(endpoint, receive, [(b"content-length", b"1025")])
    assert (status, headers[b"connection"], received) == (413, b"close", [])
    assert body["errors"][0]["extensions"] == {"code": "PAYLOAD_TOO_LARGE"}


async def test_a_body_that_turns_out_too_large_is_dropped(contexts: Contexts) -> None:
    """Without Content-Length, reading stops at the chunk that passes the limit."""
    endpoint = build(contexts, max_body_bytes=1024)
    received: list[int] = []

    async def receive() -> Message:
        received.append(256)
        return {"type": "http.request", "body": b" " * 256, "more_body": True}

    status, headers, _ = await call(endpoint, receive)
    assert (status, headers[b"connection"], sum(received)) == (413, b"close", 1280)


async def test_a_body_in_chunks_up_to_the_limit(contexts: Contexts) -> None:
    """A body of exactly the limit is read, whatever its chunks."""
    text = b'{"query": "{ hello }"}'.ljust(1024)
    chunks = [text[start : start + 100] for start in range(0, 1024, 100)]
    endpoint = build(contexts, max_body_bytes=1024)

    async def receive() -> Message:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    status, _, body = await call(endpoint, receive)
    assert (status, body) == (200, {"data": {"hello": "Hello, world!"}})


async def test_a_client_that_leaves_is_no_fault(contexts: Contexts) -> None:
    """A connection that ends within the body is bad input, and what had come is not executed."""
    messages: list[Message] = [
        {"type": "http.request", "body": b'{"query": "{ hello }"}', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    with capture_logs() as logs:
        status, _, _ = await call(build(contexts), receive)
    assert (status, [line["event"] for line in logs]) == (400, ["request"])
    assert contexts.opened == []


async def call(
    endpoint: GraphQLEndpoint, receive: Any, headers: list[tuple[bytes, bytes]] | None = None
) -> tuple[int, dict[bytes, bytes], dict[str, Any]]:
    """Call the endpoint as an ASGI server does."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "query_string": b"",
        "headers": [
            (b"authorization", KEY.encode()),
            (b"content-type", b"application/json"),
            *(headers or []),
        ],
    }
    await endpoint(scope, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), json.loads(body["body"])


# Credentials -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_strangers_are_turned_away(contexts: Contexts, method: str) -> None:
    """Without a key it is a 401 with a challenge, whatever the body is, and the body is unread."""
    async with connect(build(contexts)) as client:
        del client.headers["Authorization"]
        response = await client.request(method, "/", content=b"[" * 50)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.json() == {
        "errors": [{"message": "A valid key is needed.", "extensions": {"code": "UNAUTHENTICATED"}}]
    }
    assert contexts.opened == []


@pytest.mark.parametrize("keys", [(KEY, "Bearer other"), ("Bearer other", KEY)])
async def test_two_keys_are_none(client: httpx.AsyncClient, keys: tuple[str, str]) -> None:
    """A repeated Authorization header is not read as either of its values."""
    del client.headers["Authorization"]
    headers = [("Authorization", key) for key in keys]
    response = await client.get("/?query={hello}", headers=headers)
    assert response.status_code == 401


async def test_the_context_may_refuse(client: httpx.AsyncClient, contexts: Contexts) -> None:
    """What opens the context can refuse the request with a status and headers of its own."""
    contexts.refusal = RequestRefused(429, "RATE_LIMITED", "Slow down.", {"Retry-After": "1"})
    response = await post(client, "{ hello }")
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert codes(response) == ["RATE_LIMITED"]


# GET ---------------------------------------------------------------------------------------------


async def get(client: httpx.AsyncClient, **parameters: str) -> httpx.Response:
    return await client.get(f"/?{urlencode(parameters)}")


async def test_queries_by_get(client: httpx.AsyncClient) -> None:
    """A query may come in the URL, with its variables in JSON and its operation's name."""
    response = await get(
        client,
        query="query A { later } query B($name: String!) { hello(name: $name) }",
        operationName="B",
        variables='{"name": "Zoë 🏃"}',
        extensions="{}",
    )
    assert response.json() == {"data": {"hello": "Hello, Zoë 🏃!"}}
    blank = await get(client, query="{ hello }", operationName="", variables="", extensions="")
    assert blank.json() == {"data": {"hello": "Hello, world!"}}


@pytest.mark.parametrize(
    "query_string",
    [
        "",
        "variables={}",
        "query={hello}&variables=[]",
        "query={hello}&variables={",
        "query={hello}&variables=1",
        'query={hello}&variables={"v":"\\u0000"}',
        "query={hello}&variables=" + "[" * 1000,
        "query={hello}&variables=" + "9" * 5000,
        "query={hello}&extensions=1",
        "query=%ff",
        "query=%ed%a0%80",
        "&".join(["query={hello}"] * 50),
    ],
)
async def test_malformed_queries_by_get(client: httpx.AsyncClient, query_string: str) -> None:
    """A query string that is not a request is a 400."""
    response = await client.get(f"/?{query_string}")
    assert (response.status_code, codes(response)) == (400, ["BAD_REQUEST"])


async def test_mutations_by_get(client: httpx.AsyncClient, contexts: Contexts) -> None:
    """A mutation in the URL is a 405 that names POST, and is not executed."""
    for accept in (JSON, GRAPHQL_RESPONSE):
        client.headers["Accept"] = accept
        response = await get(client, query="mutation { append(value: 1, turns: 0) }")
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        assert codes(response) == ["METHOD_NOT_ALLOWED"]
    assert contexts.opened == []


async def test_the_operation_chosen_decides(client: httpx.AsyncClient) -> None:
    """A document with a mutation may come by GET when a query of it is chosen."""
    text = "query A { hello } mutation B { append(value: 1, turns: 0) }"
    assert (await get(client, query=text, operationName="A")).status_code == 200
    assert (await get(client, query=text, operationName="B")).status_code == 405


# Errors before execution -------------------------------------------------------------------------

REQUEST_ERRORS = {
    "syntax": ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
    "empty": ({"query": ""}, "GRAPHQL_PARSE_FAILED"),
    "validation": ({"query": "{ nope }"}, "GRAPHQL_VALIDATION_FAILED"),
    "no operation": ({"query": "fragment F on Query { hello }"}, "GRAPHQL_VALIDATION_FAILED"),
    "two operations": (
        {"query": "query A { hello } query B { hello }"},
        "OPERATION_RESOLUTION_FAILURE",
    ),
    "unknown operation": (
        {"query": "query A { hello }", "operationName": "B"},
        "OPERATION_RESOLUTION_FAILURE",
    ),
    "subscription": ({"query": "subscription { ticks }"}, "OPERATION_NOT_SUPPORTED"),
    "variable": ({"query": "query ($n: String!) { hello(name: $n) }"}, "BAD_USER_INPUT"),
    "deep variable": (
        {"query": "query ($n: Int!) { variables(number: $n) }", "variables": {"n": [[[]]]}},
        "BAD_USER_INPUT",
    ),
    "literal": ({"query": '{ echo(amount: "-1") }'}, "BAD_USER_INPUT"),
    "size": ({"query": "#" * (LIMITS.max_query_bytes + 1)}, "QUERY_TOO_LARGE"),
    "cost": (
        {"query": "{ accounts(first: 9999999) { nodes { id } } }"},
        "QUERY_TOO_COMPLEX",
    ),
}


@pytest.mark.parametrize(("accept", "status"), [(JSON, 200), (GRAPHQL_RESPONSE, 400)])
@pytest.mark.parametrize(("parameters", "code"), REQUEST_ERRORS.values(), ids=REQUEST_ERRORS.keys())
async def test_request_errors(
    client: httpx.AsyncClient,
    contexts: Contexts,
    parameters: dict[str, Any],
    code: str,
    accept: str,
    status: int,
) -> None:
    """Errors before execution have no `data`, are a 400 or JSON's 200, and execute nothing."""
    response = await client.post("/", json=parameters, headers={"Accept": accept})
    assert response.status_code == status
    assert list(response.json()) == ["errors"]
    assert codes(response) == [code]
    assert contexts.opened == []


async def test_an_oversized_answer_to_a_long_name(client: httpx.AsyncClient) -> None:
    """An unknown operation's name is not repeated to the client."""
    response = await post(client, "{ hello }", operationName="x" * 50_000)
    assert len(response.content) < 500


# Errors during execution -------------------------------------------------------------------------


async def test_coded_errors_pass(client: httpx.AsyncClient) -> None:
    """What a resolver raises with a code is shown, and the rest of the data stands."""
    response = await post(client, "{ hello forbidden }")
    assert response.status_code == 200
    assert response.json() == {
        "errors": [
            {
                "message": "The key may not do this.",
                "locations": [{"line": 1, "column": 9}],
                "path": ["forbidden"],
                "extensions": {"code": "FORBIDDEN", "scope": "write"},
            }
        ],
        "data": {"hello": "Hello, world!", "forbidden": None},
    }


@pytest.mark.parametrize(
    ("field", "data"),
    [
        ("fails", {"fails": None}),
        ("failsLater", None),
        ("uncoded", {"uncoded": None}),
        ("impostor", {"impostor": None}),
        ("wrongType", {"wrongType": None}),
        ("neverNull", None),
    ],
)
async def test_faults_are_masked(
    client: httpx.AsyncClient, field: str, data: dict[str, None] | None
) -> None:
    """Any other exception is "Internal server error" under the request's id, and is logged.

    Neither the answer nor the log holds what the exception says.
    """
    with capture_logs() as logs:
        response = await post(client, f"{{ {field} }}")
    request_id = response.headers["x-request-id"]
    assert response.status_code == 200
    assert response.json() == {
        "errors": [
            {
                "message": "Internal server error",
                "locations": [{"line": 1, "column": 3}],
                "path": [field],
                "extensions": {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id},
            }
        ],
        "data": data,
    }
    fault, request = logs
    assert (fault["event"], fault["log_level"]) == ("internal_error", "error")
    assert (fault["request_id"], fault["path"]) == (request_id, field)
    assert request["errors"] == ["INTERNAL_SERVER_ERROR"]
    assert SECRET not in response.text
    assert SECRET not in repr(logs)


async def test_a_fault_is_logged_with_its_place(client: httpx.AsyncClient) -> None:
    """The log tells type, SQLSTATE and the lines that the exception passed."""
    with capture_logs() as logs:
        await post(client, "{ failsLater }")
    (cause,) = logs[0]["causes"]
    assert (cause["type"], cause["sqlstate"]) == ("psycopg.errors.UniqueViolation", "23505")
    assert cause["frames"][-1].endswith(" in fails_later")


def test_a_fault_is_logged_with_its_causes() -> None:
    """Causes, contexts and members of groups are logged, and the constraint that was broken."""

    class Diagnostics:
        constraint_name = "accounts_external_id_key"

    class Broken(psycopg.errors.UniqueViolation):
        diag = Diagnostics()  # type: ignore[assignment]

    fault = ExceptionGroup(SECRET, [ValueError(SECRET), OSError(SECRET)])
    fault.__cause__ = Broken(SECRET)
    with capture_logs() as logs:
        report_fault(fault, "r1")
    assert [cause["type"].rpartition(".")[2] for cause in logs[0]["causes"]] == [
        "ExceptionGroup",
        "ValueError",
        "OSError",
        "Broken",
    ]
    assert logs[0]["causes"][3]["constraint"] == "accounts_external_id_key"
    assert SECRET not in repr(logs)


async def test_many_faults_are_logged_a_few_times(client: httpx.AsyncClient) -> None:
    """A response full of faults shows them all and logs five."""
    with capture_logs() as logs:
        response = await post(client, "{" + " ".join(f"f{i}: fails" for i in range(20)) + "}")
    assert codes(response) == ["INTERNAL_SERVER_ERROR"] * 20
    assert [line["event"] for line in logs] == ["internal_error"] * 5 + ["request"]


async def test_arguments_found_wrong_during_execution(client: httpx.AsyncClient) -> None:
    """A variable that only its place forbids is the client's doing: coded, and data is there."""
    response = await post(
        client,
        'query ($t: Int = 2) { echo(amount: "1", times: $t) }',
        variables={"t": None},
    )
    assert response.status_code == 200
    assert (codes(response), response.json()["data"]) == (["BAD_USER_INPUT"], None)


async def test_one_of_is_held_in_literals_too(client: httpx.AsyncClient) -> None:
    """A oneOf literal is checked when it runs; the error is the client's doing."""
    response = await post(client, '{ pick(by: {id: "1", name: "x"}) }')
    assert (codes(response), response.json()["data"]) == (["BAD_USER_INPUT"], None)


async def test_a_fault_of_the_executor_is_masked(
    client: httpx.AsyncClient, contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where execution itself breaks, and no field of it, there is no data but the mask at 200."""

    def break_down(_: Executor[Any]) -> None:
        raise RecursionError(SECRET)

    monkeypatch.setattr(Executor, "execute_operation", break_down)
    response = await post(client, "{ hello }")
    assert (response.status_code, codes(response)) == (200, ["INTERNAL_SERVER_ERROR"])
    assert response.json()["data"] is None
    assert contexts.closed == contexts.opened


async def test_a_fault_before_execution_is_a_500(
    client: httpx.AsyncClient, contexts: Contexts
) -> None:
    """When the context cannot be opened the answer is a 500, masked and in GraphQL's shape."""
    contexts.refusal = ConnectionError(SECRET)
    with capture_logs() as logs:
        response = await post(client, "{ hello }")
    assert response.status_code == 500
    assert response.json() == {
        "errors": [
            {
                "message": "Internal server error",
                "extensions": {
                    "code": "INTERNAL_SERVER_ERROR",
                    "requestId": response.headers["x-request-id"],
                },
            }
        ]
    }
    assert [line["event"] for line in logs] == ["internal_error", "request"]
    assert SECRET not in response.text + repr(logs)


async def test_a_context_that_fails_to_close_keeps_the_answer(
    client: httpx.AsyncClient, contexts: Contexts
) -> None:
    """What was executed stands when closing the context fails; the fault is logged."""
    contexts.fault_at_close = ConnectionError(SECRET)
    with capture_logs() as logs:
        response = await post(client, "mutation { append(value: 1, turns: 0) }")
    assert (response.status_code, response.json()) == (200, {"data": {"append": [1]}})
    assert [line["event"] for line in logs] == ["internal_error", "request"]


@pytest.mark.parametrize("query", ["{ hello }", "{ fails }", "{ failsLater }", "{ forbidden }"])
async def test_contexts_are_closed(
    client: httpx.AsyncClient, contexts: Contexts, query: str
) -> None:
    """Each operation gets a context of its own, closed once whatever happens."""
    await post(client, query)
    await post(client, query)
    assert len(contexts.opened) == 2
    assert contexts.closed == contexts.opened
    assert contexts.opened[0] is not contexts.opened[1]


async def test_integers_past_64_bits_are_answered() -> None:
    """Values that orjson cannot write are written all the same."""
    endpoint = build(Contexts())
    answer_from(endpoint, {"n": 2**70, "deep": json.loads("[" * 300 + "]" * 300)})
    async with connect(endpoint) as other:
        response = await post(other, "{ hello }")
    assert response.json()["data"]["n"] == 2**70


async def test_data_that_is_not_json_is_a_fault() -> None:
    """A value that JSON cannot hold is our fault, and does not break the connection."""
    endpoint = build(Contexts())
    answer_from(endpoint, {"n": object()})
    with capture_logs() as logs:
        async with connect(endpoint) as other:
            response = await post(other, "{ hello }")
    assert (response.status_code, codes(response)) == (500, ["INTERNAL_SERVER_ERROR"])
    assert [line["event"] for line in logs] == ["internal_error", "request"]


def answer_from(endpoint: GraphQLEndpoint, data: dict[str, Any]) -> None:
    """Put data into the endpoint's hands as if its schema had produced it."""

    async def execute(*_: object) -> ExecutionResult:
        return ExecutionResult(data, None)

    endpoint._execute = execute  # type: ignore[method-assign,assignment]  # noqa: SLF001


# Time --------------------------------------------------------------------------------------------


async def test_an_operation_that_takes_too_long(contexts: Contexts) -> None:
    """At its deadline an operation is cancelled, its context closed, and the answer coded."""
    async with connect(build(contexts, execution_seconds=0.01)) as client:
        response = await post(client, "{ hello stuck }")
    assert response.status_code == 200
    assert response.json() == {
        "errors": [
            {
                "message": "The operation took too long; it may have had its effect.",
                "extensions": {"code": "EXECUTION_TIMEOUT"},
            }
        ],
        "data": None,
    }
    assert contexts.closed == contexts.opened
    assert len(contexts.opened) == 1


async def test_each_operation_has_its_own_deadline(contexts: Contexts) -> None:
    """One timer serves all: those that end in time do not take the deadline of others with them."""

    async def ask(client: httpx.AsyncClient, pause: float) -> tuple[bool, bool]:
        await asyncio.sleep(pause)
        stuck, good = await asyncio.gather(post(client, "{ stuck }"), post(client, "{ hello }"))
        return codes(stuck) == ["EXECUTION_TIMEOUT"], "errors" in good.json()

    async with connect(build(contexts, execution_seconds=0.05)) as client:
        outcomes = await asyncio.gather(*(ask(client, 0.02 * number) for number in range(6)))
        outcomes.append(await ask(client, 0))
    assert outcomes == [(True, False)] * 7
    assert len(contexts.closed) == len(contexts.opened)


async def test_a_body_that_takes_too_long(contexts: Contexts) -> None:
    """The deadline holds for slow bodies as well: a 503, and the connection closes."""

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    endpoint = build(contexts, execution_seconds=0.01)
    status, headers, body = await call(endpoint, receive)
    assert (status, headers[b"connection"]) == (503, b"close")
    assert body["errors"][0]["extensions"] == {"code": "EXECUTION_TIMEOUT"}


async def test_a_timeout_of_ours_is_not_the_deadline(
    client: httpx.AsyncClient, contexts: Contexts
) -> None:
    """A TimeoutError from elsewhere is a fault like others."""
    contexts.refusal = TimeoutError(SECRET)
    response = await post(client, "{ hello }")
    assert (response.status_code, codes(response)) == (500, ["INTERNAL_SERVER_ERROR"])


# Headers and the log -----------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b'{"query": "{ hello }"}', b"["])
async def test_headers_of_every_answer(client: httpx.AsyncClient, body: bytes) -> None:
    """Answers are not stored, and have a length, a type and an id."""
    response = await post_raw(client, body)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-length"] == str(len(response.content))
    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("0191e2a4-b5c6-7d8e-9fa0-b1c2d3e4f506", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("a b", False),
        ('a"b', False),
        ("a/b", False),
        ("\xe9", False),
    ],
)
async def test_request_ids(client: httpx.AsyncClient, given: str, kept: bool) -> None:
    """The client's id is kept if it is short and plain; otherwise it gets one of ours."""
    response = await client.post(
        "/", json={"query": "{ hello }"}, headers=[(b"X-Request-Id", given.encode("latin-1"))]
    )
    assert (response.headers["x-request-id"] == given) is kept


async def test_one_line_is_logged(client: httpx.AsyncClient) -> None:
    """The log has one line for a request: what it was and how it went, nothing of its content."""
    with capture_logs() as logs:
        response = await post(
            client,
            "query Greeting($name: String!) { hello(name: $name) forbidden }",
            variables={"name": SECRET},
        )
    (line,) = logs
    assert line.pop("duration_ms") > 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "request_id": response.headers["x-request-id"],
        "operation": "query",
        "name": "Greeting",
        "status": 200,
        "road": "graphql-core",
        "errors": ["FORBIDDEN"],
    }


async def test_a_long_name_is_logged_in_part(client: httpx.AsyncClient) -> None:
    """A name of thousands of letters does not fill the log."""
    with capture_logs() as logs:
        await post(client, "query " + "x" * 5000 + " { hello }")
    assert logs[0]["name"] == "x" * 64


async def test_refusals_are_logged_too(client: httpx.AsyncClient) -> None:
    """Requests that never become operations are logged without one."""
    with capture_logs() as logs:
        await post_raw(client, b"[")
    assert (logs[0]["operation"], logs[0]["name"], logs[0]["status"]) == (None, None, 400)
    assert logs[0]["errors"] == ["BAD_REQUEST"]


def test_codes_are_their_own_names() -> None:
    """Clients read codes as strings: each is spelled as it is named."""
    assert [code.name for code in Code] == [code.value for code in Code]
    assert CodedError(Code.FORBIDDEN, "No.").extensions == {"code": "FORBIDDEN"}
