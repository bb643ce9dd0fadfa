"""CPU time and counts of each stage of `POST /segment`, one after another on an idle process, torch on one thread."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from PIL import Image

from benchmarks.counters import count_calls, one_thread
from benchmarks.timing import cost, print_table
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import worker_pb2
from lexiseg_model.cards import ModelCard
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import Query
from lexiseg_model.tasks.options import Options
from lexiseg_model.vocabulary.bank import needed_texts
from lexiseg_model.vocabulary.scoring import score
from lexiseg_service.gateway.app import create_app
from lexiseg_service.image import samples
from lexiseg_service.image.reader import decode, image_id_of, read_header
from lexiseg_service.question.messages import MaskFormat, WorkerAnswer, WorkerRequest, render_json
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire import messages as wire
from lexiseg_service.worker.finish import render
from lexiseg_service.worker.job import Job, Lookup
from lexiseg_service.worker.models.pool import Loaded
from loadtests.peers.model import load as load_model
from loadtests.plain_client import posted_form
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.known_backend import answer as known_answer

WORDS = (
    *("sky", "building", "tree", "road", "car", "person", "grass", "water", "mountain", "boat"),
    *("dog", "cat", "chair", "table", "window", "door", "fence", "wall", "floor", "sign"),
)
SIZES = {"640 x 480": (640, 480), "12 MP": (4000, 3000)}
RUNS = 15
Stages = dict[str, Callable[[], object]]


class Work(NamedTuple):
    """What a stage takes."""

    milliseconds: float  # of CPU
    calls: int  # of Python and C functions
    kilobytes: float  # of new memory at its peak


def measured(work: Callable[[], object]) -> Work:
    seconds = cost(work, RUNS).cpu
    calls = count_calls(work)
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Work(1e3 * seconds, calls, peak / 1e3)


@dataclass
class OneAnswer(KnownBackend):
    """Workers that give one answer to everything."""

    card: ModelCard | None = None
    answer: WorkerAnswer | None = None

    def cards(self) -> list[ModelCard]:
        assert self.card is not None
        return [self.card]

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.asked[:] = [request]
        assert self.answer is not None
        return self.answer


def jpeg(size: tuple[int, int]) -> bytes:
    """The photograph at a size (width, height)."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(samples.photograph("china.jpg"))).resize(size).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Walk:
    """The stages of one request, each over what the one before it made."""

    def __init__(self, segmenter: Segmenter, size: tuple[int, int], mask: MaskFormat) -> None:
        self.settings, self.segmenter, self.image, self.mask = Settings(), segmenter, jpeg(size), mask
        self.backend = OneAnswer(card=segmenter.card)
        self.app = create_app(self.settings, self.backend, Metrics())
        self.loop = asyncio.new_event_loop()
        raw = posted_form(self.image, {"classes": WORDS, "mask": mask})
        lines, self.body = raw.split(b"\r\n\r\n", 1)
        pairs = (line.split(b": ", 1) for line in lines.split(b"\r\n")[1:])
        self.headers = [(name.lower(), value) for name, value in pairs]

    def gateway(self) -> bytes:
        """Middleware, admission, form, checks, header and id of the image, and the answer's JSON."""
        url = {"type": "http", "method": "POST", "path": "/segment", "raw_path": b"/segment", "query_string": b""}
        connection = {"http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
        sent: list[Any] = []
        pieces = [self.body[at : at + 65536] for at in range(0, len(self.body), 65536)]  # as uvicorn hands them on
        arriving = iter(
            [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
            + [{"type": "http.request", "body": b"", "more_body": False}]
        )

        async def receive() -> Any:
            message = next(arriving, None)
            return await asyncio.Event().wait() if message is None else message

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {**url, **connection, "root_path": "", "headers": self.headers, "asgi": {"version": "3.0"}, "state": {}}
        self.loop.run_until_complete(self.app(scope, receive, send))
        assert sent[0]["status"] == 200, sent
        body: bytes = sent[1]["body"]
        return body

    def stages(self) -> Stages:
        """By name, in the order of a request; the gateway's whole comes first."""
        segmenter, limits, image = self.segmenter, self.settings.limits, self.image
        self.backend.answer = known_answer()
        self.gateway()
        (request,) = self.backend.asked
        short_side = 2 * segmenter.card.input.short_side
        header = read_header(image, limits)
        message = wire.encode_request(request).SerializeToString()
        picture = decode(image, limits, short_side, header)
        job = self._job(request)
        plan = segmenter.plan(picture.rgb, job.options).of_size(picture.size)
        tiles = segmenter.encode_tiles(plan.tiles)
        job.features = segmenter.assemble(plan, tiles)
        self.backend.answer = answer = render(job)
        sent = wire.encode_answer(answer).SerializeToString()
        query = Query(segmenter, job.features, request.vocabulary, Options(), job.lookup.rows_of)

        def unpack() -> object:
            read = worker_pb2.WorkerSegmentRequest.FromString(message)
            return wire.decode_request(read, 0.0)

        return {
            "gateway: HTTP to question, answer to JSON": self.gateway,
            "- of it header and id of the image": lambda: (read_header(image, limits), image_id_of(image)),
            "- of it the answer's JSON": lambda: render_json(answer, "id"),
            "gateway: question to protobuf": lambda: wire.encode_request(request).SerializeToString(),
            "worker: protobuf to question": unpack,
            "worker: decode": lambda: decode(image, limits, short_side, header),
            "worker: resize": lambda: segmenter.plan(picture.rgb, job.options),
            "worker: image pass": lambda: segmenter.encode_tiles(plan.tiles),
            "worker: features": lambda: segmenter.assemble(plan, tiles),
            "- of it scores and background": lambda: score(
                segmenter, query.features, query.vocabulary, query.bank, query.refine
            ),
            "worker: answer, with its scores": lambda: render(job),
            "worker: answer to protobuf": lambda: wire.encode_answer(answer).SerializeToString(),
            "gateway: protobuf to answer": lambda: wire.decode_answer(pb.SegmentResponse.FromString(sent)),
        }

    def _job(self, request: WorkerRequest) -> Job[WorkerAnswer]:
        """A job with its model and its text rows."""
        job: Job[WorkerAnswer] = Job(request, render)
        job.loaded = Loaded(self.segmenter, threading.Condition())
        texts = needed_texts(self.segmenter, request.vocabulary)
        rows = [row.astype("<f2").tobytes() for row in self.segmenter.encode_texts(texts)]  # type: ignore[attr-defined]
        job.lookup = Lookup(texts, dict(zip(texts, rows, strict=True)), [], 0)
        return job


def run() -> None:
    """Print a table for each size of the image and format of the masks."""
    one_thread()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    segmenter = load_model()
    for name, size in SIZES.items():
        for mask in ("rle", "png"):
            works = {stage: measured(work) for stage, work in Walk(segmenter, size, mask).stages().items()}
            rows = [
                [stage, f"{work.milliseconds:.2f}", f"{work.calls:,}", f"{work.kilobytes:,.0f}"]
                for stage, work in works.items()
            ]
            print_table(f"{name} JPEG, {len(WORDS)} words, {mask}", ["stage", "CPU ms", "calls", "KB at most"], rows)
