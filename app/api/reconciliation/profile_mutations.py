"""Saving and deleting import profiles: how CSV files are read."""

from enum import Enum
from typing import Annotated, Any

import strawberry

from app.api.engine.context import Info
from app.api.enums import value
from app.api.ids import LEDGER
from app.api.reconciliation.formats.cells import Profile
from app.api.reconciliation.outside import ImportProfile
from app.api.refusals import (
    LedgerArchived,
    LedgerNotFound,
    ValidationFailed,
    answering,
    required_id,
)
from app.ledger.transactions.commands import MAX_NAME_LENGTH, check_text
from app.store.identity import Permission
from app.store.reconciliation import outside


@strawberry.enum(description="How the text of a file is encoded.")
class TextEncoding(Enum):
    UTF_8 = value("UTF_8", description="UTF-8, with a byte order mark or without.")
    UTF_16 = value("UTF_16", description="UTF-16, in the order of its byte order mark.")
    ISO_8859_1 = value("ISO_8859_1", description="Latin 1.")
    ISO_8859_15 = value("ISO_8859_15", description="Latin 9, which has the euro sign.")
    WINDOWS_1252 = value("WINDOWS_1252", description="What Windows writes in western Europe.")


@strawberry.input(
    description=(
        "Which cells are what. A column is named by its header, or by its place: #1 is the first."
        " Either amount, or amount with indicator, or debit with credit."
    )
)
class ImportColumnsInput:
    booked_on: str = strawberry.field(description="The day of booking.")
    value_on: str | None = strawberry.field(description="The value date.", default=None)
    amount: str | None = strawberry.field(description="The amount, of both ways.", default=None)
    debit: str | None = strawberry.field(description="What went out.", default=None)
    credit: str | None = strawberry.field(description="What came in.", default=None)
    indicator: str | None = strawberry.field(
        description="Which of two words says the way of the amount.", default=None
    )
    currency: str | None = strawberry.field(
        description="An ISO 4217 code; that of our account if absent or empty.", default=None
    )
    reference: str | None = strawberry.field(
        description="The outside party's own reference, if it is unique there.", default=None
    )
    end_to_end_id: str | None = strawberry.field(
        description="The reference that came with the payment.", default=None
    )
    counterparty: str | None = strawberry.field(
        description="Who is on the other side.", default=None
    )
    description: list[str] | None = strawberry.field(
        description="What it is for; several are joined by a space.", default=None
    )
    balance: str | None = strawberry.field(
        description="The balance after the line; makes opening and closing balance.", default=None
    )


@strawberry.input(description="The two words of an indicator, as they stand in its cells.")
class ImportIndicatorInput:
    debit: str = strawberry.field(description="It went out.")
    credit: str = strawberry.field(description="It came in.")


@strawberry.input(description="How CSV files are written; nothing of it is guessed.")
class ImportProfileDefinitionInput:
    columns: ImportColumnsInput = strawberry.field(description="Which cells are what.")
    encoding: TextEncoding = strawberry.field(
        description="How the text is encoded.", default=TextEncoding.UTF_8
    )
    delimiter: str = strawberry.field(description="What stands between cells.", default=",")
    quote: str | None = strawberry.field(
        description="What may stand around a cell, doubled within it; null for nothing.",
        default='"',
    )
    skip_rows: int = strawberry.field(description="Lines before the first row.", default=0)
    header: bool = strawberry.field(
        description="Whether the first row holds the headers.", default=True
    )
    footer_rows: int = strawberry.field(
        description="Rows at the end that are no lines; empty rows never are.", default=0
    )
    decimal_separator: str = strawberry.field(
        description="What stands before decimals.", default="."
    )
    thousands_separator: str | None = strawberry.field(
        description="What may stand between each three digits; null for nothing.", default=None
    )
    date_format: str = strawberry.field(
        description=(
            "YYYY or YY, MM, M or MMM (Jan), and DD or D, with signs between, such as DD.MM.YYYY;"
            " a * at the end stands for any rest, such as a time."
        ),
        default="YYYY-MM-DD",
    )
    indicator: ImportIndicatorInput | None = strawberry.field(
        description="The words of the indicator's column.", default=None
    )
    reversed: bool = strawberry.field(
        description="Whether amounts have the other sign: money that went out is positive.",
        default=False,
    )
    negative_debits: bool = strawberry.field(
        description="Whether the debit column is written with a minus.", default=False
    )
    newest_first: bool = strawberry.field(
        description="Whether the last line of a file is the oldest; for its balances.",
        default=False,
    )
    may_be_empty: bool = strawberry.field(
        description="Whether a file without any line is fine; else it is refused.", default=False
    )


