"""One chunk after the other through a model that is loaded once: the same function here and on Ray.

Reading (threads) -> the engine's stages (decode, image passes of many pictures, masks) -> rows -> one file

As many pictures are on their way as two batches hold, whatever the chunk: that bounds the memory.
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
from lexiseg_service.commands.bulk.job import Job
from lexiseg_service.commands.bulk.plan import Destination, rows_name
from lexiseg_service.commands.bulk.rows import FAILED, OK, Row, answered, decode, encode, failed
from lexiseg_service.commands.bulk.sources import Item
from lexiseg_service.commands.loading import load
from lexiseg_service.errors import NotReady, ServiceError
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine

TRIES = 4  # of writing a file of rows
PAUSE = 1.0  # seconds before the second, twice that before the third
REASONS = 3  # failures of a chunk that are told with it


class Report(NamedTuple):
    """What became of one chunk. `fresh` pictures were segmented now, the others before."""

    chunk: int
    inputs: int
    failures: int
    fresh: int
    reasons: tuple[str, ...] = ()


class Segmenting:
    """Holds the model; for one thread."""

    def __init__(self, job: Job) -> None:
        """
        Raises:
            ModelError: the model cannot be loaded, or is another than that of the rows that are there.
            ServiceError: it cannot do the task.
        """
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
        """Segments the inputs of a chunk and writes their rows; a chunk that is there already is left as it is.

        Raises:
            OSError: the plan cannot be read, or the rows cannot be written.
        """
        items = self._destination.chunk(chunk)
        content = self._destination.read(rows_name(chunk))
        before = decode(content) if content is not None else []
        keep = {row["id"]: row for row in before if row["status"] == OK or not self._job.again}
        to_do = [item for item in items if item.id not in keep]
        fresh = {row["id"]: row for row in self._rows(to_do)}
        rows = [fresh.get(item.id) or keep[item.id] for item in items]
        if to_do or len(before) != len(rows):
            self._write(chunk, rows)
        failures = [row for row in rows if row["status"] == FAILED]
        reasons = tuple(f"{row['id']}: {row['error']}" for row in failures[:REASONS])
        return Report(chunk, len(rows), len(failures), len(to_do), reasons)

    def close(self) -> None:
        """Ends the threads."""
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
        try:
            return self._engine.submit(
                WorkerRequest(
                    content,
                    self._job.vocabulary,
                    self._segmenter.card.name,
                    task=question.task,
                    threshold=question.threshold,
                    max_side=question.max_side,
                    remember=False,
                )
            )
        except NotReady:
            raise
        except Exception as error:
            return _reason(error)

    def _row(self, item: Item, answer: Future[WorkerAnswer] | str) -> Row:
        """Whatever went wrong with one picture is its row."""
        reason = answer if isinstance(answer, str) else ""
        if not isinstance(answer, str):
            try:
                return answered(item.id, answer.result(), self._vocabulary_digest)
            except NotReady:
                raise
            except Exception as error:
                reason = _reason(error)
        return failed(item.id, reason, self._segmenter.digest, self._vocabulary_digest)

    def _write(self, chunk: int, rows: Sequence[Row]) -> None:
        content = encode(rows, self._job.asked | {"model_digest": self._segmenter.digest})
        for turn in range(1, TRIES):
            with contextlib.suppress(OSError):
                return self._destination.write(rows_name(chunk), content)
            time.sleep(PAUSE * turn)
        return self._destination.write(rows_name(chunk), content)


def _reason(error: Exception) -> str:
    if isinstance(error, ServiceError):
        return f"{error.type}: {error.detail}"
    if isinstance(error, ModelError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _keep_to_share(share: float) -> None:
    """Several actors share a GPU: none of them may fill it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)
