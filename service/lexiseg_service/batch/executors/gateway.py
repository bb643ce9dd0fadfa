"""Workers behind a gateway: pictures of jobs are requests of their client that others go before."""

from __future__ import annotations

import asyncio
from collections.abc import Set

from lexiseg_model.resources.lru import Lru
from lexiseg_service.batch import question_copy
from lexiseg_service.batch.files import Files, question_path
from lexiseg_service.batch.ledger.job import Job
from lexiseg_service.batch.question_copy import QuestionCopy
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.messages import ImageSource, WorkerAnswer
from lexiseg_service.question.schemas import Question

ASK_SECONDS = 600.0  # for one picture, of which nobody waits for the answer
MAX_QUESTIONS = 16  # in memory


class GatewayExecutor:
    """As `Executor`, over the operations of a gateway."""

    def __init__(self, use_case: UseCase, limits: ClientLimits, files: Files) -> None:
        self._use_case = use_case
        self._limits = limits
        self._files = files
        self._questions: Lru[str, QuestionCopy] = Lru(MAX_QUESTIONS)

    def forget_all_but(self, jobs: Set[str]) -> None:
        """Forget the questions of all other jobs, which may have been erased."""
        for identity, _ in self._questions.items():
            if identity not in jobs:
                self._questions.drop(identity)

    @property
    def is_ready(self) -> bool:
        return self._use_case.health().ready

    @property
    def gives_way(self) -> bool:
        return self._use_case.in_flight > 0

    async def admit(self, job: Job) -> None:
        await self._limits.count(job.client)

    async def segment(self, job: Job, image: ImageSource, identity: str) -> WorkerAnswer:
        caller = Caller(owner=job.owner, client=job.client, request_id=identity, background=True)
        if (question := self._questions.get(job.id)) is None:
            question = await self._question(job, caller)
            self._questions.put(job.id, question)
        return await question_copy.ask(self._use_case, question, image, caller, ASK_SECONDS)

    async def _question(self, job: Job, caller: Caller) -> QuestionCopy:
        try:
            return question_copy.decode(await asyncio.to_thread(self._files.read, question_path(job.id)))
        except FileNotFoundError:  # a release before 0.5 took it
            return await question_copy.copied(self._use_case, Question.model_validate(job.question), caller)
