"""Answers of megabytes, and clients that take them slowly or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from pydantic import SecretStr

from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.stubs import segmentation_pb2 as pb
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rpc.calling import Gateway, calling, request
from tests.service.gateway.rpc.narrow import narrow
from tests.service.gateway.rpc.test_frame import SEGMENT, failure, kind

SOON = 20.0
OVERLAY = bytes(range(256)) * 2**15  # 8 MiB
ROOM: dict[str, Any] = {
    "max_bytes_in_flight": 2 * 14 * 2**20,
    "client_share": 1,
}  # for one answer that is not taken, and no second


def held(gateway: Gateway) -> float:
    return gateway.counted("lexiseg_cache_bytes", cache="answers")


@asynccontextmanager
async def lying(gateway: Gateway) -> AsyncIterator[None]:
    """A client whose answer is there, and which has no room for it."""
    async with narrow(gateway, SEGMENT, request("sky").SerializeToString(), "careless"):
        while not held(gateway):
            await asyncio.sleep(0.01)
        yield


def painting() -> KnownBackend:
    return KnownBackend(changes={"overlay": OVERLAY})


KEYS = SecretStr(",".join(line_of(key, key) for key in ("careless", "careful")))
CARELESS, CAREFUL = ((("x-api-key", key),) for key in ("careless", "careful"))


async def test_an_answer_that_is_not_taken_is_counted_until_its_client_goes() -> None:
    async with asyncio.timeout(SOON), calling(backend=painting(), api_keys=KEYS) as gateway:
        async with lying(gateway):
            assert len(OVERLAY) < held(gateway) < len(OVERLAY) + 1000
            assert gateway.counted("lexiseg_grpc_active") == 1
        while held(gateway) or gateway.counted("lexiseg_grpc_active"):
            await asyncio.sleep(0.01)


async def test_who_lets_too_many_answers_lie_gets_no_more_of_them() -> None:
    async with asyncio.timeout(SOON), calling(backend=painting(), api_keys=KEYS, **ROOM) as gateway, lying(gateway):
        error = await failure(gateway.stub.Segment(request("sky"), metadata=CARELESS))

    assert (error.code(), kind(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "rate-limited")


async def test_an_answer_that_is_not_taken_in_time_ends_its_connection_and_no_other() -> None:
    async with asyncio.timeout(SOON), calling(backend=painting(), api_keys=KEYS, body_seconds=0.5) as gateway:
        await gateway.stub.ListModels(pb.ListModelsRequest(), metadata=CAREFUL)
        async with lying(gateway):
            while held(gateway) or gateway.counted("lexiseg_grpc_active"):
                await asyncio.sleep(0.01)

        assert gateway.counted("lexiseg_connections_ended_total", reason="answer") == 1
        assert gateway.channel.get_state() is grpc.ChannelConnectivity.READY
        assert (await gateway.stub.ListModels(pb.ListModelsRequest(), metadata=CAREFUL)).models
