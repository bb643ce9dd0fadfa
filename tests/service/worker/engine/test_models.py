"""Several models on one device."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.catalogue.models import load
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import DeadlineExceeded, NotReady
from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.models.pool import ModelPool
from lexiseg_service.worker.models.served import Served
from tests.service.worker.gated_colours import GatedColours, ask, halves
from tests.waiting import SOON, until

STRIPS = 6


class Strips(GatedColours):
    """Colours, looked at in vertical strips: each is a tile."""

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        whole = super().plan(rgb)
        width = rgb.shape[1] // STRIPS
        strips = [whole.tiles[..., start : start + width] for start in range(0, rgb.shape[1], width)]
        return Plan(whole.size, np.ascontiguousarray(np.concatenate(strips)))

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        (strips,) = tile_features
        assert len(strips) == STRIPS
        return Features(plan.size, {"pixels": strips.permute(1, 2, 0, 3).flatten(2)})


class Floor:
    """An engine over two models, `one` and `two`; `two` is loaded when its door is open."""

    def __init__(self) -> None:
        self.models = {name: GatedColours(name) for name in ("one", "two")}
        self.door = threading.Event()
        self.door.set()
        self.metrics = Metrics()
        served = [Served(name, model.card) for name, model in self.models.items()]
        self.pool = ModelPool(served, self._open, self.metrics)
        self.engine = Engine(self.pool, Settings(max_batch=8), self.metrics)
        self.submit = self.engine.submit

    def _open(self, served: Served) -> Segmenter:
        if served.name == "two":
            assert self.door.wait(SOON)
        return self.models[served.name]

    def hold(self) -> None:
        """Occupies the device with `one` until its gate opens."""
        self.models["one"].gate.clear()
        self.submit(ask("red", model="one", image=halves("g", "g")))
        assert self.models["one"].entered.acquire(timeout=SOON)

    def until_waiting(self, n: int) -> None:
        until(lambda: self.metrics.registry.get_sample_value("lexiseg_queue_depth") == n)

    def holders(self, name: str) -> int:
        """Who holds a model, this question aside."""
        model = self.pool.acquire(name).result(SOON)
        model.release()
        return model.holders

    def close(self) -> None:
        self.door.set()
        for model in self.models.values():
            model.gate.set()
            model.reading.set()
        self.engine.close(SOON)


@pytest.fixture
def floor() -> Iterator[Floor]:
    made = Floor()
    yield made
    made.close()


def test_each_request_is_answered_by_the_model_it_names(floor: Floor) -> None:
    answers = [floor.submit(ask("red", model=name)).result(SOON) for name in ("one", "two", "two@1")]

    assert [answer.model for answer in answers] == ["one", "two", "two"]
    assert [answer.model_digest for answer in answers] == ["one", "two", "two"]
    assert [segment.label for segment in answers[2].segments] == ["red"]


def test_a_batch_is_of_one_model(floor: Floor) -> None:
    floor.submit(ask("red", model="two", image=halves("b", "b"))).result(SOON)
    floor.hold()
    answers = [floor.submit(ask("red", model=name, remember=False)) for name in ("one", "two", "one", "two")]
    floor.until_waiting(4)
    floor.models["one"].gate.set()

    assert [answer.result(SOON).model for answer in answers] == ["one", "two", "one", "two"]
    assert floor.models["one"].batches == [1, 2]
    assert floor.models["two"].batches == [1, 2]


def test_one_thread_runs_the_image_passes_of_all_models(floor: Floor) -> None:
    for model in floor.models.values():
        model.buckets = ((16, 16), (32, 16))
    floor.engine.warm_up()
    floor.engine.warm_up("two")
    for name in ("one", "two"):
        floor.submit(ask("red", model=name)).result(SOON)

    assert floor.models["one"].threads == floor.models["two"].threads == {"compute"}
    assert floor.models["two"].batches == [1, 1, 1]


@pytest.mark.parametrize(("gpu", "passes"), [(True, 3), (False, 2)])
def test_a_gpu_is_warmed_up_for_every_bucket_a_cpu_for_the_smallest_and_the_largest(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, gpu: bool, passes: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    floor.models["one"].buckets = ((16, 16), (32, 32), (16, 32))

    floor.engine.warm_up()

    assert floor.models["one"].batches == [1] * passes


def test_a_request_that_waits_for_its_model_delays_no_other(floor: Floor) -> None:
    floor.engine.warm_up("one")
    floor.door.clear()
    waiting = [floor.submit(ask("red", model="two")) for _ in range(10)]

    others = [floor.submit(ask("red", model="one")).result(SOON) for _ in range(3)]

    assert [answer.model for answer in others] == ["one"] * 3
    assert not any(answer.done() for answer in waiting)
    floor.door.set()
    assert [answer.result(SOON).model for answer in waiting] == ["two"] * 10


def test_a_request_cancelled_while_its_model_loads_leaves_nothing(floor: Floor) -> None:
    floor.door.clear()
    assert floor.submit(ask("red", model="two")).cancel()
    in_flight = floor.engine.in_flight
    floor.door.set()

    assert in_flight == 0
    assert floor.holders("two") == 0
    assert floor.models["two"].batches == []


def test_a_model_has_no_holders_once_all_requests_are_answered(floor: Floor) -> None:
    floor.hold()
    answers = [
        floor.submit(ask("red", model="one")),
        floor.submit(ask("red", model="one", image=b"no image")),
        floor.submit(ask("red", model="one", deadline=time.monotonic() - 1)),
        floor.submit(ask("red", model="one")),
    ]
    assert answers[3].cancel()
    floor.models["one"].gate.set()
    answers[0].result(SOON)

    assert isinstance(answers[2].exception(SOON), DeadlineExceeded)
    until(lambda: floor.engine.in_flight == 0 and floor.holders("one") == 0)


def test_a_second_model_uses_the_kept_image_of_the_first(floor: Floor) -> None:
    first = floor.submit(ask("red", model="one")).result(SOON)

    by_id = replace(ask("red", model="two"), image=None, image_id=first.image_id)
    second = floor.submit(by_id).result(SOON)

    assert second.segments == first.segments
    assert second.cache.features is False
    assert floor.models["two"].batches == [1]


def answered(model: Strips, max_batch: int, n: int = 1) -> list[WorkerAnswer]:
    engine = Engine(model, Settings(max_batch=max_batch), Metrics())
    try:
        asked = [engine.submit(ask("red", "blue", image=halves("r", "b", 24), remember=False)) for _ in range(n)]
        return [one.result(SOON) for one in asked]
    finally:
        engine.close(SOON)


def test_an_image_of_many_tiles_takes_as_many_passes_as_it_needs() -> None:
    at_once, in_parts = Strips(), Strips()

    (whole,) = answered(at_once, max_batch=STRIPS)
    (parts,) = answered(in_parts, max_batch=4)

    assert (at_once.batches, in_parts.batches) == ([6], [4, 2])
    assert whole.segments == parts.segments
    assert [segment.bbox for segment in parts.segments] == [(0, 0, 12, 24), (12, 0, 12, 24)]


def test_a_warm_up_ends_when_the_engine_closes() -> None:
    floor = Floor()
    floor.models["one"].buckets = ((16, 16),) * 3
    floor.models["one"].gate.clear()
    with ThreadPoolExecutor(2) as threads:
        warming = threads.submit(floor.engine.warm_up)
        assert floor.models["one"].entered.acquire(timeout=SOON)
        closing = threads.submit(floor.engine.close, 0.0)
        floor.models["one"].gate.set()
        closing.result(SOON)
        error = warming.exception(SOON)

    assert error is None or isinstance(error, NotReady)


def test_a_warm_up_opens_what_a_first_click_would_wait_for() -> None:
    segmenter = load("tiny", device="cpu", runtime="auto")
    assert isinstance(segmenter, Exportable)
    engine = Engine(segmenter, Settings(), Metrics())

    try:
        engine.warm_up()
    finally:
        engine.close(0)

    assert [session.is_open for session in segmenter.part_sessions] == [True, True, True]
