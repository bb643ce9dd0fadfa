"""The Open Inference Protocol over gRPC: `inference.GRPCInferenceService` beside our own service, in the same frame."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from fastapi import FastAPI

from lexiseg_service.adapters.kserve.meaning import (
    Input,
    fields_of,
    inputs_of,
    model_metadata,
    most_of,
    named,
    outputs_of,
    server_metadata,
)
from lexiseg_service.adapters.kserve.tensors import DTYPES, OutputTensor, elements
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.rpc.asking import counted, refuse_burden
from lexiseg_service.gateway.rpc.server import MoreService
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.asked import Asked
from lexiseg_service.question.findings import validate
from lexiseg_service.question.schemas import Question
from lexiseg_service.settings import Limits, Settings
from lexiseg_service.stubs import open_inference_pb2 as pb
from lexiseg_service.stubs.open_inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from lexiseg_service.watch.metrics import Metrics

if TYPE_CHECKING:  # generic for the type checker alone
    Context = grpc.aio.ServicerContext[Any, Any]
SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
FIELDS = {"INT32": "int_contents", "FP32": "fp32_contents", "BYTES": "bytes_contents"}


def service(app: FastAPI, settings: Settings) -> MoreService:
    """The service over an application's use case."""
    servicer = Servicer(app.state.use_case, settings.limits, app.state.metrics)
    return MoreService(SERVICE, lambda server: add_GRPCInferenceServiceServicer_to_server(servicer, server))


class Servicer(GRPCInferenceServiceServicer):
    """`inference.GRPCInferenceService`."""

    def __init__(self, use_case: UseCase, limits: Limits, metrics: Metrics) -> None:
        self._use_case = use_case
        self._limits = limits
        self._metrics = metrics

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """That the process answers."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """Whether questions are answered."""
        return pb.ServerReadyResponse(ready=self._use_case.health().ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Whether a model is loaded."""
        return pb.ModelReadyResponse(ready=self._use_case.model(named(request.name, request.version))["loaded"])

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        """Who answers."""
        return pb.ServerMetadataResponse(**server_metadata())

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        """A model's inputs and outputs."""
        return pb.ModelMetadataResponse(**model_metadata(self._use_case.model(named(request.name, request.version))))

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """Segments of one image; tensors go as they came, raw or by their type."""
        async with counted(context, self._metrics) as caller:
            asked = await asyncio.to_thread(_asked_of, request, self._limits)
            head = pb.ModelInferResponse(
                model_name=request.model_name, model_version=request.model_version, id=request.id
            )
            wanted, raw = [output.name for output in request.outputs], bool(request.raw_input_contents)
            del request  # with its own copy of the image
            answer = await self._use_case.segment(asked, caller)
            head.parameters["digest"].string_param = answer.model_digest
            for output in outputs_of(answer, wanted):
                _add(head, output, raw)
            refuse_burden(head, self._limits)
        return head


def _asked_of(request: pb.ModelInferRequest, limits: Limits) -> Asked:
    """An image and a question.

    Raises:
        InvalidValue: a tensor or a field is missing or out of range.
    """
    image, url, classes = inputs_of(_tensors(request, limits))
    fields = fields_of(_values(request.parameters), classes, limits)
    fields["model"] = named(request.model_name, request.model_version) or None
    return Asked(image, validate(Question, fields), image_url=url)


def _tensors(request: pb.ModelInferRequest, limits: Limits) -> Iterator[Input]:
    """The inputs with their elements, which stand in one place or the other.

    Raises:
        InvalidValue: they stand in both, or in neither.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidValue.of(
            "raw_input_contents", f"{len(raw)} entries", f"one for each of {len(request.inputs)} inputs"
        )
    for place, tensor in enumerate(request.inputs):
        field, most = f"inputs.{tensor.name}", most_of(tensor.name, tensor.datatype, limits)
        typed = tensor.contents.bytes_contents
        if raw and tensor.HasField("contents"):
            raise InvalidValue.of(field, "contents beside raw_input_contents", "one of the two")
        if len(typed) > most:
            raise InvalidValue.of(field, f"{len(typed)} elements", f"at most {most}")
        parts = elements(raw[place], field, most) if raw else list(typed)
        yield Input(tensor.name, tensor.datatype, tensor.shape, parts)


def _values(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    kinds = {name: parameter.WhichOneof("parameter_choice") for name, parameter in parameters.items()}
    return {name: getattr(parameters[name], kind) for name, kind in kinds.items() if kind is not None}


def _add(answer: pb.ModelInferResponse, output: OutputTensor, raw: bool) -> None:
    described = answer.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
    if raw:
        answer.raw_output_contents.append(output.raw())
        return
    values: Any = output.values
    if output.datatype != "BYTES":
        values = np.asarray(values, DTYPES[output.datatype]).reshape(-1).tolist()
    getattr(described.contents, FIELDS[output.datatype]).extend(values)
