"""The Open Inference Protocol over gRPC, on a real port; Triton's own client asks in tests/integration/adapters."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import pytest
from pydantic import SecretStr

from lexiseg_client.stubs import open_inference_pb2 as pb
from lexiseg_client.stubs.open_inference_pb2_grpc import GRPCInferenceServiceStub
from lexiseg_service.errors import TooLarge
from lexiseg_service.gateway.adapter import install
from lexiseg_service.gateway.admission.access import line_of
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.errors import read_error
from lexiseg_service.wire.server import GrpcServer
from tests import coco
from tests.model.stand_in import ColourSegmenter
from tests.service.adapters.asking import HEIGHT, PICTURE, SQUARE, TASKS, WIDTH
from tests.service.engine_backend import EngineBackend
from tests.waiting import SOON

if TYPE_CHECKING:  # known to the type checker alone
    from lexiseg_client.stubs.open_inference_pb2_grpc import GRPCInferenceServiceAsyncStub

Tensor = pb.ModelInferRequest.InferInputTensor
KEYS = SecretStr(line_of("camera", "right"))
OUTPUTS = ["labels", "class_indices", "scores", "boxes", "areas", "masks", "size"]


class Asking(NamedTuple):
    stub: GRPCInferenceServiceAsyncStub
    metrics: Metrics


@asynccontextmanager
async def asking(**values: Any) -> AsyncIterator[Asking]:
    settings = Settings(**{"model": "colours", "grpc_port": 0, "adapters": ("kserve",), **values})
    engine, metrics = EngineBackend(ColourSegmenter(tasks=TASKS)), Metrics()
    app = create_app(settings, engine, metrics)
    install(app, settings.adapters)
    server: GrpcServer = app.state.grpc
    async with app.router.lifespan_context(app):
        await server.start()
        try:
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
                yield Asking(GRPCInferenceServiceStub(channel), metrics)
        finally:
            await server.close()
            engine.engine.close(SOON)


def tensor(name: str, *parts: bytes, datatype: str = "BYTES", shape: Sequence[int] | None = None) -> Tensor:
    contents = pb.InferTensorContents(bytes_contents=parts) if parts else None
    return Tensor(name=name, datatype=datatype, shape=[len(parts)] if shape is None else shape, contents=contents)


def question(**fields: Any) -> pb.ModelInferRequest:
    inputs = [tensor("image", PICTURE), tensor("classes", b"red", b"blue")]
    return pb.ModelInferRequest(**{"model_name": "colours", "inputs": inputs, **fields})


def packed(*parts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


async def test_typed_tensors_are_answered_by_typed_tensors() -> None:
    async with asking() as gateway:
        answer = await gateway.stub.ModelInfer(question(id="42", model_version="1"))

    found = {output.name: output for output in answer.outputs}
    assert list(found) == OUTPUTS
    assert not answer.raw_output_contents
    assert (answer.id, answer.model_name, answer.model_version) == ("42", "colours", "1")
    assert answer.parameters["digest"].string_param
    assert list(found["labels"].contents.bytes_contents) == [b"red", b"blue"]
    assert list(found["boxes"].shape) == [2, 4]
    assert list(found["boxes"].contents.int_contents) == [0, 0, 16, 16, 32, 0, 16, 16]
    assert list(found["size"].contents.int_contents) == [HEIGHT, WIDTH]
    assert all(0 < score <= 1 for score in found["scores"].contents.fp32_contents)
    assert [coco.area(json.loads(mask)) for mask in found["masks"].contents.bytes_contents] == [SQUARE, SQUARE]


IMAGE, WORDS = tensor("image", PICTURE), tensor("classes", b"red")
IN_SHARED_MEMORY = tensor("image", shape=[1])
IN_SHARED_MEMORY.parameters["shared_memory_region"].string_param = "frames"
UNPAIRED = {"inputs": [tensor("image", shape=[1]), tensor("classes", shape=[1])]}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"inputs": [WORDS]}, "image"),
        ({"inputs": [tensor("image", PICTURE, datatype="FP32"), WORDS]}, "BYTES"),
        ({"inputs": [IMAGE, tensor("classes", b"red", shape=[2])]}, "shape"),
        ({"inputs": [IMAGE, tensor("classes", b"red", shape=[-1])]}, "shape"),
        ({"inputs": [IMAGE, tensor("classes", b"red", shape=[1] * 9)]}, "shape"),
        ({"inputs": [IMAGE, IMAGE, WORDS]}, "one"),
        ({"inputs": [IN_SHARED_MEMORY, WORDS]}, "elements in the request"),
        ({"inputs": [tensor("image", PICTURE, PICTURE), WORDS]}, "at most 1"),
        ({"inputs": [IMAGE, tensor("classes", *[b"red"] * 4)]}, "at most 3"),
        ({**UNPAIRED, "raw_input_contents": [packed(PICTURE), packed(*[b"red"] * 4)]}, "at most 3"),
        ({**UNPAIRED, "raw_input_contents": [packed(PICTURE)]}, "raw_input_contents"),
        ({**UNPAIRED, "raw_input_contents": [packed(PICTURE), b"\xff\xff\xff\xffab"]}, "4294967295 bytes"),
        ({"raw_input_contents": [packed(PICTURE), packed(b"red")]}, "beside raw_input_contents"),
        ({"outputs": [pb.ModelInferRequest.InferRequestedOutputTensor(name="nope")]}, "nope"),
        ({"outputs": [pb.ModelInferRequest.InferRequestedOutputTensor(name="masks")] * 2}, "each name once"),
        ({"parameters": {"task": pb.InferParameter(int64_param=3)}}, "task"),
        ({"parameters": {"background": pb.InferParameter(string_param="{")}}, "JSON"),
    ],
)
async def test_what_is_wrong_is_said_with_its_code(fields: dict[str, Any], said: str) -> None:
    async with asking(limits={"max_classes": 3}) as gateway:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await gateway.stub.ModelInfer(question(**fields))

    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in (failed.value.details() or "")


async def test_keys_limits_and_counts_are_those_of_our_own_service() -> None:
    async with asking(api_keys=KEYS, limits={"max_image_bytes": 100}) as gateway:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await gateway.stub.ServerLive(pb.ServerLiveRequest())
        with pytest.raises(grpc.aio.AioRpcError) as too_large:
            await gateway.stub.ModelInfer(question(), metadata=(("x-api-key", "right"),))

        counted = gateway.metrics.registry.get_sample_value

        assert unknown.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert too_large.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert isinstance(read_error(too_large.value), TooLarge)
        assert counted("lexiseg_questions_total", {"by": "grpc"}) == 1


async def test_without_the_adapter_the_service_is_not_there() -> None:
    async with asking(adapters=()) as gateway:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await gateway.stub.ServerLive(pb.ServerLiveRequest())

    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_tritons_model_configuration_names_the_tensors() -> None:
    async with asking() as gateway:
        config = (await gateway.stub.ModelConfig(pb.ModelConfigRequest(name="colours"))).config

    assert (config.name, config.platform, config.max_batch_size) == ("colours", "lexiseg", 0)
    assert [(tensor.name, tensor.optional) for tensor in config.input] == [("image", False), ("classes", True)]
    assert {tensor.name: tensor.data_type for tensor in config.output}["scores"] == pb.TYPE_FP32
