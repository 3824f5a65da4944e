"""Proofs over GraphQL, and the program that checks them without Ledgers."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

import app
from app.ledger.proofs import canonical
from app.store.audit import sealing
from app.store.audit.verify_proofs import verify_proofs
from app.store.shifts import Lock
from tests.api_client import SETTLE, Api, Json, open_api

VERIFIER = Path(app.__file__).with_name("verifier.py")

PROOF = """
  leaf leafIndex siblings headers
  block { block hash } checkpoint { block hash previousHash leaves transactions line }
"""
TRANSACTION = (
    "query ($t: ID!, $c: Sequence) { transaction(id: $t) { proof(checkpoint: $c) {"
    + PROOF
    + "} } }"
)
CHECKPOINT = """
query ($l: ID!, $b: Sequence) {
  ledger(id: $l) {
    checkpoint(block: $b) { block leaves transactions root hash previousHash sealedAt line }
  }
}
"""


async def seal(api: Api) -> None:
    async with await api.server.database.connect() as connection:
        for organization_id, ledger_id in await sealing.unsealed(connection):
            await sealing.seal(connection, organization_id, ledger_id)


async def proofs_of(api: Api, transaction: str, checkpoint: int | None = None) -> Any:
    found = await api.run(
        TRANSACTION, {"t": transaction, "c": None if checkpoint is None else str(checkpoint)}
    )
    return found["transaction"]["proof"]


async def checkpoint_of(api: Api, ledger: str, block: int | None = None) -> Any:
    variables = {"l": ledger, "b": None if block is None else str(block)}
    return (await api.run(CHECKPOINT, variables))["ledger"]["checkpoint"]


def judged(proofs: Sequence[Json], checkpoint: str) -> subprocess.CompletedProcess[str]:
    """What the printed program says, run by a Python without any packages."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFIER), checkpoint],
        input=json.dumps(proofs),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def proven() -> Any:
    """The same program's function, for what is asked a thousand times."""
    names: dict[str, Any] = {"__name__": "verifier"}
    exec(compile(VERIFIER.read_text(), str(VERIFIER), "exec"), names)  # noqa: S102
    return names["proven"]


async def test_a_transaction_is_proven_event_by_event(api: Api) -> None:
    """Null until it is sealed; then each event is proven against the ledger's checkpoint."""
    ledger = await api.ledger()
    a, b = await api.account(ledger), await api.account(ledger)
    held = (await api.post(ledger, a, b, 700, status="PENDING", metadata={"ü": 1.50}))[
        "transaction"
    ]
    assert await proofs_of(api, held["id"]) is None
    assert await checkpoint_of(api, ledger) is None
    await seal(api)
    (first,) = await proofs_of(api, held["id"])
    await api.answer(SETTLE, transactionId=held["id"], idempotencyKey="settled")
    assert len(await proofs_of(api, held["id"])) == 1
    await seal(api)
    proofs = await proofs_of(api, held["id"])
    checkpoint = await checkpoint_of(api, ledger)
    assert [proof["block"]["block"] for proof in proofs] == ["1", "2"]
    assert {proof["checkpoint"]["hash"] for proof in proofs} == {checkpoint["hash"]}
    assert checkpoint["block"] == "2"
    assert checkpoint["transactions"] == "1"
    assert checkpoint["previousHash"] == first["checkpoint"]["hash"]
    assert (await checkpoint_of(api, ledger, 1))["hash"] == checkpoint["previousHash"]
    assert await checkpoint_of(api, ledger, 3) is None
    told = judged(proofs, checkpoint["hash"])
    assert (told.returncode, told.stderr) == (0, "")
    leaves = [json.loads(line) for line in told.stdout.splitlines()]
    assert [leaf["event"]["kind"] for leaf in leaves] == ["held", "settled"]
    assert [[e["amount"] for e in leaf["entries"]] for leaf in leaves] == [["700"] * 2, ["700"] * 2]
    assert await proofs_of(api, held["id"], 1) == [first]
    assert judged([first], checkpoint["previousHash"]).returncode == 0
    assert judged([first], checkpoint["hash"]).returncode == 1


async def test_leaves_and_headers_are_canonical(api: Api) -> None:
    """What is hashed is what anybody's canonical JSON comes to, to the byte."""
    ledger = await api.ledger()
    a, b = await api.account(ledger), await api.account(ledger)
    texts = {"metadata": {"ü": '"\\/\n\t\x7f\u2028', "é" * 2: [1, {"b": None, "aa": True}]}}
    sale = (await api.post(ledger, a, b, 10**36, description="a\nb", **texts))["transaction"]
    await seal(api)
    (proof,) = await proofs_of(api, sale["id"])
    for text in (proof["leaf"], *proof["headers"]):
        assert canonical(json.loads(text)) == text
    assert json.loads(proof["leaf"])["made"]["metadata"] == texts["metadata"]


