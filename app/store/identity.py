"""Organizations and API keys: who is asking, and what they may do.

A token reads `ldg_test_<organization><secret><check>`: the mode, then in base 62 the 16 bytes of
the organization's id, 24 random bytes, and a checksum. It names its organization, so even finding a
key is a look-up within one tenant; the checksum lets scanners and typing errors be told from keys
without a query. Only the secret's SHA-256 is stored: with 192 random bits there is nothing for a
slow hash to protect.
"""

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID
from zlib import crc32

from sqlalchemy import bindparam, func, insert, or_, select, update
from uuid_utils.compat import uuid7

from app.ledger.accounts.state import Mode, Scope
from app.store.database import Connection, sql
from app.store.reading import of_organization
from app.store.tables import api_key_ledgers, api_keys, ledgers, organizations

SECRET_BYTES = 24
TOKEN = re.compile(r"ldg_(live|test)_([0-9A-Za-z]{22})([0-9A-Za-z]{33})([0-9A-Za-z]{6})", re.ASCII)
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Permission(Enum):
    """What a key may do; each includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_LADDER = list(Permission)
_INCLUDING = {step: frozenset(_LADDER[number:]) for number, step in enumerate(_LADDER)}


@dataclass(frozen=True, slots=True)
class Principal:
    """An API key in use."""

    api_key_id: UUID
    name: str
    hint: str
    organization_name: str
    scope: Scope
    permissions: frozenset[Permission]
    expires_at: datetime | None

    def permits(self, permission: Permission) -> bool:
        """Say whether one of the key's permissions is or includes this one."""
        return not self.permissions.isdisjoint(_INCLUDING[permission])


class OrganizationRow(NamedTuple):
    """An organization."""

    organization_id: UUID
    name: str
    created_at: datetime


class ApiKeyRow(NamedTuple):
    """An API key without its secret."""

    organization_id: UUID
    api_key_id: UUID
    name: str
    mode: str
    scopes: list[str]
    hint: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NoSuchOrganization(LookupError):
    """There is no organization of that id."""


class NoSuchLedger(LookupError):
    """The organization has no ledger of that id and mode."""


class NoSuchKey(LookupError):
    """The organization has no API key of that id."""


async def create_organization(connection: Connection, name: str) -> OrganizationRow:
    """Add a tenant."""
    cursor = await connection.execute(
        _INSERT_ORGANIZATION, {"organization_id": uuid7(), "name": name}
    )
    return OrganizationRow._make((await cursor.fetchall())[0])


async def list_organizations(connection: Connection) -> Sequence[OrganizationRow]:
    """All tenants, oldest first. The one listing that crosses them: for the operator alone."""
    cursor = await connection.execute(_LIST_ORGANIZATIONS)
    return [OrganizationRow._make(row) for row in await cursor.fetchall()]


async def create_key(
    connection: Connection,
    organization_id: UUID,
    *,
    name: str,
    mode: Mode,
    permissions: Collection[Permission],
    ledger_ids: Collection[UUID] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiKeyRow, str]:
    """Make a key and return it with its token, which cannot be had again.

    Raises NoSuchOrganization, NoSuchLedger.
    """
    if not await _any(connection, _FIND_ORGANIZATION, {"organization": organization_id}):
        raise NoSuchOrganization(str(organization_id))
    for ledger_id in ledger_ids:
        where = {"organization": organization_id, "ledger_id": ledger_id, "mode": mode.value}
        if not await _any(connection, _FIND_LEDGER, where):
            raise NoSuchLedger(str(ledger_id))
    secret = secrets.token_bytes(SECRET_BYTES)
    token = _token(mode, organization_id, secret)
    cursor = await connection.execute(
        _INSERT_KEY,
        {
            "organization_id": organization_id,
            "api_key_id": uuid7(),
            "name": name,
            "mode": mode.value,
            "scopes": sorted(permission.value for permission in permissions),
            "ledger_restricted": bool(ledger_ids),
            "secret_hash": sha256(secret).digest(),
            "hint": f"{token[:12]}…{token[-4:]}",
            "expires_at": expires_at,
        },
    )
    key = ApiKeyRow._make((await cursor.fetchall())[0])
    for ledger_id in ledger_ids:
        await connection.execute(
            _INSERT_KEY_LEDGER,
            {
                "organization_id": organization_id,
                "api_key_id": key.api_key_id,
                "ledger_id": ledger_id,
            },
        )
    return key, token


async def list_keys(connection: Connection, organization_id: UUID) -> Sequence[ApiKeyRow]:
    """All keys of an organization, oldest first."""
    cursor = await connection.execute(_LIST_KEYS, {"organization": organization_id})
    return [ApiKeyRow._make(row) for row in await cursor.fetchall()]


async def revoke_key(connection: Connection, organization_id: UUID, api_key_id: UUID) -> ApiKeyRow:
    """Take a key out of use; revoking twice keeps the first time. Raises NoSuchKey."""
    cursor = await connection.execute(
        _REVOKE_KEY, {"organization": organization_id, "api_key_id": api_key_id}
    )
    row = await cursor.fetchone()
    if row is None:
        raise NoSuchKey(str(api_key_id))
    return ApiKeyRow._make(row)


