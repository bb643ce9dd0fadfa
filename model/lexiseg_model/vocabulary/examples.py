"""Classes by example: from regions of photographs to vectors that stand among those of texts.

A method makes a row of each region (`Segmenter.example_rows`), which is kept like the row of a text, and vectors of the
rows of a class (`Segmenter.example_vectors`). Here is what all methods share: the cells of a region, and the bank.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import ExampleVectors, Segmenter, Support, TextBank, TextRows
from lexiseg_model.types import ClassEntry, Prompt, Region

YIELDS = 0.7  # of the score of a class on its own examples: a word that reaches it there would take its pixels
LEFT = 0.4  # of the score of a class on its own examples, that it keeps on a negative example
MIN_APART = 0.1  # squared sine between the examples and a negative; below, both are the same
LIKE = 0.5  # of the way from the surroundings of a point to itself, from which a cell is of the same thing


def vectors_of(segmenter: Segmenter, classes: Sequence[ClassEntry]) -> dict[int, ExampleVectors]:
    """Of each class that has examples, by its place.

    Raises:
        TaskError: the method takes no examples.
        OptionError: rows that are not this method's.
    """
    for entry in classes:
        if entry.shown is not None and entry.shown.digest not in ("", segmenter.digest):
            raise OptionError(f"the examples of {entry.name!r} were looked at by other weights than {segmenter.digest}")
    return {
        place: segmenter.example_vectors(_rows(entry.shown.positive), _rows(entry.shown.negative))
        for place, entry in enumerate(classes)
        if entry.shown is not None
    }


def turned_away(vectors: Tensor, mean: Tensor, negatives: Tensor) -> Tensor:
    """Vectors [V, D] of a class that score at most LEFT of their own score on negatives [N, D].

    Each is changed as little as possible, and orthogonally to the mean [1, D] of the examples: on that its score stays.
    """
    for negative in negatives:
        direction = negative - (negative @ mean[0]) * mean[0]
        excess = (vectors @ negative - LEFT * (vectors @ mean[0])).clamp_min(0)
        vectors = vectors - (excess / direction.square().sum().clamp_min(MIN_APART))[:, None] * direction
    return vectors


def with_examples(bank: TextBank | None, shown: dict[int, ExampleVectors], n_classes: int) -> TextBank:
    """A bank of texts, None where there are none, with the vectors of examples behind the texts of their class."""
    if not shown and bank is not None:
        return bank
    vectors = [] if bank is None else [bank.vectors]
    owners = [] if bank is None else [bank.owner]
    for place, made in shown.items():
        words = np.flatnonzero(np.array([]) if bank is None else bank.owner == place)
        vectors.append(made.vectors * made.beside_words if len(words) else made.vectors)
        if len(words) and made.negatives is not None:
            there = torch.from_numpy(words).to(vectors[0].device)
            turned = turned_away(vectors[0][there], made.means.to(vectors[0]), made.negatives.to(vectors[0]))
            vectors[0] = vectors[0].index_copy(0, there, turned)
        owners.append(np.full(len(made.vectors), place, np.int64))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    together = torch.cat([part.to(vectors[0]) for part in vectors])
    there = torch.from_numpy(order).to(together.device)
    levels = None
    if bank is not None and bank.levels is not None:
        levels = torch.cat([bank.levels, bank.levels.new_zeros(len(together) - len(bank.levels))])[there]
    support = None if bank is None else _support(vectors[0], bank.owner, shown)
    return TextBank(together[there], owner[order], n_classes, has_examples=True, levels=levels, support=support)


def _support(texts: Tensor, owner: NDArray[np.int64], shown: dict[int, ExampleVectors]) -> Support | None:
    """Where a class has both words and examples, and the method fuses them."""
    examples = {place: made.examples for place, made in shown.items() if made.examples is not None}
    if not np.isin(owner, list(examples)).any():
        return None
    seen = torch.cat([each.to(texts) for each in examples.values()])
    places = np.repeat(list(examples), [len(each) for each in examples.values()])
    return Support(texts, torch.from_numpy(owner).to(texts.device), seen, torch.from_numpy(places).to(texts.device))


def apart_from(words: Tensor, shown: dict[int, ExampleVectors]) -> NDArray[np.bool_]:
    """Which words [W, D] leave the examples alone: [W].

    One that scores on them nearly what their own class does says the same in a word, and would take its pixels.
    """
    apart = np.ones(len(words), bool)
    for made in shown.values():
        own = (made.vectors @ made.means.T).amax(0)  # [V, D] x [D, M]
        apart &= ((words.to(made.means) @ made.means.T) < YIELDS * own).all(1).cpu().numpy()
    return apart


def cells_of(region: Region, size: tuple[int, int], maps: Tensor) -> Tensor:
    """The cells [h, w] of a region that is a box, a mask, or points; never none of them.

    A box is all its cells. Points are grown: to connected or other cells that are more like a positive point than like
    the mean of the image, and not more like a negative one.

    Args:
        region: in pixels of the image.
        size: (H, W) of the image.
        maps: [D, h, w], the embeddings of its cells.
    """
    grid = (maps.shape[1], maps.shape[2])
    if region.mask is not None:
        return mask_cells(decode(region.mask), grid)
    assert region.prompt is not None
    if region.prompt.box is not None:
        inside = box_cells(region.prompt.box, size, grid)
        return inside & ~_near(region.prompt, size, maps, positive=False) if _negatives(region.prompt) else inside
    return _near(region.prompt, size, maps, positive=True) & ~_near(region.prompt, size, maps, positive=False)


def box_cells(box: tuple[float, float, float, float], size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Cells [h, w] whose centres a box holds; the nearest one where it holds none."""
    (height, width), (rows, columns) = size, grid
    x = (torch.arange(columns) + 0.5) * width / columns
    y = (torch.arange(rows) + 0.5) * height / rows
    inside = ((y >= box[1]) & (y <= box[3]))[:, None] & ((x >= box[0]) & (x <= box[2]))[None]
    if not inside.any():
        inside[_cell((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, size, grid)] = True
    return inside


def mask_cells(mask: NDArray[np.bool_], grid: tuple[int, int]) -> Tensor:
    """Cells [h, w] that a mask [H, W] covers half; where there are none, those that it covers most.

    Raises:
        OptionError: the mask is empty.
    """
    if not mask.any():
        raise OptionError("the mask of an example has no pixel")
    pixels = torch.from_numpy(np.ascontiguousarray(mask)).float()
    share = F.interpolate(pixels[None, None], size=grid, mode="area")[0, 0]
    inside: Tensor = share >= 0.5
    return inside if inside.any() else share == share.max()


def means_of(cells: Sequence[Tensor], maps: Tensor) -> Tensor:
    """[R, D]: the mean embedding of each region's cells [h, w], of maps [D, h, w]."""
    inside = torch.stack(list(cells)).to(maps).flatten(1)
    return inside @ maps.flatten(1).T / inside.sum(1, keepdim=True)  # [R, h*w] x [h*w, D]


def _rows(kept: Sequence[bytes]) -> TextRows:
    if len({len(row) for row in kept}) > 1:
        raise OptionError("the rows of a class's examples are of different lengths; they were made by different models")
    return np.frombuffer(b"".join(kept), np.float16).reshape(len(kept), -1) if kept else np.empty((0, 0), np.float16)


def _negatives(prompt: Prompt) -> bool:
    return any(not point.positive for point in prompt.points)


def _near(prompt: Prompt, size: tuple[int, int], maps: Tensor, *, positive: bool) -> Tensor:
    """Cells that are like those of a prompt's points, and these themselves."""
    grid = (maps.shape[1], maps.shape[2])
    unit = F.normalize(maps.float(), dim=0)
    mean = F.normalize(unit.mean((1, 2)), dim=0)
    near = torch.zeros(grid, dtype=torch.bool)
    for point in prompt.points:
        if point.positive is positive:
            at = _cell(point.x, point.y, size, grid)
            here = unit[:, at[0], at[1]]
            least = LIKE + (1 - LIKE) * float(here @ mean)
            near |= ((here @ unit.flatten(1)).view(grid) >= least).cpu()
            near[at] = True
    return near


def _cell(x: float, y: float, size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    (height, width), (rows, columns) = size, grid
    return min(rows - 1, int(y / height * rows)), min(columns - 1, int(x / width * columns))