@strawberry.input(description="How a bank's CSV files are read, under a name.")
class SaveImportProfileInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    name: str = strawberry.field(
        description="Up to 255 characters; a profile of that name is replaced."
    )
    definition: ImportProfileDefinitionInput = strawberry.field(
        description="How files are written."
    )


@strawberry.input(description="A profile to delete.")
class DeleteImportProfileInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    name: str = strawberry.field(description="The profile's name.")


@strawberry.type(description="Files can be read by the profile from now on.")
class SaveImportProfileSuccess:
    import_profile: ImportProfile = strawberry.field(description="The profile.")


@strawberry.type(description="The ledger has no profile of that name.")
class DeleteImportProfileSuccess:
    name: str = strawberry.field(description="The name.")


SaveImportProfileResult = Annotated[
    SaveImportProfileSuccess | ValidationFailed | LedgerNotFound | LedgerArchived,
    strawberry.union("SaveImportProfileResult", description="What became of saveImportProfile."),
]
DeleteImportProfileResult = Annotated[
    DeleteImportProfileSuccess | ValidationFailed | LedgerNotFound | LedgerArchived,
    strawberry.union(
        "DeleteImportProfileResult", description="What became of deleteImportProfile."
    ),
]


@strawberry.type
class ProfileMutations:
    @strawberry.mutation(
        description="Say how a bank's CSV files are read, under a name. Needs the scope write."
    )
    @answering(Permission.WRITE)
    async def save_import_profile(
        self,
        info: Info,
        input: Annotated[SaveImportProfileInput, strawberry.argument(description="The profile.")],
    ) -> SaveImportProfileResult:
        ledger_id = required_id(LEDGER, input.ledger_id, "ledgerId")
        check_text("name", input.name, MAX_NAME_LENGTH)
        profile = Profile(_definition(input.definition))
        async with info.context.database.writing() as connection:
            row = await outside.save_import_profile(
                connection, info.context.scope, ledger_id, input.name, profile.definition
            )
        return SaveImportProfileSuccess(import_profile=ImportProfile.of(row))

    @strawberry.mutation(
        description=(
            "Delete a profile; deleting one that is not there changes nothing. What was imported"
            " by it stays. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def delete_import_profile(
        self,
        info: Info,
        input: Annotated[DeleteImportProfileInput, strawberry.argument(description="The profile.")],
    ) -> DeleteImportProfileResult:
        ledger_id = required_id(LEDGER, input.ledger_id, "ledgerId")
        check_text("name", input.name, MAX_NAME_LENGTH)
        async with info.context.database.writing() as connection:
            await outside.delete_import_profile(
                connection, info.context.scope, ledger_id, input.name
            )
        return DeleteImportProfileSuccess(name=input.name)


def _definition(told: ImportProfileDefinitionInput) -> dict[str, Any]:
    columns = told.columns
    return {
        "encoding": told.encoding.value,
        "delimiter": told.delimiter,
        "quote": told.quote,
        "skipRows": told.skip_rows,
        "header": told.header,
        "footerRows": told.footer_rows,
        "columns": {
            "bookedOn": columns.booked_on,
            "valueOn": columns.value_on,
            "amount": columns.amount,
            "debit": columns.debit,
            "credit": columns.credit,
            "indicator": columns.indicator,
            "currency": columns.currency,
            "reference": columns.reference,
            "endToEndId": columns.end_to_end_id,
            "counterparty": columns.counterparty,
            "description": columns.description,
            "balance": columns.balance,
        },
        "decimalSeparator": told.decimal_separator,
        "thousandsSeparator": told.thousands_separator,
        "dateFormat": told.date_format,
        "indicator": told.indicator
        and {"debit": told.indicator.debit, "credit": told.indicator.credit},
        "reversed": told.reversed,
        "negativeDebits": told.negative_debits,
        "newestFirst": told.newest_first,
        "mayBeEmpty": told.may_be_empty,
    }
