"""The gRPC server: health of every model, reflection, connection age and graceful shutdown."""

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import proto_reflection_descriptor_database
from pydantic import SecretStr

from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.question.backend import Health
from tests import pictures
from tests.service.fleet.workers import Wire
from tests.service.gateway.known_backend import WARM, KnownBackend, SlowBackend
from tests.service.gateway.rpc.calling import calling, failure, request
from tests.service.gateway.rpc.test_interceptor import _quietly
from tests.waiting import SOON

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
KEYS = SecretStr(line_of("camera", "right"))


def _health(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    answer: health_pb2.HealthCheckResponse = await _health(channel).Check(
        health_pb2.HealthCheckRequest(service=service)
    )
    return answer.status


@pytest.mark.parametrize("service", ["", "lexiseg.v1.Segmentation", "colours"])
async def test_the_service_and_each_model_have_a_health_that_follows_the_backend(service: str) -> None:
    backend = KnownBackend(now=Health(True, False, "loading"))
    async with calling(backend=backend, api_keys=KEYS) as gateway:
        loading = await health_of(gateway.channel, service)
        backend.now = WARM
        watching = _health(gateway.channel).Watch(health_pb2.HealthCheckRequest(service=service))
        seen = [(await watching.read()).status]
        while seen[-1] != SERVING:
            seen.append((await asyncio.wait_for(watching.read(), 10)).status)
        watching.cancel()

    assert loading == NOT_SERVING
    assert seen[-1] == SERVING


async def test_a_model_without_a_worker_is_not_served_while_the_others_are() -> None:
    backend = KnownBackend(now=replace(WARM, away=("colours",)))
    async with calling(backend=backend) as gateway:
        assert await health_of(gateway.channel, "") == SERVING
        assert await health_of(gateway.channel, "colours") == NOT_SERVING


async def test_a_client_can_use_the_service_through_reflection() -> None:
    async with calling(api_keys=KEYS) as gateway:
        method = await asyncio.to_thread(reflected, gateway.server.port, "lexiseg.v1.Segmentation", "Segment")
        question: Any = message_factory.GetMessageClass(method.input_type)()
        question.image.content = pictures.encoded(pictures.small())
        question.classes.add().name = "sky"
        call = gateway.channel.unary_unary(
            "/lexiseg.v1.Segmentation/Segment",
            type(question).SerializeToString,
            message_factory.GetMessageClass(method.output_type).FromString,
        )

        answer: Any = await call(question, metadata=(("x-api-key", "right"),))

    assert [segment.label for segment in answer.segments] == ["sky"]


def reflected(port: int, service: str, method: str) -> descriptor.MethodDescriptor:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        database = proto_reflection_descriptor_database.ProtoReflectionDescriptorDatabase(channel)
        return descriptor_pool.DescriptorPool(database).FindServiceByName(service).methods_by_name[method]


async def test_the_maximum_connection_age_is_invisible_to_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.wire.server.CONNECTION_AGE", 0.1)
    async with calling() as gateway:
        await gateway.stub.Segment(request("sky"))
        await _asked_to_connect_anew(gateway.channel)

        answer = await gateway.stub.Segment(request("sky"))

    assert answer.segments


async def test_work_for_a_vanished_client_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.wire.server.CLIENT_SILENT", 1.5)
    monkeypatch.setattr("lexiseg_service.wire.server.CLIENT_PING", 1.5)
    backend = SlowBackend()
    async with calling(backend=backend) as gateway:
        wire = Wire(gateway.server.port)
        async with wire.laid() as address, grpc.aio.insecure_channel(address) as channel:
            asking = asyncio.ensure_future(_quietly(SegmentationStub(channel).Segment(request("sky"))))
            await backend.reached.wait()
            wire.whole.clear()
            await asyncio.wait_for(backend.cancelled.wait(), 60)
            asking.cancel()


async def test_a_draining_server_reports_not_serving_and_finishes_open_calls() -> None:
    backend = SlowBackend()
    async with calling(backend=backend, drain_seconds=120.0) as gateway:
        watching = _health(gateway.channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watching.read()).status == SERVING
        answering = asyncio.ensure_future(gateway.stub.Segment(request("sky")))
        await backend.reached.wait()

        gateway.server.leave()
        reported = (await asyncio.wait_for(watching.read(), 10)).status
        backend.may_go_on.set()
        answer = await answering
        # The watcher does not hold it up to the end of the drain time.
        await asyncio.wait_for(gateway.server.close(), 60)

    assert reported == NOT_SERVING
    assert answer.segments


async def _asked_to_connect_anew(channel: grpc.aio.Channel) -> None:
    """The server has said that it takes no more calls on this connection."""
    async with asyncio.timeout(SOON):
        while (state := channel.get_state()) is not grpc.ChannelConnectivity.IDLE:
            await channel.wait_for_state_change(state)


async def test_a_call_that_takes_longer_than_the_server_has_is_ended() -> None:
    backend = SlowBackend()
    async with calling(backend=backend, drain_seconds=0.1) as gateway:
        answering = asyncio.ensure_future(gateway.stub.Segment(request("sky")))
        await backend.reached.wait()
        await asyncio.wait_for(gateway.server.close(), 60)
        failed = await failure(answering)

    assert failed.code() is grpc.StatusCode.UNAVAILABLE
