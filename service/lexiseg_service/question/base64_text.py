"""Base64 without Python's lock: with it, 26 MB keep all else in the process waiting for a tenth of a second."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Annotated, Any

import pybase64
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from lexiseg_model.kernel.aside import aside

FOR_ANOTHER = 2**20  # characters, from which on a nice thread decodes them, where there is one
QUAD = 4  # characters that stand for three bytes
MOST_PADDED = 2 * QUAD  # the last of them, and padding behind it that some write though none is due
END = MOST_PADDED + QUAD  # characters in which padding that is due begins
# What browsers put before base64; dropped, as line breaks are.
DATA_URI = re.compile(r"\Adata:[^,]{0,100};base64,")


class Encoded:
    """A field's text of base64 that was decoded where it stood, before it was a text.

    Attributes:
        content: what it stands for.
    """

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __str__(self) -> str:
        return pybase64.b64encode(self.content).decode()

    def __repr__(self) -> str:
        return f"<base64 of {len(self.content):,} bytes>"


class _Either:
    """To pydantic a text, which may have been decoded."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def unless_decoded(value: Any, validate: Callable[[Any], str]) -> str | Encoded:
            return value if isinstance(value, Encoded) else validate(value)

        return core_schema.no_info_wrap_validator_function(
            unless_decoded, core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )


Base64 = Annotated[str | Encoded, _Either]


def decoded(text: str | memoryview) -> bytes:
    """What base64 without line breaks stands for (RFC 4648).

    Args:
        text: of ASCII, or its bytes.

    Raises:
        ValueError: it is none.
    """
    end = bytes(text[-END:]).decode("latin-1") if isinstance(text, memoryview) else text[-END:]
    if len(text) % QUAD == 0 and not end.endswith("=" * (QUAD - 1)):  # as nearly all is
        if len(text) < FOR_ANOTHER:
            return pybase64.b64decode(text, validate=True)
        return aside(pybase64.b64decode, text, validate=True)
    padding = end.find("=")
    n_plain = len(text) - (len(end) - padding if padding >= 0 else 0)
    last = max(0, n_plain - n_plain % QUAD - QUAD)  # with the padding goes what it fills up
    if len(text) - last > MOST_PADDED:
        raise binascii.Error("more padding than can be due")
    return pybase64.b64decode(text[:last], validate=True) + base64.b64decode(text[last:], validate=True)
