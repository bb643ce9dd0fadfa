"""What words find of an object: the masks that clicks correct when the service is used.

A click on a word's segment is the commonest correction, and a head that never saw such a mask makes it worse.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from lexiseg_train.data.indexed import CLASSES, read_classes

Cells = NDArray[np.bool_]


@torch.no_grad()
def word_vectors(network: TinyNetwork, tower: MiniLM, root: Path, name: str) -> Tensor | None:
    """Text vectors [C, D] of the classes of a set, by mask value; None where the set names none."""
    listing = root / name / CLASSES
    if not listing.exists():
        return None
    rows = tower.encode([TEMPLATE.format(word) for word in read_classes(listing)])
    return network.project_texts(torch.from_numpy(rows).to(network.nobody.device))


@torch.no_grad()
def found_masks(network: TinyNetwork, pixels: Tensor, words: Tensor, values: Tensor, targets: Tensor) -> Tensor:
    """What the words of a crop leave of its objects: the parts of each word's cells that touch the object.

    Args:
        network: of the pixels.
        pixels: embeddings [D, h, w].
        words: vectors [C, D], by mask value.
        values: mask value [N] of each object; all that the crop shows are asked for together.
        targets: [N, h, w] share of each cell that is the object's.

    Returns:
        Masks [N, h, w] bool; empty where nothing touches.
    """
    asked, places = torch.unique(values, return_inverse=True)
    cosines, best = torch.einsum("kd,dhw->khw", words[asked], pixels.float()).max(0)
    won = (best == places[:, None, None]) & (cosines > network.nobody)
    pairs = zip(won.cpu().numpy(), (targets > 0.5).cpu().numpy(), strict=True)
    return torch.from_numpy(np.stack([_touching(mask, truth) for mask, truth in pairs])).to(pixels.device)


def _touching(mask: Cells, truth: Cells) -> Cells:
    """The 4-connected parts of a mask [h, w] that share a cell with the truth [h, w]."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    numbers = np.unique(parts[mask & truth])
    return np.isin(parts, numbers[numbers > 0])
