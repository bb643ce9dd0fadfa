"""Tensors of the Open Inference Protocol: as JSON, or as bytes behind the JSON (the binary extension)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from lexiseg_service.adapters.kserve.elements import packed

MOST_DIMENSIONS = 8
Datatype = Literal["BYTES", "FP32", "INT32"]
DTYPES: dict[Datatype, Any] = {"FP32": np.dtype("<f4"), "INT32": np.dtype("<i4")}


class InputTensor(BaseModel):
    """One input; its data, or how many bytes of it follow."""

    name: str
    datatype: str
    shape: list[int] = Field(max_length=MOST_DIMENSIONS)
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
            return packed(self.values)
        return np.ascontiguousarray(self.values, DTYPES[self.datatype]).tobytes()

    def listed(self) -> list[Any]:
        """Flat, as JSON has it."""
        if self.datatype == "BYTES":
            return [bytes(value).decode() for value in self.values]
        flat: list[Any] = np.asarray(self.values, DTYPES[self.datatype]).reshape(-1).tolist()
        return flat
