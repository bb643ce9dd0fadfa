"""Stage two: regions of an image and the entities of its caption find each other in CLIP's space, unpaired.

Who belongs to whom is asked of frozen CLIP, over several scales of the image and, later in training, of the adapter
too; what is trained is the adapter's embedding of the regions that were matched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.unpair_seg.training.settings import KEEP_ALL as KEEP_ALL
from lexiseg_model.methods.unpair_seg.training.settings import AlignmentSettings as AlignmentSettings
from lexiseg_model.training.losses import assign, mean_over_processes

ROUNDING = 1e-9  # of a share times a number: two thirds of three are two


class EntityPairs(NamedTuple):
    """[M] int64 each, by falling probability, and that probability."""

    region: Tensor
    entity: Tensor
    probability: Tensor


def mixed_embedding(clip: Tensor, adapted: Tensor, share: float) -> Tensor:
    """CLIP's view of regions, moved towards the adapter's: [R, D] and [R, D] -> [R, D] of unit length."""
    return F.normalize((1 - share) * clip + share * adapted, dim=-1)


def adapter_share(step: int, steps: int, settings: AlignmentSettings = KEEP_ALL) -> float:
    """Share of the adapter in matching, growing over training; `step` counts from 0, as the first one uses 1."""
    return settings.adapter_share * (step + 1) / steps


@torch.no_grad()
def entity_probabilities(scales: Sequence[Tensor], entities: Tensor, scale: float | Tensor) -> Tensor:
    """Which entity each region shows, averaged over scales of the image.

    Args:
        scales: the same regions as seen at each scale, [R, D] of any length.
        entities: [T, D] text rows.
        scale: of CLIP's logits.

    Returns:
        [R, T]; a region's probabilities add up to 1.
    """
    texts = F.normalize(entities, dim=-1)
    each = [(scale * F.normalize(regions, dim=-1) @ texts.T).softmax(-1) for regions in scales]
    return torch.stack(each).mean(0)


@torch.no_grad()
def match_entities(probabilities: Tensor, settings: AlignmentSettings = KEEP_ALL) -> EntityPairs:
    """The most probable one-to-one assignment of regions to entities, less what is not sure enough.

    Args:
        probabilities: [R, T].
        settings: which pairs are kept.

    Returns:
        At most min(R, T) pairs; of those that were assigned, the share `keep`, rounded up, if they reach `confidence`.
    """
    pairs = assign(1 - probabilities[None])
    probability = probabilities[pairs.prediction, pairs.target]
    order = probability.argsort(descending=True, stable=True)
    order = order[: math.ceil(settings.keep * len(order) - ROUNDING)]
    order = order[probability[order] >= settings.confidence]
    return EntityPairs(pairs.prediction[order], pairs.target[order], probability[order])


def alignment_loss(adapted: Sequence[Tensor], entities: Sequence[Tensor], pairs: Sequence[EntityPairs]) -> Tensor:
    """Mean over the pairs of all images of 1 - cos(region, entity).

    Args:
        adapted: for each image the adapter's embeddings of its regions, [R, D].
        entities: for each image the text rows of its entities, [T, D].
        pairs: for each image who belongs to whom.

    Returns:
        A scalar; its mean over processes weighs every pair the same. 0, with gradients of 0, where there are no pairs.
    """
    regions = torch.cat([rows[of.region] for rows, of in zip(adapted, pairs, strict=True)])
    texts = torch.cat([rows[of.entity] for rows, of in zip(entities, pairs, strict=True)])
    count = torch.tensor(float(len(regions)), device=regions.device)
    n_pairs = mean_over_processes(count).clamp(min=1)
    return (1 - F.cosine_similarity(regions, texts, dim=-1)).sum() / n_pairs
