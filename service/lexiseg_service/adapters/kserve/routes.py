"""The REST routes of the Open Inference Protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.adapters.asking import ask, limits_of
from lexiseg_service.adapters.kserve.meaning import (
    Input,
    Inputs,
    fields_of,
    inputs_of,
    model_metadata,
    most_of,
    named,
    outputs_of,
    server_metadata,
)
from lexiseg_service.adapters.kserve.tensors import InputTensor, OutputTensor, elements, strings
from lexiseg_service.errors import MalformedRequest, NotReady, ServiceError
from lexiseg_service.gateway.rest.asking import use_case_of
from lexiseg_service.question.findings import validate
from lexiseg_service.question.json_text import parse_json
from lexiseg_service.settings import Limits

router = APIRouter(prefix="/v2")
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


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """The protocol's clients look for what is wrong in the field `error`."""
    try:
        yield
    except ServiceError as error:
        error.extra["error"] = error.detail
        raise


@router.get("")
async def server() -> dict[str, Any]:
    """Who answers."""
    return server_metadata("binary_tensor_data")


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """That the process answers; /livez says more."""
    return {"live": True}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, bool]:
    """Whether requests are answered; 503 where not."""
    async with _told():
        health = use_case_of(request).health()
        if not health.ready:
            raise NotReady(health.detail)
        return {"ready": True}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def model(request: Request, name: str, version: str = "") -> dict[str, Any]:
    """A model's inputs and outputs."""
    async with _told():
        return model_metadata(use_case_of(request).model(named(name, version)))


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
async def model_ready(request: Request, name: str, version: str = "") -> dict[str, Any]:
    """Whether a model is loaded; 503 where not."""
    async with _told():
        if not use_case_of(request).model(named(name, version))["loaded"]:
            raise NotReady(f"{name} is not loaded")
        return {"name": name, "ready": True}


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
async def infer(request: Request, name: str, version: str = "") -> Response:
    """Segments of one image. The image is an encoded file: bytes, or base64 in JSON."""
    async with _told():
        limits = limits_of(request)
        length = request.headers.get(HEADER)
        asked, (image, url, classes) = await asyncio.to_thread(_read, await request.body(), length, limits)
        fields = {**fields_of(asked.parameters, classes, limits), "model": named(name, version)}
        answer = await ask(request, fields, image, url)
        outputs = outputs_of(answer, [output.name for output in asked.outputs])
    all_raw = bool(asked.parameters.get("binary_data_output"))
    raw = {output.name for output in asked.outputs if output.parameters.get("binary_data", all_raw)}
    digest = answer.model_digest
    head = {"model_name": name, "model_version": version or None, "id": asked.id, "parameters": {"digest": digest}}
    return _response(head, outputs, {output.name for output in outputs} if all_raw and not asked.outputs else raw)


def _read(content: bytes, header: str | None, limits: Limits) -> tuple[Infer, Inputs]:
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


def _response(head: dict[str, Any], outputs: list[OutputTensor], raw: set[str]) -> Response:
    described, tails = [], []
    for output in outputs:
        plain = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if output.name in raw:
            tails.append(output.raw())
            described.append({**plain, "parameters": {"binary_data_size": len(tails[-1])}})
        else:
            described.append({**plain, "data": output.listed()})
    content = orjson.dumps({**{name: value for name, value in head.items() if value is not None}, "outputs": described})
    if not tails:
        return Response(content, media_type="application/json")
    headers = {"Inference-Header-Content-Length": str(len(content))}
    return Response(content + b"".join(tails), headers=headers, media_type="application/octet-stream")
