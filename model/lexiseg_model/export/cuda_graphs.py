"""Image passes of a GPU as CUDA graphs: hundreds of launches become one, and tiles come from pinned memory.

A small network keeps a GPU busy for less time than Python takes to launch its layers. A graph is recorded for each
shape of tiles, batch included, when that shape comes for the second time, so that a panorama's is not kept; the first
pass has by then made whatever the network makes once for a shape. A graph is trusted if it gives what the pass gave
that it was recorded beside; where it does not, or where nothing can be recorded, the network goes on layer by layer.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.features import TileFeatures

logger = logging.getLogger("lexiseg.graphs")

MOST = 64  # shapes that are known at a time; who was not asked for longest is forgotten
ALIKE = 1e-2  # numbers of features, up to which a replay may be off; kernels may sum in another order

ImagePass = Callable[[Tensor], TileFeatures]
Shape = tuple[int, ...]


class Recording(NamedTuple):
    """Where a recorded pass leaves what it makes, and how it is run again."""

    made: TileFeatures
    replay: Callable[[], None]


class Device:
    """What graphs need of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], TileFeatures]) -> Recording:
        """Notes what `work` launches. Nothing is computed. RuntimeError: it does what no graph can hold."""
        graph = torch.cuda.CUDAGraph()
        # Other threads go on meanwhile: what they do must not spoil the recording.
        with torch.cuda.device(self.device), torch.cuda.graph(graph, self._pool, capture_error_mode="thread_local"):
            made = work()
        return Recording(made, graph.replay)

    def staging(self, shape: Shape) -> Tensor:
        """Bytes that the device copies without anybody waiting for it."""
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True)

    def sent(self) -> Callable[[], None]:
        """Waits until what the calling thread has asked for so far is done."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event.synchronize


class _Graph(NamedTuple):
    staging: Tensor
    tiles: Tensor
    recording: Recording


class Graphs:
    """The graphs of one model. Safe from any thread."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._guard = threading.Lock()
        # By shape: seen once (None), recorded, or never to be (False).
        self._graphs: OrderedDict[Shape, _Graph | bool | None] = OrderedDict()
        self._arrived: Callable[[], None] = lambda: None

    def encode(self, tiles: NDArray[np.uint8], image_pass: ImagePass) -> TileFeatures:
        """What `image_pass` makes of tiles [N, 3, s, t] uint8, which are on the device by then.

        Always handed the same `image_pass`. The answer is the caller's.
        """
        with self._guard:
            shape = tiles.shape
            if shape not in self._graphs:
                self._remember(shape, None)
                return image_pass(self._sent(tiles))
            self._graphs.move_to_end(shape)
            graph = self._graphs[shape]
            if graph is None:
                return self._recorded(tiles, image_pass)
            if isinstance(graph, bool):
                return image_pass(self._sent(tiles))
            self._fill(graph.staging, tiles, graph.tiles)
            graph.recording.replay()
            return tuple(part.clone() for part in graph.recording.made)  # the next replay writes over it

    def _recorded(self, tiles: NDArray[np.uint8], image_pass: ImagePass) -> TileFeatures:
        there = self._sent(tiles)
        expected = image_pass(there)
        try:
            recording = self._device.record(lambda: image_pass(there))
            recording.replay()
        except RuntimeError as error:
            self._remember(tiles.shape, False)
            logger.warning("no CUDA graph for tiles %s, layers are launched one by one: %s", tiles.shape, error)
            return expected
        pairs = zip(expected, recording.made, strict=True)
        if not all(torch.allclose(one.float(), other.float(), ALIKE, ALIKE) for one, other in pairs):
            self._remember(tiles.shape, False)
            logger.warning("the CUDA graph for tiles %s does not give what the network gives: left aside", tiles.shape)
            return expected
        self._remember(tiles.shape, _Graph(self._device.staging(tiles.shape), there, recording))
        return expected

    def _remember(self, shape: Shape, graph: _Graph | bool | None) -> None:
        self._graphs[shape] = graph
        if len(self._graphs) > MOST:
            self._graphs.popitem(last=False)

    def _sent(self, tiles: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(tiles).to(self._device.device, copy=True)

    def _fill(self, staging: Tensor, tiles: NDArray[np.uint8], to: Tensor) -> None:
        """Returns as soon as the tiles are read; the staging is written to again when it has been copied."""
        self._arrived()
        staging.copy_(torch.from_numpy(tiles))
        to.copy_(staging, non_blocking=True)
        self._arrived = self._device.sent()


def graphs_of(device: torch.device) -> Graphs | None:
    """Of a model on this device; None where there are no graphs."""
    return Graphs(Device(device)) if device.type == "cuda" else None
