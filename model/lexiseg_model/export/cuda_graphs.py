"""Image passes of a GPU as CUDA graphs: hundreds of launches become one, and tiles come from pinned memory.

A small network keeps a GPU busy for less time than Python takes to launch its layers. A graph is recorded for each
shape of tiles, batch included, when that shape comes for the second time, so that a panorama's is not kept; the first
pass has by then made whatever the network makes once for a shape.

The second pass is watched (`recordable`): nothing is recorded of one that a graph cannot hold, and what it reads stays
in memory as long as its graph, whatever caches let go of. A graph is trusted if it gives what the pass gives, for these
tiles and for others. Where anything of this fails, the network goes on layer by layer, and the log says why.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.export.recordable import NotRecordable, Watch
from lexiseg_model.features import TileFeatures

logger = logging.getLogger("lexiseg.graphs")

MOST = 64  # shapes that are known at a time; who was not asked for longest is forgotten
OF_A_LARGE_NETWORK = 1  # tiles of a recorded batch: more keep a GPU busy for longer than their launches take
ALIKE = 1e-2  # numbers of features, up to which a replay may be off; kernels may sum in another order

ImagePass = Callable[[Tensor], TileFeatures]
Shape = tuple[int, ...]


class Recording(NamedTuple):
    """Where a recorded pass leaves what it makes, and how it is run again."""

    made: TileFeatures
    replay: Callable[[], None]


class Device:
    """What graphs need of a CUDA device."""

    _one_at_a_time = threading.Lock()  # torch records one graph at a time in a process

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool = torch.cuda.graph_pool_handle()
        # A wait without spinning: others need the core.
        self._sent = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def record(self, work: Callable[[], TileFeatures]) -> Recording:
        """Notes what `work` launches. Nothing is computed. RuntimeError: it does what no graph can hold."""
        graph = torch.cuda.CUDAGraph()
        with self._one_at_a_time, torch.cuda.device(self.device):
            stream, before = _recording_stream(torch.cuda.current_device()), torch.cuda.current_stream()
            try:
                # Other threads go on meanwhile: what they do must not spoil the recording.
                with torch.cuda.graph(graph, self._pool, stream, capture_error_mode="thread_local"):
                    made = work()
            finally:
                # One that breaks off leaves its stream as the current one, for which nobody else would wait.
                torch.cuda.set_stream(before)
        return Recording(made, graph.replay)

    def staging(self, nbytes: int) -> Tensor:
        """Bytes that the device copies without anybody waiting for it."""
        return torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)

    def sent(self) -> Callable[[], None]:
        """Waits until what the calling thread has asked for so far is done."""
        self._sent.record(torch.cuda.current_stream(self.device))
        return self._sent.synchronize


@cache
def _recording_stream(index: int) -> torch.cuda.Stream:
    """Of each device its own: torch's default belongs to whichever device recorded first. Kept, since libraries keep
    workspaces for every stream that they have seen."""
    return torch.cuda.Stream(index)  # type: ignore[no-untyped-call]


class _Graph(NamedTuple):
    tiles: Tensor
    recording: Recording
    reads: tuple[Tensor, ...]  # held for the graph, which knows their addresses alone


class Graphs:
    """The graphs of one model. Safe from any thread.

    Args:
        device: where it computes.
        most_tiles: of a recorded batch; None takes any. Each graph has its memory.
    """

    def __init__(self, device: Device, most_tiles: int | None = None) -> None:
        self._device = device
        self._most_tiles = most_tiles
        self._guard = threading.Lock()
        # By shape: seen once (None), recorded, or never to be (False).
        self._graphs: OrderedDict[Shape, _Graph | Literal[False] | None] = OrderedDict()
        self._given_up = False
        self._staging: Tensor | None = None  # of the largest tiles so far
        self._arrived: Callable[[], None] = lambda: None

    def encode(self, tiles: NDArray[np.uint8], image_pass: ImagePass) -> TileFeatures:
        """What `image_pass` makes of tiles [N, 3, s, t] uint8, which are on the device by then.

        Always handed the same `image_pass`. The answer is the caller's.
        """
        shape = tiles.shape
        with self._guard:
            graph = self._graphs.get(shape)
            if isinstance(graph, _Graph):
                self._graphs.move_to_end(shape)
                self._fill(tiles, graph.tiles)
                graph.recording.replay()
                return tuple(part.clone() for part in graph.recording.made)  # the next replay writes over it
            too_many = self._most_tiles is not None and len(tiles) > self._most_tiles
            if graph is not None or too_many or self._given_up:
                return image_pass(self._there(tiles))
            if shape in self._graphs:
                return self._recorded(tiles, image_pass)
            self._remember(shape, None)
            return image_pass(self._there(tiles))

    def _recorded(self, tiles: NDArray[np.uint8], image_pass: ImagePass) -> TileFeatures:
        there = self._there(tiles)
        try:
            expected, reads = _watched(image_pass, there)
        except NotRecordable as error:
            self._give_up(tiles.shape, error)
            return image_pass(there)
        try:
            recording = self._device.record(lambda: image_pass(there))
            alike = _gives(recording, expected) and self._gives_of_others(recording, there, image_pass)
        except RuntimeError as error:
            self._give_up(tiles.shape, error)
            return expected
        if alike:
            self._remember(tiles.shape, _Graph(there, recording, reads))
        else:
            self._remember(tiles.shape, False)
            logger.warning("the CUDA graph for tiles %s does not give what the network gives: left aside", tiles.shape)
        return expected

    def _gives_of_others(self, recording: Recording, there: Tensor, image_pass: ImagePass) -> bool:
        """Whether the graph sees what its tiles show: with the numbers of its own recording any would be right."""
        return _gives(recording, image_pass(there.bitwise_not_()))

    def _give_up(self, shape: Shape, error: RuntimeError) -> None:
        """No more is recorded: a pass is of one kind whatever its shape, and each attempt has its price."""
        self._given_up = True
        logger.warning("no CUDA graph for tiles %s, layers of new shapes are launched one by one: %s", shape, error)

    def _remember(self, shape: Shape, graph: _Graph | Literal[False] | None) -> None:
        self._graphs[shape] = graph
        if len(self._graphs) > MOST:
            self._graphs.popitem(last=False)

    def _there(self, tiles: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(tiles).to(self._device.device, copy=True)

    def _fill(self, tiles: NDArray[np.uint8], to: Tensor) -> None:
        """Returns as soon as the tiles are read; the staging is written to again when it has been copied."""
        self._arrived()
        if self._staging is None or self._staging.nbytes < tiles.nbytes:
            self._staging = self._device.staging(tiles.nbytes)
        staged = self._staging[: tiles.nbytes].view(tiles.shape)
        staged.copy_(torch.from_numpy(tiles))
        to.copy_(staged, non_blocking=True)
        self._arrived = self._device.sent()


def _watched(image_pass: ImagePass, there: Tensor) -> tuple[TileFeatures, tuple[Tensor, ...]]:
    """What a pass that a graph can hold gives, and what it reads. Raises NotRecordable."""
    try:
        with Watch() as watch:
            return image_pass(there), watch.reads
    except NotRecordable:
        image_pass(there)  # makes anew what its caches have let go of since the first pass
    with Watch() as watch:
        return image_pass(there), watch.reads


def _gives(recording: Recording, expected: TileFeatures) -> bool:
    recording.replay()
    pairs = zip(expected, recording.made, strict=True)
    return all(torch.allclose(one.float(), other.float(), ALIKE, ALIKE) for one, other in pairs)


def graphs_of(device: torch.device, most_tiles: int | None = None) -> Graphs | None:
    """Of a model on this device; None where there are no graphs. `most_tiles` as of `Graphs`."""
    return Graphs(Device(device), most_tiles) if device.type == "cuda" else None
