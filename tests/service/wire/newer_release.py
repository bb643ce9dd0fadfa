"""What a newer release might send: its messages and cards, with fields and values that this one does not know."""

from collections.abc import Iterator
from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
UNKNOWN_VALUE = 99
UNKNOWN_WORD = "of-a-newer-release"
# Field 500 of each wire type: a number, 64 bits, text, 32 bits.
UNKNOWN_FIELDS = b"\xa0\x1f\x07" + b"\xa1\x1f12345678" + b"\xa2\x1f\x04more" + b"\xa5\x1f1234"


def with_more_fields(message: M) -> M:
    """A copy whose every nested message holds more fields."""
    newer = type(message)()
    newer.CopyFrom(message)
    for each in messages_in(newer):
        each.MergeFromString(UNKNOWN_FIELDS)
    return newer


def messages_in(message: Message) -> Iterator[Message]:
    """A message and all that are set inside it."""
    yield message
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for each in value if field.is_repeated else (value,):
                yield from messages_in(each)


def with_new_values(message: M) -> Iterator[tuple[str, M]]:
    """Copies with one enum value each that nobody knows, by the name of its field."""
    for place, inside in enumerate(messages_in(message)):
        for field, _ in inside.ListFields():
            if field.enum_type is not None:
                newer = type(message)()
                newer.CopyFrom(message)
                setattr(list(messages_in(newer))[place], field.name, UNKNOWN_VALUE)
                yield field.name, newer
