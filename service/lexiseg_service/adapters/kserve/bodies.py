"""Bodies of the REST protocol: JSON, with tensors in it or as bytes behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from lexiseg_service.adapters.answering import as_json
from lexiseg_service.adapters.kserve.meaning import Input, Inputs, inputs_of, most_of
from lexiseg_service.adapters.kserve.tensors import InputTensor, OutputTensor, elements, strings
from lexiseg_service.errors import MalformedRequest
from lexiseg_service.question.findings import validate
from lexiseg_service.question.json_text import parse_json
from lexiseg_service.settings import Limits

HEADER = "inference-header-content-length"


class WantedOutput(BaseModel):
    """An output by name, and whether as bytes."""

    name: str
    parameters: dict[str, Any] = {}


class Infer(BaseModel):
    """The JSON of a request."""

    id: str = ""
    inputs: list[InputTensor]
    outputs: list[WantedOutput] = []
    parameters: dict[str, Any] = {}


def read(content: bytes, header: str | None, limits: Limits) -> tuple[Infer, Inputs]:
    """The JSON, and the tensors in it or behind it."""
    if header is not None and not (header.isascii() and header.isdigit() and int(header) <= len(content)):
        raise MalformedRequest(f"{HEADER} {header[:20]!r}; expected at most the body's {len(content)} bytes")
    length = len(content) if header is None else int(header)
    parsed = parse_json(content[:length], limits)
    if not isinstance(parsed, dict):
        raise MalformedRequest(f"the JSON body is a {type(parsed).__name__}; expected an object")
    asked = validate(Infer, parsed)
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
            parts = elements(behind[at : at + size], field, most)
            at += size
        yield Input(tensor.name, tensor.datatype, tensor.shape, parts)


def written(head: dict[str, Any], outputs: list[OutputTensor], raw: set[str]) -> Response:
    """An answer, the outputs named in `raw` as bytes behind its JSON."""
    described, tails = [], []
    for output in outputs:
        plain = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if output.name in raw:
            tails.append(output.raw())
            described.append({**plain, "parameters": {"binary_data_size": len(tails[-1])}})
        else:
            described.append({**plain, "data": output.listed()})
    said = {**{name: value for name, value in head.items() if value is not None}, "outputs": described}
    if not tails:
        return as_json(said)
    content = orjson.dumps(said)
    headers = {"Inference-Header-Content-Length": str(len(content))}
    return Response(content + b"".join(tails), headers=headers, media_type="application/octet-stream")
