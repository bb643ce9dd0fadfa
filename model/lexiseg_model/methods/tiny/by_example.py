"""Classes by example: vectors from the mean embeddings of example regions, to compete with text vectors.

The mean of the whole image is subtracted from each, and the most similar training words are added. So that a negative
example removes its own region, and little else, cells like groups of its cells are excluded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors, PromptMasks
from lexiseg_model.errors import ForeignExamplesError
from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.settings import ExampleRule
from lexiseg_model.methods.tiny.words.familiar import Familiar
from lexiseg_model.segmenter import Excluded, TextRows
from lexiseg_model.types import Region
from lexiseg_model.vocabulary.examples import box_cells, cells_of, mean_embeddings, push_from_negatives

MIN_ALIKE = 0.25  # lower bound of an example's uniformity (norm of its row), for its length
NEAR = 0.03  # softmax temperature of the cosines with training words
GROUPS = 16  # of a region's cells
GROUP_CELLS = 6  # cells of a group, on average at least
COVERED = 0.9  # share of a region's cells within the bound around its groups
ROUNDS = 6  # of k-means
VECTORS = 1 + GROUPS  # of D numbers each, of a region's row: its mean embedding and the groups
MIN_CELLS = 4  # of a mask of the prompt head; with fewer the box itself is used


def training_words(network: TinyNetwork, familiar: Familiar | None, device: torch.device) -> Tensor:
    """Unit vectors [N, D] of the training words; N = 0 for a model without a list of them."""
    if familiar is None:
        return torch.zeros(0, network.embedding, device=device)
    return network.project_texts(torch.from_numpy(familiar.rows).to(device)).detach()


def region_rows(
    pixels: Tensor, size: tuple[int, int], regions: Sequence[Region], masks: dict[int, PromptMasks], apart: float
) -> NDArray[np.float16]:
    """Rows [R, VECTORS * D] of regions in an image of `size` (H, W): mean embedding of [D, h, w], then groups of cells.

    The mean is without `apart` times the direction of the image's. Of the prompt head's `masks`, by index of the
    region, the best one counts; without one all cells of the region.
    """
    cells = []
    for index, region in enumerate(regions):
        predicted = masks.get(index)
        inside = None if predicted is None else _mask_cells(region, size, predicted, pixels)
        cells.append(cells_of(region, size, pixels) if inside is None else inside)
    means, image = mean_embeddings(cells, pixels), pixels.flatten(1).mean(1)
    centred = means.norm(dim=1, keepdim=True) * F.normalize(F.normalize(means, dim=1) - apart * image, dim=1)
    own = [pixels[:, part.to(pixels.device)].T for part in cells]
    groups = torch.stack([cell_groups(part) for part in own])
    rows: NDArray[np.float16] = torch.cat([centred, groups.flatten(1)], 1).cpu().numpy().astype(np.float16)
    return rows


def cell_groups(cells: Tensor) -> Tensor:
    """Means [GROUPS, D] of groups of unit embeddings [n, D], divided by the cosine that COVERED of the cells reach."""
    last = len(cells) - 1
    n = min(max(len(cells) // GROUP_CELLS, 1), GROUPS)
    number = torch.arange(n, device=cells.device)
    means = F.normalize(cells[number * last // max(n - 1, 1)], dim=1)  # evenly spaced at first
    for _ in range(ROUNDS):
        group = ((cells @ means.T).argmax(1)[:, None] == number).to(cells)  # [n cells, groups]
        means = F.normalize(group.T @ cells + 1e-3 * means, dim=1)  # an empty group stays
    bound = (cells @ means.T).amax(1).quantile(1 - COVERED).clamp_min(MIN_ALIKE)
    return F.pad(means / bound, (0, 0, 0, GROUPS - n))


def vectors(positive: TextRows, negative: TextRows, rule: ExampleRule, words: Tensor) -> ExampleVectors:
    """A vector for each example: a mixture of its own direction, the examples' mean and similar training words [W,
    D]."""
    vectors, mean = mix_words(_unit(positive, words), rule, words)
    negatives = _unit(negative, words) if len(negative) else None
    if negatives is not None:
        vectors = push_from_negatives(vectors, mean, negatives)
    # Rows are means of unit vectors: varied pixels give short rows and low scores.
    alike = float(np.linalg.norm(positive[:, : words.shape[1]].astype(np.float32), axis=1).mean().clip(MIN_ALIKE))
    scaled, excluded = rule.length * alike**-rule.level * vectors, None
    if len(negative):
        apart, own = (_groups_of(rows).to(words.device) for rows in (negative, positive))
        excluded = Excluded(F.normalize(apart, dim=1), 1 / apart.norm(dim=1), F.normalize(own, dim=1))
    return ExampleVectors(scaled, mean, negatives, rule.beside_words, excluded=excluded)


def mix_words(examples: Tensor, rule: ExampleRule, words: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [V, D] of unit example rows [V, D], mixed with the most similar training words, and their mean [1, D]."""
    mean = F.normalize(examples.mean(0, keepdim=True), dim=1)
    vectors = F.normalize(mean + rule.own * (examples - mean), dim=1)
    if not len(words):
        return vectors, mean
    nearest = (vectors @ words.T / NEAR).softmax(1) @ words  # [V, D] x [D, W] -> [V, W] x [W, D]
    return F.normalize(vectors + rule.words * F.normalize(nearest, dim=1), dim=1), mean


def _mask_cells(region: Region, size: tuple[int, int], predicted: PromptMasks, pixels: Tensor) -> Tensor | None:
    grid = (pixels.shape[1], pixels.shape[2])
    best = F.interpolate(predicted.masks[None, :1].float(), size=grid, mode="bilinear")[0, 0].cpu() > 0
    assert region.prompt is not None
    if region.prompt.box is not None:
        best &= box_cells(region.prompt.box, size, grid)
    else:  # points are ambiguous: only cells similar to them are certain
        best &= cells_of(region, size, pixels)
    return best if int(best.sum()) >= MIN_CELLS else None


def _unit(rows: TextRows, words: Tensor) -> Tensor:
    """Unit vectors [R, D] of the means in rows of a model with training words [W, D]."""
    width = words.shape[1]
    if rows.ndim != 2 or rows.shape[1] != VECTORS * width:
        raise ForeignExamplesError(f"expected rows [R, {VECTORS * width}] of examples, got {list(rows.shape)}")
    return F.normalize(torch.from_numpy(rows[:, :width].astype(np.float32)).to(words.device), dim=1)


def _groups_of(rows: TextRows) -> Tensor:
    """The groups [G, D] of all rows, without zeros."""
    width = rows.shape[1] // VECTORS
    groups = torch.from_numpy(rows[:, width:].astype(np.float32)).view(-1, width)
    return groups[groups.any(1)]
