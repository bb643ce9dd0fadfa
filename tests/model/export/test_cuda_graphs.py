"""Which image passes are recorded, and what becomes of recordings; on a real device where there is one."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.export import cuda_graphs
from lexiseg_model.export.cuda_graphs import Device, Graphs, Recording, graphs_of
from lexiseg_model.features import TileFeatures


class OfCpu(Device):
    """Replays as a graph does: it reads and writes the same memory each time, and says nothing to Python."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.recorded = 0
        self.staged: list[int] = []
        self.sendings = self.waits = 0

    def record(self, work: Callable[[], TileFeatures]) -> Recording:
        self.recorded += 1
        made = tuple(torch.zeros_like(part) for part in work())

        def replay() -> None:
            for to, part in zip(made, work(), strict=True):
                to.copy_(part)

        return Recording(made, replay)

    def staging(self, nbytes: int) -> Tensor:
        self.staged.append(nbytes)
        return torch.empty(nbytes, dtype=torch.uint8)

    def sent(self) -> Callable[[], None]:
        self.sendings += 1
        return self._arrived

    def _arrived(self) -> None:
        self.waits += 1


def image_pass(tiles: Tensor) -> TileFeatures:
    return tiles.float().mean((2, 3)), tiles.float().amax((1, 2, 3))


def tiles(seed: int, n: int = 2, side: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, side, side), np.uint8)


def right(made: TileFeatures, of: NDArray[np.uint8]) -> bool:
    return all(map(torch.equal, made, image_pass(torch.from_numpy(of))))


def test_a_shape_is_recorded_when_it_comes_again() -> None:
    device = OfCpu()
    graphs = Graphs(device)
    recorded = []
    for seed in range(4):
        assert right(graphs.encode(tiles(seed), image_pass), tiles(seed))
        recorded.append(device.recorded)

    assert recorded == [0, 1, 1, 1]


def test_every_batch_has_its_own() -> None:
    device = OfCpu()
    graphs = Graphs(device)
    for n in (1, 2, 3, 1, 2, 3, 1, 2, 3):
        assert right(graphs.encode(tiles(n, n), image_pass), tiles(n, n))

    assert device.recorded == 3


def test_an_answer_outlives_the_next_replay() -> None:
    graphs = Graphs(OfCpu())
    kept = [graphs.encode(tiles(seed), image_pass) for seed in range(5)]

    assert all(right(made, tiles(seed)) for seed, made in enumerate(kept))


def test_a_pass_that_cannot_be_recorded_goes_on_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    class Refuses(OfCpu):
        def record(self, work: Callable[[], TileFeatures]) -> Recording:
            self.recorded += 1
            raise RuntimeError("operation not permitted when stream is capturing")

    device = Refuses()
    graphs = Graphs(device)
    with caplog.at_level(logging.WARNING, "lexiseg.graphs"):
        for seed in range(4):
            assert right(graphs.encode(tiles(seed), image_pass), tiles(seed))

        assert right(graphs.encode(tiles(0, 3), image_pass), tiles(0, 3))
        assert right(graphs.encode(tiles(1, 3), image_pass), tiles(1, 3))

    assert device.recorded == 1, "nor is another shape"
    assert caplog.text.count("not permitted") == 1


def test_a_recording_that_says_something_else_is_left_aside(caplog: pytest.LogCaptureFixture) -> None:
    class Forgets(OfCpu):
        def record(self, work: Callable[[], TileFeatures]) -> Recording:
            return super().record(work)._replace(replay=lambda: None)

    graphs = Graphs(Forgets())
    with caplog.at_level(logging.WARNING, "lexiseg.graphs"):
        for seed in range(4):
            assert right(graphs.encode(tiles(seed), image_pass), tiles(seed))

    assert "left aside" in caplog.text


def test_a_recording_that_only_knows_its_own_tiles_is_left_aside(caplog: pytest.LogCaptureFixture) -> None:
    class Remembers(OfCpu):
        def record(self, work: Callable[[], TileFeatures]) -> Recording:
            made = work()
            return Recording(made, lambda: None)

    graphs = Graphs(Remembers())
    with caplog.at_level(logging.WARNING, "lexiseg.graphs"):
        for seed in range(4):
            assert right(graphs.encode(tiles(seed), image_pass), tiles(seed))

    assert "left aside" in caplog.text


def test_a_pass_that_no_graph_can_hold_is_never_recorded(caplog: pytest.LogCaptureFixture) -> None:
    def looks(there: Tensor) -> TileFeatures:
        return image_pass(there) if there.sum() > 0 else ()

    device = OfCpu()
    graphs = Graphs(device)
    with caplog.at_level(logging.WARNING, "lexiseg.graphs"):
        for seed in range(4):
            assert right(graphs.encode(tiles(seed), looks), tiles(seed))

    assert device.recorded == 0
    assert caplog.text.count("hands numbers to Python") == 1


def test_what_caches_have_let_go_of_since_the_first_pass_is_made_anew() -> None:
    kept: list[float] = []

    def weighed(there: Tensor) -> TileFeatures:
        if not kept:
            kept.append(torch.ones(3).sum().item())
        return image_pass(there)[0] * kept[0], image_pass(there)[1]

    device = OfCpu()
    graphs = Graphs(device)
    for seed in range(3):
        graphs.encode(tiles(seed), weighed)
        if seed == 0:
            kept.clear()

    assert device.recorded == 1


