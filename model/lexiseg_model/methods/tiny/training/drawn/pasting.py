"""Objects of other photographs, cut out by their masks and pasted onto a crop.

Source: Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation"
(arXiv 2012.07177): worth most where labels are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.indexed import IGNORE
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.training.drawn.requests import Source
from lexiseg_model.training.crops import MIRRORED, Matrix, Paste, labels_in

MAX_PASTED = 2  # objects on one crop
SMALLEST = 0.01  # share of a photograph: a smaller piece is not cut out
LENGTHS = (0.3, 0.95)  # of an object's longer side, as a share of the crop's
ENLARGED = 2.0  # largest enlargement; more would show the pixels
INNER = 0.1  # of the crop: margin on each side that no object's middle is in


class Pasting(NamedTuple):
    """Share of crops with pasted objects, and the names of the sets that objects come from and go to."""

    share: float
    origins: Sequence[str]
    targets: Sequence[str]


NOTHING_PASTED = Pasting(0.0, (), ())


class Cut(NamedTuple):
    """An object: of which source and photograph, what it is, where it is (left, top, width, height)."""

    source: int
    photograph: int
    concept: int
    inside: NDArray[np.uint8]  # [H, W] of 0 and 255
    box: tuple[int, int, int, int]


def cut_out(sources: Sequence[Source], origins: Sequence[str], random: np.random.Generator) -> Cut | None:
    """An object, its class drawn first; None where the photograph has none that is large enough."""
    able = [which for which, source in enumerate(sources) if source.pack.name in origins and source.by_class]
    if not able:
        return None
    shares = np.array([sources[which].share for which in able])
    which = able[int(random.choice(len(able), p=shares / shares.sum()))]
    source = sources[which]
    value, index = source.drawn_by_class(random)
    mask = source.pack.mask(index)
    n_pieces, pieces, stats, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8))
    large = [piece for piece in range(1, n_pieces) if stats[piece, cv2.CC_STAT_AREA] >= SMALLEST * mask.size]
    if not large:
        return None
    piece = int(random.choice(large))
    left, top, width, height = (int(stats[piece, column]) for column in range(4))
    assert source.space is not None
    concept = int(source.space.concepts[value - int(source.space.has_background)])
    inside = np.where(pieces == piece, np.uint8(255), np.uint8(0))
    return Cut(which, index, concept, inside, (left, top, width, height))


def placed(cut: Cut, size: int, random: np.random.Generator) -> Matrix:
    """A random map from pixels of the object's photograph to those of the crop; half of them mirror."""
    left, top, width, height = cut.box
    length = size * float(np.exp(random.uniform(*np.log(LENGTHS))))
    scale = min(length / max(width, height), ENLARGED)
    across = -scale if random.random() < MIRRORED else scale
    middle_x, middle_y = random.uniform(INNER * size, (1 - INNER) * size, 2)
    return np.array(
        [[across, 0, middle_x - across * (left + width / 2)], [0, scale, middle_y - scale * (top + height / 2)]]
    )


def paste(
    cut: Cut, sources: Sequence[Source], onto: Source, labels: NDArray[np.uint8], size: int, random: np.random.Generator
) -> Paste:
    """Paste an object onto a crop; its pixels change `labels` [size/4, size/4], in place.

    They become IGNORE if the crop's data set has no class for the object.
    """
    matrix = placed(cut, size, random)
    alpha = cv2.warpAffine(cut.inside, matrix, (size, size), flags=cv2.INTER_LINEAR).astype(np.uint8)
    assert onto.space is not None
    rows = np.flatnonzero(onto.space.concepts == cut.concept)
    value = np.uint8(rows[0] + onto.space.has_background) if len(rows) else np.uint8(IGNORE)
    # Beside the photograph `labels_in` says 255, which is what it says inside the object: so the other way round.
    outside = labels_in(255 - cut.inside, matrix, size, STRIDE)
    labels[outside == 0] = value
    photograph = sources[cut.source].pack.places[cut.photograph, :3].tolist()
    return Paste(cut.source, photograph, matrix, alpha)
