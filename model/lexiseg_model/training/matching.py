"""Which prediction answers for which target: the cheapest one-to-one assignment of each image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

DEAR = 1e30  # beyond any cost


class Pairs(NamedTuple):
    """M pairs over a batch, int64 [M] each; pairs of an image stand together, by rising prediction."""

    image: Tensor
    prediction: Tensor
    target: Tensor


@torch.no_grad()
def assign(costs: Tensor, present: Tensor | None = None) -> Pairs:
    """The Hungarian assignment of least total cost, for each image by itself.

    Args:
        costs: [B, N, K] of N predictions with K targets, on any device.
        present: [B, K] which targets an image has, true; None: all.

    Returns:
        min(N, targets of the image) pairs for every image, on the device of `costs`. What is not a number counts as
        dear: the loss over such a pair is not finite either, and the run deals with that on every process.
    """
    matrices = np.nan_to_num(costs.double().cpu().numpy(), nan=DEAR, posinf=DEAR, neginf=-DEAR)
    has = np.ones((len(matrices), matrices.shape[2]), bool) if present is None else present.cpu().numpy()
    found: list[NDArray[np.int64]] = [np.empty((3, 0), np.int64)]
    for image, (matrix, mine) in enumerate(zip(matrices, has, strict=True)):
        targets = np.flatnonzero(mine)
        rows, columns = linear_sum_assignment(matrix[:, targets])
        found.append(np.stack([np.full(len(rows), image), rows, targets[columns]]))
    image, prediction, target = torch.from_numpy(np.concatenate(found, 1)).to(costs.device)
    return Pairs(image, prediction, target)
