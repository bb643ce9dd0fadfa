"""The threads that own the device."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.features import TileFeatures
from tests.service.worker.engine.bench import Bench
from tests.service.worker.engine.test_models import STRIPS, Strips
from tests.service.worker.gated_colours import SOON, GatedColours, ask, halves
from tests.waiting import until


class SideBySide(GatedColours):
    """Gated colours as a graph runs them."""

    def passes_side_by_side(self, bucket: tuple[int, int]) -> bool:
        return True


class PairsOfStrips(Strips):
    """Images of several tiles, of which each waits until another one is encoded beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = threading.Barrier(2)

    def passes_side_by_side(self, bucket: tuple[int, int]) -> bool:
        return True

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        self.pair.wait(SOON)
        return super().encode_tiles(tiles)


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A CPU of two cores."""
    monkeypatch.setattr("lexiseg_service.worker.engine.choose_device", lambda name: torch.device("cpu"))
    monkeypatch.setattr("lexiseg_service.worker.compute.COMPUTE_THREADS", 2)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_other_work_waits_for_the_pass_under_way_and_goes_before_the_next() -> None:
    bench = Bench()
    bench.hold()
    waiting = bench.submit(ask("red"))
    bench.until_waiting(1)
    begun, go_on = threading.Event(), threading.Event()

    def warm_up() -> None:
        begun.set()
        assert go_on.wait(SOON)

    done = bench.engine._compute.run(warm_up)
    assert not begun.is_set()
    bench.release()
    assert begun.wait(SOON)
    assert bench.segmenter.batches == [1]
    go_on.set()

    done.result(SOON)
    waiting.result(SOON)
    bench.engine.close(SOON)


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(("segmenter", "at_once"), [(SideBySide(), 2), (GatedColours(), 1)])
def test_a_core_does_a_tile_unless_a_pass_uses_all_cores(segmenter: GatedColours, at_once: int) -> None:
    bench = Bench(segmenter)
    bench.hold()
    answers = [bench.submit(ask("red")) for _ in range(3)]
    bench.until_waiting(4 - at_once)
    until(lambda: len(segmenter.batches) == at_once)
    bench.release()

    assert [answer.result(SOON).segments[0].label for answer in answers] == ["red"] * 3
    assert segmenter.batches == [1] * 4
    bench.engine.close(SOON)


@pytest.mark.usefixtures("two_cores")
def test_the_cores_share_the_tiles_of_an_image() -> None:
    bench = Bench(PairsOfStrips())

    answer = bench.submit(ask("red", "blue", image=halves("r", "b", 4 * STRIPS))).result(SOON)

    assert [(segment.label, segment.area) for segment in answer.segments] == [("red", 288), ("blue", 288)]
    assert bench.segmenter.batches == [1] * STRIPS
    assert answer.timings.queue >= 0
    bench.engine.close(SOON)
