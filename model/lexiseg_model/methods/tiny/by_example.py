"""Classes by example: vectors from the mean embedding of shown regions, to compete with the vectors of texts.

The mean of the whole photograph is subtracted from each, and the words of training that are most alike are added.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError
from lexiseg_model.methods.tiny.network import EMBEDDING, TinyNetwork
from lexiseg_model.methods.tiny.settings import ExampleRule
from lexiseg_model.methods.tiny.words.familiar import Familiar
from lexiseg_model.segmenter import ExampleVectors, PromptMasks, TextRows
from lexiseg_model.types import Region
from lexiseg_model.vocabulary.examples import box_cells, cells_of, means_of, turned_away

MIN_ALIKE = 0.25  # mean likeness of the pixels of an example, for its length
NEAR = 0.03  # of a cosine: a word that much less alike counts 1/e
MIN_CELLS = 4  # of a mask of the prompt head; below, the box itself is used


def known_words(network: TinyNetwork, familiar: Familiar | None, device: torch.device) -> Tensor:
    """Unit vectors [N, 96] of the words of training; none where a model does not say which they were."""
    if familiar is None:
        return torch.zeros(0, EMBEDDING, device=device)
    return network.project_texts(torch.from_numpy(familiar.rows).to(device)).detach()


def region_rows(
    pixels: Tensor, size: tuple[int, int], regions: Sequence[Region], masks: dict[int, PromptMasks], apart: float
) -> NDArray[np.float16]:
    """[R, 96]: the mean of the unit pixels of each region, turned away from the whole picture's, and as long as it was.

    Args:
        pixels: [96, h, w] of the image.
        size: (H, W) of the image.
        regions: of it.
        masks: what the prompt head cuts out for them, by their place: the cells of the best one inside its box, or as
            far as they are like its points. A region without is all that its box, its mask or its points hold.
        apart: how much of the picture's mean is taken from the direction of a region.
    """
    cells = []
    for place, region in enumerate(regions):
        answered = masks.get(place)
        inside = None if answered is None else _cut_out(region, size, answered, pixels)
        cells.append(cells_of(region, size, pixels) if inside is None else inside)
    turned = turned_from_picture(means_of(cells, pixels), pixels.flatten(1).mean(1), apart)
    rows: NDArray[np.float16] = turned.cpu().numpy().astype(np.float16)
    return rows


def turned_from_picture(means: Tensor, picture: Tensor, apart: float) -> Tensor:
    """Means [R, 96] of regions, as long as they were, turned away from the picture's [96]."""
    turned: Tensor = means.norm(dim=1, keepdim=True) * F.normalize(F.normalize(means, dim=1) - apart * picture, dim=1)
    return turned


def vectors(positive: TextRows, negative: TextRows, scale: ExampleRule, known: Tensor) -> ExampleVectors:
    """A vector for each example, between its own direction and the one that all have in common, leaning on words that
    are like it, away from what they are not.

    Args:
        positive: rows of what is shown.
        negative: rows of what it is not.
        scale: how far.
        known: unit vectors [N, 96] of words that pixels have learned; there may be none.

    Raises:
        OptionError: rows of another length.
    """
    vectors, mean = leaning(_unit(positive, known.device), scale, known)
    negatives = _unit(negative, known.device) if len(negative) else None
    if negatives is not None:
        vectors = turned_away(vectors, mean, negatives)
    # Rows are means of unit pixels: the less alike these are, the shorter the row, and the lower their scores.
    alike = float(np.linalg.norm(positive.astype(np.float32), axis=1).mean().clip(MIN_ALIKE))
    return ExampleVectors(scale.length * alike**-scale.level * vectors, mean, negatives, scale.beside_words)


def leaning(shown: Tensor, scale: ExampleRule, known: Tensor) -> tuple[Tensor, Tensor]:
    """Unit rows [V, 96] of examples -> their vectors, with a share of the known words that they are most like, and
    their mean [1, 96].

    Pixels are trained to be like words, not like other pixels: the words near an example tell what in it counts.
    """
    mean = F.normalize(shown.mean(0, keepdim=True), dim=1)
    vectors = F.normalize(mean + scale.own * (shown - mean), dim=1)
    if not len(known):
        return vectors, mean
    nearest = (vectors @ known.T / NEAR).softmax(1) @ known  # [V, 96] x [96, N] -> [V, N] x [N, 96]
    return F.normalize(vectors + scale.words * F.normalize(nearest, dim=1), dim=1), mean


def _cut_out(region: Region, size: tuple[int, int], answered: PromptMasks, pixels: Tensor) -> Tensor | None:
    grid = (pixels.shape[1], pixels.shape[2])
    best = F.interpolate(answered.masks[None, :1].float(), size=grid, mode="bilinear")[0, 0].cpu() > 0
    assert region.prompt is not None
    if region.prompt.box is not None:
        best &= box_cells(region.prompt.box, size, grid)
    else:  # what is meant by points alone is open: what is like them is sure
        best &= cells_of(region, size, pixels)
    return best if int(best.sum()) >= MIN_CELLS else None


def _unit(rows: TextRows, device: torch.device) -> Tensor:
    if rows.ndim != 2 or rows.shape[1] != EMBEDDING:
        raise OptionError(f"expected rows [R, {EMBEDDING}] of examples, got {list(rows.shape)}")
    return F.normalize(torch.from_numpy(rows.astype(np.float32)).to(device), dim=1)
