"""The model of this process, without a server: loaded once, for the pictures of one job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lexiseg_model.types import Vocabulary
from lexiseg_service.batch.ledger.job import Job
from lexiseg_service.errors import NotReady
from lexiseg_service.in_process import check_model
from lexiseg_service.question.backend import until_ready
from lexiseg_service.question.messages import ImageSource, WorkerAnswer, WorkerRequest
from lexiseg_service.question.schemas import TaskQuestion
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

if TYPE_CHECKING:  # imports torch
    from lexiseg_service.worker.worker import ModelWorker

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


class ProcessExecutor:
    """As `Executor`, over a worker of this process."""

    gives_way = False

    def __init__(self, settings: Settings, question: TaskQuestion, vocabulary: Vocabulary) -> None:
        check_model(settings, question.task)
        from lexiseg_service.worker.worker import ModelWorker  # imports torch, in the process that needs it

        # Not warmed up: a job has no deadline, and many jobs have pictures of one size.
        own = settings.model_copy(update={"model": settings.first_model})
        self._worker: ModelWorker = ModelWorker(own, Metrics(), resident=False)
        self._question = question
        self._vocabulary = vocabulary

    async def start(self) -> None:
        """Load the model. Raises NotReady: it cannot be loaded."""
        await self._worker.start()
        await until_ready(self._worker)

    async def close(self) -> None:
        """End the threads."""
        await self._worker.close()

    @property
    def digest(self) -> str:
        """SHA-256 of the model's weights."""
        digest = self._worker.digest(self._worker.cards()[0].name)
        if digest is None:
            raise NotReady(self._worker.health().detail)
        return digest

    @property
    def is_ready(self) -> bool:
        return self._worker.health().ready

    async def admit(self, job: Job) -> None:
        """As `Executor.admit`: whoever runs a command has no limit."""

    async def segment(self, job: Job, image: ImageSource, identity: str) -> WorkerAnswer:
        question = self._question
        request = WorkerRequest(
            image.content,
            self._vocabulary,
            self._worker.cards()[0].name,
            question.task,
            threshold=question.threshold,
            max_side=question.max_side,
            deadline=time.monotonic() + ASK_SECONDS,
            request_id=identity,
            remember=False,
        )
        return await self._worker.segment(request)
