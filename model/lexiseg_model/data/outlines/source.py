"""Where outlined photographs come from."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.types import Rle


class Outlined(NamedTuple):
    """A photograph [H, W, 3] with its objects as run lengths: hundreds of masks of it would not fit into memory.

    `labels` are indexes into the source's classes, one for each object; none where the source names no classes.
    """

    name: str
    image: NDArray[np.uint8]
    objects: tuple[Rle, ...]
    labels: tuple[int, ...]


class OutlineSource(Protocol):
    """Photographs with objects, by number."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the objects; empty where they have none."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Outlined:
        """One photograph; it may show no object.

        Raises:
            SampleError: it or its objects cannot be read, or they are of another size.
        """
        ...
