"""Retrieval on held-out pairs: how well photographs find their captions and captions their photographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.clip.images import Normalisation, normalise
from lexiseg_model.data.pairs.source import PairSource, readable_pairs
from lexiseg_model.training.pairs import PairBatch


def held_out_batch(
    source: PairSource, size: int, normalisation: Normalisation, tokenize: Callable[[list[str]], Tensor]
) -> PairBatch:
    """All readable pairs of a source: the central square of each photograph, with its first caption."""
    squares, captions = [], []
    for pair, image in readable_pairs(source):
        squares.append(_middle(image, size))
        captions.append(pair.captions[0])
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)
    return PairBatch(normalise(pixels, normalisation), tokenize(captions), (), tuple(range(len(captions))))


def recall(likeness: Tensor, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Share in percent of pairs among the first k, averaged over both directions.

    Args:
        likeness: [N, N] of photographs (rows) and captions; matching pairs on the diagonal.
        ranks: the k.

    Returns:
        `recall_at_K` for each; ties count as misses.
    """
    matching = likeness.diagonal()
    before = [(likeness >= matching[:, None]).sum(1) - 1, (likeness >= matching[None, :]).sum(0) - 1]
    return {f"recall_at_{k}": 50 * sum(float((place < k).float().mean()) for place in before) for k in ranks}


def own_rank(likeness: Tensor) -> float:
    """Mean rank of the matching pair in percent, over both directions: 0 at best, 50 by chance."""
    both = torch.cat([places(likeness), places(likeness.T)]).float()
    return 100 * both.mean().item() / max(1, len(likeness) - 1)


def places(likeness: Tensor) -> Tensor:
    """Rank [N] of each row's matching pair in similarities [N, N], from 0; ties count half."""
    matching = likeness.diagonal()[:, None]
    return (likeness > matching).sum(1) + ((likeness == matching).sum(1) - 1) / 2


def centred(rows: Tensor) -> Tensor:
    """Unit vectors of rows [N, D] after subtracting the mean row."""
    return F.normalize(rows - rows.mean(0), dim=1)


def margin(likeness: Tensor) -> float:
    """Mean similarity of matching pairs minus that of all others, of similarities [N, N]."""
    matching = likeness.diagonal()
    others = (likeness.sum() - matching.sum()) / max(1, likeness.numel() - len(matching))
    return float(matching.mean() - others)


def _middle(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = image[top : top + side, left : left + side]
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)
