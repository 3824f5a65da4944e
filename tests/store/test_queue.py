"""The writer's queue: round robin by organization, in order within one, never beyond its bound."""

from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.refusals import Overloaded
from app.store.transactions.queue import FairQueue

A, B, C = (UUID(int=number) for number in (1, 2, 3))


@dataclass(slots=True)
class Item:
    organization_id: UUID
    number: int
    entries: int = 2
    given_up: bool = False


def queue_of(*items: Item, max_entries: int = 1000) -> FairQueue[Item]:
    queue = FairQueue[Item](max_entries)
    for item in items:
        queue.put(item)
    return queue


def test_organizations_take_turns() -> None:
    """A single posting waits for one of a flood, not for all; each organization keeps its order."""
    queue = queue_of(*(Item(A, n) for n in range(5)), Item(B, 5), Item(C, 6), Item(B, 7))
    batch = queue.take(100)
    assert [item.number for item in batch] == [0, 5, 6, 1, 7, 2, 3, 4]
    assert (bool(queue), queue.entries) == (False, 0)


def test_turns_go_on_in_the_next_batch() -> None:
    """Whose turn was to come when a batch was full comes first in the next one."""
    queue = queue_of(*(Item(A, n) for n in range(4)), *(Item(B, n) for n in range(10, 14)))
    taken = [[item.number for item in queue.take(6)] for _ in range(3)]
    assert taken == [[0, 10, 1], [11, 2, 12], [3, 13]]


def test_one_is_taken_however_large() -> None:
    """What is larger than a batch may be goes by itself."""
    queue = queue_of(Item(A, 0, entries=50), Item(A, 1))
    assert [item.number for item in queue.take(10)] == [0]
    assert [item.number for item in queue.take(10)] == [1]


def test_who_gave_up_is_left_out() -> None:
    """Clients that have gone take no room in a batch, nor a turn from others for long."""
    queue = queue_of(Item(A, 0, given_up=True), Item(A, 1), Item(B, 2, given_up=True))
    assert [item.number for item in queue.take(2)] == [1]
    assert queue.take(2) == []
    assert (bool(queue), queue.entries) == (False, 0)


def test_a_flood_leaves_room_for_others() -> None:
    """Alone an organization fills half of the queue; a newcomer always finds room."""
    queue = queue_of(*(Item(A, n) for n in range(25)), max_entries=100)
    with pytest.raises(Overloaded):
        queue.put(Item(A, 25))
    assert queue.entries == 50
    for number in range(13):
        queue.put(Item(B, number))
    with pytest.raises(Overloaded):
        queue.put(Item(B, 13))
    queue.put(Item(C, 0))
    with pytest.raises(Overloaded):
        queue.put(Item(A, 25))


def test_a_large_group_finds_an_idle_queue_open() -> None:
    """What could never wait beside others may wait alone, and then nothing else may."""
    queue = queue_of(Item(A, 0, entries=5000), max_entries=100)
    for organization_id in (A, B):
        with pytest.raises(Overloaded):
            queue.put(Item(organization_id, 1))
    assert [item.number for item in queue.take(10)] == [0]
    queue.put(Item(B, 1))
    assert queue.entries == 2


@given(
    st.lists(
        st.one_of(st.tuples(st.sampled_from([A, B, C]), st.integers(1, 40)), st.integers(1, 60)),
        max_size=80,
    )
)
def test_nothing_is_lost_doubled_or_overtaken(steps: list[tuple[UUID, int] | int]) -> None:
    """Whatever is put and taken: all that got in comes out once, in order of its organization."""
    queue = FairQueue[Item](100)
    put: list[Item] = []
    taken: list[Item] = []
    for number, step in enumerate(steps):
        if isinstance(step, int):
            taken += queue.take(step)
        else:
            item = Item(step[0], number, entries=step[1])
            held = queue.entries
            try:
                queue.put(item)
            except Overloaded:
                assert queue.entries == held
            else:
                put.append(item)
        assert queue.entries == sum(item.entries for item in put) - sum(i.entries for i in taken)
    while queue:
        taken += queue.take(30)
    for organization_id in (A, B, C):
        came = [item.number for item in put if item.organization_id == organization_id]
        assert [i.number for i in taken if i.organization_id == organization_id] == came
