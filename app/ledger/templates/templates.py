"""Transaction templates: which entries a business event makes, said once, by code and version.

A definition has typed parameters, named values, and entries whose amounts are expressions over both
(see `expressions.py`). It never changes: another definition under its code is the next version.

What is checked when. On creation: names, kinds, bounds and defaults; that every expression can be
read and every name in it is known; that there is a debit and a credit. On use: the parameters, each
against its kind and bounds; that every amount has a value. That debits equal credits cannot be told
on creation, because parameters may depend on each other (gross = net + tax) and currencies are the
accounts'; it is the ordinary check of a posting, which no template goes round.

An entry that comes to 0 is left out, so one template serves with and without a fee; one that comes
to less than 0 is refused, for its direction would be wrong.

A posting from a template is identified by what the client sent: the code, the version if it named
one, and the parameters as given. So a request that is sent again gets the first result even though
the code has a newer version by then, or was archived. For the same reason whatever the template has
to refuse is raised in the decision, after the idempotency key was looked for.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, field
from enum import Enum
from typing import Any
from uuid import UUID

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Account, Scope
from app.ledger.amounts import MAX_AMOUNT, parse_amount
from app.ledger.refusals import AccountNotFound, Path, Refusal, ValidationFailed
from app.ledger.templates.expressions import NAME, ExpressionFault, Name, compiled, evaluate
from app.ledger.transactions.commands import (
    MAX_DESCRIPTION_LENGTH,
    MAX_KEY_LENGTH,
    MAX_METADATA_NUMBER,
    EntryDraft,
    Metadata,
    PostTransaction,
    check_key,
    check_metadata,
    check_text,
)
from app.ledger.values import immutable

MAX_PARAMETERS = 50
MAX_VALUES = 50
MAX_TEMPLATE_ENTRIES = 100

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_PLACE = re.compile(r"\{([^{}]*)\}")

ReadAccount = Callable[[str], UUID | None]
"""Reads an account's id as clients write it; None where it is none."""


class ParameterKind(Enum):
    """AMOUNT and INTEGER are numbers; an AMOUNT is not below zero unless its minimum is."""

    AMOUNT = "amount"
    INTEGER = "integer"
    ACCOUNT = "account"
    TEXT = "text"

    @property
    def numeric(self) -> bool:
        return self in (ParameterKind.AMOUNT, ParameterKind.INTEGER)


@immutable
class Parameter:
    """A parameter must be given unless it has a default, written as a client would write it."""

    name: str
    kind: ParameterKind
    description: str | None = None
    default: str | None = None
    minimum: int | None = None
    maximum: int | None = None


@immutable
class Value:
    """A name for an expression, for use in later values and in entries."""

    name: str
    amount: str


@immutable
class TemplateEntry:
    """An entry to be: its account by id, by an external id with {parameters}, or by a parameter."""

    direction: Direction
    amount: str
    account_id: UUID | None = None
    external_id: str | None = None
    parameter: str | None = None
    metadata: Metadata = field(default_factory=dict)


@immutable
class Drafted:
    """An entry that a template comes to: its account is an id, or an external id to be looked up.

    `place` is the input that the account came from.
    """

    account: UUID | str
    direction: Direction
    amount: int
    metadata: Metadata
    place: Path


@immutable
class Expansion:
    """What a template comes to with some parameters; `params` has all of them, as texts."""

    entries: tuple[Drafted, ...]
    params: Mapping[str, str]


