"""The forms in which a mask travels; each knows how to become pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.answers import polygons, rle
from lexiseg_client.errors import NoMasks, UnreadableAnswer
from lexiseg_client.pictures import png

Mask: TypeAlias = NDArray[np.bool_]
LabelMap: TypeAlias = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class RunLengths:
    """COCO's compressed run lengths; `size` is height, width."""

    size: tuple[int, int]
    counts: str = field(repr=False)

    def pixels(self) -> Mask:
        """[H, W]."""
        return rle.decode(self.counts, self.size)


@dataclass(frozen=True)
class Outlines:
    """Polygons with holes; `size` is height, width."""

    size: tuple[int, int]
    rings: tuple[polygons.Ring, ...] = field(repr=False)

    def pixels(self) -> Mask:
        """[H, W]."""
        return polygons.fill(self.rings, self.size)


@dataclass(frozen=True)
class MapFile:
    """A gray PNG whose values are segment ids, 0 = nobody; `size` is height, width."""

    size: tuple[int, int]
    png: bytes = field(repr=False)

    @cached_property
    def ids(self) -> LabelMap:
        """[H, W], decoded when first looked at; not to be written to."""
        ids: LabelMap = png.decode_gray(self.png)
        if ids.shape != self.size:
            raise UnreadableAnswer(f"a label map of {list(ids.shape)} for an image of {list(self.size)}")
        ids.flags.writeable = False
        return ids


@dataclass(frozen=True)
class PartOfMap:
    """The pixels of a label map that hold one segment's id."""

    label_map: MapFile
    id: int

    def pixels(self) -> Mask:
        """[H, W]."""
        mask: Mask = self.label_map.ids == self.id
        return mask


@dataclass(frozen=True)
class NotAsked:
    """The question said mask="none"."""

    def pixels(self) -> Mask:
        """None to be had.

        Raises:
            NoMasks: always.
        """
        raise NoMasks('the question said mask="none": its answer has scores, areas and boxes, but no masks')


Shape: TypeAlias = RunLengths | Outlines | PartOfMap | NotAsked
