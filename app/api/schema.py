"""The schema, put together."""

import strawberry
from strawberry.schema.config import StrawberryConfig

from app.api.account_mutations import AccountMutations
from app.api.ledger_mutations import LedgerMutations
from app.api.outside_mutations import OutsideMutations
from app.api.profile_mutations import ProfileMutations
from app.api.queries import Query
from app.api.reconciliation_mutations import ReconciliationMutations
from app.api.scalars import SCALARS
from app.api.settlement_mutations import SettlementMutations
from app.api.statement_mutations import StatementMutations
from app.api.template_mutations import TemplateMutations
from app.api.transaction_mutations import TransactionMutations
from app.api.transfer_mutations import TransferMutations
from app.api.velocity_limit_mutations import VelocityLimitMutations


@strawberry.type(
    description=(
        "Everything that can be changed. Each field answers with a success or with a UserError;"
        " fields of one operation run one after another, each committed by itself."
    )
)
class Mutation(
    LedgerMutations,
    AccountMutations,
    VelocityLimitMutations,
    TransactionMutations,
    TransferMutations,
    TemplateMutations,
    OutsideMutations,
    ReconciliationMutations,
    ProfileMutations,
    StatementMutations,
    SettlementMutations,
):
    pass


schema = strawberry.Schema(
    query=Query, mutation=Mutation, config=StrawberryConfig(scalar_map=SCALARS)
)


def schema_text() -> str:
    """The schema in GraphQL's definition language, as in `schema.graphql`."""
    return schema.as_str() + "\n"
