"""Convert protobuf messages from and to dataclasses or JSON values, by the names of their fields.

    object -> write -> message -> read -> values by field name -> the object that `kinds` make of them

A message and its counterpart use the same field names, so that only the differences have to be written out:

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
from typing import Any, NamedTuple, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
# By the name of a message type: makes an object of its fields, passed as keyword arguments.
Kinds = Mapping[str, Callable[..., Any]]


class _Field(NamedTuple):
    """A field of a message type; `message` or `enum` is the type of its values, if it is one of these."""

    name: str
    repeated: bool
    message: Descriptor | None
    enum: EnumDescriptor | None


def write(kind: type[M], source: Any, **others: Any) -> M:
    """A message of an object; `others` are values of fields in place of the object's own."""
    return kind(**arguments(kind.DESCRIPTOR, source, **others))  # type: ignore[arg-type]  # one class of two names


def arguments(kind: Descriptor, source: Any, **others: Any) -> dict[str, Any]:
    """Keyword arguments of a message's constructor, as for `write`; nested messages may be such dicts, too.

    `source` may be a tuple or list of the values of the fields, or of the items of the first field if it is repeated.
    """
    fields, _ = _fields(kind)
    if isinstance(source, (tuple, list)):
        by_name = {fields[0].name: source}
        if not fields[0].repeated:
            by_name = {field.name: value for field, value in zip(fields, source, strict=True)}
        source, others = None, by_name | others
    values = {}
    for name, repeated, message, enum in fields:
        value = others[name] if name in others else getattr(source, name, None)
        if value is not None:
            plain = message is None and enum is None
            values[name] = value if plain else _argument(repeated, message, enum, value)
    return values


def _argument(repeated: bool, kind: Descriptor | None, enum: EnumDescriptor | None, value: Any) -> Any:
    if kind is None:
        return value if enum is None else name_of(enum, value)
    if repeated:
        return [each if isinstance(each, (Message, dict)) else arguments(kind, each) for each in value]
    return value if isinstance(value, (Message, dict)) else arguments(kind, value)


def read(message: Message, kinds: Kinds, names: Container[str] | None = None) -> dict[str, Any]:
    """The values of a message by field name, of all fields or the ones in `names`; `kinds` convert nested messages."""
    fields, absent = _fields(message.DESCRIPTOR)
    values = absent.copy()
    for descriptor, value in message.ListFields():
        name, repeated, nested, enum = fields[descriptor.index]
        if names is not None and name not in names:
            continue
        if nested is not None:
            make = kinds[nested.name]
            value = tuple([make(**read(each, kinds)) for each in value]) if repeated else make(**read(value, kinds))
        elif repeated:
            value = tuple(value if enum is None else [word_of(enum, number) for number in value])
        elif enum is not None:
            value = word_of(enum, value)
        values[name] = value
    return values if names is None else {name: value for name, value in values.items() if name in names}


def build(message: Message, kinds: Kinds) -> Any:
    """The object that `kinds` make of a message."""
    return kinds[message.DESCRIPTOR.name](**read(message, kinds))


def row(**values: Any) -> tuple[Any, ...]:
    """The tuple of a message's values: the kind of messages such as Size and Box."""
    return tuple(values.values())


def word_of(enum: EnumDescriptor, number: int) -> str:
    """The word of an enum value, such as "semantic"; the digits of a value that only a newer release knows.

    No value has a word of digits, so `str.isdecimal` finds them.
    """
    value = enum.values_by_number.get(number)
    return str(number) if value is None else value.name.removeprefix(_prefix(enum)).lower()


def name_of(enum: EnumDescriptor, word: str) -> str:
    """The name of an enum value, such as TASK_SEMANTIC, as message constructors take it."""
    return _prefix(enum) + word.upper()


@cache
def _fields(kind: Descriptor) -> tuple[tuple[_Field, ...], dict[str, Any]]:
    """The fields by their index, and the values of fields that are read although they are not in a message."""
    fields = tuple(_Field(field.name, field.is_repeated, field.message_type, field.enum_type) for field in kind.fields)
    absent = {
        field.name: () if field.is_repeated else field.default_value
        for field in kind.fields
        if (not field.has_presence and field.enum_type is None) or field.is_repeated
    }
    return fields, absent


@cache
def _prefix(enum: EnumDescriptor) -> str:
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
