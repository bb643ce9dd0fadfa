"""A gateway's connection to one worker: watches its status and makes calls to it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import structlog

from lexiseg_client.stubs import worker_pb2 as pb
from lexiseg_client.stubs.worker_pb2_grpc import WorkerStub
from lexiseg_model.cards import ModelCard
from lexiseg_model.model_name import ModelName
from lexiseg_service.errors import DeadlineExceeded, ServiceError
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.question.prompts import bytes_of_points
from lexiseg_service.question.validation import off_event_loop
from lexiseg_service.watch.metrics import WorkerState
from lexiseg_service.wire.cards import read_card
from lexiseg_service.wire.errors import read_error
from lexiseg_service.wire.messages import encode_regions, encode_request
from lexiseg_service.wire.server import UNIX, gateway_options
from lexiseg_service.wire.trust import Trust

if TYPE_CHECKING:
    from lexiseg_client.stubs.segmentation_pb2 import SegmentResponse, SegmentVideoResponse
    from lexiseg_client.stubs.worker_pb2 import ExemplifyResponse, TeachResponse, WorkerSegmentResponse
    from lexiseg_client.stubs.worker_pb2_grpc import WorkerAsyncStub

logger = structlog.get_logger("lexiseg.workers")
# A worker sends its status twice a second. After this time without one it gets no new calls; the keepalive of the
# connection ends its calls, which are retried on another worker.
MAX_SILENT_SECONDS = 5.0
STALL_SECONDS = 2.0  # time without a status from which a worker counts as stalled
RECONNECT_SECONDS = 0.5
AWAY = pb.WatchStatusResponse()  # the status of a worker that does not answer
# Status codes of the transport, not of the worker.
TRANSPORT_CODES = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
)
# Words in gRPC's message about a failed TLS handshake.
HANDSHAKE_WORDS = ("ssl", "tls", "handshake", "certificate")


class WorkerLost(Exception):
    """The connection broke or was refused, or the worker stalled; calls are idempotent, so a retry is safe."""


class WorkerLink:
    """Watches the status of one worker from `open` to `close`, and calls it."""

    def __init__(self, address: str, trust: Trust | None = None) -> None:
        self.address = address
        self.name = Path(address).name if address.startswith(UNIX) else address  # for logs and messages
        self.refused = ""  # why the handshake is refused, on either side; "" if it is not
        self.in_flight = 0  # calls of this gateway
        self.draining = False  # it is shutting down and finishes its open calls
        self.cards: list[ModelCard] = []
        self._digests: dict[ModelName, str] = {}
        self._awaited: set[ModelName] = set()
        trust = trust or Trust()
        self._metadata = trust.metadata
        self._channel = trust.channel(address, gateway_options())
        self._stub: WorkerAsyncStub = WorkerStub(self._channel)
        self._status = AWAY
        self._heard_at: float | None = None  # time.monotonic() of its last status
        self._stall_ended = 0.0  # when the last stall ended
        self._others = 0  # calls of other gateways, at its last status
        self._watching: asyncio.Task[None] | None = None

    @property
    def usable(self) -> bool:
        """Connected, warmed up, not shutting down, and with a model that has a card we understand."""
        return self._status.ready and not self._status.draining and bool(self.cards)

    @property
    def state(self) -> WorkerState:
        if self.usable:
            return "ready"
        if self.draining:
            return "leaving"
        return "away" if self._status is AWAY else "loading"

    @property
    def instance(self) -> str:
        """An id of the process behind the address."""
        return self._status.instance

    @property
    def load(self) -> int:
        return self._others + self.in_flight

    @property
    def room(self) -> int:
        """Requests that it still accepts."""
        return self._status.queue_limit - self.load

    @property
    def problem(self) -> str:
        """Why it is not usable."""
        if self._status is AWAY:
            return self.refused or "does not answer"
        if self._status.ready and not self.cards:
            return "its cards are not understood by this release"
        return self._status.detail

    @property
    def degraded(self) -> tuple[str, ...]:
        return tuple(self._status.degraded)

    def serves(self, model: ModelName) -> bool:
        return self._version(model) is not None

    def digest(self, model: str) -> str | None:
        version = self._version(ModelName.parse(model))
        return self._digests.get(version) if self.usable and version is not None else None

    def awaits(self, model: ModelName) -> bool:
        """Whether a model is not loaded yet: its first load is under way, or failed."""
        return self._version(model) in self._awaited

    def _version(self, model: ModelName) -> ModelName | None:
        """NAME@VERSION of the first card that a name fits."""
        return next(map(ModelName.from_card, filter(model.fits, self.cards)), None)

    def open(self) -> None:
        self._watching = asyncio.create_task(self._watch_forever())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await self._channel.close()

    async def segment(self, request: WorkerRequest) -> SegmentResponse:
        """Segment an image; cancelling the task cancels the work."""
        cost = bytes_of_points(request.prompts) if request.prompts else 0
        response: WorkerSegmentResponse = await self._ask(self._stub.Segment, encode_request, request, cost)
        return response.answer

    async def exemplify(self, request: WorkerRequest) -> ExemplifyResponse:
        encode = partial(encode_regions, pb.ExemplifyRequest)
        response: ExemplifyResponse = await self._ask(self._stub.Exemplify, encode, request, 0)
        return response

    async def teach(self, request: WorkerRequest) -> TeachResponse:
        encode = partial(encode_regions, pb.TeachRequest)
        cost = sum(len(each.region.mask.counts) for each in request.regions if each.region.mask is not None)
        response: TeachResponse = await self._ask(self._stub.Teach, encode, request, cost)
        return response

    async def _ask(self, method: Any, encode: Callable[[WorkerRequest], Any], request: WorkerRequest, cost: int) -> Any:
        """The answer of a unary method; `cost` of the message's making, as bytes for `off_event_loop`."""
        message = await off_event_loop(cost, partial(encode, request))
        seconds = max(0.0, request.deadline - time.monotonic())
        with self._counted_call():
            return await method(message, timeout=seconds, metadata=self._metadata)

    async def stream(
        self, messages: AsyncIterator[pb.WorkerSegmentVideoRequest]
    ) -> AsyncGenerator[SegmentVideoResponse, None]:
        """Answer the frames of a video; closing the answers cancels the work."""
        call = self._stub.SegmentVideo(messages, metadata=self._metadata)
        try:
            with self._counted_call():
                async for message in call:
                    yield message.answer
        finally:
            call.cancel()

    @contextmanager
    def _counted_call(self) -> Iterator[None]:
        """Count a call while the block runs, and translate its failure into WorkerLost or ServiceError."""
        self.in_flight += 1
        began = time.monotonic()
        try:
            yield
        except grpc.aio.AioRpcError as failure:
            raise self._error_of(failure, began) from None
        finally:
            self.in_flight -= 1

    def _has_stalled_since(self, moment: float) -> bool:
        """Whether the worker stalled at any time since `moment` (time.monotonic()), or stalls now."""
        if self._heard_at is None:
            return False
        return self._stall_ended > moment or time.monotonic() - self._heard_at >= STALL_SECONDS

    def _error_of(self, failure: grpc.aio.AioRpcError, began: float) -> ServiceError | WorkerLost:
        """The error to raise for a failed call; `began`: time.monotonic() of its start."""
        error, code = read_error(failure), failure.code()
        if error is None and code is grpc.StatusCode.DEADLINE_EXCEEDED:
            error = DeadlineExceeded("the deadline passed before the worker answered")
        # The deadline passed because the worker stalled: a retry on another worker may succeed.
        if isinstance(error, DeadlineExceeded) and self._has_stalled_since(began):
            return WorkerLost("stalled until the deadline")
        if error is not None:
            return error
        if code in TRANSPORT_CODES:
            if code is not grpc.StatusCode.INTERNAL:  # which grpcio says of a message to a stream that was refused
                self._status = AWAY  # not usable until its next status
            return WorkerLost(code.name)
        return ServiceError(f"the worker answered {code.name}")

    async def _watch_forever(self) -> None:
        while True:
            try:
                await self._watch()
            except grpc.aio.AioRpcError as error:
                if self._status is not AWAY:
                    logger.warning("worker away", worker=self.name, reason=error.code().name)
                refusal = _refusal(error)
                if refusal and refusal != self.refused:  # once: an operator must fix it
                    logger.error("worker refused", worker=self.name, reason=refusal)
                self.refused = refusal
            except TimeoutError:
                if self._status is not AWAY:
                    logger.warning("worker away", worker=self.name, reason="silent")
            except Exception:  # the gateway must go on watching
                logger.exception("worker not understood", worker=self.name)
            self._status = AWAY
            # Random, so that gateways do not reconnect at the same moment.
            await asyncio.sleep(RECONNECT_SECONDS * random.uniform(0.5, 1.0))

    async def _watch(self) -> None:
        call = self._stub.WatchStatus(pb.WatchStatusRequest(), metadata=self._metadata)
        try:
            while True:
                status = await asyncio.wait_for(call.read(), MAX_SILENT_SECONDS)
                if not isinstance(status, pb.WatchStatusResponse):  # end of the call
                    return
                self._on_status(status)
        finally:
            call.cancel()

    def _on_status(self, status: pb.WatchStatusResponse) -> None:
        before = (self.instance, self.usable)
        now = time.monotonic()
        if self._heard_at is not None and now - self._heard_at >= STALL_SECONDS:
            self._stall_ended = now
        self._heard_at = now
        self._status = status
        self.refused = ""
        self.draining = status.draining
        self._others = max(0, status.in_flight - self.in_flight)
        served = [(card, model) for model in status.models if (card := read_card(model.card)) is not None]
        self.cards = [card for card, _ in served]
        self._digests = {ModelName.from_card(card): model.digest for card, model in served if model.digest}
        self._awaited = {ModelName.from_card(card) for card, model in served if model.awaited}
        if before != (self.instance, self.usable):
            logger.info("worker", worker=self.name, usable=self.usable, detail=status.detail)


def _refusal(error: grpc.aio.AioRpcError) -> str:
    """The permanent cause of a failed call, a wrong token or certificate; "" for other failures."""
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return "the token is another one"
    text = f"{error.details() or ''} {error.debug_error_string() or ''}".lower()
    return "no trust by TLS" if any(word in text for word in HANDSHAKE_WORDS) else ""
