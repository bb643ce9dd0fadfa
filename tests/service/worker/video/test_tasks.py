"""Tasks of a video stream."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lexiseg_model.cards import PanopticRule
from lexiseg_model.types import Background, ClassEntry, Task, Vocabulary
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.question.streams import StreamQuestion
from tests.service.worker.gated_colours import halves
from tests.service.worker.video.streaming import Step, Worker, answered, frame, track_ids, working

SKY = ClassEntry("blue", thing=False)


@contextmanager
def able() -> Iterator[Worker]:
    """A worker whose model can do every task, by proposals where there are some."""
    tasks: list[Task] = ["semantic", "instance", "panoptic", "prompt"]
    with working() as worker:
        can = {"tasks": tasks, "panoptic": PanopticRule(source="proposals")}
        worker.segmenter.card = worker.segmenter.card.model_copy(update=can)
        yield worker


def about(task: Task, smoothing: float = 0.0) -> StreamQuestion:
    vocabulary = Vocabulary((ClassEntry("red"), SKY), Background(()))
    return StreamQuestion(WorkerRequest(None, vocabulary, "colours", task), smoothing, tracking=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.8])
async def test_things_and_stuff_keep_their_numbers_from_frame_to_frame(smoothing: float) -> None:
    with able() as worker:
        steps: list[Step] = [
            about("panoptic", smoothing),
            *(frame(number, halves("r", "b", 32)) for number in range(3)),
        ]
        received = await answered(worker, *steps)

    for answer in received:
        assert answer.answer is not None
        assert [(segment.label, segment.is_thing) for segment in answer.answer.segments] == [
            ("red", True),
            ("blue", False),
        ]
        assert track_ids(answer) == (1, 2)
        assert not answer.state_reset


async def test_another_task_begins_anew() -> None:
    with able() as worker:
        steps: list[Step] = [about("semantic"), frame(0), about("panoptic"), frame(1)]
        found = await answered(worker, *steps)

    assert [answer.state_reset for answer in found] == [False, True]
