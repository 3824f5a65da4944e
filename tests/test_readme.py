"""The README is true: its tour runs word for word, and its tables are the code's."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from app.api.enums import ErrorCode
from app.api.errors import Code
from app.ledger.refusals import PRECEDENCE
from app.settings import Settings
from tests.api_client import Api

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
STEP = re.compile(r"```graphql\n(.*?)```\n\n```json\n(.*?)```", re.DOTALL)
ID = re.compile(r"\b(?:ldgr|acct|txn|ent|xacc|xstm|stmt|rcn|mtch|disc)_[0-9a-f]{32}(?:_\d+)?")
WAITING = '"summary":null'
"""In the answer of a reconciliation that was not run yet."""


async def test_tour(api: Api) -> None:
    """Every step of the tour answers what the README prints, but for the ids.

    What is done in the background is asked for again until it is there.
    """
    mine: dict[str, str] = {}
    steps = STEP.findall(README)
    assert len(steps) == 34
    for request, printed in steps:
        sent = ID.sub(lambda match: mine[match[0]], request)
        response = await api.send(sent)
        async with asyncio.timeout(60):
            while WAITING in response.text:
                await asyncio.sleep(0.1)
                response = await api.send(sent)
        expected = json.loads(printed)
        learn(expected, response.json(), mine)
        assert response.json() == json.loads(ID.sub(lambda match: mine[match[0]], printed))


def test_tour_shows_each_answer() -> None:
    """No request of the README lacks its printed answer."""
    assert README.count("```graphql") == len(STEP.findall(README))


def test_refusals() -> None:
    """The README lists the refusals in order of precedence."""
    listed = re.findall(r"^\| `([A-Z_]+)` \| [A-Z]", README, re.MULTILINE)
    codes = [code for code in listed if code in ErrorCode.__members__]
    assert codes == [refusal.code for refusal in PRECEDENCE]


def test_codes_of_errors() -> None:
    """The README lists the code of every top-level error."""
    (listed,) = re.findall(r"^Top-level errors are .+?\n\n", README, re.MULTILINE | re.DOTALL)
    assert sorted(re.findall(r"`([A-Z_]+)`", listed.rpartition("After a")[0])) == sorted(Code)


def test_settings() -> None:
    """The README lists every setting with its default and what it is."""
    customary = {"database_url": "DATABASE_URL", "owner_database_url": "OWNER_DATABASE_URL"}
    for name, field in Settings.model_fields.items():
        variable = customary.get(name, f"LEDGERS_{name.upper()}")
        default = "" if field.default is None else f"`{field.default!s}`"
        shown = default.lower() if isinstance(field.default, bool) else default
        assert f"| `{variable}` | {shown} | {(field.description or '').rstrip('.')} |" in README


def learn(expected: Any, actual: Any, mine: dict[str, str]) -> None:
    """Find out which of our ids stands where the README has one of its own."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name in expected.keys() & actual.keys():
            learn(expected[name], actual[name], mine)
    elif isinstance(expected, list) and isinstance(actual, list):
        for theirs, ours in zip(expected, actual, strict=False):
            learn(theirs, ours, mine)
    elif isinstance(expected, str) and ID.fullmatch(expected) and isinstance(actual, str):
        mine.setdefault(expected, actual)
