"""One chunk after the other through a model that is loaded once: the same code here and on Ray.

Reading (threads) -> the engine's stages (decode, image passes of many pictures, masks) -> rows -> one file

At most two batches of pictures are in flight, which bounds the memory.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

from lexiseg_model.errors import ModelError, OptionError
from lexiseg_service.commands.bulk.contents import Contents, Unreadable
from lexiseg_service.commands.bulk.plan import Destination, Job, rows_name
from lexiseg_service.commands.bulk.rows import FAILED, OK, Row, decode, encode, row_of
from lexiseg_service.commands.bulk.sources import Item
from lexiseg_service.commands.in_process import load
from lexiseg_service.errors import NotReady, ServiceError
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine

TRIES = 4  # of writing a file of rows
PAUSE = 1.0  # seconds before the second, twice that before the third
REASONS = 3  # failures of a chunk in its report


class Report(NamedTuple):
    """The outcome of one chunk. `fresh` pictures were segmented now, the others before."""

    inputs: int
    failures: int
    fresh: int
    reasons: list[str]


class Segmenting:
    """Holds the model; for one thread.

    Raises:
        ModelError: the model cannot be loaded, or is not that of the rows that are there.
        ServiceError: it cannot do the task.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._destination = Destination(job.destination)
        self._vocabulary_digest = job.vocabulary_digest
        if job.gpu_share and job.gpu_share < 1:
            _keep_to_share(job.gpu_share)
        self._segmenter = load(job.settings, job.question.task)
        if job.model_digest is not None and self._segmenter.digest != job.model_digest:
            raise OptionError(
                f"{job.destination} holds answers of {job.model} with the digest {job.model_digest}; "
                f"the one here has {self._segmenter.digest}"
            )
        # Not warmed up: nothing here has a deadline, and many jobs have pictures of one size alone.
        self._engine = Engine(self._segmenter, job.settings, Metrics())
        self._ahead = 2 * job.settings.max_batch
        self._contents = Contents(job.source, job.settings.limits.max_image_bytes, self._ahead)

    def __call__(self, chunk: int) -> Report:
        """Segment the inputs of a chunk and write their rows; rows that are there already are kept.

        Raises:
            OSError: the plan cannot be read, or the rows cannot be written.
        """
        items = self._destination.chunk(chunk)
        content = self._destination.read(rows_name(chunk))
        before = decode(content) if content is not None else []
        keep = {row["id"]: row for row in before if row["status"] == OK or not self._job.retry_failed}
        to_do = [item for item in items if item.id not in keep]
        fresh = {row["id"]: row for row in self._rows(to_do)}
        rows = [fresh.get(item.id) or keep[item.id] for item in items]
        if to_do or len(before) != len(rows):
            self._write(chunk, rows)
        failures = [row for row in rows if row["status"] == FAILED]
        reasons = [f"{row['id']}: {row['error']}" for row in failures[:REASONS]]
        return Report(len(rows), len(failures), len(to_do), reasons)

    def close(self) -> None:
        """End the threads."""
        self._contents.close()
        self._engine.close(0)

    def _rows(self, items: Sequence[Item]) -> list[Row]:
        rows: list[Row] = []
        pending: deque[tuple[Item, Future[WorkerAnswer] | str]] = deque()
        for item, content in zip(items, self._contents.of(items), strict=True):
            if len(pending) == self._ahead:
                rows.append(self._row(*pending.popleft()))
            pending.append((item, str(content) if isinstance(content, Unreadable) else self._submit(content)))
        rows.extend(self._row(*each) for each in pending)
        return rows

    def _submit(self, content: bytes) -> Future[WorkerAnswer] | str:
        question = self._job.question
        request = WorkerRequest(
            content,
            self._job.vocabulary,
            self._segmenter.card.name,
            task=question.task,
            threshold=question.threshold,
            max_side=question.max_side,
            remember=False,
        )
        try:
            return self._engine.submit(request)
        except NotReady:
            raise
        except Exception as error:
            return _reason(error)

    def _row(self, item: Item, answer: Future[WorkerAnswer] | str) -> Row:
        """The row of an input; an error with one picture is the reason in its row."""
        outcome: WorkerAnswer | str
        try:
            outcome = answer if isinstance(answer, str) else answer.result()
        except NotReady:
            raise
        except Exception as error:
            outcome = _reason(error)
        return row_of(item.id, outcome, self._segmenter.digest, self._vocabulary_digest)

    def _write(self, chunk: int, rows: Sequence[Row]) -> None:
        content = encode(rows, self._job.asked | {"model_digest": self._segmenter.digest})
        for attempt in range(1, TRIES):
            with contextlib.suppress(OSError):
                return self._destination.write(rows_name(chunk), content)
            time.sleep(PAUSE * attempt)
        return self._destination.write(rows_name(chunk), content)


def _reason(error: Exception) -> str:
    if isinstance(error, ServiceError):
        return f"{error.type}: {error.detail}"
    if isinstance(error, ModelError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _keep_to_share(share: float) -> None:
    """Limit the memory of an actor that shares its GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)
