"""When a worker was heard: one that says nothing for several of its words stood still, be it stopped or overwhelmed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import structlog
from pydantic import ValidationError
from pydantic_core import from_json

from lexiseg_client.stubs import worker_pb2 as pb
from lexiseg_client.stubs.worker_pb2_grpc import WorkerStub
from lexiseg_model.types import ModelCard, ModelName
from lexiseg_service.errors import DeadlineExceeded, ServiceError
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.watch.metrics import WorkerState
from lexiseg_service.wire.channels import gateway_options
from lexiseg_service.wire.errors import read_error
from lexiseg_service.wire.request import encode_exemplify, encode_request
from lexiseg_service.wire.server import UNIX
from lexiseg_service.wire.trust import Trust

if TYPE_CHECKING:
    from lexiseg_client.stubs.segmentation_pb2 import SegmentResponse, SegmentVideoResponse
    from lexiseg_client.stubs.worker_pb2 import ExemplifyResponse
    from lexiseg_client.stubs.worker_pb2_grpc import WorkerAsyncStub

LONG = 2.0  # seconds; a worker speaks twice in one


class Voice:
    """Of one worker. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._silent_until: float | None = None

    def heard(self) -> None:
        """It has spoken."""
        now = self._clock()
        if self._last is not None and now - self._last >= LONG:
            self._silent_until = now
        self._last = now

    def failed_since(self, moment: float) -> bool:
        """Whether it was silent for long at some time since a moment, or is now; False of one that never spoke."""
        if self._last is None:
            return False
        ended = self._silent_until is not None and self._silent_until > moment
        return ended or self._clock() - self._last >= LONG


logger = structlog.get_logger("lexiseg.workers")
# A worker speaks twice a second, unless its machine is overwhelmed. One that is silent gets nothing new; if it is so
# for twice as long, what it has is asked elsewhere.
MOST_SILENT_SECONDS = 5.0
SECONDS_TO_TRY_AGAIN = 0.5
# Codes with which a transport says that nobody answers, where none of our own errors is told.
NOBODY = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
)
# In what gRPC tells of a connection whose ends do not trust each other, or of which one speaks no TLS.
HANDSHAKES = ("ssl", "tls", "handshake", "certificate")


class WorkerLost(Exception):
    """The connection broke, nobody listens, or the worker stood still.

    Whether it did its work is not known, and does no harm.
    """


