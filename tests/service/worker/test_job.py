from __future__ import annotations

import time

import pytest

from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_service.errors import DeadlineExceeded
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.worker.finish.render import finish
from lexiseg_service.worker.job import Job
from tests.service.gateway.known_backend import answer


def job(deadline: float = float("inf")) -> Job[WorkerAnswer]:
    return Job(WorkerRequest(b"", Vocabulary((ClassEntry("sky"),)), "colours", deadline=deadline), finish)


def test_a_job_that_somebody_waits_for_is_not_abandoned() -> None:
    assert not job().abandoned


def test_a_job_whose_client_has_gone_is_abandoned() -> None:
    left = job()

    left.answer.cancel()

    assert left.abandoned


def test_a_job_past_its_deadline_is_abandoned_and_says_so() -> None:
    late = job(time.monotonic() - 1)

    assert late.abandoned
    assert isinstance(late.answer.exception(0), DeadlineExceeded)


def test_the_first_answer_stays() -> None:
    done = job()

    done.succeed(answer())
    done.fail(RuntimeError("too late"))

    assert done.answer.result(0) == answer()


@pytest.mark.parametrize("late", ["succeed", "fail"])
def test_an_answer_for_a_client_that_has_just_gone_is_no_error(late: str) -> None:
    left = job()
    left.answer.cancel()

    left.succeed(answer()) if late == "succeed" else left.fail(RuntimeError("late"))

    assert left.answer.cancelled()
