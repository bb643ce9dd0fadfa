"""Classes by example: find the cells of a region, and add vectors of examples to a text bank.

A method encodes each region as a row (`Examples.example_rows`), cached like a text row, and computes class vectors
from rows (`Examples.example_vectors`). This module holds what methods share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors, examples_of
from lexiseg_model.errors import ForeignExamplesError, OptionError
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import Segmenter, Support, TextBank, TextRows
from lexiseg_model.types import ClassEntry, Prompt, Region

SAME_MEANING = 0.7  # share of a class's score on its own examples from which a background word is dropped
MAX_NEGATIVE_SCORE = 0.35  # share of a class's score on its own examples that it keeps on a negative example
MIN_SQUARED_SINE = 0.5  # between examples and a negative; a vector turned further from a similar one wins elsewhere
MIN_SIMILARITY = 0.5  # of a cell to a clicked one, on a scale from the image's mean (0) to that cell (1)


def vectors_of(segmenter: Segmenter, classes: Sequence[ClassEntry]) -> dict[int, ExampleVectors]:
    """The example vectors of each class that has examples, by class index. Raises ExamplesError: the method takes none;
    ForeignExamplesError: the rows come from another model."""
    for entry in classes:
        if entry.shown is not None and entry.shown.digest not in ("", segmenter.digest):
            raise ForeignExamplesError(
                f"the examples of {entry.name!r} were encoded by other weights than {segmenter.digest}"
            )
    return {
        index: examples_of(segmenter).example_vectors(_rows(entry.shown.positive), _rows(entry.shown.negative))
        for index, entry in enumerate(classes)
        if entry.shown is not None
    }


def push_from_negatives(vectors: Tensor, mean: Tensor, negatives: Tensor) -> Tensor:
    """Change class vectors [V, D] so that negatives [N, D] score at most MAX_NEGATIVE_SCORE of the examples' score.

    The smallest change orthogonal to the mean [1, D] of the examples, so their score stays. Negatives that are
    much like the examples score more.
    """
    for negative in negatives:
        direction = negative - (negative @ mean[0]) * mean[0]
        excess = (vectors @ negative - MAX_NEGATIVE_SCORE * (vectors @ mean[0])).clamp_min(0)
        vectors = vectors - (excess / direction.square().sum().clamp_min(MIN_SQUARED_SINE))[:, None] * direction
    return vectors


def with_examples(bank: TextBank | None, examples: dict[int, ExampleVectors], n_classes: int) -> TextBank:
    """Add example vectors to a text bank (None: no class has texts), after the texts of their class."""
    vectors = [] if bank is None else [bank.vectors]
    owners = [] if bank is None else [bank.owner]
    for class_index, example in examples.items():
        texts = np.flatnonzero(np.array([]) if bank is None else bank.owner == class_index)
        vectors.append(example.vectors * example.beside_words if len(texts) else example.vectors)
        if len(texts) and example.negatives is not None:
            rows = torch.from_numpy(texts).to(vectors[0].device)
            mean, negatives = example.means.to(vectors[0]), example.negatives.to(vectors[0])
            vectors[0] = vectors[0].index_copy(0, rows, push_from_negatives(vectors[0][rows], mean, negatives))
        owners.append(np.full(len(example.vectors), class_index, np.int64))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    all_vectors = torch.cat([part.to(vectors[0]) for part in vectors])
    rows = torch.from_numpy(order).to(all_vectors.device)
    support = None if bank is None else _support(vectors[0], bank.owner, examples)
    excluded = {index: example.excluded for index, example in examples.items() if example.excluded is not None}
    shifts = None if bank is None else bank.shifts
    if shifts is not None:  # texts come first; examples have no shifts
        zeros = shifts.new_zeros(len(owner) - len(shifts), shifts.shape[1])
        shifts = torch.cat([shifts, zeros])[rows]
    made = TextBank(all_vectors[rows], owner[order], n_classes, has_examples=True, support=support, excluded=excluded)
    return made if bank is None else replace(made, shifts=shifts, parts=bank.parts)


def _support(texts: Tensor, owner: NDArray[np.int64], example_vectors: dict[int, ExampleVectors]) -> Support | None:
    by_class = {index: vectors.examples for index, vectors in example_vectors.items() if vectors.examples is not None}
    if not np.isin(owner, list(by_class)).any():
        return None
    examples = torch.cat([part.to(texts) for part in by_class.values()])
    example_owner = torch.from_numpy(np.repeat(list(by_class), [len(part) for part in by_class.values()]))
    return Support(texts, torch.from_numpy(owner).to(texts.device), examples, example_owner.to(texts.device))


def apart_from(words: Tensor, examples: dict[int, ExampleVectors]) -> NDArray[np.bool_]:
    """Which background words [W, D] score below SAME_MEANING of each class's own score on its examples: [W] bool."""
    apart = np.ones(len(words), bool)
    for example in examples.values():
        own_score = (example.vectors @ example.means.T).amax(0)  # [V, D] x [D, M]
        of_words = words.to(example.means) @ example.means.T
        apart &= (of_words < SAME_MEANING * own_score).all(1).cpu().numpy()
    return apart