@immutable
class Definition:
    """What a version of a template says."""

    parameters: tuple[Parameter, ...]
    values: tuple[Value, ...]
    entries: tuple[TemplateEntry, ...]

    def check(self, read_account: ReadAccount) -> None:
        """Raise ValidationFailed where it is wrong by itself."""
        _check_number("parameters", self.parameters, 0, MAX_PARAMETERS)
        _check_number("values", self.values, 0, MAX_VALUES)
        _check_number("entries", self.entries, 2, MAX_TEMPLATE_ENTRIES)
        kinds: dict[str, ParameterKind] = {}
        for index, parameter in enumerate(self.parameters):
            path = ("input", "parameters", str(index))
            _check_name(parameter.name, kinds, (*path, "name"))
            _check_parameter(parameter, read_account, path)
            kinds[parameter.name] = parameter.kind
        for index, value in enumerate(self.values):
            path = ("input", "values", str(index))
            _check_name(value.name, kinds, (*path, "name"))
            _check_expression(value.amount, kinds, (*path, "amount"))
            kinds[value.name] = ParameterKind.INTEGER
        for index, entry in enumerate(self.entries):
            path = ("input", "entries", str(index))
            _check_expression(entry.amount, kinds, (*path, "amount"))
            _check_account(entry, kinds, path)
            check_metadata(entry.metadata, (*path, "metadata"))
        if len({entry.direction for entry in self.entries}) == 1:
            raise ValidationFailed(
                message="A template has entries on both sides.", path=("input", "entries")
            )

    def expand(self, given: Mapping[str, Any], read_account: ReadAccount) -> Expansion:
        """The entries that it comes to. Raises ValidationFailed under input.params."""
        known = {parameter.name for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise _wrong_param(name, "the template has no such parameter")
        bound = {p.name: _read_given(p, given, read_account) for p in self.parameters}
        numbers = {name: value for name, value in bound.items() if isinstance(value, int)}
        for value in self.values:
            numbers[value.name] = _value_of(f"Value {value.name}", value.amount, numbers)
        drafted = tuple(self._drafted(bound, numbers))
        if len(drafted) < 2:
            raise ValidationFailed(
                message="With these parameters fewer than 2 entries have an amount above 0.",
                path=("input", "params"),
            )
        params = {p.name: _text_of(p, bound[p.name], given) for p in self.parameters}
        return Expansion(drafted, params)

    def _drafted(
        self, bound: Mapping[str, int | str | UUID], numbers: Mapping[str, int]
    ) -> Iterator[Drafted]:
        for number, entry in enumerate(self.entries, 1):
            amount = _value_of(f"Entry {number}", entry.amount, numbers)
            if amount < 0:
                raise ValidationFailed(
                    message=f"Entry {number} of the template comes to {amount}, below 0.",
                    path=("input", "params"),
                )
            if amount:
                account, place = _account_of(entry, bound)
                yield Drafted(account, entry.direction, amount, entry.metadata, place)

    def as_json(self) -> dict[str, Any]:
        """The definition as it is stored: what is not given is left out, numbers are texts."""
        return {
            "parameters": [
                _given(
                    name=p.name,
                    kind=p.kind.value,
                    description=p.description,
                    default=p.default,
                    minimum=None if p.minimum is None else str(p.minimum),
                    maximum=None if p.maximum is None else str(p.maximum),
                )
                for p in self.parameters
            ],
            "values": [{"name": value.name, "amount": value.amount} for value in self.values],
            "entries": [
                _given(
                    direction=entry.direction.value,
                    amount=entry.amount,
                    account_id=entry.account_id and entry.account_id.hex,
                    external_id=entry.external_id,
                    parameter=entry.parameter,
                    metadata=entry.metadata or None,
                )
                for entry in self.entries
            ],
        }

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "Definition":
        """The definition that was stored."""
        return cls(
            tuple(
                Parameter(
                    **{
                        **parameter,
                        "kind": ParameterKind(parameter["kind"]),
                        "minimum": _number(parameter.get("minimum")),
                        "maximum": _number(parameter.get("maximum")),
                    }
                )
                for parameter in stored["parameters"]
            ),
            tuple(Value(**value) for value in stored["values"]),
            tuple(
                TemplateEntry(
                    **{
                        **entry,
                        "direction": Direction(entry["direction"]),
                        "account_id": entry.get("account_id") and UUID(entry["account_id"]),
                    }
                )
                for entry in stored["entries"]
            ),
        )


@immutable
class CreateTemplate:
    """Make the first version of a template, or the next one."""

    scope: Scope
    template_id: UUID
    ledger_id: UUID
    code: str
    description: str | None
    definition: Definition

    def check(self, read_account: ReadAccount) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        checked_code(self.code)
        check_text("description", self.description, MAX_DESCRIPTION_LENGTH, blank=True)
        self.definition.check(read_account)


@immutable
class TemplateUse:
    """The version of a template that a posting is made from, and its parameters, all as texts."""

    version: int
    params: Mapping[str, str]


@immutable
class PostFromTemplate(PostTransaction):
    """A posting whose entries a template came to, or the refusal that it came to instead.

    `code`, `version` and `params` are what the client sent; `places` has, for each entry, the input
    that its account came from.
    """

    _: KW_ONLY
    code: str
    version: int | None
    params: Mapping[str, Any]
    use: TemplateUse | None = None
    places: tuple[Path, ...] = ()
    refusal: Refusal | None = None

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        check_key(self.idempotency_key)
        check_text("externalId", self.external_id, MAX_KEY_LENGTH)
        check_text("description", self.description, MAX_DESCRIPTION_LENGTH, blank=True)
        check_metadata(self.metadata, ("input", "metadata"))
        check_params(self.params)

    def resolved(self, accounts: Mapping[UUID, Account]) -> PostTransaction:  # noqa: ARG002
        """The posting itself. Raises what the template came to instead."""
        if self.refusal is not None:
            raise self.refusal
        return self

    def placed(self, path: Path) -> Path:
        """An entry's account came from a parameter or the template, its amount from several."""
        match path:
            case (_, "entries", index, "accountId"):
                return self.places[int(index)]
            case (first, "entries", *_):
                return (first, "params")
        return path

    def _subject(self) -> tuple[str, dict[str, Any]]:
        version = None if self.version is None else str(self.version)
        return "postTemplate", {"code": self.code, "version": version, "params": self.params}


def entries_of(
    expansion: Expansion, found: Mapping[str, UUID]
) -> tuple[tuple[EntryDraft, ...], tuple[Path, ...]]:
    """The entries with their accounts, those by external id as `found`; and their places.

    Raises AccountNotFound.
    """
    drafts = []
    for entry in expansion.entries:
        account_id = entry.account if isinstance(entry.account, UUID) else found.get(entry.account)
        if account_id is None:
            raise AccountNotFound(
                message=f"The ledger has no account with the external id {entry.account!r}.",
                path=entry.place,
            )
        drafts.append(EntryDraft(account_id, entry.direction, entry.amount, entry.metadata))
    return tuple(drafts), tuple(entry.place for entry in expansion.entries)


def checked_code(code: str) -> str:
    """The code, if it can be one. Raises ValidationFailed."""
    if _CODE.fullmatch(code) is None:
        raise ValidationFailed(
            message="A code is a letter or digit and up to 63 of A-Z, a-z, 0-9, '_', '.', '-'.",
            path=("input", "code"),
        )
    return code


def check_params(params: Mapping[str, Any]) -> None:
    """Parameters are few, and each is a text or a whole number."""
    if len(params) > MAX_PARAMETERS:
        raise ValidationFailed(
            message=f"A template has at most {MAX_PARAMETERS} parameters.", path=("input", "params")
        )
    for name, value in params.items():
        if NAME.fullmatch(name) is None:
            raise ValidationFailed(
                message="A name is a letter and up to 63 letters, digits and '_'.",
                path=("input", "params"),
            )
        if isinstance(value, str) and len(value) <= MAX_KEY_LENGTH:
            continue
        if type(value) is int and abs(value) < MAX_METADATA_NUMBER:
            continue
        raise _wrong_param(
            name, f"it is a text of at most {MAX_KEY_LENGTH} characters or a whole number"
        )


def _check_number(name: str, items: Sequence[object], least: int, most: int) -> None:
    if not least <= len(items) <= most:
        raise ValidationFailed(
            message=f"A template has from {least} to {most} {name}.", path=("input", name)
        )


def _check_name(name: str, known: Mapping[str, Any], path: Path) -> None:
    if NAME.fullmatch(name) is None:
        raise ValidationFailed(
            message="A name is a letter and up to 63 letters, digits and '_'.", path=path
        )
    if name in known:
        raise ValidationFailed(message=f"The name {name} is used twice.", path=path)


def _check_parameter(parameter: Parameter, read_account: ReadAccount, path: Path) -> None:
    _check_text(parameter.description, MAX_DESCRIPTION_LENGTH, (*path, "description"), blank=True)
    for name in ("minimum", "maximum"):
        if getattr(parameter, name) is not None and not parameter.kind.numeric:
            raise ValidationFailed(message=f"Only a number has a {name}.", path=(*path, name))
    least, most = _bounds(parameter)
    if least > most:
        raise ValidationFailed(
            message=f"No number is from {least} to {most}.", path=(*path, "maximum")
        )
    if parameter.default is not None:
        try:
            _read(parameter, parameter.default, read_account)
        except ValueError as fault:
            raise ValidationFailed(message=f"{fault}.", path=(*path, "default")) from None


def _check_text(text: str | None, longest: int, path: Path, *, blank: bool = False) -> None:
    try:
        check_text(path[-1], text, longest, blank=blank)
    except ValidationFailed as refusal:
        refusal.path = path
        raise


def _check_expression(text: str, known: Mapping[str, ParameterKind], path: Path) -> None:
    try:
        steps = compiled(text)
    except ExpressionFault as fault:
        raise ValidationFailed(message=str(fault), path=path) from None
    for step in steps:
        if isinstance(step, Name) and not (step.text in known and known[step.text].numeric):
            missing = ExpressionFault(f"there is no number {step.text[:64]}", step.position)
            raise ValidationFailed(message=str(missing), path=path)


def _check_account(entry: TemplateEntry, kinds: Mapping[str, ParameterKind], path: Path) -> None:
    given = [entry.account_id, entry.external_id, entry.parameter]
    if sum(one is not None for one in given) != 1:
        raise ValidationFailed(
            message="An entry has one of accountId, accountExternalId and accountParameter.",
            path=path,
        )
    if entry.parameter is not None and kinds.get(entry.parameter) is not ParameterKind.ACCOUNT:
        raise ValidationFailed(
            message="There is no parameter of this name and the kind ACCOUNT.",
            path=(*path, "accountParameter"),
        )
    if entry.external_id is not None:
        _check_pattern(entry.external_id, kinds, (*path, "accountExternalId"))


def _check_pattern(pattern: str, kinds: Mapping[str, ParameterKind], path: Path) -> None:
    _check_text(pattern, MAX_KEY_LENGTH, path)
    for name in _PLACE.findall(pattern):
        if kinds.get(name) is not ParameterKind.TEXT:
            raise ValidationFailed(
                message=f"There is no parameter {name[:64]!r} of the kind TEXT.", path=path
            )
    if set("{}") & set(_PLACE.sub("", pattern)):
        raise ValidationFailed(message="A brace stands around the name of a parameter.", path=path)


def _bounds(parameter: Parameter) -> tuple[int, int]:
    least = 0 if parameter.kind is ParameterKind.AMOUNT else -MAX_AMOUNT
    return (
        least if parameter.minimum is None else parameter.minimum,
        MAX_AMOUNT if parameter.maximum is None else parameter.maximum,
    )


def _read_given(
    parameter: Parameter, given: Mapping[str, Any], read_account: ReadAccount
) -> int | str | UUID:
    value = given.get(parameter.name, parameter.default)
    if value is None:
        raise _wrong_param(parameter.name, "it must be given")
    try:
        return _read(parameter, value, read_account)
    except ValueError as fault:
        raise _wrong_param(parameter.name, str(fault)) from None


def _read(parameter: Parameter, value: Any, read_account: ReadAccount) -> int | str | UUID:
    """The value of a parameter. Raises ValueError with a message fit for a client."""
    if parameter.kind.numeric:
        number = _read_number(parameter.kind, value)
        least, most = _bounds(parameter)
        if not least <= number <= most:
            raise ValueError(f"it is from {least} to {most}")
        return number
    if not isinstance(value, str):
        raise ValueError("it is a text")  # noqa: TRY004  the client's mistake, not the program's
    if parameter.kind is ParameterKind.TEXT:
        try:
            check_text("it", value, MAX_KEY_LENGTH)
        except ValidationFailed as refusal:
            raise ValueError(refusal.message.rstrip(".")) from None
        return value
    account_id = read_account(value)
    if account_id is None:
        raise ValueError("it is the id of an account")
    return account_id


def _read_number(kind: ParameterKind, value: Any) -> int:
    if kind is ParameterKind.AMOUNT:
        if isinstance(value, str):
            return parse_amount(value)
        raise ValueError('it is a whole number in a string, such as "1250"')
    try:
        return parse_amount(value) if isinstance(value, str) else int(value)
    except ValueError:
        raise ValueError('it is a whole number, or a string of one: 250, or "250"') from None


def _text_of(parameter: Parameter, value: int | str | UUID, given: Mapping[str, Any]) -> str:
    if isinstance(value, UUID):  # as the client wrote it
        return str(given.get(parameter.name, parameter.default))
    return str(value)


def _value_of(what: str, text: str, numbers: Mapping[str, int]) -> int:
    try:
        return evaluate(compiled(text), numbers)
    except ExpressionFault as fault:
        raise ValidationFailed(
            message=f"{what} of the template has no amount. {fault}", path=("input", "params")
        ) from None


def _account_of(
    entry: TemplateEntry, bound: Mapping[str, int | str | UUID]
) -> tuple[UUID | str, Path]:
    if entry.account_id is not None:
        return entry.account_id, ("input", "code")
    if entry.parameter is not None:
        account_id = bound[entry.parameter]
        assert isinstance(account_id, UUID)
        return account_id, ("input", "params", entry.parameter)
    assert entry.external_id is not None
    names = _PLACE.findall(entry.external_id)
    external_id = _PLACE.sub(lambda match: str(bound[match[1]]), entry.external_id)
    return external_id, ("input", "params", names[0]) if names else ("input", "code")


def _wrong_param(name: str, why: str) -> ValidationFailed:
    return ValidationFailed(message=f"{name}: {why}.", path=("input", "params", name))


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
