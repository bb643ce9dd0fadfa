"""Bodies of the REST protocol's requests: JSON, with tensors in it or as bytes behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, Field

from lexiseg_service.adapters.kserve.elements import strings, unpacked
from lexiseg_service.adapters.kserve.inputs import Input, Inputs, inputs_of, most_of
from lexiseg_service.adapters.kserve.tensors import InputTensor, OutputTensor
from lexiseg_service.errors import MalformedRequest
from lexiseg_service.question.findings import validate
from lexiseg_service.question.json_text import parse_object
from lexiseg_service.settings import Limits

HEADER = "inference-header-content-length"


class WantedOutput(BaseModel):
    """An output by name, and whether as bytes."""

    name: str
    parameters: dict[str, Any] = {}


class Infer(BaseModel):
    """The JSON of a request."""

    id: str = ""
    inputs: list[InputTensor] = Field(fail_fast=True)
    outputs: list[WantedOutput] = Field([], fail_fast=True)
    parameters: dict[str, Any] = {}

    def raw_among(self, outputs: Iterable[OutputTensor]) -> set[str]:
        """Names of the outputs that go as bytes: those that say so, or all where the request does."""
        by_default = bool(self.parameters.get("binary_data_output"))
        if self.outputs:
            return {output.name for output in self.outputs if output.parameters.get("binary_data", by_default)}
        return {output.name for output in outputs} if by_default else set()


def read(content: bytes, header: str | None, limits: Limits) -> tuple[Infer, Inputs]:
    """The JSON, and the tensors in it or behind it."""
    if header is not None and not (header.isascii() and header.isdigit() and int(header) <= len(content)):
        raise MalformedRequest(f"{HEADER} {header[:20]!r}; expected at most the body's {len(content)} bytes")
    length = len(content) if header is None else int(header)
    asked = validate(Infer, parse_object(content[:length], limits))
    return asked, inputs_of(_tensors(asked, content[length:], limits))


def _tensors(asked: Infer, behind: bytes, limits: Limits) -> Iterator[Input]:
    at = 0
    for tensor in asked.inputs:
        field, size = f"inputs.{tensor.name}", tensor.binary_size
        most = most_of(tensor.name, tensor.datatype, limits)
        parts: list[bytes] | list[str]
        if size is None:
            parts = strings(tensor.data or [], field)
        else:
            parts = unpacked(behind[at : at + size], field, most)
            at += size
        yield Input(tensor.name, tensor.datatype, tensor.shape, parts)
