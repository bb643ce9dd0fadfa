"""From cosines to labels, as the authors evaluate: pure functions on the maps of one image.

    window cosines -> bilinear to the window -> mean where windows overlap -> bilinear to the image
    -> PAMR on the cosines (NACLIP) -> softmax over texts -> the best text of each class -> arg-max, threshold

Q texts, K classes; `owner` [Q] says which class a text stands for, class 0 being the background where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.errors import ShapeError
from model.masks import pamr, windows
from model.segmenter import Layout


def cosines(vectors: Tensor, texts: Tensor) -> Tensor:
    """Unit vectors [D, h, w] x unit texts [Q, D] -> [Q, h, w]."""
    return torch.einsum("dhw,qd->qhw", vectors, texts)


def on_pixels(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """[Q, h, w] -> [Q, *size], bilinear (align_corners=False)."""
    return F.interpolate(maps[None], size=size, mode="bilinear")[0]


def merged(window_cosines: Iterable[Tensor], layout: Layout, size: tuple[int, int]) -> Tensor:
    """Cosines of all windows on the image's own grid.

    Args:
        window_cosines: [Q, h, w] of each window, in the layout's order, on its patch grid.
        layout: where the windows lie on the resized image.
        size: (height, width) of the image as it came.

    Returns:
        [Q, *size].
    """
    return on_pixels(windows.merge((on_pixels(each, layout.tile) for each in window_cosines), layout), size)


def refined(maps: Tensor, image: Tensor, iterations: int, dilations: tuple[int, ...]) -> Tensor:
    """PAMR on cosines [Q, H, W] by `image` [3, H, W], normalised as for the network; 0 iterations change nothing."""
    if iterations == 0:
        return maps
    return pamr.refine(maps, image, pamr.PamrSettings(iterations, dilations))


def class_probabilities(maps: Tensor, owner: NDArray[np.int64], n_classes: int, scale: float) -> Tensor:
    """softmax(scale * cosines) over texts, then each class's best text.

    Args:
        maps: [Q, H, W] cosines.
        owner: [Q] class of each text, ascending or not.
        n_classes: K; a class without texts gets 0.
        scale: of the cosines.

    Returns:
        [K, H, W]; with several texts a class they sum to less than 1.

    Raises:
        ShapeError: not one owner for each map.
    """
    if len(owner) != len(maps):
        raise ShapeError(f"expected {len(maps)} owners, got {len(owner)}")
    probability = (maps * scale).softmax(0)
    index = torch.from_numpy(np.asarray(owner, np.int64)).to(maps.device).view(-1, 1, 1).expand_as(probability)
    best = probability.new_zeros(n_classes, *probability.shape[1:])
    return best.scatter_reduce_(0, index, probability, "amax")


def without_small_classes(probability: Tensor, share: float) -> Tensor:
    """Zeroes foreground classes that win no more than `share` of all foreground pixels; SCLIP on VOC21.

    Args:
        probability: [K, H, W], class 0 the background.
        share: 0..1.
    """
    won = torch.bincount(probability.argmax(0).flatten(), minlength=len(probability))
    small = won <= share * won[1:].sum()
    small[0] = False
    return probability.masked_fill(small.view(-1, 1, 1), 0)


def with_found_objects(probability: Tensor, objectness: Tensor, certainty: float) -> Tensor:
    """CLIP-DINOiser's background: class 0 wins where no class is certain and no object was found.

    Args:
        probability: [K, H, W], class 0 the background.
        objectness: [H, W] in 0..1.
        certainty: probability from which a class needs no object (delta).
    """
    nobody = (probability.amax(0) < certainty) & (objectness <= 0.5)
    return torch.cat([probability[:1].masked_fill(nobody, 1), probability[1:]])


def labels(probability: Tensor, threshold: float) -> Tensor:
    """The winner of each pixel, class 0 where its probability is below `threshold`: [K, H, W] -> int64 [H, W].

    The threshold is for probabilities as they come from `class_probabilities`, before `renormalised`.
    """
    best, winner = probability.max(0)
    return winner.masked_fill(best < threshold, 0)


def renormalised(probability: Tensor) -> Tensor:
    """[K, H, W] divided by its sum over classes."""
    return probability / probability.sum(0, keepdim=True)
