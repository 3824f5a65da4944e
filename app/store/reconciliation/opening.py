"""Opening, closing and reopening reconciliations.

What is closed is frozen, by triggers too; so an event of closing comes before the row says closed.
"""

from uuid import UUID

from psycopg.types.json import Jsonb

from app.ledger.reconciliation.comparison import CreateReconciliation, check_reason
from app.ledger.refusals import ExternalAccountNotFound, ReconciliationIncomplete, ValidationFailed
from app.store.database import Connection, all_rows, tenancy
from app.store.reconciliation.acts import (
    SEEN,
    THIS,
    Author,
    Kind,
    lock,
    require_reason,
    tell,
)
from app.store.reconciliation.matching.engine import examine
from app.store.reconciliation.matching.keeping import delete_matches


async def create(connection: Connection, command: CreateReconciliation) -> UUID:
    """Open a reconciliation. Raises ExternalAccountNotFound, ValidationFailed."""
    scope = command.scope
    found = await all_rows(
        connection, _FIND_EXTERNAL_ACCOUNT, {"id": command.external_account_id, **tenancy(scope)}
    )
    if not found:
        raise ExternalAccountNotFound
    ((known,),) = await all_rows(connection, _KNOWS_ZONE, {"zone": command.time_zone})
    if not known:
        raise ValidationFailed(
            message="The database knows no such time zone.", path=("input", "timeZone")
        )
    ledger_id, account_id = found[0]
    await connection.execute(
        _INSERT,
        {
            "organization": scope.organization_id,
            "reconciliation": command.reconciliation_id,
            "ledger": ledger_id,
            "external": command.external_account_id,
            "account": account_id,
            "name": command.name,
            "from": command.from_date,
            "through": command.through_date,
            "zone": command.time_zone,
            "margin": command.margin_days,
            "rules": Jsonb([rule.to_json() for rule in command.rules]),
            "api_key": command.api_key_id,
        },
    )
    return command.reconciliation_id


async def close(
    connection: Connection,
    author: Author,
    reconciliation_id: UUID,
    *,
    accept_remaining: bool,
    reason: str | None,
) -> None:
    """Freeze a reconciliation; closing twice changes nothing.

    With `accept_remaining`, proposals are withdrawn and open discrepancies accepted for the reason.
    Raises ReconciliationNotFound, ReconciliationIncomplete, ValidationFailed.
    """
    if accept_remaining or reason is not None:
        check_reason(reason)
        require_reason(reason)
    subject = await lock(connection, author.scope, reconciliation_id)
    if subject.status == "closed":
        return
    if not subject.is_examined:
        raise ReconciliationIncomplete(
            message="It has never been run.", proposed_matches=0, open_discrepancies=0
        )
    if accept_remaining:
        proposed = await all_rows(connection, _PROPOSED, subject.parameters)
        await delete_matches(connection, subject, [match_id for (match_id,) in proposed])
        await examine(connection, subject)
        accepted = await connection.execute(
            _ACCEPT_ALL,
            {**subject.parameters, "reason": reason, "api_key": author.api_key_id},
        )
        details = {"withdrawn": len(proposed), "accepted": max(accepted.rowcount, 0)}
        subject = await lock(connection, author.scope, reconciliation_id)
    else:
        details = {}
    await examine(connection, subject)
    ((proposals, open_discrepancies),) = await all_rows(connection, _REMAINING, subject.parameters)
    if proposals or open_discrepancies:
        raise ReconciliationIncomplete(
            proposed_matches=proposals, open_discrepancies=open_discrepancies
        )
    await tell(connection, subject, author, Kind.CLOSED, reason, details)
    await connection.execute(_CLOSE, subject.parameters)


async def reopen(
    connection: Connection, author: Author, reconciliation_id: UUID, reason: str
) -> None:
    """Thaw a closed reconciliation; reopening an open one changes nothing.

    Raises ReconciliationNotFound, ValidationFailed.
    """
    require_reason(reason)
    subject = await lock(connection, author.scope, reconciliation_id)
    if subject.status == "open":
        return
    await tell(connection, subject, author, Kind.REOPENED, reason, {})
    await connection.execute(_REOPEN, subject.parameters)


# ---- statements ----------------------------------------------------------------------------------

_FIND_EXTERNAL_ACCOUNT = f"""
    SELECT x.ledger_id, x.account_id FROM external_accounts x
    WHERE x.external_account_id = %(id)s AND {SEEN.format("x")}
"""  # noqa: S608  all of it is ours
_KNOWS_ZONE = "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = %(zone)s)"
_INSERT = """
    WITH made AS (
        INSERT INTO reconciliations (organization_id, reconciliation_id, ledger_id,
            external_account_id, account_id, name, from_date, through_date, time_zone, margin_days,
            rules, api_key_id, created_at, status, last_event)
        VALUES (%(organization)s, %(reconciliation)s, %(ledger)s, %(external)s, %(account)s,
            %(name)s, %(from)s, %(through)s, %(zone)s, %(margin)s, %(rules)s, %(api_key)s, now(),
            'open', 1)
        RETURNING *
    )
    INSERT INTO reconciliation_events (organization_id, reconciliation_id, number, kind, details,
        api_key_id, recorded_at)
    SELECT organization_id, reconciliation_id, 1, 'created', '{}', api_key_id, created_at FROM made
"""
_CLOSE = f"UPDATE reconciliations SET status = 'closed', closed_at = now() WHERE {THIS}"  # noqa: S608
_REOPEN = f"UPDATE reconciliations SET status = 'open', closed_at = NULL WHERE {THIS}"  # noqa: S608
_REMAINING = f"""
    SELECT (SELECT count(*) FROM reconciliation_matches
            WHERE {THIS} AND score >= 0 AND status = 'proposed'),
        (SELECT count(*) FROM reconciliation_discrepancies
            WHERE {THIS} AND kind <> '' AND status = 'open')
"""  # noqa: S608  all of it is ours
_PROPOSED = f"""
    SELECT match_id FROM reconciliation_matches
    WHERE {THIS} AND score >= 0 AND status = 'proposed'
"""  # noqa: S608  all of it is ours
_ACCEPT_ALL = f"""
    UPDATE reconciliation_discrepancies SET status = 'accepted', resolution = 'accepted',
        reason = %(reason)s, api_key_id = %(api_key)s, resolved_at = now()
    WHERE {THIS} AND kind <> '' AND status = 'open'
"""  # noqa: S608  all of it is ours