def cells_of(region: Region, size: tuple[int, int], maps: Tensor) -> Tensor:
    """The cells of a region as a bool map [h, w] with at least one cell.

    A box contains all its cells. Points grow to all cells more similar to a positive point than to the mean of the
    image, without cells similar to a negative point. `size` is (H, W) of the image, `maps` [D, h, w] the embeddings of
    its cells. Raises OptionError: the mask is empty, or negative points remove every cell.
    """
    grid = (maps.shape[1], maps.shape[2])
    if region.mask is not None:
        return mask_cells(decode(region.mask), grid)
    assert region.prompt is not None
    box = region.prompt.box
    inside = _similar(region.prompt, size, maps, positive=True) if box is None else box_cells(box, size, grid)
    if region.prompt.negatives:
        inside = inside & ~_similar(region.prompt, size, maps, positive=False)
        if not inside.any():
            raise OptionError("the negative points of an example remove all of it; expected some of it to be left")
    return inside


def box_cells(box: tuple[float, float, float, float], size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Cells [h, w] with a centre in a box; the nearest cell where none does."""
    (height, width), (rows, columns) = size, grid
    x = (torch.arange(columns) + 0.5) * width / columns
    y = (torch.arange(rows) + 0.5) * height / rows
    inside = ((y >= box[1]) & (y <= box[3]))[:, None] & ((x >= box[0]) & (x <= box[2]))[None]
    if not inside.any():
        inside[_cell((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, size, grid)] = True
    return inside


def mask_cells(mask: NDArray[np.bool_], grid: tuple[int, int]) -> Tensor:
    """Cells [h, w] at least half covered by a mask [H, W]; where there are none, the most covered ones."""
    if not mask.any():
        raise OptionError("the mask of an example is empty")
    pixels = torch.from_numpy(np.ascontiguousarray(mask)).float()
    share = F.interpolate(pixels[None, None], size=grid, mode="area")[0, 0]
    inside: Tensor = share >= 0.5
    return inside if inside.any() else share == share.max()


def mean_embeddings(cells: Sequence[Tensor], maps: Tensor) -> Tensor:
    """The mean embedding [R, D] over each region's cells [h, w] of maps [D, h, w]."""
    inside = torch.stack(list(cells)).to(maps).flatten(1)
    return inside @ maps.flatten(1).T / inside.sum(1, keepdim=True)  # [R, h*w] x [h*w, D]


def _rows(encoded: Sequence[bytes]) -> TextRows:
    if len({len(row) for row in encoded}) > 1:
        raise ForeignExamplesError(
            "the rows of a class's examples differ in length: they were encoded by different models"
        )
    rows = np.frombuffer(b"".join(encoded), np.float16)
    return rows.reshape(len(encoded), -1) if encoded else np.empty((0, 0), np.float16)


def _similar(prompt: Prompt, size: tuple[int, int], maps: Tensor, *, positive: bool) -> Tensor:
    grid = (maps.shape[1], maps.shape[2])
    unit = F.normalize(maps.float(), dim=0)
    mean = F.normalize(unit.mean((1, 2)), dim=0)
    similar = torch.zeros(grid, dtype=torch.bool)
    for point in prompt.points:
        if point.positive is positive:
            cell = _cell(point.x, point.y, size, grid)
            embedding = unit[:, cell[0], cell[1]]
            threshold = MIN_SIMILARITY + (1 - MIN_SIMILARITY) * float(embedding @ mean)
            similar |= ((embedding @ unit.flatten(1)).view(grid) >= threshold).cpu()
            similar[cell] = True
    return similar


def _cell(x: float, y: float, size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    (height, width), (rows, columns) = size, grid
    return min(rows - 1, int(y / height * rows)), min(columns - 1, int(x / width * columns))
