"""The demo that a first start makes."""

import json
from dataclasses import replace

from app.api.graphiql import examples
from app.seed import ORDERS, SELLERS, is_empty, seed
from app.server import Server
from app.settings import Settings
from app.store.audit.verify import verify
from tests.api_client import Api


async def test_examples_run_on_the_demo(api: Api) -> None:
    """Every example tab that reads answers something, and without an error, on the demo."""
    demo = await seed(api.server.database, api.server.writer)
    seller = replace(api, token=demo.token)
    answered = []
    for example in examples():
        if example.query.lstrip().startswith("mutation") or "\nmutation" in example.query:
            continue
        data = await seller.run(example.query, json.loads(example.variables or "{}"))
        assert '"nodes":[]' not in json.dumps(data, separators=(",", ":"))
        answered.append(example.query)
    assert len(answered) == 4


async def test_demo_is_a_sound_marketplace(database_url: str) -> None:
    """The demo fills an empty database with some hundred transactions that keep every invariant."""
    server = Server(Settings(), database_url)
    async with server.running():
        assert await is_empty(server.database)
        made = await seed(server.database, server.writer)
        assert not await is_empty(server.database)
    report = verify(database_url)
    assert report.violations == ()
    assert (report.organizations, report.ledgers) == (1, 1)
    assert report.accounts == len(SELLERS) + 2
    assert report.transactions == made.transactions == ORDERS + 2 * 10
