"""Workers elsewhere, as one backend: `lexiseg gateway`.

An image goes to the worker that rendezvous hashing prefers among those that have the model (`routing`). A call that
finds nobody, or a worker that goes down or has no room, is made once more elsewhere, within the deadline: answering
changes nothing, so asking twice does no harm. Nothing is asked twice that a worker has refused for what it is. Where
the first worker took the time that the second would have needed, it is the first one's failure that is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import TypeVar

import structlog

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_model.lru import Lru
from lexiseg_model.types import ModelCard, ModelName
from lexiseg_service.errors import DeadlineExceeded, ImageExpired, NotReady, QueueFull, ServiceError, UnknownModel
from lexiseg_service.fleet.discovery import Discovery
from lexiseg_service.fleet.links import WorkerLink, WorkerLost
from lexiseg_service.fleet.routing import choose, least_loaded, ranked
from lexiseg_service.fleet.streams import RemoteStream
from lexiseg_service.image.header import HASHED_AT_ONCE, image_id_of
from lexiseg_service.question.backend import Health
from lexiseg_service.question.messages import (
    Exemplified,
    FrameAnswer,
    StreamQuestion,
    VideoFrame,
    WorkerAnswer,
    WorkerRequest,
)
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics, WorkerState
from lexiseg_service.wire.answer import decode_answer, decode_frame_answer
from lexiseg_service.wire.request import decode_exemplified
from lexiseg_service.wire.trust import Trust

T = TypeVar("T")
Ask = Callable[[WorkerLink, WorkerRequest], Awaitable[T]]
logger = structlog.get_logger("lexiseg.workers")
ATTEMPTS = 2
MOST_ASKED_AGAIN = 3  # workers that may have kept an image
MOST_SPILLED = 4096  # images remembered because another than their own worker got them
SECONDS_BETWEEN_LOOK_UPS = 2.0
ELSEWHERE = (WorkerLost, NotReady, QueueFull, UnknownModel)  # what another worker may see differently


class RemoteBackend:
    """Finds workers, watches them, and asks them.

    Raises:
        InvalidValue: a certificate of ours is not as expected.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._discovery = Discovery(settings.workers)
        self._trust = Trust.of(settings)
        self._metrics = metrics
        metrics.watch_workers(self.states)
        self._seconds = settings.deadline_seconds
        self._links: dict[str, WorkerLink] = {}
        self._spilled: Lru[str, str] = Lru(MOST_SPILLED)  # image and model to address
        self._looking: asyncio.Task[None] | None = None

    def health(self) -> Health:
        links = list(self._links.values())
        usable = [link for link in links if link.usable]
        missing = self._discovery.missing
        degraded = [f"worker {link.name}: {link.problem}" for link in links if not link.usable]
        degraded += [f"worker {name}: no address" for name in missing]
        degraded += dict.fromkeys(what for link in usable for what in link.degraded)
        cards = self.cards()
        away = tuple(card.name for card in cards if not any(link.serves(card.name) for link in usable))
        awaited = tuple(name for name in map(str, map(ModelName.of, cards)) if _awaited(name, usable))
        detail = f"{len(usable)} of {len(links) + len(missing)} workers are ready"
        return Health(True, bool(usable), detail, tuple(degraded), away, awaited)

    def states(self) -> dict[str, WorkerState]:
        """How each worker is; one that has no address yet stands under its name."""
        of_links: dict[str, WorkerState] = {link.name: link.state for link in tuple(self._links.values())}
        return of_links | dict.fromkeys(self._discovery.missing, "missing")

    def cards(self) -> list[ModelCard]:
        links = sorted(self._links.values(), key=lambda link: not link.usable)
        by_version: dict[tuple[str, str], ModelCard] = {}
        for link in links:
            for card in link.cards:
                # What a worker that is away had counts as long as nobody has another version.
                if link.usable or not any(name == card.name for name, _ in by_version):
                    by_version.setdefault((card.name, card.version), card)
        return list(by_version.values())

    def digest(self, name: str) -> str | None:
        return next(filter(None, (link.digest(name) for link in self._links.values())), None)

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        return decode_answer(await self._found(request, self._timed))

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        return decode_exemplified(await self._found(request, WorkerLink.exemplify))

    async def _found(self, request: WorkerRequest, ask: Ask[T]) -> T:
        """Asks the worker of the request's image."""
        if request.image is None:
            return await self._ask_again(request, request.image_id or "", ask)
        key = _key(request.model, await _digest(request.image))
        tried: list[WorkerLink] = []
        failure: ServiceError | None = None
        while len(tried) < ATTEMPTS and (link := self._pick(request.model, key, tried)) is not None:
            if failure is not None:
                self._metrics.worker_retries.labels(reason_of_retry(failure)).inc()
            tried.append(link)
            try:
                return await self._ask_one(link, request, ask)
            except ELSEWHERE as error:
                failure = self._reason(error, link, request)
            except DeadlineExceeded as late:
                raise failure or late from None
        raise failure or self._nobody(request.model)

    async def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        stream = RemoteStream(self._pick_for_stream, self._metrics.stream_failovers.inc)
        async with aclosing(stream.answers(steps)) as messages:
            async for message in messages:
                yield decode_frame_answer(message)

    async def start(self) -> None:
        await self._look_up()
        if not self._discovery.fixed:
            self._looking = asyncio.create_task(self._look_up_forever())

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*(link.close() for link in self._links.values()))

    async def _ask_one(self, link: WorkerLink, request: WorkerRequest, ask: Ask[T]) -> T:
        if time.monotonic() >= request.deadline:
            raise DeadlineExceeded(f"no answer within the deadline of {self._seconds:g} seconds")
        return await ask(link, request)

    async def _timed(self, link: WorkerLink, request: WorkerRequest) -> pb.SegmentResponse:
        began = time.monotonic()
        answer = await link.segment(request)
        self._metrics.hop.observe(max(0.0, time.monotonic() - began - answer.timings_ms.total / 1e3))
        return answer

    async def _ask_again(self, request: WorkerRequest, image_id: str, ask: Ask[T]) -> T:
        """Asks those who may have kept an image: who got it when its own worker was busy, then by rank."""
        key = _key(request.model, image_id)
        failure: ServiceError | None = None
        kept_by = self._spilled.get(key)
        order = sorted(ranked(self._candidates(request.model), key), key=lambda link: link.address != kept_by)
        for link in order[:MOST_ASKED_AGAIN]:
            try:
                return await self._ask_one(link, request, ask)
            except DeadlineExceeded as late:
                raise failure or late from None
            except (ImageExpired, *ELSEWHERE) as error:
                failure = _more_telling(self._reason(error, link, request), failure)
        raise failure or self._nobody(request.model)

    def _candidates(self, model: str, tried: Collection[WorkerLink] = ()) -> list[WorkerLink]:
        """Workers that could answer; one that is found under two addresses counts once.

        Whoever still loads the model for the first time is asked only if all do.
        """
        able = [link for link in self._links.values() if link.usable and link.serves(model) and link not in tried]
        at_once = [link for link in able if not link.awaits(model)]
        return list({link.instance: link for link in reversed(at_once or able)}.values())

    def _pick(self, model: str, key: str, tried: Collection[WorkerLink]) -> WorkerLink | None:
        candidates = self._candidates(model, tried)
        link = choose(candidates, key)
        if link is not None and (tried or link is not ranked(candidates, key)[0]):
            self._spilled.put(key, link.address)
        return link

    def _pick_for_stream(self, model: str, tried: Collection[WorkerLink]) -> WorkerLink:
        candidates = self._candidates(model, tried)
        if not candidates:
            raise self._nobody(model)
        return least_loaded(candidates)

    def _reason(self, error: Exception, link: WorkerLink, request: WorkerRequest) -> ServiceError:
        if isinstance(error, ServiceError):
            return error
        logger.warning("worker lost", worker=link.name, request_id=request.request_id)
        return NotReady("the worker went away in the middle of the request, and no other could take it over")

    def _nobody(self, model: str) -> NotReady:
        return NotReady(f"no worker with model {model} is ready")

    async def _look_up_forever(self) -> None:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_LOOK_UPS)
            try:
                await self._look_up()
            except Exception:  # whatever it is: the gateway must go on looking
                logger.exception("look-up failed")

    async def _look_up(self) -> None:
        addresses = await self._discovery.addresses()
        for address in addresses:
            if address not in self._links:
                self._links[address] = WorkerLink(address, self._trust)
                self._links[address].open()
        for address in self._links.keys() - set(addresses):
            link = self._links[address]
            # One that DNS no longer names may still be finishing.
            if not link.usable and not link.in_flight:
                del self._links[address]
                await link.close()


