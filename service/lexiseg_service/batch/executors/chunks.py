"""Work on chunks of a bulk job with a model that is loaded once, in this process or in an actor of Ray.

At most two batches of pictures are in flight, which bounds the memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from lexiseg_model.errors import OptionError
from lexiseg_model.types import Vocabulary
from lexiseg_service.batch.description import stored
from lexiseg_service.batch.executors.picture_runner import PictureRunner, never
from lexiseg_service.batch.executors.process import ProcessExecutor
from lexiseg_service.batch.lane import Line, work
from lexiseg_service.batch.ledger.folder import Chunk, Destination
from lexiseg_service.batch.ledger.job import Job
from lexiseg_service.batch.rows import FAILED
from lexiseg_service.batch.sources.files import FileReader
from lexiseg_service.batch.sources.listing import Source
from lexiseg_service.batch.sources.source import Picture, Unreadable
from lexiseg_service.errors import ModelChanged, ServiceError
from lexiseg_service.question.schemas import TaskQuestion
from lexiseg_service.settings import Settings

MAX_REASONS = 3  # failures quoted in the report of a chunk, and at the end


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

    @property
    def described(self) -> Job:
        """The job as a picture runner takes it."""
        classes = [entry.name for entry in self.vocabulary.classes]
        return Job("bulk", "", "", 0.0, 0, self.source.kind, self.source.url, stored(self.question), classes, "parquet")


class Report(NamedTuple):
    """Numbers of inputs and failures of one chunk, and the first messages of failures."""

    inputs: int
    failures: int
    reasons: list[str]


class ChunkWorker:
    """Works on chunks, one after another, with an event loop of its own. Not thread-safe."""

    def __init__(self, job: BulkJob) -> None:
        self._job = job
        self._described = job.described
        self._destination = Destination(job.destination)
        self._loop = asyncio.Runner()
        self._executor = ProcessExecutor(job.settings, job.question, job.vocabulary)
        self._loop.run(self._executor.start())
        self._digest = self._executor.digest
        if job.model_digest is not None and self._digest != job.model_digest:
            raise OptionError(
                f"{job.destination} holds answers of {job.model} with the digest {job.model_digest}; "
                f"the one here has {self._digest}"
            )
        learned = [entry.learned for entry in job.vocabulary.classes if entry.learned is not None]
        if learned and learned[0].digest != self._digest:
            weights = f"other weights of {job.model} than are here, or by an earlier release"
            raise ModelChanged(f"head: {job.question.head!r} was taught on {weights}; teach it again")
        self._width = 2 * job.settings.max_batch
        max_bytes = job.settings.limits.max_image_bytes
        self._files = FileReader(max_bytes, job.source.kind, job.source.image_column)
        self._threads = ThreadPoolExecutor(self._width, "pictures")
        self._picture_runner = PictureRunner(
            self._executor, self._threads, max_bytes, lambda _: self._files, _problem_of
        )

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Work on chunks as Ray Data's `map_batches` asks: column `chunk` in, columns of `Report` out."""
        reports = [self.work_on(int(chunk)) for chunk in batch["chunk"]]
        return dict(zip(Report._fields, map(list, zip(*reports, strict=True)), strict=True))

    def work_on(self, number: int) -> Report:
        """Ask about the inputs of a chunk and write their rows; existing rows are kept."""
        digests = {"model_digest": self._digest, "vocabulary_digest": self._job.vocabulary_digest}
        about = self._job.identity | {"model_digest": self._digest}
        chunk = Chunk(self._destination, number, digests, about, retry_failed=self._job.retry_failed)
        self._loop.run(work(chunk.pictures, self._line, chunk, self._width))
        failures = [row for row in chunk.rows if row["status"] == FAILED]
        reasons = [f"{row['id']}: {row['error']}" for row in failures[:MAX_REASONS]]
        return Report(len(chunk.rows), len(failures), reasons)

    async def _line(self, picture: Picture) -> Line:
        return await self._picture_runner.line(self._described, picture, never)

    def close(self) -> None:
        """End the threads."""
        self._loop.run(self._executor.close())
        self._loop.close()
        self._threads.shutdown(wait=False)
        self._files.close()


def _problem_of(error: Exception) -> ServiceError:
    """The error for a row: each store's library raises its own, and whoever runs the command may see them."""
    return Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or f'{type(error).__name__}: {error}'}")
