"""What a card says, its model does."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.abilities import Detection, Prompts, Proposing, Regions
from lexiseg_model.cards import ModelCard
from lexiseg_model.errors import TaskError
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import Segmenter, Words
from lexiseg_model.testing.suite import BOX, CLASSES, CLICK, SIZE, Suite
from lexiseg_model.types import Background, Segmentation, Task, Vocabulary

SOON = "nobody waits any more"
TASKS: tuple[Task, ...] = get_args(Task)


def options(task: Task, **further: object) -> tasks.Options:
    return tasks.Options(prompts=(CLICK, BOX) if task == "prompt" else (), **further)  # type: ignore[arg-type]


def vocabulary_of(segmenter: Segmenter, background: Background | None = None) -> Vocabulary:
    """`CLASSES`, or none for a model without words."""
    return Vocabulary(CLASSES if segmenter.card.has_words else (), background)


def abandoned() -> None:
    """The check of a question that nobody waits for."""
    raise TimeoutError(SOON)


def stacked(answer: Segmentation) -> NDArray[np.bool_]:
    """The segments' masks [N, H, W]."""
    return np.array([decode(segment.mask) for segment in answer.segments]).reshape(-1, *answer.size)


def described(answer: Segmentation) -> list[tuple[object, ...]]:
    return [(segment.label, segment.score, segment.mask) for segment in answer.segments]


class TaskTests(Suite):
    """Of every method."""

    def test_a_task_that_the_card_names_is_done(self, segmenter: Segmenter, features: Features) -> None:
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

    def test_the_same_question_has_the_same_answer(self, segmenter: Segmenter, features: Features) -> None:
        vocabulary = vocabulary_of(segmenter, Background(("wall",)))

        for task in segmenter.card.tasks:
            first, second = (tasks.segment(task, segmenter, features, vocabulary, options(task)) for _ in range(2))
            assert described(first) == described(second)

    def test_work_on_masks_that_nobody_waits_for_is_given_up(self, segmenter: Segmenter, features: Features) -> None:
        for task in segmenter.card.tasks:
            if task != "semantic":
                with pytest.raises(TimeoutError, match=SOON):
                    tasks.segment(task, segmenter, features, vocabulary_of(segmenter), options(task, check=abandoned))

    def test_a_task_that_the_card_does_not_name_is_refused(self, segmenter: Segmenter, features: Features) -> None:
        for task in set(TASKS) - set(segmenter.card.tasks):
            with pytest.raises(TaskError, match=f"cannot do the task '{task}'; it can: {segmenter.card.tasks[0]}"):
                tasks.segment(task, segmenter, features, vocabulary_of(segmenter), options(task))

    def test_a_card_is_whole_and_its_model_has_digests(self, segmenter: Segmenter) -> None:
        card = segmenter.card

        assert ModelCard.model_validate(card.model_dump()) == card
        assert all((card.name, card.version, card.method, card.summary, card.licence, card.text_tower))
        assert card.tasks[:1] == (["semantic"] if card.has_words else ["prompt"])
        assert len(set(card.tasks)) == len(card.tasks)
        assert all((segmenter.digest, segmenter.text_digest))

    def test_what_the_card_names_the_model_has_methods_for(self, segmenter: Segmenter) -> None:
        card = segmenter.card
        masks = isinstance(segmenter, Proposing) and isinstance(segmenter, Regions)

        assert card.has_words == isinstance(segmenter, Words)
        assert isinstance(segmenter, Prompts) or "prompt" not in card.tasks
        assert isinstance(segmenter, Proposing) or "everything" not in card.tasks
        assert masks or isinstance(segmenter, Detection) or card.panoptic.source != "proposals"
