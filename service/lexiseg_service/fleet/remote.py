"""A backend that spreads requests over all workers.

An image goes to the worker that rendezvous hashing prefers among workers that have the model (`choose`). A call is
retried once with another worker, within the deadline, if the first one does not answer, shuts down or has no room;
requests are idempotent. A refusal of the request itself is not retried. If the deadline passes during the retry, the
client gets the first worker's error.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_model.cards import ModelCard
from lexiseg_model.model_name import ModelName
from lexiseg_model.resources.lru import Lru
from lexiseg_service.errors import DeadlineExceeded, ImageExpired, NotReady, QueueFull, ServiceError, UnknownModel
from lexiseg_service.fleet.discovery import Discovery
from lexiseg_service.fleet.failover import RemoteStream
from lexiseg_service.fleet.links import WorkerLink, WorkerLost
from lexiseg_service.image.reader import image_id_of
from lexiseg_service.question.backend import Exemplified, Health, Taught
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.retries import for_ever
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics, WorkerState
from lexiseg_service.wire.messages import decode_answer, decode_exemplified, decode_taught
from lexiseg_service.wire.server import UNIX
from lexiseg_service.wire.trust import Trust

T = TypeVar("T")
Ask = Callable[[WorkerLink, WorkerRequest], Awaitable[T]]
logger = structlog.get_logger("lexiseg.workers")
MAX_ATTEMPTS = 2
MAX_CACHED_ATTEMPTS = 3  # workers that may have an image in their cache
MAX_SPILLED = 4096  # images to remember that went to another worker than their own
DNS_SECONDS = 2.0  # between two lookups
RETRY_REASONS: dict[type[Exception], str] = {QueueFull: "full", UnknownModel: "model"}
RETRIED = (WorkerLost, NotReady, QueueFull, UnknownModel)  # another worker may answer
# A worker is busy with that many requests in flight more than the least loaded one: about one batch. Below that, a
# cached image pass is worth the wait.
SPILL_AT = 8


class RemoteBackend:
    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._discovery = Discovery(settings.workers)
        self._trust = Trust.from_settings(settings)
        self._metrics = metrics
        metrics.worker_states = self.states
        self._seconds = settings.deadline_seconds
        sockets = [Path(address.removeprefix(UNIX)) for address in settings.workers if address.startswith(UNIX)]
        self._folders = {socket.parent for socket in sockets}
        self._links: dict[str, WorkerLink] = {}
        self._spilled: Lru[str, str] = Lru(MAX_SPILLED)  # model and image to address
        self._looking: asyncio.Task[None] | None = None

    def health(self) -> Health:
        links = list(self._links.values())
        usable = [link for link in links if link.usable]
        missing = self._discovery.missing
        degraded = [f"worker {link.name}: {link.problem}" for link in links if not link.usable]
        degraded += [f"worker {name}: no address" for name in missing]
        degraded += dict.fromkeys(what for link in usable for what in link.degraded)
        cards = self.cards()
        away = tuple(card.name for card in cards if not any(link.serves(ModelName(card.name)) for link in usable))
        detail = f"{len(usable)} of {len(links) + len(missing)} workers are ready"
        if removed := [folder for folder in self._folders if not folder.is_dir()]:
            detail = f"the folder of the workers' sockets was removed: {removed[0].name}"
        return Health(not removed, bool(usable), detail, tuple(degraded), away)

    def states(self) -> dict[str, WorkerState]:
        """The state of each worker; one without an address yet has its host name."""
        of_links: dict[str, WorkerState] = {link.name: link.state for link in tuple(self._links.values())}
        return of_links | dict.fromkeys(self._discovery.missing, "missing")

    def cards(self) -> list[ModelCard]:
        links = sorted(self._links.values(), key=lambda link: not link.usable)
        by_version: dict[tuple[str, str], ModelCard] = {}
        for link in links:
            for card in link.cards:
                # The cards of an absent worker count as long as no other worker has a version of the model.
                if link.usable or not any(name == card.name for name, _ in by_version):
                    by_version.setdefault((card.name, card.version), card)
        return list(by_version.values())

    def digest(self, name: str) -> str | None:
        return next(filter(None, (link.digest(name) for link in self._links.values())), None)

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        return decode_answer(await self._routed(request, self._timed))

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        return decode_exemplified(await self._routed(request, WorkerLink.exemplify))

    async def teach(self, request: WorkerRequest) -> Taught:
        return decode_taught(await self._routed(request, WorkerLink.teach))

    async def _routed(self, request: WorkerRequest, ask: Ask[T]) -> T:
        """Call the worker of the request's image (without the file, one that may have it), then others.

        Without the file, first the one that got it by spilling: its features are there and not where it ranks first.
        """
        cached = request.image is None
        image_id = request.image_id or image_id_of(request.image or b"")
        model = ModelName.parse(request.model)
        key = f"{model.name}|{image_id}"
        attempts: list[WorkerLink] = []
        failure: ServiceError | None = None
        for _ in range(MAX_CACHED_ATTEMPTS if cached else MAX_ATTEMPTS):
            if (link := self._pick(model, key, attempts, cached=cached)) is None:
                break
            if failure is not None and not cached:
                self._metrics.worker_retries.labels(RETRY_REASONS.get(type(failure), "away")).inc()
            attempts.append(link)
            try:
                return await self._ask_one(link, request, ask, failure)
            except (ImageExpired, *RETRIED) as error:
                reason = self._as_service_error(error, link, request)
                failure = max(filter(None, (failure, reason)), key=_usefulness) if cached else reason
        raise failure or self._no_worker(request.model)

    async def _ask_one(self, link: WorkerLink, request: WorkerRequest, ask: Ask[T], before: ServiceError | None) -> T:
        """Call one worker; where the deadline passes, the error is that of the worker before, if there was one."""
        if time.monotonic() >= request.deadline:
            raise before or DeadlineExceeded(f"no answer within the deadline of {self._seconds:g} seconds")
        try:
            return await ask(link, request)
        except DeadlineExceeded as late:
            raise before or late from None

    def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        return RemoteStream(self._pick_for_stream, self._seconds, self._metrics.stream_failovers.inc).answers(steps)

    async def start(self) -> None:
        await self._resolve()
        self._looking = asyncio.create_task(for_ever(self._resolve, DNS_SECONDS, DNS_SECONDS))

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*(link.close() for link in self._links.values()))

    async def _timed(self, link: WorkerLink, request: WorkerRequest) -> pb.SegmentResponse:
        began = time.monotonic()
        answer = await link.segment(request)
        self._metrics.hop.observe(max(0.0, time.monotonic() - began - answer.timings_ms.total / 1e3))
        return answer

    def _candidates(self, model: ModelName, attempts: Collection[WorkerLink] = ()) -> list[WorkerLink]:
        """Workers that can answer, each process once; the ones that still load the model only if all do."""
        able = [link for link in self._links.values() if link.usable and link.serves(model) and link not in attempts]
        at_once = [link for link in able if not link.awaits(model)]
        return list({link.instance: link for link in reversed(at_once or able)}.values())

    def _pick(self, model: ModelName, key: str, attempts: Collection[WorkerLink], *, cached: bool) -> WorkerLink | None:
        order = ranked(self._candidates(model, attempts), key)
        if cached:
            spilled_to = self._spilled.get(key)
            return min(order, key=lambda link: link.address != spilled_to, default=None)
        link = choose(order)
        if link is not None and (attempts or link is not order[0]):
            self._spilled.put(key, link.address)
        return link

    def _pick_for_stream(self, model: str, leaving: Collection[str]) -> WorkerLink:
        candidates = [link for link in self._candidates(ModelName.parse(model)) if link.instance not in leaving]
        if not candidates:
            raise self._no_worker(model)
        return least_loaded(candidates)

    def _as_service_error(self, error: Exception, link: WorkerLink, request: WorkerRequest) -> ServiceError:
        if isinstance(error, ServiceError):
            return error.with_traceback(None)  # its frames would keep the image, and the error itself, in memory
        logger.warning("worker lost", worker=link.name, reason=str(error), request_id=request.request_id)
        return NotReady("the worker did not answer, and no other one could take the request over")

    def _no_worker(self, model: str) -> NotReady:
        return NotReady(f"no worker with model {model} is ready")

    async def _resolve(self) -> None:
        addresses = await self._discovery.addresses()
        for address in addresses:
            if address not in self._links:
                self._links[address] = WorkerLink(address, self._trust)
                self._links[address].open()
        for address in self._links.keys() - set(addresses):
            link = self._links[address]
            # A worker that DNS no longer names may still finish its calls.
            if not link.usable and not link.in_flight:
                del self._links[address]
                await link.close()


def _usefulness(failure: ServiceError) -> int:
    """Rank of an error about a cached image: a full queue may be tried again, an expired image be sent again."""
    return 2 if isinstance(failure, QueueFull) else int(isinstance(failure, ImageExpired))


def ranked(candidates: Sequence[WorkerLink], key: str) -> list[WorkerLink]:
    """Candidates by their hash for the key, the highest first: rendezvous hashing (Thaler and Ravishankar, 1998).

    All gateways agree without communication, and a worker that comes or goes moves only its own share of the images.
    """

    def score(candidate: WorkerLink) -> bytes:
        return hashlib.blake2b(f"{candidate.address}|{key}".encode(), digest_size=8).digest()

    return sorted(candidates, key=score, reverse=True)


def choose(order: Sequence[WorkerLink]) -> WorkerLink | None:
    """The first of ranked candidates, or the least loaded when that one is busy; None without candidates."""
    if not order:
        return None
    winner, idle = order[0], least_loaded(order)
    busy = winner.room <= 0 or winner.load - idle.load >= SPILL_AT
    return idle if busy and idle.room > 0 else winner


def least_loaded(candidates: Sequence[WorkerLink]) -> WorkerLink:
    return min(candidates, key=lambda candidate: candidate.load)
