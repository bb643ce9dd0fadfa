"""Everything in an image by SAM's prompt head: a click on each point of a grid, as SAM 2's automatic mask generator.

Two things differ from it: stability and overlaps are counted at the decoder's resolution, not at the image's, and masks
are compared themselves, not the boxes around them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from lexiseg_model.features import Features
from lexiseg_model.masks.nms import OverlapRule, suppress
from lexiseg_model.segmenter import Proposals
from lexiseg_model.video.sam import PromptHead

SAME = OverlapRule(overlap=0.7, inside=None)


class Grid(NamedTuple):
    """Of `side` x `side` points, and which of their masks stay; the defaults are those of SAM 2's generator."""

    side: int = 32
    quality: float = 0.8  # the estimated IoU that a mask must have
    stability: float = 0.95  # the area above a logit of 1 over that above -1 that a mask must have
    at_once: int = 64  # points


GRID = Grid()


@torch.inference_mode()
def everything(head: PromptHead, features: Features, grid: Grid = GRID) -> Proposals:
    """Masks of everything, the best first; nothing is known of them, so embeddings are [N, 0]."""
    embeddings, places = head.embeddings(features)
    steps = (torch.arange(grid.side, device=head.device) + 0.5) * head.side / grid.side
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    kept, qualities = [], []
    for points in torch.split(torch.stack([x, y], -1).view(1, -1, 1, 2), grid.at_once, 1):
        labels = torch.ones(points.shape[:3], dtype=torch.int32, device=head.device)
        sparse, dense = head.model.prompt_encoder(points, labels, None, None)
        masks, quality = head.decoded(embeddings, places, sparse, dense, multimask=True)
        masks, quality = masks.flatten(0, 2), quality.flatten()
        area = (masks > -1).flatten(1).sum(1)
        stable = (masks > 1).flatten(1).sum(1) >= grid.stability * area
        good = (quality > grid.quality) & stable & (area > 0)
        kept.append(masks[good].half())
        qualities.append(quality[good])
    masks, quality = torch.cat(kept), torch.cat(qualities).clamp(0, 1)
    best = suppress(masks > 0, quality, SAME)
    return Proposals(masks[best], masks.new_zeros(len(best), 0), quality[best])
