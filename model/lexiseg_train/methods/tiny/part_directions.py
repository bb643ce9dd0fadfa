"""Directions of parts in kinds of things (`divide_wholes`), fitted on training photographs of `voc-parts`.

A direction is a logistic regression: which cells of a whole are the part's, in photographs that do not show it none.
Its constant is the one of the highest mean IoU of the part and the rest of the whole, on photographs left out.

python -m lexiseg_train.methods.tiny.part_directions ROOT WEIGHTS
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.methods.tiny.network import PART_DIRECTIONS
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import Parts as Kind
from lexiseg_model.methods.tiny.teaching import cell_labels, with_middle
from lexiseg_model.methods.tiny.weights import BUNDLED
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.directions.parts import NOTHING, Parts, Photograph, photographs

SETS, PHOTOGRAPHS = ("voc", "voc-more"), 450  # of each set
FEWEST = 10  # photographs that show a part
CELLS, OF_A_PART = 500, 40  # of a whole as they fall, and of each part
LEFT_OUT = 4  # one photograph of so many is not fitted on, and gives the constants
NOT_SHOWN = 0.3  # weight of photographs without the part
LEAST = 0.35  # share of all weight that a part's cells have at least
RIDGE = 2e-3  # of the squares of directions; numbers have unit variance
CONSTANTS = np.linspace(-4, 4, 65)


class WholeCells(NamedTuple):
    """Cells of a kind of things in one photograph.

    `numbers` [n, D + 120], a cell's embedding and the trunk's map; `parts` [n, P] uint8 of the part's names: 1, 0 or
    IGNORE.
    """

    numbers: NDArray[np.float16]
    parts: NDArray[np.uint8]


def cells_of_kind(
    segmenter: TinySegmenter, photograph: Photograph, marked: Parts, kind: Kind, random: np.random.Generator
) -> WholeCells | None:
    """Cells of the things of that kind that a photograph marks parts of; None: it has none."""
    classes, some = photograph.classes, [part for part in photograph.parts if part.of in kind.wholes]
    if not some:
        return None
    tensors = segmenter.encode(photograph.image).tensors
    numbers = with_middle(tensors["pixels"].float(), tensors["middle"].float())[:-1].flatten(1).T
    grid = (tensors["pixels"].shape[1], tensors["pixels"].shape[2])
    is_whole = np.isin(photograph.mask, [classes.index(part.of) for part in some])
    layers = []
    for name in marked.names:
        values = marked.mask([part for part in some if part.name == name], photograph.mask, classes)
        known = np.where(values == IGNORE, IGNORE, values != NOTHING)
        layers.append(cell_labels(np.where(is_whole, known, -1), grid).ravel())
    parts = np.stack(layers, 1)
    inside = np.flatnonzero((cell_labels(is_whole.astype(np.int16), grid) == 1).ravel())
    rows = [random.permutation(inside)[:CELLS]]
    rows += [random.permutation(inside[column[inside] == 1])[:OF_A_PART] for column in parts.T]
    chosen = np.unique(np.concatenate(rows))
    return WholeCells(numbers[chosen].half().numpy(), np.where(parts < 0, IGNORE, parts)[chosen].astype(np.uint8))


def fit(cells: Sequence[WholeCells], part: int) -> NDArray[np.float32] | None:
    """The direction [D + 121] of a part, its constant last; None: too few photographs show it."""
    fitted = [each for index, each in enumerate(cells) if index % LEFT_OUT]
    if sum((each.parts[:, part] == 1).any() for each in fitted) < FEWEST:
        return None
    numbers = torch.from_numpy(np.concatenate([each.numbers for each in fitted])).float()
    mean, deviation = numbers.mean(0), numbers.std(0) + 1e-3
    standard = (numbers - mean) / deviation
    is_part = torch.from_numpy(np.concatenate([each.parts[:, part] == 1 for each in fitted])).float()
    weights = torch.from_numpy(np.concatenate([_weights(each.parts[:, part]) for each in fitted])).float()
    weights = weights / weights.sum()
    weights = torch.where(is_part > 0, weights * (LEAST / (weights * is_part).sum()).clamp_min(1), weights)
    weights = weights / weights.sum()
    weight, bias = torch.zeros(len(mean), requires_grad=True), torch.zeros(1, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=25, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        solver.zero_grad()
        losses = F.binary_cross_entropy_with_logits(standard @ weight + bias, is_part, reduction="none")
        loss = weights @ losses + RIDGE * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(step)  # type: ignore[no-untyped-call]
    direction = weight.detach() / deviation
    folded = torch.cat([direction, bias.detach() - direction @ mean]).numpy()
    folded[-1] += constant([each for index, each in enumerate(cells) if index % LEFT_OUT == 0], part, folded)
    return folded


def _weights(values: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of the cells of one photograph."""
    return np.asarray((values != IGNORE) / len(values) * (1.0 if (values == 1).any() else NOT_SHOWN))


def constant(cells: Sequence[WholeCells], part: int, direction: NDArray[np.float32]) -> float:
    """What to add to the products of a direction, by photographs that show the part; 0 without any."""
    means = []
    for each in cells:
        known = each.parts[:, part] != IGNORE
        is_part = each.parts[known, part] == 1
        if is_part.any():
            won = each.numbers[known].astype(np.float32) @ direction[:-1] + direction[-1] + CONSTANTS[:, None] > 0
            sides = ((won, is_part), (~won, ~is_part))
            means.append(np.mean([(one & other).sum(1) / (one | other).sum(1).clip(1) for one, other in sides], 0))
    return float(CONSTANTS[np.mean(means, 0).argmax()]) if means else 0.0


def directions(root: Path, segmenter: TinySegmenter, kind: Kind) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The parts of a kind of things and their directions, by photographs below `root`."""
    marked, random = Parts(root), np.random.default_rng(0)
    of_sets = (photographs(root, marked, name, "train", PHOTOGRAPHS) for name in SETS)
    shown = (photograph for of_set in of_sets for photograph in of_set)
    of_each = (cells_of_kind(segmenter, photograph, marked, kind, random) for photograph in shown)
    cells = [each for each in of_each if each is not None]
    for part, name in enumerate(marked.names):
        if name in kind.directions and (direction := fit(cells, part)) is not None:
            yield name, direction


def main(root: Path, weights: Path) -> None:
    """Write the bundled weights with new directions of parts, and print which row is of which."""
    segmenter = catalogue.load("tiny", device="cpu", runtime="auto")
    rows: list[Tensor] = []
    assert isinstance(segmenter, TinySegmenter)
    for kind in segmenter.settings.parts:
        for name, direction in directions(root, segmenter, kind):
            print(f"{min(kind.wholes)}, {name}: {len(rows)}", flush=True)
            rows.append(torch.from_numpy(direction).half())
    save_file(read_weights(BUNDLED, None) | {PART_DIRECTIONS: torch.stack(rows)}, weights)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
