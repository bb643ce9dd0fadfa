"""Work on chunks of a bulk job with a model that is loaded once, in this process or in an actor of Ray.

At most two batches of pictures are in flight, which bounds the memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from lexiseg_model.errors import OptionError
from lexiseg_model.types import Vocabulary
from lexiseg_service.batch.description import stored
from lexiseg_service.batch.ledger.folder import Chunk, Destination
from lexiseg_service.batch.ledger.job import Job
from lexiseg_service.batch.loop import PictureRunner, work
from lexiseg_service.batch.rows import FAILED
from lexiseg_service.batch.sources.files import FileReader
from lexiseg_service.batch.sources.listing import Source
from lexiseg_service.batch.sources.source import Unreadable
from lexiseg_service.errors import ModelChanged, NotReady, ServiceError
from lexiseg_service.in_process import check_model
from lexiseg_service.question.backend import until_ready
from lexiseg_service.question.messages import ImageSource, WorkerAnswer, WorkerRequest
from lexiseg_service.question.schemas import TaskQuestion
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

if TYPE_CHECKING:  # imports torch
    from lexiseg_service.worker.worker import ModelWorker

MAX_REASONS = 3  # failures quoted in the report of a chunk, and at the end
BATCH = 32  # tiles in one image pass by default: what a GPU needs to be busy
ASK_SECONDS = 86_400.0  # for one picture, also in a pass that waits for a model of gigabytes


def batch_settings(settings: Settings) -> Settings:
    """Settings for many pictures at once: batches of a size for GPUs, a queue that holds two of them, no cache."""
    batch = settings.max_batch if "max_batch" in settings.model_fields_set else BATCH
    return settings.model_copy(
        update={
            "max_batch": batch,
            "queue_limit": max(settings.queue_limit, 8 * batch),  # one client has a share of it
            "feature_cache_bytes": 0,
            "drain_seconds": 0.0,
        }
    )


@dataclass(frozen=True)
class BulkJob:
    """Source of the pictures, question, and destination of the results. Pickled for other processes."""

    source: Source
    destination: str
    question: TaskQuestion
    vocabulary: Vocabulary
    settings: Settings
    model: str  # NAME@VERSION
    model_digest: str | None = None  # of existing rows
    retry_failed: bool = False  # ask again about inputs with a failure as row

    @property
    def vocabulary_digest(self) -> str:
        """SHA-256 of the classes, what they have learned, and the background rule; not of the list's name."""
        content = {**asdict(self.vocabulary), "name": None}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=bytes.hex)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def identity(self) -> dict[str, Any]:
        """Question, model and source. Jobs that differ in any of them must not share a destination."""
        return {
            **stored(self.question),
            "task": self.question.task,
            "classes": [entry.name for entry in self.vocabulary.classes],
            "vocabulary_digest": self.vocabulary_digest,
            "model": self.model,
            "source": self.source._asdict(),
        }


class Report(NamedTuple):
    """Numbers of inputs and failures of one chunk, and the first messages of failures."""

    inputs: int
    failures: int
    reasons: list[str]


class ChunkWorker:
    """Works on chunks, one after another, with a worker in an event loop of its own; as `Executor`. Not thread-safe."""

    gives_way = False

    def __init__(self, job: BulkJob) -> None:
        settings, source = job.settings, job.source
        check_model(settings, job.question.task)
        from lexiseg_service.worker.worker import ModelWorker  # imports torch, in the process that needs it

        self._job = job
        classes = [entry.name for entry in job.vocabulary.classes]
        self._described = Job("bulk", "", "", 0.0, 0, source.kind, source.url, stored(job.question), classes, "parquet")
        self._destination = Destination(job.destination)
        self._loop = asyncio.Runner()
        # Not warmed up: a job has no deadline, and many jobs have pictures of one size.
        own = settings.model_copy(update={"model": settings.first_model})
        self._worker: ModelWorker = ModelWorker(own, Metrics(), resident=False)
        self._loop.run(self._worker.start())
        self._loop.run(until_ready(self._worker))
        self._model = self._worker.cards()[0].name
        digest = self._worker.digest(self._model)
        if digest is None:
            raise NotReady(self._worker.health().detail)
        self._digest = digest
        if job.model_digest is not None and self._digest != job.model_digest:
            raise OptionError(
                f"{job.destination} holds answers of {job.model} with the digest {job.model_digest}; "
                f"the one here has {self._digest}"
            )
        learned = [entry.learned for entry in job.vocabulary.classes if entry.learned is not None]
        if learned and learned[0].digest != self._digest:
            weights = f"other weights of {job.model} than are here, or by an earlier release"
            raise ModelChanged(f"head: {job.question.head!r} was taught on {weights}; teach it again")
        self._width = 2 * settings.max_batch
        max_bytes = settings.limits.max_image_bytes
        self._files = FileReader(max_bytes, source.kind, source.image_column)
        self._threads = ThreadPoolExecutor(self._width, "pictures")
        self._pictures = PictureRunner(self, self._threads, max_bytes, lambda _: self._files, _problem_of)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Work on chunks as Ray Data's `map_batches` asks: column `chunk` in, columns of `Report` out."""
        reports = [self.work_on(int(chunk)) for chunk in batch["chunk"]]
        return dict(zip(Report._fields, map(list, zip(*reports, strict=True)), strict=True))

    def work_on(self, number: int) -> Report:
        """Ask about the inputs of a chunk and write their rows; existing rows are kept."""
        digests = {"model_digest": self._digest, "vocabulary_digest": self._job.vocabulary_digest}
        about = self._job.identity | {"model_digest": self._digest}
        chunk = Chunk(self._destination, number, digests, about, retry_failed=self._job.retry_failed)
        line = partial(self._pictures.line, self._described)
        self._loop.run(work(chunk.pictures, line, chunk, self._width))
        failures = [row for row in chunk.rows if row["status"] == FAILED]
        reasons = [f"{row['id']}: {row['error']}" for row in failures[:MAX_REASONS]]
        return Report(len(chunk.rows), len(failures), reasons)

    @property
    def is_ready(self) -> bool:
        return self._worker.health().ready

    async def admit(self, job: Job) -> None:
        """As `Executor.admit`: a command has no limit."""

    async def segment(self, job: Job, image: ImageSource, identity: str) -> WorkerAnswer:
        question = self._job.question
        request = WorkerRequest(
            image.content,
            self._job.vocabulary,
            self._model,
            question.task,
            threshold=question.threshold,
            max_side=question.max_side,
            deadline=time.monotonic() + ASK_SECONDS,
            request_id=identity,
            remember=False,
        )
        return await self._worker.segment(request)

    def close(self) -> None:
        self._loop.run(self._worker.close())
        self._loop.close()
        self._threads.shutdown(wait=False)
        self._files.close()


def _problem_of(error: Exception) -> ServiceError:
    """The error for a row: each store's library raises its own, and whoever runs the command may see them."""
    return Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or f'{type(error).__name__}: {error}'}")
