"""What is made of one image: the tiles to encode, the features that are kept of it, and what was derived from them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

TileFeatures = tuple[Tensor, ...]  # every tensor has one entry per tile in front
T = TypeVar("T", bound="Iterable[Tensor | Features]")


@dataclass(frozen=True)
class InferenceOptions:
    """What may change the image pass. `max_side` caps the longer side of the network's input, in pixels."""

    max_side: int | None = None


@dataclass(frozen=True)
class Layout:
    """Where the tiles of one image lie: `offsets` (top, left) of each on a `canvas` (height, width) of pixels."""

    canvas: tuple[int, int]
    tile: tuple[int, int]
    offsets: tuple[tuple[int, int], ...] = ((0, 0),)


@dataclass(frozen=True)
class Plan:
    """The tiles of one image and how to put them back.

    `tiles` is uint8 [N, 3, s, t] RGB; every tile of one plan has the same shape, its *bucket*. A plan without a
    `layout` is one tile, the whole image. A method that looks closer at small objects has a `picture` [H, W, 3], too.
    """

    size: tuple[int, int]  # of the image as sent
    tiles: NDArray[np.uint8]
    layout: Layout | None = None
    picture: NDArray[np.uint8] | None = None

    @property
    def bucket(self) -> tuple[int, int]:
        """(s, t) of the tiles; tiles of one bucket can be encoded together."""
        return (self.tiles.shape[2], self.tiles.shape[3])

    def of_size(self, size: tuple[int, int]) -> Plan:
        """The same tiles for an image that was decoded smaller than its `size`."""
        return replace(self, size=size)


class Derived:
    """What was made of features when it was first asked for. Safe from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._made: dict[str, Iterable[Tensor | Features]] = {}
        self._bytes: dict[str, int] = {}  # of what stays as large as it is
        self.answered: set[str] = set()  # tasks whose derived parts are there

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made by the first who asks; others wait for it, and nobody waits for another name.

        `make` may ask for what else it needs, but not for its own name.
        """
        if name not in self._made:
            with self._guard:
                making = self._making.setdefault(name, threading.Lock())
            with making:
                if name not in self._made:
                    made = make()
                    if isinstance(made, tuple) and all(isinstance(part, Tensor) for part in made):
                        self._bytes[name] = _nbytes(made)
                    self._made[name] = made
        return cast(T, self._made[name])

    @property
    def nbytes(self) -> int:
        return sum(self._bytes[name] if name in self._bytes else _nbytes(made) for name, made in [*self._made.items()])


@dataclass(frozen=True)
class Features:
    """What is kept of one image: tensors by name, fp16 (float32 where the model was loaded as exact).

    `derived` grows as it is used, and `nbytes` with it.
    """

    size: tuple[int, int]
    tensors: dict[str, Tensor]
    layout: Layout | None = None
    derived: Derived = field(default_factory=Derived, compare=False, repr=False)

    @property
    def nbytes(self) -> int:
        return self._own_bytes + self.derived.nbytes

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its tensors as numpy reads them, of features that are in memory: the same numbers, in the same place."""
        return {name: tensor.numpy() for name, tensor in self.tensors.items()}

    @cached_property
    def _own_bytes(self) -> int:
        return _nbytes(self.tensors.values())


def _nbytes(parts: Iterable[Tensor | Features]) -> int:
    return sum(part.nbytes for part in parts)