def test_what_a_recording_reads_lives_as_long_as_it() -> None:
    kept = [torch.ones(3)]
    alive = weakref.ref(kept[0])

    def weighed(there: Tensor) -> TileFeatures:
        weight = kept[0] if kept else torch.ones(3)
        return image_pass(there)[0] * weight, image_pass(there)[1]

    graphs = Graphs(OfCpu())
    for seed in range(2):
        graphs.encode(tiles(seed), weighed)
    kept.clear()  # as a cache lets go of what it has kept for a shape

    assert alive() is not None
    del graphs
    assert alive() is None


def test_large_batches_of_a_large_network_are_not_recorded() -> None:
    device = OfCpu()
    graphs = Graphs(device, most_tiles=1)
    for seed in range(3):
        assert right(graphs.encode(tiles(seed, 2), image_pass), tiles(seed, 2))
    assert device.recorded == 0

    for seed in range(3):
        assert right(graphs.encode(tiles(seed, 1), image_pass), tiles(seed, 1))
    assert device.recorded == 1


def test_the_staging_is_one_and_written_to_when_it_has_been_copied() -> None:
    device = OfCpu()
    graphs = Graphs(device)
    for side in (8, 8, 8, 12, 12, 12, 8, 12):
        assert right(graphs.encode(tiles(side, side=side), image_pass), tiles(side, side=side))

    assert device.staged == [2 * 3 * 8 * 8, 2 * 3 * 12 * 12]
    assert (device.sendings, device.waits) == (4, 3)


def test_the_shape_that_was_not_asked_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST", 2)
    device = OfCpu()
    graphs = Graphs(device)
    for side in (8, 8, 12, 12, 8, 16, 8):
        graphs.encode(tiles(0, side=side), image_pass)
    assert device.recorded == 2

    graphs.encode(tiles(0, side=12), image_pass)  # for the first time again
    graphs.encode(tiles(0, side=12), image_pass)

    assert device.recorded == 3


def test_a_pass_that_fails_fails_for_its_caller() -> None:
    def fails(tiles: Tensor) -> TileFeatures:
        raise torch.OutOfMemoryError("the device is full")

    graphs = Graphs(OfCpu())
    for _ in range(3):
        with pytest.raises(torch.OutOfMemoryError):
            graphs.encode(tiles(0), fails)

    assert right(graphs.encode(tiles(1), image_pass), tiles(1))


def test_a_cpu_has_none() -> None:
    assert graphs_of(torch.device("cpu")) is None


class CudaOfPaper:
    """What `Device` asks of torch.cuda, with streams that are strings and graphs that hold nothing."""

    CUDAGraph = SimpleNamespace
    replays = 0

    def __init__(self) -> None:
        self.current = "default"
        self.modes: list[str] = []

    def graph_pool_handle(self) -> str:
        return "pool"

    def Event(self, *, blocking: bool) -> None:
        assert blocking

    def Stream(self, index: int) -> str:
        return f"recording on {index}"

    def device(self, _: torch.device) -> AbstractContextManager[None]:
        return nullcontext()

    def current_device(self) -> int:
        return 1

    def current_stream(self) -> str:
        return self.current

    def set_stream(self, stream: str) -> None:
        self.current = stream

    def _replay(self) -> None:
        self.replays += 1

    @contextmanager
    def graph(self, graph: Any, pool: str, stream: str, *, capture_error_mode: str) -> Iterator[None]:
        assert pool == "pool"
        graph.replay = self._replay
        self.modes.append(capture_error_mode)
        before, self.current = self.current, stream
        yield  # as in torch, an error passes by what follows
        self.current = before


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaOfPaper]:
    cuda = CudaOfPaper()
    monkeypatch.setattr(torch, "cuda", cuda)
    cuda_graphs._recording_stream.cache_clear()
    yield cuda
    cuda_graphs._recording_stream.cache_clear()


def test_work_is_recorded_on_a_stream_of_its_device_while_others_go_on(paper: CudaOfPaper) -> None:
    streams: list[str] = []

    def work() -> TileFeatures:
        streams.append(paper.current)
        return (torch.ones(1),)

    recording = Device(torch.device("cuda", 1)).record(work)

    assert (streams, paper.modes, paper.current) == (["recording on 1"], ["thread_local"], "default")
    recording.replay()
    assert paper.replays == 1


def test_a_recording_that_breaks_off_does_not_leave_its_stream_behind(paper: CudaOfPaper) -> None:
    def work() -> TileFeatures:
        raise RuntimeError("operation not permitted when stream is capturing")

    device = Device(torch.device("cuda", 1))
    for _ in range(2):  # nor what recordings wait for
        with pytest.raises(RuntimeError, match="not permitted"):
            device.record(work)
        assert paper.current == "default"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_a_device() -> None:
    graphs = graphs_of(torch.device("cuda", 0))
    assert graphs is not None
    with torch.inference_mode():
        for seed in range(6):
            made = graphs.encode(tiles(seed), image_pass)
            assert right(tuple(part.cpu() for part in made), tiles(seed))
