"""Metrics: who may read them, and that they count what was answered by which road."""

import re

import pytest
from pydantic import SecretStr, ValidationError

from app.settings import Settings
from tests.api_client import Api, open_api

TOKEN = "a-token-for-prometheus"


async def read(api: Api, token: str | None) -> tuple[int, str]:
    headers = {} if token is None else {b"Authorization": f"Bearer {token}".encode()}
    response = await api.http.get("/metrics", headers=headers)
    return response.status_code, response.text


async def test_no_token_no_metrics(api: Api) -> None:
    """Without a token in the settings nobody reads them."""
    for token in (None, "", "None"):
        assert (await read(api, token))[0] == 404


async def test_the_token_is_asked_for(database_url: str) -> None:
    """Neither strangers nor API keys read them, and it is not a short one."""
    async with open_api(database_url, metrics_token=TOKEN) as api:
        for token in (None, "", TOKEN[:-1], f"{TOKEN}x", "\xe4", api.token):
            assert await read(api, token) == (401, "")
        assert (await read(api, TOKEN))[0] == 200
    with pytest.raises(ValidationError):
        Settings(metrics_token=SecretStr(TOKEN[:15]))


async def test_counts(database_url: str) -> None:
    """Each request counts once, under its operation, road and status."""
    async with open_api(database_url, metrics_token=TOKEN) as api:
        for query in ("{ viewer { organization } }",) * 2 + (
            "{ ledgers(first: 101) { nodes { id } } }",
            "{ __schema { queryType { name } } }",
            "{ nothing }",
        ):
            await api.send(query)
        ledger = await api.ledger()
        await api.http.post("/graphql", content=b"{}")
        for headers in ({}, {"Authorization": f"Bearer {api.token}"}):
            await api.http.post(
                f"/bulk/postings?ledgerId={ledger}",
                headers={"Content-Type": "application/jsonl", **headers},
            )
        status, text = await read(api, TOKEN)
    assert status == 200
    counted = dict(re.findall(r"^ledgers_request_seconds_count\{(.*)\} (\d+)$", text, re.MULTILINE))
    assert counted == {
        'operation="query",road="plan",status="200"': "2",
        'operation="query",road="declined",status="200"': "1",
        'operation="query",road="graphql-core",status="200"': "1",
        'operation="none",road="none",status="400"': "1",
        'operation="mutation",road="plan",status="200"': "1",
        'operation="none",road="none",status="401"': "1",
        'operation="bulk",road="none",status="200"': "1",
        'operation="bulk",road="none",status="401"': "1",
    }
    assert re.search(r"^ledgers_batches_total 0$", text, re.MULTILINE)