class WorkerLink:
    """Watches one worker from `open` to `close`."""

    def __init__(self, address: str, trust: Trust | None = None) -> None:
        self.address = address
        self.name = Path(address).name if address.startswith(UNIX) else address  # shown to people
        self.refused = ""  # why it, or we, would not talk; empty while nothing of the kind is known
        self.in_flight = 0  # of this gateway
        self.leaving = False  # it said that it goes down, and has not come back
        self.cards: list[ModelCard] = []
        self._digests: dict[ModelName, str] = {}
        self._awaited: set[ModelName] = set()
        trust = trust or Trust()
        self._metadata = trust.metadata
        self._channel = trust.channel(address, gateway_options())
        self._stub: WorkerAsyncStub = WorkerStub(self._channel)
        self._status: pb.WatchStatusResponse | None = None
        self._voice = Voice()
        self._others = 0  # in flight there for other gateways, when it spoke last
        self._read: dict[str, ModelCard | None] = {}  # cards by their JSON
        self._calls: set[grpc.aio.Call] = set()
        self._watching: asyncio.Task[None] | None = None

    @property
    def usable(self) -> bool:
        """Connected, warmed up and not going down."""
        return self._status is not None and self._status.ready and not self._status.draining

    @property
    def state(self) -> WorkerState:
        """In one word."""
        if self.usable:
            return "ready"
        if self.leaving:
            return "leaving"
        return "away" if self._status is None else "loading"

    @property
    def instance(self) -> str:
        """Names the process behind the address."""
        return self._status.instance if self._status else ""

    @property
    def load(self) -> int:
        """Requests in flight there, of all gateways."""
        return self._others + self.in_flight

    @property
    def room(self) -> int:
        """Requests that it would still accept."""
        return (self._status.queue_limit if self._status else 0) - self.load

    @property
    def problem(self) -> str:
        """Why it is not usable, in a few words."""
        if self.refused:
            return self.refused
        return "does not answer" if self._status is None else self._status.detail

    @property
    def degraded(self) -> tuple[str, ...]:
        """What the worker says works less well than it should."""
        return tuple(self._status.degraded) if self._status else ()

    def serves(self, model: str) -> bool:
        """Whether it has a model, NAME or NAME@VERSION."""
        return any(map(ModelName.parse(model).fits, self.cards))

    def digest(self, model: str) -> str | None:
        """Digest of the loaded weights; None while they are not."""
        wanted = ModelName.parse(model)
        card = next(filter(wanted.fits, self.cards), None)
        return self._digests.get(ModelName.of(card)) if self.usable and card is not None else None

    def awaits(self, model: str) -> bool:
        """Whether it has a model, NAME or NAME@VERSION, only in a moment: the first load is under way, or failed."""
        wanted = ModelName.parse(model)
        card = next(filter(wanted.fits, self.cards), None)
        return card is not None and ModelName.of(card) in self._awaited

    def open(self) -> None:
        """Begins to watch."""
        self._watching = asyncio.create_task(self._watch_forever())

    async def close(self) -> None:
        """Hangs up."""
        if self._watching is not None:
            self._watching.cancel()
        await self._channel.close()

    def suspect(self) -> None:
        """A call found nobody: no more of them until the worker has spoken again."""
        self._status = None

    async def segment(self, request: WorkerRequest) -> SegmentResponse:
        """Asks; the answer as it came. Cancelling the task cancels the work.

        Raises:
            WorkerLost: nobody answers.
            ServiceError: the worker's own.
        """
        seconds = request.deadline - time.monotonic()
        call = self._stub.Segment(encode_request(request), timeout=max(0.0, seconds), metadata=self._metadata)
        with self._working(call):
            return (await call).answer

    async def exemplify(self, request: WorkerRequest) -> ExemplifyResponse:
        """Asks for the rows of examples; errors as of `segment`."""
        seconds = request.deadline - time.monotonic()
        call = self._stub.Exemplify(encode_exemplify(request), timeout=max(0.0, seconds), metadata=self._metadata)
        with self._working(call):
            return await call

    async def stream(
        self, messages: AsyncIterator[pb.WorkerSegmentVideoRequest]
    ) -> AsyncGenerator[SegmentVideoResponse, None]:
        """Asks about the frames of a video; closing the answers cancels the work.

        Raises:
            WorkerLost: nobody answers any more.
            ServiceError: the worker's own.
        """
        call = self._stub.SegmentVideo(messages, metadata=self._metadata)
        try:
            with self._working(call):
                async for message in call:
                    yield message.answer
        finally:
            call.cancel()

    @contextmanager
    def _working(self, call: grpc.aio.Call) -> Iterator[None]:
        """Counts a call while it runs; its failure becomes an error of ours."""
        self.in_flight += 1
        self._calls.add(call)
        began = time.monotonic()
        try:
            yield
        except grpc.aio.AioRpcError as failure:
            meaning = self._meaning(failure)
            # A deadline that passes while a worker does nothing was kept by it: the request is not to blame.
            if isinstance(meaning, DeadlineExceeded) and self._voice.failed_since(began):
                raise WorkerLost(f"{self.name}: stood still") from None
            raise meaning from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if call in self._calls or (task is not None and task.cancelling()):
                raise
            raise WorkerLost(f"{self.name}: silent") from None
        finally:
            self.in_flight -= 1
            self._calls.discard(call)

    def _give_up(self) -> None:
        """Ends the calls of a worker that says nothing any more; they can be made elsewhere."""
        calls = list(self._calls)
        self._calls.clear()
        for call in calls:
            call.cancel()

    def _meaning(self, failure: grpc.aio.AioRpcError) -> ServiceError | WorkerLost:
        """What a failed call tells."""
        error = read_error(failure)
        if error is not None:
            return error
        code = failure.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded("the deadline passed before the worker answered")
        if code in NOBODY:
            self.suspect()
            return WorkerLost(f"{self.name}: {code.name}")
        return ServiceError(f"the worker answered {code.name}")

    async def _watch_forever(self) -> None:
        while True:
            try:
                await self._watch()
            except grpc.aio.AioRpcError as error:
                if self._status is not None:
                    logger.warning("worker away", worker=self.name, reason=error.code().name)
                self._refuses(_refusal(error))
            except TimeoutError:
                if self._status is not None:
                    logger.warning("worker away", worker=self.name, reason="silent")
                else:  # for the second time in a row: not slow, but gone
                    self._give_up()
            except Exception:  # whatever it says: the gateway must go on looking
                logger.exception("worker not understood", worker=self.name)
            self._status = None
            # Not all gateways at the same moment.
            await asyncio.sleep(SECONDS_TO_TRY_AGAIN * random.uniform(0.5, 1.0))

    def _refuses(self, why: str) -> None:
        """Says once what a person has to set right."""
        if why and why != self.refused:
            logger.error("worker refused", worker=self.name, reason=why)
        self.refused = why

    async def _watch(self) -> None:
        call = self._stub.WatchStatus(pb.WatchStatusRequest(), metadata=self._metadata)
        try:
            while True:
                status = await asyncio.wait_for(call.read(), MOST_SILENT_SECONDS)
                if not isinstance(status, pb.WatchStatusResponse):  # the end
                    return
                self._heard(status)
        finally:
            call.cancel()

    def _heard(self, status: pb.WatchStatusResponse) -> None:
        before = (self.instance, self.usable)
        self._voice.heard()
        self._status = status
        self.refused = ""
        self.leaving = status.draining
        self._others = max(0, status.in_flight - self.in_flight)
        for model in status.models:
            if model.card not in self._read:
                self._read[model.card] = _card(model.card)
        self._read = {model.card: self._read[model.card] for model in status.models}  # and no other
        served = [(card, model) for model in status.models if (card := self._read[model.card]) is not None]
        self.cards = [card for card, _ in served]
        self._digests = {ModelName.of(card): model.digest for card, model in served if model.digest}
        self._awaited = {ModelName.of(card) for card, model in served if model.awaited}
        if before != (self.instance, self.usable):
            logger.info("worker", worker=self.name, usable=self.usable, detail=status.detail)


def _refusal(error: grpc.aio.AioRpcError) -> str:
    """What of a failed call no time will heal: another token, a certificate that one side does not take."""
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return "the token is another one"
    told = f"{error.details() or ''} {error.debug_error_string() or ''}".lower()
    return "no trust by TLS" if any(word in told for word in HANDSHAKES) else ""


def _card(text: str) -> ModelCard | None:
    """A card; of a newer release, without the fields that are not known here."""
    try:
        fields = from_json(text)
        return ModelCard.model_validate({name: fields[name] for name in ModelCard.model_fields if name in fields})
    except (ValidationError, ValueError, TypeError):
        logger.exception("card not understood")
        return None