def is_token(text: str) -> bool:
    """Say whether a text has a token's form and checksum; others need not be looked up."""
    return TOKEN.fullmatch(text) is not None and _check(text[:-6]) == text[-6:]


async def authenticate(connection: Connection, token: str) -> Principal | None:
    """Find who a token belongs to; None for any token that is not in use, whatever the reason."""
    parts = TOKEN.fullmatch(token)
    if parts is None:
        return None
    try:
        organization_id = UUID(bytes=_decode(parts[2], 16))
        secret = _decode(parts[3], SECRET_BYTES)
    except OverflowError:
        return None
    cursor = await connection.execute(
        _AUTHENTICATE, {"organization": organization_id, "secret_hash": sha256(secret).digest()}
    )
    row = await cursor.fetchone()
    if row is None or row[3] != parts[1]:
        return None
    api_key_id, name, hint, mode, scopes, restricted, expires_at, organization, ledger_ids = row
    return Principal(
        api_key_id,
        name,
        hint,
        organization,
        Scope(organization_id, Mode(mode), frozenset(ledger_ids or ()) if restricted else None),
        frozenset(map(Permission, scopes)),
        expires_at,
    )


def _token(mode: Mode, organization_id: UUID, secret: bytes) -> str:
    body = f"ldg_{mode.value}_{_encode(organization_id.bytes, 22)}{_encode(secret, 33)}"
    return body + _check(body)


def _check(body: str) -> str:
    return _encode(crc32(body.encode()).to_bytes(4, "big"), 6)


def _encode(data: bytes, width: int) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        text = _DIGITS[digit] + text
    return text.rjust(width, _DIGITS[0])


def _decode(text: str, size: int) -> bytes:
    number = 0
    for character in text:
        number = number * len(_DIGITS) + _DIGITS.index(character)
    return number.to_bytes(size, "big")


async def _any(connection: Connection, statement: str, parameters: dict[str, Any]) -> bool:
    return await (await connection.execute(statement, parameters)).fetchone() is not None


_clock = func.clock_timestamp()
_organization_columns = [organizations.c[name] for name in OrganizationRow._fields]
_key_columns = [api_keys.c[name] for name in ApiKeyRow._fields]
_this_key = api_keys.c.api_key_id == bindparam("api_key_id", type_=api_keys.c.api_key_id.type)

_INSERT_ORGANIZATION = sql(
    insert(organizations)
    .values(
        organization_id=bindparam("organization_id", type_=organizations.c.organization_id.type),
        name=bindparam("name", type_=organizations.c.name.type),
        created_at=_clock,
    )
    .returning(*_organization_columns)
)
_LIST_ORGANIZATIONS = sql(select(*_organization_columns).order_by(organizations.c.organization_id))
_FIND_ORGANIZATION = sql(
    select(organizations.c.organization_id).where(of_organization(organizations))
)
_FIND_LEDGER = sql(
    select(ledgers.c.ledger_id).where(
        of_organization(ledgers),
        ledgers.c.ledger_id == bindparam("ledger_id", type_=ledgers.c.ledger_id.type),
        ledgers.c.mode == bindparam("mode", type_=ledgers.c.mode.type),
    )
)
_INSERT_KEY = sql(
    insert(api_keys)
    .values(
        {
            **{
                name: bindparam(name, type_=api_keys.c[name].type)
                for name in (
                    "organization_id",
                    "api_key_id",
                    "name",
                    "mode",
                    "scopes",
                    "ledger_restricted",
                    "secret_hash",
                    "hint",
                    "expires_at",
                )
            },
            "created_at": _clock,
        }
    )
    .returning(*_key_columns)
)
_INSERT_KEY_LEDGER = sql(
    insert(api_key_ledgers).values(
        {column.name: bindparam(column.name, type_=column.type) for column in api_key_ledgers.c}
    )
)
_LIST_KEYS = sql(
    select(*_key_columns).where(of_organization(api_keys)).order_by(api_keys.c.api_key_id)
)
_REVOKE_KEY = sql(
    update(api_keys)
    .where(of_organization(api_keys), _this_key)
    .values(revoked_at=func.coalesce(api_keys.c.revoked_at, _clock))
    .returning(*_key_columns)
)
_AUTHENTICATE = sql(
    select(
        api_keys.c.api_key_id,
        api_keys.c.name,
        api_keys.c.hint,
        api_keys.c.mode,
        api_keys.c.scopes,
        api_keys.c.ledger_restricted,
        api_keys.c.expires_at,
        organizations.c.name,
        select(func.array_agg(api_key_ledgers.c.ledger_id))
        .where(
            of_organization(api_key_ledgers),
            api_key_ledgers.c.api_key_id == api_keys.c.api_key_id,
        )
        .scalar_subquery(),
    )
    .join_from(
        api_keys, organizations, organizations.c.organization_id == api_keys.c.organization_id
    )
    .where(
        of_organization(api_keys),
        api_keys.c.secret_hash == bindparam("secret_hash", type_=api_keys.c.secret_hash.type),
        api_keys.c.revoked_at.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > _clock),
    )
)
