"""Tensors of the Open Inference Protocol: as JSON, or as bytes behind the JSON (the binary extension)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from lexiseg_service.errors import InvalidValue

Datatype = Literal["BYTES", "FP32", "INT32"]
DTYPES: dict[Datatype, Any] = {"FP32": np.dtype("<f4"), "INT32": np.dtype("<i4")}
LENGTH = struct.Struct("<I")  # in front of each element of BYTES


class InputTensor(BaseModel):
    """One input; its data, or how many bytes of it follow."""

    name: str
    datatype: str
    shape: list[int] = Field(max_length=8)
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}

    @property
    def binary_size(self) -> int | None:
        """Bytes behind the JSON that are its data."""
        size = self.parameters.get("binary_data_size")
        return size if isinstance(size, int) and size >= 0 else None


class OutputTensor(NamedTuple):
    """One output: strings or bytes of BYTES, or numbers."""

    name: str
    datatype: Datatype
    shape: list[int]
    values: Sequence[bytes] | NDArray[Any]

    def raw(self) -> bytes:
        """Row-major, little-endian; each element of BYTES with its length in front."""
        if self.datatype == "BYTES":
            return b"".join(LENGTH.pack(len(value)) + value for value in self.values)
        return np.ascontiguousarray(self.values, DTYPES[self.datatype]).tobytes()

    def listed(self) -> list[Any]:
        """Flat, as JSON has it."""
        if self.datatype == "BYTES":
            return [bytes(value).decode() for value in self.values]
        flat: list[Any] = np.asarray(self.values, DTYPES[self.datatype]).reshape(-1).tolist()
        return flat


def elements(raw: bytes, field: str, most: int) -> list[bytes]:
    """The elements of a tensor of BYTES.

    Raises:
        InvalidValue: their lengths do not fill it, or they are more than `most`.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(raw):
        if len(parts) == most:
            raise InvalidValue.of(field, f"more than {most} elements", f"at most {most}")
        if at + LENGTH.size > len(raw):
            raise InvalidValue.of(field, f"{len(raw)} bytes", "elements with their lengths in front, to the last byte")
        (length,) = LENGTH.unpack_from(raw, at)
        at += LENGTH.size
        if at + length > len(raw):
            raise InvalidValue.of(field, f"an element of {length} bytes", f"at most the {len(raw) - at} that are left")
        parts.append(raw[at : at + length])
        at += length
    return parts


def strings(data: list[Any], field: str) -> list[str]:
    """The elements of a tensor of BYTES in JSON, however deep its lists are.

    Raises:
        InvalidValue: one is no string.
    """
    flat: list[str] = []
    for entry in data:
        if isinstance(entry, list):
            flat += strings(entry, field)
        elif isinstance(entry, str):
            flat.append(entry)
        else:
            raise InvalidValue.of(field, entry, "strings")
    return flat
