"""Workers behind a gateway: pictures of jobs are requests of their client that others go before."""

from __future__ import annotations

import time
from dataclasses import replace

from lexiseg_model.resources.lru import Lru
from lexiseg_service.batch.ledger.job import Job
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.messages import ImageSource, WorkerAnswer
from lexiseg_service.question.schemas import Question

ASK_SECONDS = 600.0  # for one picture, of which nobody waits for the answer
MAX_QUESTIONS = 16  # in memory


class GatewayExecutor:
    """As `Executor`, over the operations of a gateway.

    Args:
        use_case: asks the workers.
        limits: of clients, whose pictures count as requests.
    """

    def __init__(self, use_case: UseCase, limits: ClientLimits) -> None:
        self._use_case = use_case
        self._limits = limits
        self._questions: Lru[str, Question] = Lru(MAX_QUESTIONS)

    @property
    def is_ready(self) -> bool:
        """As `Executor.is_ready`."""
        return self._use_case.health().ready

    @property
    def gives_way(self) -> bool:
        """As `Executor.gives_way`."""
        return self._use_case.in_flight > 0

    async def admit(self, job: Job) -> None:
        """As `Executor.admit`."""
        await self._limits.count(job.client)

    async def segment(self, job: Job, image: ImageSource, identity: str) -> WorkerAnswer:
        """As `Executor.segment`."""
        caller = Caller(owner=job.owner, client=job.client, request_id=identity, background=True)
        question = self._questions.get(job.id) or Question.model_validate(job.question)
        self._questions.put(job.id, question)
        request = await self._use_case.request(question, caller, image)
        request = replace(request, deadline=time.monotonic() + ASK_SECONDS, remember=False)
        return await self._use_case.backend.segment(request)
