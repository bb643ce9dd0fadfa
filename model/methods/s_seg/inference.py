"""From masks and what they show to scores of classes, and to nobody where no class explains a pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from model.methods.s_seg.settings import Combination

EPSILON = 1e-6


def class_shares(masks: Tensor, texts: Tensor, scale: float) -> Tensor:
    """How likely each mask shows each class: softmax over classes of the scaled cosines.

    Args:
        masks: unit vectors [N, D].
        texts: unit vectors of the classes [K, D].
        scale: learned in training, one over the temperature.

    Returns:
        [N, K]; rows sum to 1.
    """
    return (scale * masks @ texts.T).softmax(1)


def only_likely(shares: Tensor, image: Tensor, texts: Tensor, candidates: int | None) -> Tensor:
    """Shares [N, K] with nothing for all but the `candidates` classes nearest to the image's unit vector [D]."""
    if candidates is None or candidates >= len(texts):
        return shares
    kept = torch.zeros(len(texts), dtype=torch.bool, device=shares.device)
    kept[(texts @ image).topk(candidates).indices] = True
    return shares * kept


def pixel_scores(logits: Tensor, shares: Tensor, combination: Combination) -> Tensor:
    """Scores of the classes at every pixel: what lies over it, times what that shows (MaskFormer, section 3.4).

    Args:
        logits: of masks [N, h, w].
        shares: of classes in masks [N, K].
        combination: `sum`, which exceeds 1 where masks overlap; `mean` divides by the sum of the masks.

    Returns:
        [K, h, w], not negative. The best class of a pixel is the same either way.
    """
    inside = logits.sigmoid()
    summed = torch.einsum("nk,nhw->khw", shares, inside)
    return summed / inside.sum(0).clamp(min=EPSILON) if combination == "mean" else summed


def background_level(scores: Tensor, threshold: float) -> Tensor:
    """The score that a class must reach to own a pixel, as in GroupViT: the threshold, or the image's best if lower.

    Without the second half an image of which nothing is sure would be all background.

    Args:
        scores: [K, h, w] of the whole image.
        threshold: a score.

    Returns:
        A scalar; pixels whose best class stays below it belong to nobody.
    """
    return scores.max().clamp(max=threshold) if scores.numel() else scores.new_tensor(threshold)
