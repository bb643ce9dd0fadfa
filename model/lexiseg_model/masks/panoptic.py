"""Merge overlapping masks into disjoint ones as in Mask2Former (Cheng et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.bilinear import cut
from lexiseg_model.masks.upsample import contest
from lexiseg_model.types import LabelMap


class Merged(NamedTuple):
    """Disjoint masks.

    `labels` [H, W]: index of the mask that owns a pixel, N for nobody; `areas` [N]: pixels that each mask owns;
    `probability` [H, W] of each pixel's winner, nobody included, if requested.
    """

    labels: LabelMap
    areas: NDArray[np.int64]
    probability: NDArray[np.float32] | None


@torch.inference_mode()
def merge(
    masks: Tensor,
    shares: Tensor,
    size: tuple[int, int],
    overlap: float,
    keep_probability: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Merged:
    """Assign each pixel to the mask with the highest share * sigmoid(mask), if that mask covers it (logit >= 0).

    Args:
        masks: [N, h, w] logits; N may be 0.
        shares: [N] class probabilities.
        size: (H, W) of the result; masks are upsampled bilinearly (align_corners=False).
        overlap: a mask that wins less than this share of the pixels it covers is dropped.
        keep_probability: also return share * sigmoid(mask) of every pixel's owner; 1 minus it for nobody.
        check: called before each band of rows and each mask; may raise to cancel.
    """
    n = len(masks)
    labels = np.full(size, n, np.uint16)
    probability = np.ones(size, np.float32) if keep_probability else None
    if not n:
        return Merged(labels, np.zeros(0, np.int64), probability)
    share = shares.cpu().double().log().numpy().astype(np.float32)

    def worth(logits: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float32]:
        # In log space, so that tiny values keep their order.
        return np.asarray(torch.nn.functional.logsigmoid(torch.from_numpy(logits)).numpy() + share[rows])

    edge = worth(np.zeros(n, np.float32), np.arange(n))  # worth of a pixel on a mask's contour
    won = np.zeros(n, np.int64)
    for band, best, winner in contest(masks, size, worth):
        check()
        won += np.bincount(winner.reshape(-1), minlength=n)
        labels[band] = np.where(best >= edge[winner], winner, n)
        if probability is not None:
            probability[band] = np.exp(best)
    covered = np.zeros(n, np.int64)
    for number, mask in enumerate(masks.cpu().numpy()):
        check()
        covered[number] = np.diff(cut(mask, size)).sum()
    is_kept = (covered > 0) & (won >= overlap * covered)
    labels = np.where(np.append(is_kept, False), np.arange(n + 1), n).astype(np.uint16)[labels]
    if probability is not None:
        np.subtract(1, probability, out=probability, where=labels == n)
    return Merged(labels, np.bincount(labels.reshape(-1), minlength=n + 1)[:n], probability)
