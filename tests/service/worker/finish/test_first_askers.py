"""Who may go on, and who waits for whom."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lexiseg_model.features import Features
from lexiseg_model.types import PanopticRule, Task
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.finish.first_askers import FirstAskers
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.models.loaded import Loaded
from lexiseg_service.worker.models.pool import ModelPool
from tests.model.stand_in import ColourSegmenter
from tests.service.worker.gated_colours import ask

TASKS: tuple[Task, ...] = ("semantic", "instance", "panoptic", "prompt")


def loaded(tasks: tuple[Task, ...] = TASKS, rule: PanopticRule = PanopticRule()) -> Loaded:
    return ModelPool.of(ColourSegmenter(tasks=tasks, panoptic=rule), Metrics()).acquire("colours").result()


@pytest.fixture
def model() -> Loaded:
    return loaded()


@pytest.fixture
def image() -> Features:
    return features()


def features() -> Features:
    return Features((8, 8), {"pixels": torch.zeros(1)})


def job(model: Loaded, image: Features, task: Task = "prompt") -> AnyJob:
    made: AnyJob = AnyJob(ask("red", task=task), lambda *_: None)
    made.model, made.features = model, image
    return made


def over(askers: FirstAskers, one: AnyJob, outcome: Any = None) -> list[AnyJob]:
    if isinstance(outcome, Exception):
        one.fail(outcome)
    else:
        one.succeed(outcome)
    return askers.leave(one)


def test_the_others_wait_for_the_first_and_then_go_on_together(model: Loaded, image: Features) -> None:
    askers = FirstAskers()
    first, second, third = (job(model, image) for _ in range(3))

    assert [askers.enter(one) for one in (first, second, third)] == [True, False, False]
    assert over(askers, first) == [second, third]
    assert askers.enter(job(model, image))


def test_after_a_failure_the_next_goes_on_alone(model: Loaded, image: Features) -> None:
    askers = FirstAskers()
    first, second, third = (job(model, image) for _ in range(3))
    for one in (first, second, third):
        askers.enter(one)

    assert over(askers, first, RuntimeError()) == [second]
    assert over(askers, second) == [third]


def test_one_who_was_given_up_leaves_its_turn_to_the_next(model: Loaded, image: Features) -> None:
    askers = FirstAskers()
    first, second, third = (job(model, image) for _ in range(3))
    for one in (first, second, third):
        askers.enter(one)

    first.answer.cancel()

    assert askers.leave(first) == [second]


def test_other_images_do_not_wait(model: Loaded, image: Features) -> None:
    askers = FirstAskers()
    askers.enter(job(model, image))

    assert askers.enter(job(model, features()))


def test_prompts_do_not_wait_for_the_rest(model: Loaded, image: Features) -> None:
    askers = FirstAskers()
    askers.enter(job(model, image, "panoptic"))

    assert not askers.enter(job(model, image, "instance"))
    assert askers.enter(job(model, image, "prompt"))


def test_a_task_that_was_done_makes_no_other_task_cheap(model: Loaded, image: Features) -> None:
    askers = FirstAskers()
    semantic = job(model, image, "semantic")
    panoptic, instance = job(model, image, "panoptic"), job(model, image, "instance")
    for one in (semantic, panoptic, instance):
        askers.enter(one)

    assert over(askers, semantic) == [panoptic]
    assert over(askers, panoptic) == [instance]


def test_one_who_needs_nothing_made_leaves_without_a_trace(model: Loaded, image: Features) -> None:
    askers = FirstAskers()
    done = job(model, image)
    askers.enter(done)
    over(askers, done)
    late, first, second = job(model, image), job(model, image, "panoptic"), job(model, image, "panoptic")
    for one in (late, first, second):
        askers.enter(one)

    assert over(askers, late) == []
    assert over(askers, first) == [second]


@pytest.mark.parametrize(
    ("model", "waits"),
    [
        (loaded(("semantic", "instance", "panoptic")), False),
        (loaded(("semantic", "panoptic"), PanopticRule(source="proposals")), True),
        (loaded(("semantic", "prompt")), True),
    ],
    ids=["pixels alone", "proposals", "prompts"],
)
def test_only_models_with_masks_of_their_own_have_anything_to_wait_for(
    model: Loaded, waits: bool, image: Features
) -> None:
    askers = FirstAskers()
    askers.enter(job(model, image, "semantic"))

    assert askers.enter(job(model, image, "semantic")) is not waits