def _awaited(model: str, links: Sequence[WorkerLink]) -> bool:
    """Whether all who have a model, NAME@VERSION, are still loading it."""
    able = [link for link in links if link.serves(model)]
    return bool(able) and all(link.awaits(model) for link in able)


def reason_of_retry(failure: ServiceError) -> str:
    """Why a request is asked elsewhere, in the few words that a metric can hold."""
    if isinstance(failure, QueueFull):
        return "full"
    return "model" if isinstance(failure, UnknownModel) else "away"


def _more_telling(reason: ServiceError, before: ServiceError | None) -> ServiceError:
    """Which of two workers' refusals tells more about an image that one of them may have kept.

    A full queue: the image may be answered about a moment later. Then "expired", which has the client send the image
    again: when a worker went away, what it kept is gone.
    """
    return reason if before is None or _telling(reason) > _telling(before) else before


def _telling(refusal: ServiceError) -> int:
    return 2 if isinstance(refusal, QueueFull) else int(isinstance(refusal, ImageExpired))


def _key(model: str, image_id: str) -> str:
    return f"{ModelName.parse(model).name}|{image_id}"


async def _digest(image: bytes) -> str:
    return image_id_of(image) if len(image) <= HASHED_AT_ONCE else await asyncio.to_thread(image_id_of, image)
