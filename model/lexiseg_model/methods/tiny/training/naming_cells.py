"""What names are told from, computed once for each photograph: the trunk stays as it is, so its cells do too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lexiseg_model.data.indexed import IGNORE
from lexiseg_model.files import write_durably
from lexiseg_model.methods.tiny.network import MEAN, MULTIPLE, STD, TinyNetwork, named_cells
from lexiseg_model.training.packs import Pack

LABELS = 4  # labels of a cell, across and down


@dataclass(frozen=True)
class NamingCells:
    """Of the photographs of one pack: `cells[i]` [576, h, w] float16 and `labels[i]` [4h, 4w] mask values."""

    indices: list[int]
    cells: list[NDArray[np.float16]]
    labels: list[NDArray[np.uint8]]

    @property
    def nbytes(self) -> int:
        """Of both in memory."""
        return sum(each.nbytes for each in self.cells) + sum(each.nbytes for each in self.labels)


@torch.inference_mode()
def naming_cells(network: TinyNetwork, pack: Pack, indices: list[int], short_side: int) -> NamingCells:
    """One pass over some photographs of a pack.

    Args:
        network: in eval mode, on the CPU.
        pack: the photographs.
        indices: which of them.
        short_side: pixels of the shorter side of the network's input.
    """
    mean, std = (np.array(values, np.float32) for values in (MEAN, STD))
    cells: list[NDArray[np.float16]] = []
    labels: list[NDArray[np.uint8]] = []
    for index in indices:
        image, mask = pack.image(index), pack.mask(index)
        factor = short_side / min(mask.shape)
        height, width = (max(1, round(side * factor / MULTIPLE)) for side in mask.shape)
        sized = cv2.resize(image, (width * MULTIPLE, height * MULTIPLE), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy((sized - mean) / std).permute(2, 0, 1)[None]
        maps = named_cells(network.trunk(pixels.contiguous(memory_format=torch.channels_last)))
        cells.append(maps[0].half().numpy())
        size = (width * LABELS, height * LABELS)
        if pack.places[index, 3]:
            labels.append(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8))
        else:
            labels.append(np.full(size[::-1], IGNORE, np.uint8))
    return NamingCells(indices, cells, labels)


def spread(n_photographs: int, most: int) -> list[int]:
    """At most so many of a pack's photographs, at equal distances: those whose cells are used."""
    places = np.linspace(0, n_photographs - 1, min(most, n_photographs)).round().astype(int)
    return [int(place) for place in np.unique(places)]


def place(folder: Path, name: str, short_side: int, n_photographs: int, digest: str) -> Path:
    """The file of a pack's cells by the network whose weights have this digest."""
    return folder / f"{name}-{short_side}-{n_photographs}-{digest[:16]}.pt"


def kept(
    folder: Path, network: TinyNetwork, digest: str, pack: Pack, indices: list[int], short_side: int
) -> NamingCells:
    """`naming_cells`, kept in a file of this network's; `digest` is that of its weights."""
    path = place(folder, pack.name, short_side, len(indices), digest)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = naming_cells(network, pack, indices, short_side)
        tensors = [[torch.from_numpy(each) for each in arrays] for arrays in (made.cells, made.labels)]
        write_durably(path, lambda fresh: torch.save((made.indices, *tensors), fresh))
    same, cells, labels = torch.load(path, weights_only=True)
    return NamingCells(same, [each.numpy() for each in cells], [each.numpy() for each in labels])
