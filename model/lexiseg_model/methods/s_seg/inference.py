"""From masks and what they show to scores of classes, and to nobody where no class explains a pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from lexiseg_model.clip.windowed import best_of_texts
from lexiseg_model.methods.s_seg.settings import Combination
from lexiseg_model.segmenter import TextBank

EPSILON = 1e-6


def class_cosines(masks: Tensor, bank: TextBank) -> Tensor:
    """Likeness of each mask and each class, which is that of the class's best text.

    Args:
        masks: unit vectors [N, D].
        bank: unit vectors of texts [T, D].

    Returns:
        [N, K].
    """
    of_texts = bank.vectors @ masks.T  # [T, D] x [D, N] -> [T, N]
    return best_of_texts(of_texts[:, None], bank)[:, 0].T


def class_shares(cosines: Tensor, scale: float) -> Tensor:
    """How likely each mask shows each class: softmax over classes of the scaled cosines.

    Args:
        cosines: of masks and classes [N, K].
        scale: learned in training, one over the temperature.

    Returns:
        [N, K]; rows sum to 1.
    """
    return (scale * cosines).softmax(1)


def only_likely(shares: Tensor, image: Tensor, candidates: int | None) -> Tensor:
    """Shares [N, K] with nothing for all but the `candidates` classes of largest cosine with the `image` [K]."""
    if candidates is None or candidates >= len(image):
        return shares
    likely = torch.zeros(len(image), dtype=torch.bool, device=shares.device)
    likely[image.topk(candidates).indices] = True
    return shares * likely


def pixel_scores(logits: Tensor, shares: Tensor, combination: Combination) -> Tensor:
    """Scores of the classes at every pixel: what lies over it, times what that shows (MaskFormer, section 3.4).

    Args:
        logits: of masks [N, h, w].
        shares: of classes in masks [N, K].
        combination: `sum`, which exceeds 1 where masks overlap; `mean` divides by the sum of the masks, so that a pixel
            which all of them hardly cover still has scores that sum to 1.

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
        scores: of classes at all pixels, or in all regions, of the image; of any shape.
        threshold: a score.

    Returns:
        A scalar; pixels whose best class stays below it belong to nobody.
    """
    return scores.max().clamp(max=threshold) if scores.numel() else scores.new_tensor(threshold)


def outlines(logits: Tensor) -> Tensor:
    """Masks [N, h, w] cut where a pixel is as likely inside as outside; float32, 0 or 1."""
    return (logits > 0).float()


def sureness(logits: Tensor) -> Tensor:
    """Mean probability inside each mask [N, h, w]: [N] in 0.5..1, and 0 for an empty mask. As in Mask2Former."""
    inside = outlines(logits)
    return (logits.sigmoid() * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)


def overlaps(masks: Tensor, others: Tensor) -> Tensor:
    """IoU of cut masks [N, h, w] with others [M, h, w]: [N, M]; 0 where both are empty."""
    flat, against = masks.flatten(1), others.flatten(1)
    shared = flat @ against.T  # [N, h*w] x [h*w, M] -> [N, M]
    return shared / (flat.sum(1)[:, None] + against.sum(1) - shared).clamp(min=1)
