"""The writer's queue: bounded, and fair to organizations.

Groups are taken round robin by organization, one of each in turn, so that whoever posts a thousand
at once delays a neighbour's single posting by one group and not by a thousand.

The bound moves: an organization may hold as many entries as there is room left beside all that is
waiting. So one alone can fill half the queue, each of two a third, and there is always room for a
newcomer; what is beyond is refused, for a queue that grows answers everybody late. (Choudhury and
Hahne's dynamic threshold for shared buffers, 1998, with a factor of one.)
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from app.ledger.refusals import Overloaded


class Sized(Protocol):
    """What can wait: it belongs to an organization, has entries, and may have been given up."""

    @property
    def organization_id(self) -> UUID: ...

    @property
    def entries(self) -> int: ...

    @property
    def given_up(self) -> bool: ...


S = TypeVar("S", bound=Sized)


@dataclass(slots=True)
class _Line(Generic[S]):
    waiting: deque[S] = field(default_factory=deque)
    entries: int = 0


@dataclass(slots=True)
class FairQueue(Generic[S]):
    """What is waiting, at most `max_entries` in all."""

    max_entries: int
    entries: int = 0
    _lines: dict[UUID, _Line[S]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[S]:
        for line in self._lines.values():
            yield from line.waiting

    def put(self, item: S) -> None:
        """Append. Raises Overloaded where there is no room left for the organization.

        One that has nothing waiting is never refused while there is any room at all.
        """
        line = self._lines.get(item.organization_id)
        held = 0 if line is None else line.entries
        room = self.max_entries - self.entries
        if room <= 0 or (held and held + item.entries > room):
            raise Overloaded
        if line is None:
            line = self._lines[item.organization_id] = _Line()
        line.waiting.append(item)
        line.entries += item.entries
        self.entries += item.entries

    def take(self, max_entries: int) -> list[S]:
        """The next batch: at least one item, if any waits that was not given up."""
        batch: list[S] = []
        size = 0
        while self._lines:
            organization_id = next(iter(self._lines))
            line = self._lines.pop(organization_id)
            item = line.waiting[0]
            if not item.given_up and batch and size + item.entries > max_entries:
                self._lines = {organization_id: line, **self._lines}  # its turn is still to come
                break
            line.waiting.popleft()
            line.entries -= item.entries
            self.entries -= item.entries
            if not item.given_up:
                batch.append(item)
                size += item.entries
            if line.waiting:
                self._lines[organization_id] = line  # behind the others
        return batch
