"""Transaction templates, and which transactions were made from them."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import and_

from app.store.reading import Listing, Lookup, of_organization
from app.store.rows.columns import alike, columns
from app.store.tables import template_uses, transaction_templates


class TemplateRow(NamedTuple):
    """One version of a transaction template."""

    template_id: UUID
    version: int
    ledger_id: UUID
    code: str
    description: str | None
    definition: dict[str, Any]
    created_at: datetime
    archived_at: datetime | None


class TemplateUseRow(NamedTuple):
    """The version of a template that a transaction was made from, and its parameters."""

    template_id: UUID
    version: int
    ledger_id: UUID
    code: str
    description: str | None
    definition: dict[str, Any]
    created_at: datetime
    archived_at: datetime | None
    params: dict[str, str]


_template = columns(TemplateRow, transaction_templates)

templates_by_id = Lookup(
    TemplateRow,
    _template,
    transaction_templates,
    (transaction_templates.c.template_id, transaction_templates.c.version),
)
templates_by_version = Lookup(
    TemplateRow,
    _template,
    transaction_templates,
    (
        transaction_templates.c.ledger_id,
        transaction_templates.c.code,
        transaction_templates.c.version,
    ),
)
_newest = transaction_templates.c.superseded_at.is_(None)
newest_templates_by_code = Lookup(
    TemplateRow,
    _template.where(_newest),
    transaction_templates,
    (transaction_templates.c.ledger_id, transaction_templates.c.code),
)
template_uses_by_transaction = Lookup(
    TemplateUseRow,
    _template.add_columns(template_uses.c.params).join_from(
        template_uses,
        transaction_templates,
        alike(transaction_templates, template_uses, "ledger_id", "code", "version"),
    ),
    template_uses,
    (template_uses.c.ledger_id, template_uses.c.transaction_sequence),
)

templates_of_ledger = Listing(
    TemplateRow,
    _template,
    lambda ledger_id: and_(
        of_organization(transaction_templates),
        transaction_templates.c.ledger_id == ledger_id,
        _newest,
    ),
    {},
    {"code": ("code",)},
)
versions_of_template = Listing(
    TemplateRow,
    _template,
    lambda template_id: and_(
        of_organization(transaction_templates), transaction_templates.c.template_id == template_id
    ),
    {},
    {"version": ("version",)},
)
