"""Values: data that nobody changes, compared by content.

It is mypy that sees to it. Python itself could (`dataclass(frozen=True)`), but only by making each
field of each new object four times as expensive as it is, and a posting makes some twenty objects:
that was a tenth of what a posting costs.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(kind: type[T]) -> type[T]:
    """Make a class one of values."""
    return dataclass(slots=True, unsafe_hash=True)(kind)
