"""The tables: the one description of storage, from top to bottom.

Every primary, unique and foreign key begins with `organization_id`, and so does every statement's
WHERE: a row of one tenant cannot point at a row of another, and the tables can be distributed or
partitioned by organization as they stand. Ids are UUIDv7, so order of id is order of creation.

Three shapes carry the money:

    accounts            rules and four running totals; changed only by the writer
    transactions        numbered 1, 2, 3 … in their ledger
    entries             append-only; a line of one transaction on one account

and one is derived from the entries, to answer for any time soon (`accounts/totals.py`):

    account_totals      append-only; what an account's entries come to by span of effective time

An entry has no id of its own: it is (organization, account, sequence), and its transaction is
(organization, ledger, transaction sequence), which makes the database itself hold that account,
entry and transaction are of one ledger.

Texts that are unique in a ledger have it last in their index, and are compared with it by IS NOT
DISTINCT FROM, which no index serves: a planner with poor statistics finds (organization, ledger)
just as selective as the text, and reads the whole ledger for one key (seen: 1 ms a key, growing).

Each noun has a module of models; this one names the tables. No module is called what a table is, so
neither hides the other, and none imports another: foreign keys name their tables by text.

What the tables cannot say (append-only, balanced entries, roles) is in the migrations, as triggers
and grants. All amounts are whole minor units; all times are UTC.
"""

from sqlmodel import SQLModel

from app.store.tables.account import Account, AccountTotals, VelocityLimit
from app.store.tables.audit import Block, Revision
from app.store.tables.columns import table_of
from app.store.tables.ledger import Currency, Ledger, PeriodEvent
from app.store.tables.organization import ApiKey, ApiKeyLedger, Organization
from app.store.tables.outside import (
    ExternalAccount,
    ExternalStatement,
    ImportProfile,
    StatementImport,
    StatementLine,
    StatementLineRepeat,
)
from app.store.tables.reconciliation import (
    Reconciliation,
    ReconciliationDiscrepancy,
    ReconciliationEvent,
    ReconciliationMatch,
    ReconciliationMatchEntry,
    ReconciliationMatchLine,
    ReconciliationRejection,
    ReconciliationRun,
)
from app.store.tables.statement import (
    AccountStatement,
    Settlement,
    SettlementEntry,
    StatementSchedule,
)
from app.store.tables.template import TemplateUse, TransactionTemplate
from app.store.tables.transaction import (
    CreditLot,
    Entry,
    LotMovement,
    Transaction,
    TransactionEvent,
)

metadata = SQLModel.metadata
"""Of all tables."""

organizations = table_of(Organization)
api_keys = table_of(ApiKey)
api_key_ledgers = table_of(ApiKeyLedger)
ledgers = table_of(Ledger)
period_events = table_of(PeriodEvent)
currencies = table_of(Currency)
accounts = table_of(Account)
velocity_limits = table_of(VelocityLimit)
transactions = table_of(Transaction)
transaction_events = table_of(TransactionEvent)
entries = table_of(Entry)
transaction_templates = table_of(TransactionTemplate)
template_uses = table_of(TemplateUse)
account_totals = table_of(AccountTotals)
credit_lots = table_of(CreditLot)
lot_movements = table_of(LotMovement)
revisions = table_of(Revision)
blocks = table_of(Block)
external_accounts = table_of(ExternalAccount)
import_profiles = table_of(ImportProfile)
statement_imports = table_of(StatementImport)
external_statements = table_of(ExternalStatement)
statement_lines = table_of(StatementLine)
statement_line_repeats = table_of(StatementLineRepeat)
reconciliations = table_of(Reconciliation)
reconciliation_runs = table_of(ReconciliationRun)
reconciliation_matches = table_of(ReconciliationMatch)
reconciliation_match_lines = table_of(ReconciliationMatchLine)
reconciliation_match_entries = table_of(ReconciliationMatchEntry)
reconciliation_rejections = table_of(ReconciliationRejection)
reconciliation_discrepancies = table_of(ReconciliationDiscrepancy)
reconciliation_events = table_of(ReconciliationEvent)
account_statements = table_of(AccountStatement)
statement_schedules = table_of(StatementSchedule)
settlements = table_of(Settlement)
settlement_entries = table_of(SettlementEntry)
