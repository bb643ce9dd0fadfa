"""Protobuf messages from objects and back, by the names of their fields.

A message and its counterpart, a dataclass or JSON, give the same names to the same things, so that only what differs
has to be written out:

    field of a message            value of an object
    optional and not set          None; left out when it is read
    enum, as TASK_SEMANTIC        its word, as "semantic"; unspecified is left out when it is read
    repeated                      tuple
    message                       object with attributes of the names of its fields
    message, as Size or Box       tuple of the values in the order of the fields
    message, as Words or Hole     the list in it
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
# By the name of a message's type: what makes an object of its fields, which are the keyword arguments.
Kinds = Mapping[str, Callable[..., Any]]
_Field = tuple[str, bool, bool, Descriptor | None, EnumDescriptor | None]  # name, is optional, is repeated, its type


def write(kind: type[M], source: Any, **others: Any) -> M:
    """A message of an object; `others` are values of fields in place of the object's own."""
    return kind(**arguments(kind.DESCRIPTOR, source, **others))  # type: ignore[arg-type]  # one class of two names


def read(message: Message, kinds: Kinds, names: Container[str] | None = None) -> dict[str, Any]:
    """The fields of a message by name, all or those of `names`; of messages in them `kinds` make objects."""
    values: dict[str, Any] = {}
    for name, optional, repeated, kind, enum in _fields(message.DESCRIPTOR):
        if (names is not None and name not in names) or (optional and not message.HasField(name)):
            continue
        value = getattr(message, name)
        if kind is not None:
            make = kinds[kind.name]
            value = tuple([make(**read(each, kinds)) for each in value]) if repeated else make(**read(value, kinds))
        elif repeated:
            value = tuple(value)
        elif enum is not None:
            if not value:
                continue
            value = word_of(enum, value)
        values[name] = value
    return values


def made(message: Message, kinds: Kinds) -> Any:
    """The object that `kinds` make of a message."""
    return kinds[message.DESCRIPTOR.name](**read(message, kinds))


def row(**values: Any) -> tuple[Any, ...]:
    """A kind of message that is a tuple of its values."""
    return tuple(values.values())


def word_of(enum: EnumDescriptor, number: int) -> str:
    """The word of a number; of one that only a newer release knows, its digits."""
    value = enum.values_by_number.get(number)
    return str(number) if value is None else value.name.removeprefix(_prefix(enum)).lower()


def name_of(enum: EnumDescriptor, word: str) -> str:
    """The name of a word in an enum, as constructors of messages take it."""
    return _prefix(enum) + word.upper()


@cache
def _fields(kind: Descriptor) -> tuple[_Field, ...]:
    return tuple(
        (field.name, field.has_presence, field.is_repeated, field.message_type, field.enum_type)
        for field in kind.fields
    )


@cache
def _prefix(enum: EnumDescriptor) -> str:
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")


def arguments(kind: Descriptor, source: Any, **others: Any) -> dict[str, Any]:
    """As `write`, the arguments of the message's constructor, which takes them for messages in a message, too."""
    fields = _fields(kind)
    if not isinstance(source, (tuple, list)):
        values = {field[0]: getattr(source, field[0], None) for field in fields}
    elif fields[0][2]:
        values = {fields[0][0]: source}
    else:
        values = {field[0]: value for field, value in zip(fields, source, strict=True)}
    values |= others
    return {
        name: value if nested is None and enum is None else _argument(repeated, nested, enum, value)
        for name, _, repeated, nested, enum in fields
        if (value := values[name]) is not None
    }


def _argument(repeated: bool, kind: Descriptor | None, enum: EnumDescriptor | None, value: Any) -> Any:
    if kind is None:
        return value if enum is None else name_of(enum, value)
    if repeated:
        return [each if isinstance(each, (Message, dict)) else arguments(kind, each) for each in value]
    return value if isinstance(value, (Message, dict)) else arguments(kind, value)
