"""Honest clients: they compare every answer with the one from before the first fault."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from loadtests.chaos.judge import Judge, lasting
from loadtests.chaos.reference import Shown, shown
from loadtests.hostile import Pictures
from loadtests.plain_client import Connection, posted
from loadtests.scenes import frames

if TYPE_CHECKING:  # known to the type checker alone
    from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationAsyncStub

CLASSES = ("sky", "building", "tree", "car", "grass")
FRAMES = 6
MAX_SECONDS = 120.0  # seconds for one answer
MAX_PAUSE = 5.0  # seconds before a retry


class Known(NamedTuple):
    """An encoded request and its right answer."""

    name: str
    request: bytes
    answer: Any


class Honest:
    """Requests of one API key, over both protocols."""

    def __init__(self, url: str, target: str, key: str, judge: Judge) -> None:
        pictures = Pictures()
        self._url, self._target, self._judge = url, target, judge
        self._metadata = (("x-api-key", key),)
        self._photograph, self._frames = pictures.photograph, frames(3, FRAMES)
        kinds: Mapping[str, tuple[bytes, dict[str, Any]]] = {
            "small": (pictures.thumbnail, {"classes": CLASSES[:3], "background": False}),
            "photograph": (pictures.photograph, {"classes": CLASSES, "mask": "polygon"}),
            "vocabulary": (pictures.photograph, {"vocabulary": "ade20k"}),
            "large": (pictures.large, {"classes": CLASSES, "background": False}),
        }
        self._requests = {name: posted(image, question, key) for name, (image, question) in kinds.items()}
        self._known: list[Known] = []
        self._segment: bytes = b""
        self._video: list[bytes] = []

    async def learn(self) -> dict[str, Shown]:
        """Ask all questions of an undisturbed service and keep the answers; returns them by name.

        REST questions are asked twice: cached features must not change an answer.

        Raises:
            RuntimeError: a question is refused, or its two answers differ.
        """
        learned: dict[str, Shown] = {}
        async with Connection(self._url) as connection:
            for name, request in self._requests.items():
                answers = [await connection.ask(request) for _ in range(2)]
                if any(answer.status != 200 for answer in answers):
                    raise RuntimeError(
                        f"{name}: expected status 200 twice without any fault, got {[each.status for each in answers]}"
                    )
                first, second = (lasting(answer.body) for answer in answers)
                if first != second:
                    raise RuntimeError(f"{name}: two answers to one question differ")
                self._known.append(Known(name, request, first))
                learned[name] = shown(first)
        async with grpc.aio.insecure_channel(self._target) as channel:
            stub: SegmentationAsyncStub = SegmentationStub(channel)
            answer = await stub.Segment(self._message(), metadata=self._metadata, timeout=MAX_SECONDS)
            self._segment = _lasting(answer)
            learned["gRPC"] = shown(answer)
            async for frame in self._stream(stub):
                learned[f"frame {len(self._video)}"] = shown(frame.answer)
                self._video.append(_lasting(frame.answer))
        return learned

    async def ask(self, until: float, edge: str | None = None) -> None:
        """Ask every question in turn over REST, until a time of the event loop's clock.

        Args:
            until: that time.
            edge: base URL of a proxy to ask through; None asks the gateway.
        """
        loop = asyncio.get_running_loop()
        async with Connection(edge or self._url) as connection:
            for known in itertools.cycle(self._known):
                if loop.time() >= until:
                    return
                who = f"{'edge' if edge else 'REST'}, {known.name}"
                try:
                    async with asyncio.timeout(MAX_SECONDS):
                        answer = await connection.ask(known.request)
                except TimeoutError:
                    connection.close()
                    self._judge.surprise(who, f"no answer within {MAX_SECONDS:g} seconds")
                    continue
                if self._judge.rest(who, answer, known.answer) != "right":
                    await asyncio.sleep(min(answer.retry_after, MAX_PAUSE))

    async def call(self, until: float) -> None:
        """Ask one question over gRPC, again and again."""
        loop = asyncio.get_running_loop()
        async with grpc.aio.insecure_channel(self._target) as channel:
            stub: SegmentationAsyncStub = SegmentationStub(channel)
            while loop.time() < until:
                try:
                    answer = await stub.Segment(self._message(), metadata=self._metadata, timeout=MAX_SECONDS)
                except grpc.aio.AioRpcError as failure:
                    self._judge.call("gRPC", failure)
                    await asyncio.sleep(1.0)
                    continue
                if _lasting(answer) == self._segment:
                    self._judge.count("gRPC", "right")
                else:
                    self._judge.surprise("gRPC", f"a wrong answer: {str(answer)[:300]}")

    async def watch(self, until: float) -> None:
        """Stream one short video after another; expects one answer per frame, in order, the known one or an error."""
        loop = asyncio.get_running_loop()
        async with grpc.aio.insecure_channel(self._target) as channel:
            stub: SegmentationAsyncStub = SegmentationStub(channel)
            while loop.time() < until:
                number = 0
                try:
                    async for answer in self._stream(stub):
                        self._frame(answer, number)
                        number += 1
                    if number != FRAMES:
                        self._judge.surprise("video", f"{number} answers for {FRAMES} frames")
                except grpc.aio.AioRpcError as failure:
                    self._judge.call("video", failure)
                    await asyncio.sleep(1.0)

    def _frame(self, answer: pb.SegmentVideoResponse, number: int) -> None:
        """Judge the answer to a frame."""
        if answer.frame_id != str(number):
            self._judge.surprise("video", f"frame {answer.frame_id!r} in the place of {number}")
        elif answer.HasField("error"):
            self._judge.count("video", answer.error.type)
        elif _lasting(answer.answer) != self._video[number]:
            self._judge.surprise("video", f"a wrong answer to frame {number}: {str(answer)[:300]}")
        else:
            self._judge.count("video", "right")

    def _message(self) -> pb.SegmentRequest:
        return pb.SegmentRequest(image=pb.Image(content=self._photograph), classes=_classes())

    async def _stream(self, stub: SegmentationAsyncStub) -> AsyncIterator[pb.SegmentVideoResponse]:
        async def messages() -> AsyncIterator[pb.SegmentVideoRequest]:
            # Without smoothing and tracking, an answer does not depend on earlier frames.
            yield pb.SegmentVideoRequest(config=pb.StreamConfig(classes=_classes()))
            for number, image in enumerate(self._frames):
                yield pb.SegmentVideoRequest(frame=pb.Frame(image=image, id=str(number)))

        async for answer in stub.SegmentVideo(messages(), metadata=self._metadata, timeout=MAX_SECONDS):
            yield answer


def _classes() -> list[pb.Class]:
    return [pb.Class(name=name) for name in CLASSES]


def _lasting(answer: pb.SegmentResponse) -> bytes:
    """An answer without the fields that differ from request to request."""
    kept = pb.SegmentResponse()
    kept.CopyFrom(answer)
    for name in ("id", "timings_ms", "cache"):
        kept.ClearField(name)
    return kept.SerializeToString(deterministic=True)
