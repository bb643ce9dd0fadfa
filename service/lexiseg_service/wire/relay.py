"""Answers as messages: a backend that gets them as such from its workers hands them on as they are.

    worker -> message -> gateway -> the same message, with the id of the request -> client

What computes in this process has answers, which are encoded here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_service.question.backend import Backend
from lexiseg_service.question.messages import MANY_BYTES, WorkerRequest
from lexiseg_service.question.stream_messages import StreamQuestion, VideoFrame
from lexiseg_service.wire.answer import encode_answer
from lexiseg_service.wire.stream import encode_frame_answer

Step = StreamQuestion | VideoFrame


@runtime_checkable
class Relaying(Protocol):
    """A backend whose answers come as messages; errors as of `Backend`."""

    async def relay(self, request: WorkerRequest) -> pb.SegmentResponse:
        """As `Backend.segment`."""
        ...

    def relay_stream(self, steps: AsyncIterator[Step]) -> AsyncGenerator[pb.SegmentVideoResponse, None]:
        """As `Backend.stream`."""
        ...


async def answered(backend: Backend, request: WorkerRequest, request_id: str) -> pb.SegmentResponse:
    """The answer to one request, under its id; errors as of `Backend.segment`."""
    if not isinstance(backend, Relaying):
        answer = await backend.segment(request)
        if answer.bytes_of_masks > MANY_BYTES:
            return await asyncio.to_thread(encode_answer, answer, request_id)
        return encode_answer(answer, request_id)
    message = await backend.relay(request)
    message.id = request_id
    return message


async def answered_frames(
    backend: Backend, steps: AsyncIterator[Step], request_id: str
) -> AsyncGenerator[pb.SegmentVideoResponse, None]:
    """The answers about a video's frames, under the id of their stream; errors as of `Backend.stream`."""
    if not isinstance(backend, Relaying):
        async with aclosing(backend.stream(steps)) as answers:
            async for answer in answers:
                yield encode_frame_answer(answer, request_id)
        return
    async with aclosing(backend.relay_stream(steps)) as messages:
        async for message in messages:
            if message.HasField("answer"):
                message.answer.id = request_id
            if message.HasField("error"):
                message.error.request_id = request_id
            yield message
