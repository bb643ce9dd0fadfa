"""Prompts and proposals through the engine."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.cards import PanopticRule
from lexiseg_model.features import Features
from lexiseg_model.masks.encodings import rings_of
from lexiseg_model.tasks import cut_outs
from lexiseg_model.types import Point, Prompt, Ring, Rle, Task
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.worker.feature_cache import ENTRY_BYTES
from tests.model.stand_in import card
from tests.service.worker.engine.bench import Bench as EngineBench
from tests.service.worker.gated_colours import SIDE, GatedColours, ask, halves
from tests.waiting import SOON, until

LEFT = Prompt((Point(1, 1),))
RIGHT = Prompt(box=(SIDE / 2, 0, SIDE, SIDE))
TASKS: tuple[Task, ...] = ("semantic", "instance", "panoptic", "prompt")


class Clicked(GatedColours):
    """Whoever looks for regions waits at a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.card = card(tasks=TASKS, panoptic=PanopticRule(source="proposals"))
        self.seeing = threading.Event()
        self.seeing.set()
        self.looking = threading.Semaphore(0)
        self.blind = False
        self.answered = 0

    def _regions(self, features: Features) -> Tensor:
        self.looking.release()
        assert self.seeing.wait(SOON)
        if self.blind:
            raise RuntimeError("nothing can be seen")
        return super()._regions(features)

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        answers = super().prompt(features, prompts)
        self.answered += len(prompts)
        return answers


class Bench(EngineBench):
    """An engine with a cache over a model that can be clicked."""

    segmenter: Clicked

    def __init__(self, **settings: Any) -> None:
        super().__init__(Clicked(), **{"feature_cache_bytes": 1 << 20, **settings})

    def click(self, *prompts: Prompt, **options: Any) -> Future[WorkerAnswer]:
        return self.engine.submit(clicked(*prompts, **options))

    def look(self, **options: Any) -> Future[WorkerAnswer]:
        """Asks with the gate closed, and returns when somebody waits at it."""
        self.segmenter.seeing.clear()
        answer = self.click(LEFT, **options)
        assert self.segmenter.looking.acquire(timeout=SOON)
        return answer


def clicked(*prompts: Prompt, classes: tuple[str, ...] = (), **options: Any) -> WorkerRequest:
    return ask(*classes, task="prompt", prompts=prompts, **options)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.segmenter.seeing.set()
    made.close()


def test_a_second_click_by_image_id_reuses_features_and_regions(bench: Bench) -> None:
    first = bench.click(LEFT).result(SOON)

    second = bench.engine.submit(
        WorkerRequest(None, clicked().vocabulary, "colours", "prompt", (RIGHT,), image_id=first.image_id)
    ).result(SOON)

    assert second.cache.features
    assert bench.segmenter.batches == [1]
    assert bench.segmenter.looked == 1
    assert second.segments[0].bbox == (8, 0, 8, 16)


@pytest.mark.parametrize("known", [False, True])
def test_a_click_outside_the_image_is_refused(bench: Bench, known: bool) -> None:
    outside = clicked(Prompt((Point(SIDE + 1, 1),)))
    if known:
        outside = replace(outside, image=None, image_id=bench.click(LEFT).result(SOON).image_id)

    refusal = bench.engine.submit(outside).exception(SOON)

    assert isinstance(refusal, InvalidValue)
    assert "prompts.0.points.0.x" in refusal.detail


def test_segments_that_overlap_are_refused_as_one_png(bench: Bench) -> None:
    refused = bench.click(LEFT, mask="png").exception(SOON)

    assert isinstance(refused, InvalidValue)
    assert refused.detail.startswith("mask: expected rle, polygon or none: the segments overlap")


def test_features_that_outgrow_the_cache_are_evicted() -> None:
    features = 4 * SIDE * SIDE * 2
    bench = Bench(feature_cache_bytes=features + len(halves("r", "b")) + ENTRY_BYTES + 100)

    bench.engine.submit(ask("red")).result(SOON)
    assert bench.engine.feature_cache.weight > 0
    bench.click(LEFT).result(SOON)

    assert bench.engine.feature_cache.weight == 0
    bench.engine.close(SOON)


def test_requests_that_wait_for_an_image_delay_no_other_image(bench: Bench) -> None:
    first = bench.look()
    waiting = [bench.click(LEFT) for _ in range(5)]

    other = bench.engine.submit(ask("green", image=halves("g", "b"))).result(SOON)

    assert [segment.label for segment in other.segments] == ["green"]
    assert not first.done()
    bench.segmenter.seeing.set()
    for answer in (first, *waiting):
        assert len(answer.result(SOON).segments) == 3
    assert bench.segmenter.looked == 1


def test_when_the_first_request_of_an_image_fails_the_next_one_tries(bench: Bench) -> None:
    bench.segmenter.blind = True
    first = bench.look()
    second, third = bench.click(LEFT), bench.click(RIGHT)
    until(lambda: bench.engine.in_flight == 3)
    bench.segmenter.seeing.set()
    assert isinstance(first.exception(SOON), RuntimeError)
    failures = [second.exception(SOON), third.exception(SOON)]
    bench.segmenter.blind = False

    again = bench.click(LEFT).result(SOON)

    assert [type(failure) for failure in failures] == [RuntimeError] * 2
    assert len(again.segments) == 3


def test_abandoned_clicks_are_not_computed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_outs, "MASKS_AT_ONCE", 1)
    bench.segmenter.seeing.clear()
    answer = bench.click(*[LEFT] * 50)
    assert bench.segmenter.looking.acquire(timeout=SOON)

    assert answer.cancel()
    bench.segmenter.seeing.set()
    bench.click(RIGHT).result(SOON)
    bench.engine.close(SOON)

    assert bench.segmenter.answered == 2


def test_abandoned_polygons_are_not_traced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[int] = []
    answers: list[Future[WorkerAnswer]] = []
    asked = threading.Event()

    def traced_for_one_who_goes(mask: Rle, simplify: float) -> list[Ring]:
        assert asked.wait(SOON)
        answers[0].cancel()
        traced.append(1)
        return rings_of(mask, simplify)

    monkeypatch.setattr("lexiseg_service.worker.finish.rings_of", traced_for_one_who_goes)
    answers.append(bench.click(LEFT, RIGHT, mask="polygon"))
    asked.set()
    until(lambda: bool(traced))
    bench.click(LEFT).result(SOON)
    bench.engine.close(SOON)

    assert len(traced) == 1
