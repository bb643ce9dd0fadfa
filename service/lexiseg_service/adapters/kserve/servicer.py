"""The Open Inference Protocol over gRPC: `inference.GRPCInferenceService` beside our own service, in the same frame."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
from fastapi import FastAPI

from lexiseg_client.stubs import open_inference_pb2 as pb
from lexiseg_client.stubs.open_inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from lexiseg_service.adapters.kserve.describing import model_metadata, named, server_metadata
from lexiseg_service.adapters.kserve.messages import add, asked_of
from lexiseg_service.adapters.kserve.outputs import outputs_of
from lexiseg_service.gateway.rpc.asking import counted, refuse_burden
from lexiseg_service.gateway.rpc.server import MoreService
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.settings import Limits, Settings
from lexiseg_service.watch.metrics import Metrics

if TYPE_CHECKING:  # generic for the type checker alone
    Context = grpc.aio.ServicerContext[Any, Any]
SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name


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
            asked = await asyncio.to_thread(asked_of, request, self._limits)
            head = pb.ModelInferResponse(
                model_name=request.model_name, model_version=request.model_version, id=request.id
            )
            wanted, raw = [output.name for output in request.outputs], bool(request.raw_input_contents)
            del request  # with its own copy of the image
            answer = await self._use_case.segment(asked, caller)
            head.parameters["digest"].string_param = answer.model_digest
            for output in outputs_of(answer, wanted):
                add(head, output, raw)
            refuse_burden(head, self._limits)
        return head
