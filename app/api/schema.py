"""The schema, put together."""

import strawberry
from strawberry.schema.config import StrawberryConfig

from app.api.accounts.mutations import AccountMutations
from app.api.accounts.velocity_limit_mutations import VelocityLimitMutations
from app.api.ledgers.mutations import LedgerMutations
from app.api.queries import Query
from app.api.reconciliation.discrepancy_mutations import DiscrepancyMutations
from app.api.reconciliation.match_mutations import MatchMutations
from app.api.reconciliation.mutations import ReconciliationMutations
from app.api.reconciliation.outside_mutations import OutsideMutations
from app.api.reconciliation.profile_mutations import ProfileMutations
from app.api.scalars import SCALARS
from app.api.statements.mutations import StatementMutations
from app.api.statements.settlement_mutations import SettlementMutations
from app.api.templates.mutations import TemplateMutations
from app.api.transactions.mutations import TransactionMutations
from app.api.transactions.transfer_mutations import TransferMutations


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
    MatchMutations,
    DiscrepancyMutations,
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
