"""Scalars of our own, where the usual ones would take or give what is not exact.

`Amount` never meets a float; `DateTime` never lacks an offset; `Date` is a
day, of no time zone; `Sequence` is a counter in a string
because it may pass 2^31; `JSON` is an object.
"""

import re
from datetime import UTC, date, datetime
from typing import Any, NewType

from graphql import (
    BooleanValueNode,
    FloatValueNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
    ValueNode,
    VariableNode,
)
from strawberry import scalar
from strawberry.types.scalar import ScalarDefinition

from app.api.errors import Code, CodedError
from app.ledger.amounts import parse_amount

Amount = NewType("Amount", int)
DateTime = NewType("DateTime", datetime)
Date = NewType("Date", date)
Sequence = NewType("Sequence", int)
JSON = NewType("JSON", dict[str, Any])

MAX_SEQUENCE = 2**63 - 1

_SEQUENCE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def _bad(message: str) -> CodedError:
    return CodedError(Code.BAD_USER_INPUT, message)


def optional_amount(amount: int | None) -> Amount | None:
    """An amount that may be missing."""
    return None if amount is None else Amount(amount)


def _text(value: object, kind: str) -> str:
    if not isinstance(value, str):
        raise _bad(f"{kind} is written as a string.")
    return value


def _parse_amount(value: object) -> Amount:
    try:
        return Amount(parse_amount(_text(value, "Amount")))
    except ValueError as fault:
        raise _bad(f"Amount: {fault}.") from None


def _parse_sequence(value: object) -> Sequence:
    text = _text(value, "Sequence")
    if _SEQUENCE.fullmatch(text) is None or int(text) > MAX_SEQUENCE:
        raise _bad("Sequence: a whole number from 0 to 2^63 - 1 in a string.")
    return Sequence(int(text))


def _parse_date_time(value: object) -> DateTime:
    match = _DATE_TIME.fullmatch(_text(value, "DateTime"))
    if match is None:
        raise _bad("DateTime: RFC 3339 with an offset, such as 2026-01-31T12:00:00Z or …+02:00.")
    day, time, fraction, offset = match.groups()
    offset = "+00:00" if offset in "Zz" else offset
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{(fraction or '')[:7]}{offset}")
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _bad("DateTime: there is no such date or time.") from None
    if not EARLIEST <= moment < LATEST:
        raise _bad("DateTime: from 1900 up to 2200.")
    return DateTime(moment)


def _parse_date(value: object) -> Date:
    match = _DATE.fullmatch(_text(value, "Date"))
    try:
        day = date.fromisoformat(match[0] if match else "")
    except ValueError:
        raise _bad("Date: a day of the calendar such as 2026-01-31.") from None
    if not EARLIEST.date() <= day < LATEST.date():
        raise _bad("Date: from 1900 up to 2200.")
    return Date(day)


def serialize_date_time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _parse_json(value: object) -> JSON:
    if not isinstance(value, dict):
        raise _bad("JSON: an object.")
    return JSON(value)


def _literal(node: ValueNode, variables: Any = None) -> Any:  # noqa: PLR0911  one a kind of node
    match node:
        case ObjectValueNode():
            return {
                field.name.value: _literal(field.value, variables)
                for field in node.fields
                if not _left_out(field.value, variables)
            }
        case ListValueNode():
            return [_literal(item, variables) for item in node.values]
        case StringValueNode() | BooleanValueNode():
            return node.value
        case IntValueNode():
            return int(node.value)
        case FloatValueNode():
            return float(node.value)
        case NullValueNode():
            return None
        case VariableNode():
            return (variables or {}).get(node.name.value)
    raise _bad("JSON: a text stands in quotes.")


def _left_out(node: ValueNode, variables: Any) -> bool:
    """A variable without a value leaves its field out, as it does in an input object."""
    return isinstance(node, VariableNode) and node.name.value not in (variables or {})


def _parse_json_literal(node: ValueNode, variables: Any = None) -> JSON:
    return _parse_json(_literal(node, variables))


SCALARS: dict[object, ScalarDefinition] = {
    Amount: scalar(
        name="Amount",
        description=(
            'A whole number of minor units (cents of a dollar) in a string: "1250", "-300".'
            " Exact: up to 10^36 when sent, without limit when received. One number has one"
            " spelling: no plus sign, leading zero, fraction, exponent or space."
        ),
        parse_value=_parse_amount,
        serialize=str,
    ),
    DateTime: scalar(
        name="DateTime",
        description=(
            "A moment in RFC 3339 with an offset: 2026-01-31T12:00:00Z. Kept to the microsecond,"
            " returned in UTC, from 1900 up to 2200."
        ),
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
        parse_value=_parse_date_time,
        serialize=serialize_date_time,
    ),
    Date: scalar(
        name="Date",
        description="A day of the calendar: 2026-01-31, from 1900 up to 2200.",
        parse_value=_parse_date,
        serialize=date.isoformat,
    ),
    Sequence: scalar(
        name="Sequence",
        description='A counter in a string, because it may pass 2^31: "1", "2", "3".',
        parse_value=_parse_sequence,
        serialize=str,
    ),
    JSON: scalar(
        name="JSON",
        description=(
            "A JSON object of at most 16 KiB and 8 levels. Numbers stay below 2^63 in size; write"
            " larger ones as strings."
        ),
        parse_value=_parse_json,
        parse_literal=_parse_json_literal,
        serialize=lambda value: value,
    ),
}
"""For strawberry's `scalar_map`."""
