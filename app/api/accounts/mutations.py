"""Opening, changing, freezing and closing accounts."""

from collections.abc import Callable
from typing import Annotated

import strawberry
from uuid_utils.compat import uuid7

from app.api.accounts.types import Account
from app.api.engine.context import Info
from app.api.enums import Direction
from app.api.ids import ACCOUNT, LEDGER
from app.api.ledgers.currencies import exponent_of
from app.api.ledgers.mutations import given
from app.api.refusals import (
    AccountNotEmpty,
    AccountNotFound,
    AccountNotOpen,
    CeilingExceeded,
    ExternalIdTaken,
    InsufficientFunds,
    LedgerArchived,
    LedgerNotFound,
    LotsRemain,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import JSON, Amount
from app.ledger import refusals
from app.ledger.accounts import balances as domain
from app.ledger.accounts.administration import MAX_ACCOUNTS, Change, CreateAccount, frozen, unfrozen
from app.ledger.accounts.state import Account as LockedAccount
from app.ledger.accounts.state import AccountStatus, Scope
from app.store.accounts import administration
from app.store.identity import Permission


@strawberry.input(description="A new account.")
class CreateAccountInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger to open it in.")
    name: str = strawberry.field(description="For people; up to 255 characters.")
    normal_balance: Direction = strawberry.field(description="The side on which it grows.")
    currency: str = strawberry.field(
        description="An ISO 4217 code, or a unit of the ledger's own such as POINTS."
    )
    exponent: int | None = strawberry.field(
        description=(
            "Digits of the minor unit, 0 to 36; needed where ISO 4217 has none for the currency."
            " Where it has one, no other is taken."
        ),
        default=None,
    )
    external_id: str | None = strawberry.field(
        description="The client's own id, unique among the accounts of the ledger.", default=None
    )
    description: str | None = strawberry.field(
        description="For people; up to 2,000 characters.", default=None
    )
    available_floor: Amount | None = strawberry.field(
        description=(
            "Below this no entry may take available, in minor units; at most 0 for a new account."
            " Null: it may fall without limit."
        ),
        default=None,
    )
    balance_ceiling: Amount | None = strawberry.field(
        description=(
            "Above this no entry may take what the account could come to: posted plus what is"
            " pending on the normal side, in minor units; at least 0 for a new account. Null: it"
            " may rise without limit."
        ),
        default=None,
    )
    entry_maximum: Amount | None = strawberry.field(
        description="The largest new entry, either way, in minor units. Null: any.", default=None
    )
    metadata: JSON | None = strawberry.field(description="The client's own data.", default=None)


@strawberry.input(description="New accounts, opened all or none.")
class CreateAccountsInput:
    accounts: list[CreateAccountInput] = strawberry.field(
        description=f"From 1 to {MAX_ACCOUNTS} accounts."
    )


@strawberry.input(description="New labels or other limits; fields left out stay as they are.")
class UpdateAccountInput:
    account_id: strawberry.ID = strawberry.field(description="The account.")
    name: str | None = strawberry.field(description="For people.", default=strawberry.UNSET)
    description: str | None = strawberry.field(
        description="For people; null clears it.", default=strawberry.UNSET
    )
    metadata: JSON | None = strawberry.field(
        description="The client's own data; replaces what is there.", default=strawberry.UNSET
    )
    available_floor: Amount | None = strawberry.field(
        description="The new floor, not above what is available; null lifts it.",
        default=strawberry.UNSET,
    )
    balance_ceiling: Amount | None = strawberry.field(
        description="The new ceiling, not below what the account could come to; null lifts it.",
        default=strawberry.UNSET,
    )
    entry_maximum: Amount | None = strawberry.field(
        description="The new largest entry from now on; null lifts it.", default=strawberry.UNSET
    )


@strawberry.input(description="An account to freeze.")
class FreezeAccountInput:
    account_id: strawberry.ID = strawberry.field(description="The account.")


@strawberry.input(description="An account to unfreeze.")
class UnfreezeAccountInput:
    account_id: strawberry.ID = strawberry.field(description="The account.")


@strawberry.input(description="An account to close.")
class CloseAccountInput:
    account_id: strawberry.ID = strawberry.field(description="The account.")


@strawberry.type(description="The account is open.")
class CreateAccountSuccess:
    account: Account = strawberry.field(description="The new account.")


@strawberry.type(description="The accounts are open.")
class CreateAccountsSuccess:
    accounts: list[Account] = strawberry.field(description="The new accounts, in input order.")


@strawberry.type(description="The account is changed.")
class UpdateAccountSuccess:
    account: Account = strawberry.field(description="The account.")


@strawberry.type(description="The account takes no new entries until unfrozen.")
class FreezeAccountSuccess:
    account: Account = strawberry.field(description="The account.")


@strawberry.type(description="The account takes entries again.")
class UnfreezeAccountSuccess:
    account: Account = strawberry.field(description="The account.")


@strawberry.type(description="The account is closed for good.")
class CloseAccountSuccess:
    account: Account = strawberry.field(description="The account.")


CreateAccountResult = Annotated[
    CreateAccountSuccess | ValidationFailed | LedgerNotFound | LedgerArchived | ExternalIdTaken,
    strawberry.union("CreateAccountResult", description="What became of createAccount."),
]
CreateAccountsResult = Annotated[
    CreateAccountsSuccess | ValidationFailed | LedgerNotFound | LedgerArchived | ExternalIdTaken,
    strawberry.union("CreateAccountsResult", description="What became of createAccounts."),
]
UpdateAccountResult = Annotated[
    UpdateAccountSuccess
    | ValidationFailed
    | AccountNotFound
    | LedgerArchived
    | InsufficientFunds
    | CeilingExceeded,
    strawberry.union("UpdateAccountResult", description="What became of updateAccount."),
]
FreezeAccountResult = Annotated[
    FreezeAccountSuccess | ValidationFailed | AccountNotFound | LedgerArchived | AccountNotOpen,
    strawberry.union("FreezeAccountResult", description="What became of freezeAccount."),
]
UnfreezeAccountResult = Annotated[
    UnfreezeAccountSuccess | ValidationFailed | AccountNotFound | LedgerArchived | AccountNotOpen,
    strawberry.union("UnfreezeAccountResult", description="What became of unfreezeAccount."),
]
CloseAccountResult = Annotated[
    CloseAccountSuccess
    | ValidationFailed
    | AccountNotFound
    | LedgerArchived
    | AccountNotEmpty
    | LotsRemain,
    strawberry.union("CloseAccountResult", description="What became of closeAccount."),
]


@strawberry.type
class AccountMutations:
    @strawberry.mutation(description="Open an account. Needs the scope write.")
    @answering(Permission.WRITE)
    async def create_account(
        self,
        info: Info,
        input: Annotated[CreateAccountInput, strawberry.argument(description="The account.")],
    ) -> CreateAccountResult:
        command = _command(info.context.scope, input)
        async with info.context.database.writing() as connection:
            (row,) = await administration.create_accounts(connection, [command])
        return CreateAccountSuccess(account=Account.of(row))

    @strawberry.mutation(description="Open accounts, all or none. Needs the scope write.")
    @answering(Permission.WRITE)
    async def create_accounts(
        self,
        info: Info,
        input: Annotated[CreateAccountsInput, strawberry.argument(description="The accounts.")],
    ) -> CreateAccountsResult:
        if not 1 <= len(input.accounts) <= MAX_ACCOUNTS:
            raise refusals.ValidationFailed(
                message=f"From 1 to {MAX_ACCOUNTS} accounts are opened at once.",
                path=("input", "accounts"),
            )
        commands = [
            _command(info.context.scope, account, "accounts", str(index))
            for index, account in enumerate(input.accounts)
        ]
        async with info.context.database.writing() as connection:
            created = await administration.create_accounts(connection, commands)
        return CreateAccountsSuccess(accounts=[Account.of(row) for row in created])

    @strawberry.mutation(
        description="Give an account other labels or other limits. Needs the scope write."
    )
    @answering(Permission.WRITE)
    async def update_account(
        self,
        info: Info,
        input: Annotated[UpdateAccountInput, strawberry.argument(description="The change.")],
    ) -> UpdateAccountResult:
        account_id = required_id(ACCOUNT, input.account_id, "accountId")
        change = Change(
            info.context.scope,
            given(
                name=input.name,
                description=input.description,
                metadata=input.metadata,
                available_floor=input.available_floor,
                balance_ceiling=input.balance_ceiling,
                entry_maximum=input.entry_maximum,
            ),
        )
        change.check()
        async with info.context.database.writing() as connection:
            row = await administration.change_account(connection, account_id, change)
        return UpdateAccountSuccess(account=Account.of(row))

    @strawberry.mutation(
        description=(
            "Let an account take no new entries and no settlements; voids are still taken. Freezing"
            " twice changes nothing. Needs the scope admin."
        )
    )
    @answering(Permission.ADMIN)
    async def freeze_account(
        self,
        info: Info,
        input: Annotated[FreezeAccountInput, strawberry.argument(description="The account.")],
    ) -> FreezeAccountResult:
        return FreezeAccountSuccess(account=await _change_status(info, input.account_id, frozen))

    @strawberry.mutation(
        description=(
            "Let a frozen account take entries again; unfreezing twice changes nothing. Needs the"
            " scope admin."
        )
    )
    @answering(Permission.ADMIN)
    async def unfreeze_account(
        self,
        info: Info,
        input: Annotated[UnfreezeAccountInput, strawberry.argument(description="The account.")],
    ) -> UnfreezeAccountResult:
        return UnfreezeAccountSuccess(
            account=await _change_status(info, input.account_id, unfrozen)
        )

    @strawberry.mutation(
        description=(
            "Close an account for good; its posted balance must net to zero, nothing be pending,"
            " and no open credit lot expire to it. Closing twice changes nothing. Needs the scope"
            " admin."
        )
    )
    @answering(Permission.ADMIN)
    async def close_account(
        self,
        info: Info,
        input: Annotated[CloseAccountInput, strawberry.argument(description="The account.")],
    ) -> CloseAccountResult:
        uuid = required_id(ACCOUNT, input.account_id, "accountId")
        async with info.context.database.writing() as connection:
            row = await administration.close_account(connection, info.context.scope, uuid)
        return CloseAccountSuccess(account=Account.of(row))


def _command(scope: Scope, account: CreateAccountInput, *place: str) -> CreateAccount:
    try:
        command = CreateAccount(
            scope=scope,
            account_id=uuid7(),
            ledger_id=required_id(LEDGER, account.ledger_id, "ledgerId"),
            name=account.name,
            normal_balance=domain.Direction(account.normal_balance.value),
            currency=account.currency,
            exponent=exponent_of(account.currency, account.exponent),
            external_id=account.external_id,
            description=account.description,
            available_floor=account.available_floor,
            balance_ceiling=account.balance_ceiling,
            entry_maximum=account.entry_maximum,
            metadata=account.metadata or {},
            place=place,
        )
        command.check()
    except refusals.Refusal as refusal:
        raise refusal.under(*place) from None
    return command


async def _change_status(
    info: Info, account_id: str, decide: Callable[[LockedAccount], AccountStatus]
) -> Account:
    uuid = required_id(ACCOUNT, account_id, "accountId")
    async with info.context.database.writing() as connection:
        row = await administration.change_status(connection, info.context.scope, uuid, decide)
    return Account.of(row)
