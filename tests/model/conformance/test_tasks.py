"""Every model does the tasks of its card and no other, and says on its card what it is."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from lexiseg_model import methods, tasks
from lexiseg_model.errors import TaskError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ModelCard, Segmentation, Task, Vocabulary
from tests.model.conformance.asking import BOX, CLASSES, CLICK, SIZE
from tests.model.conformance.models import MODELS, asked_of
from tests.model.tasks.asking import Gone, Patience, stacked

TASKS: tuple[Task, ...] = get_args(Task)
COVERING = Vocabulary(CLASSES, background=None)
with_words = asked_of(lambda model: model.words)


def options(task: Task, **further: object) -> tasks.Options:
    return tasks.Options(prompts=(CLICK, BOX) if task == "prompt" else (), **further)  # type: ignore[arg-type]


def vocabulary_of(segmenter: Segmenter, background: Background | None = None) -> Vocabulary:
    return Vocabulary(CLASSES if segmenter.card.has_words else (), background)


def described(answer: Segmentation) -> list[tuple[object, ...]]:
    return [(segment.label, segment.score, segment.mask) for segment in answer.segments]


def test_a_task_that_the_card_names_is_done(segmenter: Segmenter, features: Features) -> None:
    for task in segmenter.card.tasks:
        answer = tasks.segment(task, segmenter, features, vocabulary_of(segmenter), options(task))

        assert answer.size == SIZE
        assert answer.task == task
        assert {segment.label for segment in answer.segments} <= {"red", "green", "blue", None}
        assert all(0 <= segment.score <= 1 and segment.mask.size == SIZE for segment in answer.segments)
        if task not in ("prompt", "everything"):  # what each of these shows may lie in what another one does
            assert stacked(answer).sum(0).max(initial=0) <= 1  # disjoint
            np.testing.assert_array_equal(answer.label_map > 0, stacked(answer).any(0))
        if task == "semantic":
            assert stacked(answer).any(0).all()  # every pixel has a class


def test_the_same_question_has_the_same_answer(segmenter: Segmenter, features: Features) -> None:
    vocabulary = vocabulary_of(segmenter, Background(("wall",)))

    for task in segmenter.card.tasks:
        first, second = (tasks.segment(task, segmenter, features, vocabulary, options(task)) for _ in range(2))
        assert described(first) == described(second)


def test_work_on_masks_that_nobody_waits_for_is_given_up(segmenter: Segmenter, features: Features) -> None:
    for task in segmenter.card.tasks:
        if task != "semantic":
            with pytest.raises(Gone):
                tasks.segment(task, segmenter, features, vocabulary_of(segmenter), options(task, check=Patience(0)))


def test_a_task_that_the_card_does_not_name_is_refused(segmenter: Segmenter, features: Features) -> None:
    for task in set(TASKS) - set(segmenter.card.tasks):
        with pytest.raises(TaskError, match=f"cannot do the task '{task}'; it can: {segmenter.card.tasks[0]}"):
            tasks.segment(task, segmenter, features, vocabulary_of(segmenter), options(task))


@with_words
def test_every_refinement_of_the_card_is_done(segmenter: Segmenter, features: Features) -> None:
    assert segmenter.card.refine in segmenter.card.refinements
    for refine in segmenter.card.refinements:
        answer = tasks.segment("semantic", segmenter, features, COVERING, tasks.Options(refine=refine))

        assert sum(segment.area for segment in answer.segments) == SIZE[0] * SIZE[1]


@asked_of(lambda model: not model.words)
def test_a_model_without_words_says_so(segmenter: Segmenter, features: Features) -> None:
    with pytest.raises(TaskError, match=f"{segmenter.card.name} has no text classes"):
        segmenter.texts(CLASSES)
    with pytest.raises(TaskError, match=f"{segmenter.card.name} has no text classes"):
        tasks.segment("prompt", segmenter, features, COVERING, options("prompt"))


def test_a_card_is_whole_and_its_model_has_digests(segmenter: Segmenter) -> None:
    card = segmenter.card

    assert ModelCard.model_validate(card.model_dump()) == card
    assert all((card.name, card.version, card.method, card.summary, card.licence, card.text_tower))
    assert card.tasks[:1] == (["semantic"] if card.has_words else ["prompt"])
    assert len(set(card.tasks)) == len(card.tasks)
    assert all((segmenter.digest, segmenter.text_digest))


def test_every_method_is_asked() -> None:
    """A method has a line in `models.py`."""
    (folder,) = methods.__path__

    assert {module.parent.name for module in Path(folder).glob("*/segmenter.py")} <= MODELS.keys()
