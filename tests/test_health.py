"""What the server says of its own health; see tests/test_serve.py for a database that is away."""

from app.ledger.accounts.state import Mode, Scope
from tests.api_client import open_api

READ = "SELECT name FROM ledgers WHERE organization_id = %(organization)s"


async def test_busy_is_not_unreachable(database_url: str) -> None:
    """Where all reading connections are taken the server is busy, and ready once one is free."""
    async with open_api(database_url, pool_size=1) as api:
        snapshot = api.server.database.snapshot(Scope(api.organization_id, Mode.TEST))
        await snapshot.rows(READ, {})
        busy = await api.http.get("/health/ready")
        assert (busy.status_code, busy.json()) == (503, {"status": "busy"})
        assert (await api.http.get("/health/live")).status_code == 200
        await snapshot.close()
        ready = await api.http.get("/health/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
