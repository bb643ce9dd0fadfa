"""Maps and pictures made of an answer's masks."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.answers.masks import LabelMap

if TYPE_CHECKING:
    from lexiseg_client.answers.segmentation import Segment, Segmentation

GOLDEN_RATIO = 0.618034  # of the colour circle: any two neighbours in the class list look apart
OUTLINE = 0.35  # brightness of outlines against the colour


def label_map(answer: Segmentation) -> LabelMap:
    """[H, W] ids of uint8, or of uint16 where they do not fit."""
    highest = max((segment.id for segment in answer.segments), default=0)
    ids: LabelMap = np.zeros(answer.size, np.uint8 if highest < 256 else np.uint16)
    for segment in reversed(drawn(answer)):  # where those of prompts overlap, the first is on top
        ids[segment.shape.pixels()] = segment.id  # not `.mask`: that would keep every mask for as long as the answer
    return ids


def drawn(answer: Segmentation) -> list[Segment]:
    """All segments; of the masks that one prompt may mean, the best."""
    best = {segment.prompt_index: segment.id for segment in reversed(answer.segments)}
    return [
        segment
        for segment in answer.segments
        if segment.prompt_index is None or best[segment.prompt_index] == segment.id
    ]


def colour(index: int) -> tuple[int, int, int]:
    """RGB of a class, the same for the same index."""
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_RATIO % 1, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def paint(answer: Segmentation, pixels: NDArray[Any], opacity: float) -> NDArray[np.uint8]:
    """See `Segmentation.paint`."""
    if pixels.dtype != np.uint8 or pixels.shape not in (answer.size, (*answer.size, 3)):
        raise ValueError(
            f"expected uint8 pixels of {list(answer.size)} or {[*answer.size, 3]}, "
            f"got {pixels.dtype} {list(pixels.shape)}"
        )
    ids = answer.label_map
    table = np.zeros((max((segment.id for segment in answer.segments), default=0) + 1, 3), np.float32)
    for position, segment in enumerate(answer.segments):
        table[segment.id] = colour(position if segment.class_index is None else segment.class_index)
    canvas = np.broadcast_to(pixels if pixels.ndim == 3 else pixels[..., None], (*answer.size, 3)).astype(np.float32)
    owned = ids > 0
    colours = table[ids]  # [H, W, 3]
    canvas[owned] += opacity * (colours - canvas)[owned]
    border = np.zeros(answer.size, bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    canvas[border] = OUTLINE * canvas[border]
    painted: NDArray[np.uint8] = canvas.round().astype(np.uint8)
    return painted
