"""Data of one image in a model: the plan of its tiles, its features, and values derived from them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import ShapeError
from lexiseg_model.resources.device import held_bytes

TileFeatures = tuple[Tensor, ...]  # the first dimension of every tensor counts tiles
T = TypeVar("T")


@dataclass(frozen=True)
class InferenceOptions:
    """Options of the image pass. `max_side` caps the longer side of the network's input, in pixels; with `teaching`
    the features also keep what a model is taught by, with `fine` too what it is taught by in more detail, which takes
    more tiles."""

    max_side: int | None = None
    teaching: bool = False
    fine: bool = False


@dataclass(frozen=True)
class Layout:
    """Positions of tiles of size `tile` (s, t) on a `canvas` (height, width): `offsets` (top, left) in pixels."""

    canvas: tuple[int, int]
    tile: tuple[int, int]
    offsets: tuple[tuple[int, int], ...] = ((0, 0),)


@dataclass(frozen=True)
class Plan:
    """The tiles of one image and their layout.

    Attributes:
        size: (H, W) of the image as sent.
        tiles: uint8 [N, 3, s, t] RGB; all tiles of a plan have one shape, the *bucket*.
        layout: positions of the tiles; None: one tile, the whole image.
        picture: uint8 [H, W, 3], for methods that encode enlarged crops of small objects.
        teaching: as of the InferenceOptions.
    """

    size: tuple[int, int]
    tiles: NDArray[np.uint8]
    layout: Layout | None = None
    picture: NDArray[np.uint8] | None = None
    teaching: bool = False

    @property
    def bucket(self) -> tuple[int, int]:
        """(s, t) of the tiles; tiles of one bucket can be encoded together."""
        return (self.tiles.shape[2], self.tiles.shape[3])

    def of_size(self, size: tuple[int, int]) -> Plan:
        """The same plan with the original `size` of an image that was decoded smaller."""
        return replace(self, size=size)


class Derived:
    """Values derived from features, computed once each (single-flight). Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._values: dict[str, Any] = {}
        self.answered_tasks: set[str] = set()  # tasks with derived values

    def once(self, name: str, make: Callable[[], T]) -> T:
        """The value of a name: the first caller computes it with `make`, concurrent callers wait for it.

        Different names do not block each other. `make` may derive other names, but not its own.
        """
        if name not in self._values:
            with self._guard:
                lock = self._locks.setdefault(name, threading.Lock())
            with lock:
                if name not in self._values:
                    self._values[name] = make()
        return cast(T, self._values[name])

    @property
    def nbytes(self) -> int:
        """Bytes of all values; caches among them grow with use."""
        return held_bytes(self._values) if self._values else 0


@dataclass(frozen=True)
class Features:
    """Cached features of one image: tensors by name, fp16, or float32 for an exact model.

    `size` is (H, W) of the image as sent. `derived`, and `nbytes` with it, grows with use.
    """

    size: tuple[int, int]
    tensors: dict[str, Tensor]
    layout: Layout | None = None
    derived: Derived = field(default_factory=Derived, compare=False, repr=False)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values()) + self.derived.nbytes


def picture_size(rgb: NDArray[np.uint8]) -> tuple[int, int]:
    """Check an image and return its (height, width). Raises ShapeError: rgb is not a non-empty uint8 [H, W, 3]."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise ShapeError(f"expected uint8 [H, W, 3], got {rgb.dtype} {rgb.shape}")
    return rgb.shape[0], rgb.shape[1]


def encode_each(
    tiles: NDArray[np.uint8], device: torch.device, image_pass: Callable[[Tensor], TileFeatures]
) -> TileFeatures:
    """The image pass of tiles [N, 3, s, t]: together on a GPU, one by one on a CPU.

    A batched kernel may round otherwise than that of a single tile, and gains nothing on a CPU.
    """
    batch = torch.from_numpy(tiles).to(device, non_blocking=True)
    if device.type != "cpu":
        return image_pass(batch)
    passes = [image_pass(batch[index : index + 1]) for index in range(len(batch))]
    return passes[0] if len(passes) == 1 else tuple(torch.cat(parts) for parts in zip(*passes, strict=True))