async def test_every_byte_of_a_proof_counts(api: Api, proven: Any) -> None:
    """Whatever byte of a proof is another one, it is refused."""
    ledger = await api.ledger()
    a, b = await api.account(ledger), await api.account(ledger)
    for _ in range(3):
        sale = (await api.post(ledger, a, b, 5))["transaction"]
        await seal(api)
    sale = (await api.post(ledger, a, b, 5))["transaction"]
    first = (await api.post(ledger, a, b, 5))["transaction"]
    await api.post(ledger, a, b, 5)
    await seal(api)
    await api.post(ledger, a, b, 5)
    await seal(api)
    hash_ = (await checkpoint_of(api, ledger))["hash"]
    proofs = [(await proofs_of(api, one["id"]))[0] for one in (first, sale)]
    for proof in proofs:
        sent = {key: proof[key] for key in ("leaf", "leafIndex", "siblings", "headers")}
        assert len(sent["siblings"]) >= 1
        assert len(sent["headers"]) == 2
        assert proven(sent, hash_) == proof["leaf"]
        whole = json.dumps(sent, separators=(",", ":")).encode()
        accepted = [
            place
            for place in range(len(whole))
            for bit in (1, 32)
            if _is_accepted(
                proven, whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :], hash_
            )
        ]
        assert accepted == []


def _is_accepted(proven: Any, sent: bytes, checkpoint: str) -> bool:
    try:
        proven(json.loads(sent), checkpoint)
    except (AttributeError, LookupError, TypeError, ValueError):
        return False
    return True


async def test_a_server_seals_by_itself(database_url: str) -> None:
    """What is recorded is sealed soon after, and by another server once that one ends."""
    async with open_api(database_url, seal_seconds=0.05) as api:
        async with open_api(database_url, seal_seconds=0.05):
            ledger = await api.ledger()
            a, b = await api.account(ledger), await api.account(ledger)
            first = (await api.post(ledger, a, b, 5))["transaction"]
            await sealed(api, first["id"])
        second = (await api.post(ledger, a, b, 5))["transaction"]
        await sealed(api, second["id"])
    assert verify_proofs(database_url).violations == []


async def sealed(api: Api, transaction: str) -> None:
    async with asyncio.timeout(60):
        while await proofs_of(api, transaction) is None:
            await asyncio.sleep(0.02)


async def test_sealing_goes_on_after_a_fault(database_url: str) -> None:
    """Whatever ends a session of the sealer, another one goes on."""
    async with open_api(database_url, seal_seconds=0.05) as api:
        ledger = await api.ledger()
        a, b = await api.account(ledger), await api.account(ledger)
        await sealed(api, (await api.post(ledger, a, b, 5))["transaction"]["id"])
        with psycopg.connect(database_url, autocommit=True) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND granted AND (classid::int8 << 32 | objid::int8) = %s AND database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())",
                (Lock.SEALING.value,),
            ).fetchall()
        assert ended == [(True,)]
        await sealed(api, (await api.post(ledger, a, b, 5))["transaction"]["id"])
    assert verify_proofs(database_url).violations == []


async def test_what_was_changed_is_not_proven(api: Api, database_url: str) -> None:
    """The API gives no proof of what is not as it was sealed, and says no more than that."""
    ledger = await api.ledger()
    a, b = await api.account(ledger), await api.account(ledger)
    sale = (await api.post(ledger, a, b, 5))["transaction"]
    await seal(api)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE transaction_events DISABLE TRIGGER USER")
        connection.execute("UPDATE transaction_events SET description = 'x'")
    response = (await api.send(TRANSACTION, {"t": sale["id"], "c": None})).json()
    assert [e["extensions"]["code"] for e in response["errors"]] == ["INTERNAL_SERVER_ERROR"]
    report = verify_proofs(database_url)
    assert [v.name for v in report.violations] == ["EVENT_NOT_AS_SEALED", "LEAVES_MISSING"]


async def test_many_leaves_take_several_blocks(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """However leaves fall into blocks, each is proven, and in the order in which it came."""
    monkeypatch.setattr(sealing, "MAX_LEAVES", 3)
    ledger = await api.ledger()
    a, b = await api.account(ledger), await api.account(ledger)
    held = [
        (await api.post(ledger, a, b, n, status="PENDING"))["transaction"]["id"]
        for n in range(1, 6)
    ]
    for number, transaction in enumerate(reversed(held)):
        if number % 2:
            await seal(api)
        await api.answer(SETTLE, transactionId=transaction, idempotencyKey=f"settled {number}")
    await seal(api)
    checkpoint = await checkpoint_of(api, ledger)
    assert checkpoint["leaves"] == str(4 + 5 + 5)
    places = []
    for transaction in held:
        proofs = await proofs_of(api, transaction)
        assert judged(proofs, checkpoint["hash"]).returncode == 0
        places += [(int(p["block"]["block"]), p["leafIndex"], p["leaf"]) for p in proofs]
    in_order = [json.loads(leaf) for _, _, leaf in sorted(places)]
    assert [(leaf["sequence"], leaf["event"]["kind"]) for leaf in in_order] == [
        *((n, "held") for n in range(1, 6)),
        *((n, "settled") for n in range(5, 0, -1)),
    ]


@pytest.mark.parametrize("sent", ["[]", "", "{}", "[{}]", "[1]", "null"])
def test_nothing_proves_nothing(sent: str) -> None:
    """The program ends with 1 where it is given no proof."""
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFIER), "00" * 32],
        input=sent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("NOT PROVEN: ")


def test_the_program_is_short() -> None:
    """Forty lines that can be read, and nothing but Python's own modules."""
    lines = [line for line in VERIFIER.read_text().split('"""')[2].splitlines() if line.strip()]
    assert len(lines) <= 40
    imported = [line for line in lines if line.startswith(("import", "from"))]
    assert imported == [
        "import json",
        "import sys",
        "from hashlib import sha256",
        "from typing import Any",
    ]
