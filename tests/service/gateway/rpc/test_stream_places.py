"""Limits of video streams: silent clients, too many streams, and clients that read no answers."""

import asyncio
from contextlib import suppress
from functools import partial

import grpc
import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_service.gateway.admission.key_file import line_of
from tests import pictures
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.rpc.calling import Gateway, error_in, failure
from tests.service.gateway.rpc.streaming import Call, config, frame, opened, over_colours, read, rest
from tests.waiting import soon


def has_no_stream(backend: EngineBackend) -> bool:
    return not backend.streams._open


def holds_no_request(gateway: Gateway) -> bool:
    return gateway.counted("lexiseg_cache_bytes", cache="requests") == 0


def is_sent_or_ended(sending: asyncio.Future[None], backend: EngineBackend) -> bool:
    return sending.done() or (backend.taken > 0 and has_no_stream(backend))


async def test_a_stream_that_is_silent_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in (0.1, 1, 10):  # on a slow machine the frame itself may come too late for the first
        answers = []
        monkeypatch.setattr("lexiseg_service.gateway.video.STREAM_IDLE_SECONDS", seconds)
        async with over_colours() as (gateway, backend):
            call = await opened(gateway, config(), frame())
            try:
                while True:
                    answers += await read(call, 1)
            except grpc.aio.AioRpcError as failed:
                code, details = failed.code(), failed.details() or ""
            await soon(partial(has_no_stream, backend))
        if answers:
            break

    assert len(answers) == 1
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED, details
    assert f"{seconds:g} seconds" in details


async def test_a_stream_without_a_config_ends_soon_and_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in (0.2, 2, 10):  # on a slow machine the stream that says what it wants may come too late, too
        monkeypatch.setattr("lexiseg_service.gateway.video.FIRST_MESSAGE_SECONDS", seconds)
        monkeypatch.setattr("lexiseg_service.worker.video.MAX_STREAMS", 2)
        async with over_colours() as (gateway, _):
            silent = [gateway.stub.SegmentVideo() for _ in range(3)]
            answers = []
            with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                answers = await rest(await opened(gateway, config(), frame()))
            failed = await failure(silent[0].read())

            assert failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert f"no message came for {seconds:g} seconds" in (failed.details() or "")
            # the other silent streams end when their own time is over
            await soon(partial(holds_no_request, gateway))
        if answers:
            break

    assert len(answers) == 1


async def test_one_client_cannot_take_all_places_for_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.worker.video.MAX_STREAMS", 2)
    keys = SecretStr(f"{line_of('one', 'first')},{line_of('other', 'second')}")
    async with over_colours(api_keys=keys) as (gateway, _):

        async def begun(key: str) -> Call:
            call = gateway.stub.SegmentVideo(metadata=(("x-api-key", key),))
            await call.write(config())
            await call.initial_metadata()
            return call

        first, other = await begun("first"), await begun("second")
        refused = await begun("first")
        assert error_in(await failure(refused.read())).type == "rate-limited"
        for call in (first, other):
            await call.write(frame())
            assert len(await rest(call)) == 1


async def test_a_client_that_reads_no_answers_loses_its_place_and_gets_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    large = pictures.encoded(Image.fromarray(noise))
    for seconds in (0.5, 2, 10):  # on a slow machine the client itself may be silent for longer than the first
        monkeypatch.setattr("lexiseg_service.gateway.video.STREAM_IDLE_SECONDS", seconds)
        monkeypatch.setattr("lexiseg_service.gateway.rpc.interceptor.STREAM_IDLE_SECONDS", seconds)
        monkeypatch.setattr("lexiseg_service.worker.video.MAX_STREAMS", 1)
        async with over_colours() as (gateway, backend):
            call = await opened(gateway, config(overlay=True))
            # Answers of a megabyte each, more than a connection holds.
            sending = asyncio.ensure_future(call.write(frame(large)))
            with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):  # the call is over
                for _ in range(15):
                    await sending
                    sending = asyncio.ensure_future(call.write(frame(large)))
                    await soon(partial(is_sent_or_ended, sending, backend))
                    if not sending.done():
                        break
            await soon(partial(has_no_stream, backend))

            with suppress(grpc.aio.AioRpcError):
                while isinstance(await call.read(), pb.SegmentVideoResponse):
                    pass
            with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                await sending
            code, details = await call.code(), await call.details() or ""
        if "no message" not in details:
            break

    assert code is grpc.StatusCode.DEADLINE_EXCEEDED, details
    assert f"the client read no answer for {seconds:g} seconds" in details
