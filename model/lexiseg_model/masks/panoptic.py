"""Merge masks into disjoint ones as Mask2Former does (Cheng et al., CVPR 2022)."""

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

    `labels` [H, W] index of the mask that owns a pixel, N for nobody; `areas` [N] pixels that each owns;
    `probability` [H, W] of each pixel's winner, nobody included, when asked for.
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
    """Each pixel goes to the mask of the highest share * sigmoid(mask), where that mask covers it.

    Args:
        masks: [N, h, w] logits; N may be 0.
        shares: [N] class probability of each.
        size: (H, W) of the answer; masks are brought there bilinearly (align_corners=False).
        overlap: a mask that wins fewer pixels than this share of those it covers owns none.
        keep_probability: also give share * sigmoid(mask) of every pixel's owner, and what is left to 1 for nobody.
        check: called before each band of rows and each mask, to end the work by raising.

    Returns:
        Disjoint masks; a pixel covers what is not below 0.
    """
    n = len(masks)
    labels = np.full(size, n, np.uint16)
    probability = np.ones(size, np.float32) if keep_probability else None
    if not n:
        return Merged(labels, np.zeros(0, np.int64), probability)
    share = shares.double().log().cpu().numpy().astype(np.float32)

    def worth(logits: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float32]:
        # As a logarithm, so that tiny values keep their order.
        return np.asarray(torch.nn.functional.logsigmoid(torch.from_numpy(logits)).numpy() + share[rows])

    every = np.arange(n)
    edge = worth(np.zeros(n, np.float32), every)  # of a pixel that a mask just covers
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
    stays = (covered > 0) & (won >= overlap * covered)
    labels = np.where(np.append(stays, False), np.arange(n + 1), n).astype(np.uint16)[labels]
    if probability is not None:
        np.subtract(1, probability, out=probability, where=labels == n)
    return Merged(labels, np.bincount(labels.reshape(-1), minlength=n + 1)[:n], probability)
