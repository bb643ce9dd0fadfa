"""The REST routes of the Open Inference Protocol."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.adapters.asking import ask
from lexiseg_service.adapters.kserve.answers import written
from lexiseg_service.adapters.kserve.bodies import HEADER, read
from lexiseg_service.adapters.kserve.describing import model_metadata, named, server_metadata
from lexiseg_service.adapters.kserve.failing import told
from lexiseg_service.adapters.kserve.outputs import outputs_of
from lexiseg_service.adapters.kserve.parameters import fields_of
from lexiseg_service.adapters.reading import limits_of
from lexiseg_service.errors import NotReady
from lexiseg_service.gateway.rest.asking import use_case_of
from lexiseg_service.gateway.rest.body import parsing_of

router = APIRouter(prefix="/v2")


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
    async with told():
        health = use_case_of(request).health()
        if not health.ready:
            raise NotReady(health.detail)
        return {"ready": True}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def model(request: Request, name: str, version: str = "") -> dict[str, Any]:
    """A model's inputs and outputs."""
    async with told():
        return model_metadata(use_case_of(request).model(named(name, version)))


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
async def model_ready(request: Request, name: str, version: str = "") -> dict[str, Any]:
    """Whether a model is loaded; 503 where not."""
    async with told():
        if not use_case_of(request).model(named(name, version))["loaded"]:
            raise NotReady(f"{name} is not loaded")
        return {"name": name, "ready": True}


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
async def infer(request: Request, name: str, version: str = "") -> Response:
    """Segments of one image. The image is an encoded file: bytes, or base64 in JSON."""
    async with told():
        content, limits = await request.body(), limits_of(request)
        reading = partial(read, content, request.headers.get(HEADER), limits)
        asked, (image, url, classes) = await parsing_of(request).run(len(content), reading)
        fields = {**fields_of(asked.parameters, classes, limits), "model": named(name, version)}
        answer = await ask(request, fields, image, url)
        outputs = outputs_of(answer, [output.name for output in asked.outputs])
    digest = answer.model_digest
    head = {"model_name": name, "model_version": version or None, "id": asked.id, "parameters": {"digest": digest}}
    return written(head, outputs, asked.raw_among(outputs))
