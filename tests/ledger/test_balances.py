"""How entries change the three balances, whichever side an account grows on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.accounts.balances import Balances, Direction, Effect

CREDIT, DEBIT = Direction.CREDIT, Direction.DEBIT
amounts = st.integers(1, 10**36)
totals = st.builds(Balances, *[st.integers(0, 10**36)] * 4)

WORKED_EXAMPLE = [
    (Effect.POST, CREDIT, 1000, (1000, 0, 1000, 1000)),
    (Effect.HOLD, DEBIT, 400, (1000, -400, 600, 600)),
    (Effect.HOLD, CREDIT, 50, (1000, -350, 600, 650)),
    (Effect.SETTLE, DEBIT, 150, (850, -200, 600, 650)),
    (Effect.SETTLE, DEBIT, 100, (750, -100, 600, 650)),
    (Effect.RELEASE, DEBIT, 150, (750, 50, 750, 800)),
    (Effect.SETTLE, CREDIT, 50, (800, 0, 800, 800)),
]


@pytest.mark.parametrize("normal", Direction)
def test_worked_example(normal: Direction) -> None:
    """The design's wallet has its balances at every step; a debit-normal one mirrors them."""
    balances = Balances()
    for effect, direction, amount, expected in WORKED_EXAMPLE:
        side = direction if normal is CREDIT else direction.opposite
        balances = balances.after(effect, side, amount)
        shown = (balances.posted, balances.pending, balances.available, balances.projected)
        assert tuple(balance(normal).amount for balance in shown) == expected


@given(totals, st.sampled_from(Direction), amounts)
def test_a_hold_comes_to_a_posting_or_to_nothing(
    before: Balances, side: Direction, amount: int
) -> None:
    """A hold that is settled leaves what a posting would have; one that is released, nothing."""
    held = before.after(Effect.HOLD, side, amount)
    assert held.after(Effect.SETTLE, side, amount) == before.after(Effect.POST, side, amount)
    assert held.after(Effect.RELEASE, side, amount) == before


@given(totals, st.sampled_from(Direction), st.sampled_from(Direction), amounts)
def test_what_lowers_available(
    before: Balances, normal: Direction, side: Direction, amount: int
) -> None:
    """Only a posting or hold against the normal side lowers available; it does so by its amount."""
    available = before.available(normal).amount
    for effect in Effect:
        change = before.after(effect, side, amount).available(normal).amount - available
        if side is normal:
            assert change == (amount if effect in {Effect.POST, Effect.SETTLE} else 0)
        else:
            expected = {
                Effect.POST: -amount,
                Effect.HOLD: -amount,
                Effect.SETTLE: 0,
                Effect.RELEASE: amount,
            }
            assert change == expected[effect]


@given(totals, st.sampled_from(Direction))
def test_net_is_the_difference_of_the_sides(balances: Balances, normal: Direction) -> None:
    """Each balance's amount is its normal side less the other, whatever counts towards it."""
    for balance in (balances.posted, balances.pending, balances.available, balances.projected):
        shown, mirrored = balance(normal), balance(normal.opposite)
        net = shown.credits - shown.debits
        assert shown.amount == (net if normal is CREDIT else -net)
        if balance != balances.available:
            assert mirrored.amount == -shown.amount
            assert (mirrored.debits, mirrored.credits) == (shown.debits, shown.credits)
