"""What a server's memory comes to while it imports large statement files.

    python -m tests.benchmarks.import_memory [LINES]

Not a part of the suite: a million lines, the default, take minutes. A server of its own, on a
database of its own, is sent a file of each kind as a stream, and asked how far it is meanwhile.
"""

import asyncio
import http.client
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from app.ledger.accounts.state import Mode
from app.store.database import Database
from app.store.embedded.server import EmbeddedPostgres
from app.store.identity import Permission, create_key, create_organization
from app.store.migrate import migrate
from tests.benchmarks.processes import ServerProcess, free_port

Json = dict[str, Any]

MUTATION = """
mutation ($input: %s!) {
  answer: %s(input: $input) { __typename ... on UserError { message } %s }
}
"""
ROWS_AT_ONCE = 1000


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    directory = Path(tempfile.mkdtemp(prefix="ledgers-imports-"))
    directory.chmod(0o755)
    try:
        with EmbeddedPostgres(directory / "data") as postgres:
            migrate(postgres.owner_url)
            token = asyncio.run(_key(postgres.owner_url))
            port = free_port()
            command = [sys.executable, "-m", "app.cli", "serve"]
            environment = {
                "DATABASE_URL": postgres.owner_url,
                "LEDGERS_PORT": str(port),
                "LEDGERS_LOG_FORMAT": "json",
            }
            with ServerProcess(command, environment, directory / "log", port) as server:
                _measure(server, token, lines)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _key(url: str) -> str:
    database = Database(url, pool_size=1, statement_seconds=15)
    await database.open()
    async with database.writing() as connection:
        organization = await create_organization(connection, "Measured")
        _, token = await create_key(
            connection,
            organization.organization_id,
            name="all",
            mode=Mode.TEST,
            permissions=tuple(Permission),
        )
    await database.close()
    return token


def _measure(server: ServerProcess, token: str, lines: int) -> None:
    client = _Client(server.port, token)
    ledger = client.mutate("createLedger", "ledger { id }", name="Books")["ledger"]["id"]
    client.mutate(
        "saveImportProfile",
        "",
        ledgerId=ledger,
        name="plain",
        definition={"columns": {"bookedOn": "Date", "amount": "Amount", "reference": "Id"}},
    )
    print(f"at rest: peak {_peak(server.pid)} MB")  # noqa: T201
    for kind, file in (("CSV", _csv(lines)), ("CAMT_053", _camt(lines))):
        account = client.mutate(
            "createAccount",
            "... on CreateAccountSuccess { account { id } }",
            ledgerId=ledger,
            name="Cash",
            normalBalance="DEBIT",
            currency="EUR",
        )["account"]["id"]
        external = client.mutate(
            "createExternalAccount",
            "... on CreateExternalAccountSuccess { externalAccount { id } }",
            accountId=account,
            name=kind,
            kind="BANK",
        )["externalAccount"]["id"]
        parameters = {"externalAccountId": external, "format": kind}
        parameters |= {"profile": "plain"} if kind == "CSV" else {}
        began = time.monotonic()
        answer = client.upload(parameters, file)
        seconds = time.monotonic() - began
        done = answer["import"]
        assert done["linesNew"] == lines, answer
        print(  # noqa: T201
            f"{kind}: {lines} lines, {client.sent / 1e6:.0f} MB in {seconds:.0f} s,"
            f" of which {client.sending:.0f} s sending; peak {_peak(server.pid)} MB"
        )


def _peak(pid: int) -> int:
    """The most memory that a process ever had, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise LookupError(pid)


class _Client:
    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.headers = {"Authorization": f"Bearer {token}"}
        self.sent = 0
        self.sending = 0.0

    def mutate(self, name: str, selection: str, /, **fields: Any) -> Json:
        kind = f"{name[0].upper()}{name[1:]}"
        if selection and not selection.startswith("..."):
            selection = f"... on {kind}Success {{ {selection} }}"
        query = MUTATION % (f"{kind}Input", name, selection)
        body = json.dumps({"query": query, "variables": {"input": fields}})
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(
            "POST", "/graphql", body, {**self.headers, "Content-Type": "application/json"}
        )
        answer: Json = json.load(connection.getresponse())["data"]["answer"]
        assert answer["__typename"] == f"{kind}Success", answer
        return answer

    def upload(self, parameters: Json, file: Iterator[bytes]) -> Json:
        self.sent, began = 0, time.monotonic()

        def counted() -> Iterator[bytes]:
            for piece in file:
                self.sent += len(piece)
                yield piece
            self.sending = time.monotonic() - began

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1200)
        connection.request(
            "POST",
            f"/statements/import?{urlencode(parameters)}",
            counted(),
            self.headers,
            encode_chunked=True,
        )
        answer: Json = json.load(connection.getresponse())
        return answer


def _days(lines: int) -> Iterator[tuple[int, date]]:
    first = date(2026, 1, 1)
    return ((number, first + timedelta(number * 300 // lines)) for number in range(lines))


def _joined(rows: Iterator[str]) -> Iterator[bytes]:
    waiting: list[str] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == ROWS_AT_ONCE:
            yield "".join(waiting).encode()
            waiting.clear()
    yield "".join(waiting).encode()


def _csv(lines: int) -> Iterator[bytes]:
    yield b"Date,Amount,Id\n"
    yield from _joined(f"{day},{number + 1}.25,ID{number}\n" for number, day in _days(lines))


def _camt(lines: int) -> Iterator[bytes]:
    yield (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:'
        b'camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>1</MsgId></GrpHdr><Stmt><Id>1</Id>\n'
    )
    yield from _joined(
        f'<Ntry><Amt Ccy="EUR">{number + 1}.25</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
        f"<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt>"
        f"<AcctSvcrRef>ID{number}</AcctSvcrRef><NtryDtls><TxDtls><Refs><EndToEndId>E{number}"
        "</EndToEndId></Refs><RmtInf><Ustrd>Invoice</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>\n"
        for number, day in _days(lines)
    )
    yield b"</Stmt></BkToCstmrStmt></Document>"


if __name__ == "__main__":
    main()
