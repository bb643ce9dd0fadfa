"""Batches, matching and loss of stage two: regions of an image and entities of its caption, unpaired.

Frozen CLIP decides the matches over several sizes of the image; later in training the adapter takes part. The loss
trains the adapter's embeddings of the matched regions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.canvas import Canvas, laid_on, lay_out
from lexiseg_model.methods.unpair_seg.layers.trunk import STRIDE, ClipTrunk
from lexiseg_train.data.labelling.entities import SEPARATOR
from lexiseg_train.data.pairs.source import PairSource, Skipped, readable_pairs
from lexiseg_train.methods.unpair_seg.recipe import AlignmentSettings
from lexiseg_train.training.distributed import mean_over_processes
from lexiseg_train.training.losses import assign
from lexiseg_train.training.pairs import PairDraw


class EntityBatch(NamedTuple):
    """Images uint8 [B, 3, S, S] with their canvases and entities, and samples that could not be read."""

    images: Tensor
    canvases: tuple[Canvas, ...]
    entities: tuple[tuple[str, ...], ...]
    skipped: tuple[Skipped, ...]


class EntityBatches:
    """Makes batches of pairs with entities as captions; a share `mirrored` of the photographs is mirrored."""

    def __init__(self, size: int, mirrored: float) -> None:
        self._size, self._mirrored = size, mirrored

    def __call__(self, pairs: Sequence[PairDraw]) -> EntityBatch:
        canvases = tuple(lay_out((pair.image.shape[0], pair.image.shape[1]), self._size) for pair in pairs)
        images = [laid_on(self._mirror(pair), canvas) for pair, canvas in zip(pairs, canvases, strict=True)]
        return EntityBatch(
            torch.from_numpy(np.stack(images)),
            canvases,
            tuple(tuple(pair.caption.split(SEPARATOR)) for pair in pairs),
            tuple(skipped for pair in pairs for skipped in pair.skipped),
        )

    def _mirror(self, pair: PairDraw) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return pair.image[:, ::-1] if pair.random().random() < self._mirrored else pair.image


def one_by_one(source: PairSource, size: int) -> Iterator[EntityBatch]:
    """Yield every readable photograph in order as a batch of one, resized to `size`."""
    for pair, image in readable_pairs(source):
        canvas = lay_out((image.shape[0], image.shape[1]), size)
        pixels = torch.from_numpy(laid_on(image, canvas)[None])
        yield EntityBatch(pixels, (canvas,), (tuple(pair.captions[0].split(SEPARATOR)),), ())


@torch.no_grad()
def at_sizes(trunk: ClipTrunk, images: Tensor, masks: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Embeddings of regions by frozen CLIP at several sizes of the image.

    Args:
        trunk: CLIP's image tower.
        images: normalised, [B, 3, H, W].
        masks: logits [B, Q, h, w] over the whole images.
        sizes: longer sides in pixels; both sides are rounded to multiples of 32.

    Returns:
        [B, Q, D] for each size, not normalised.
    """
    return [trunk.embed(regions.pool(trunk(_resized(images, size)).dense, masks)) for size in sizes]


def _resized(images: Tensor, longer: int) -> Tensor:
    sides = (images.shape[2], images.shape[3])
    height, width = (max(STRIDE, round(side * longer / max(sides) / STRIDE) * STRIDE) for side in sides)
    if (height, width) == sides:
        return images
    return F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False, antialias=True)


class EntityPairs(NamedTuple):
    """M pairs: indexes int64 [M] of `region` and `entity`."""

    region: Tensor
    entity: Tensor


def mixed_embedding(clip: Tensor, adapted: Tensor, share: float) -> Tensor:
    """Unit vectors [R, D] between CLIP's embeddings [R, D] and a `share` of the adapter's [R, D]."""
    return F.normalize((1 - share) * clip + share * adapted, dim=-1)


def adapter_share(step: int, steps: int, settings: AlignmentSettings) -> float:
    """Share of the adapter in matching, which grows linearly; `step` counts from 0."""
    return settings.adapter_share * (step + 1) / steps


@torch.no_grad()
def entity_probabilities(scales: Sequence[Tensor], entities: Tensor, scale: float | Tensor) -> Tensor:
    """Probability of each entity for each region, averaged over scales of the image.

    Args:
        scales: embeddings [R, D] of the same regions at each scale, of any length.
        entities: text rows [T, D].
        scale: CLIP's logit scale.

    Returns:
        [R, T]; rows sum to 1.
    """
    texts = F.normalize(entities, dim=-1)
    each = [(scale * F.normalize(regions, dim=-1) @ texts.T).softmax(-1) for regions in scales]
    return torch.stack(each).mean(0)


@torch.no_grad()
def match_entities(probabilities: Tensor) -> EntityPairs:
    """Most probable one-to-one assignment of regions to entities, by probabilities [R, T]: min(R, T) pairs."""
    pairs = assign(1 - probabilities[None])
    return EntityPairs(pairs.prediction, pairs.target)


def alignment_loss(adapted: Sequence[Tensor], entities: Sequence[Tensor], pairs: Sequence[EntityPairs]) -> Tensor:
    """Mean over the pairs of all images of 1 - cos(region, entity).

    Args:
        adapted: the adapter's embeddings [R, D] of each image's regions.
        entities: the text rows [T, D] of each image's entities.
        pairs: matched pairs of each image.

    Returns:
        A scalar: its mean over processes weighs every pair the same; 0 without pairs.
    """
    regions = torch.cat([rows[of.region] for rows, of in zip(adapted, pairs, strict=True)])
    texts = torch.cat([rows[of.entity] for rows, of in zip(entities, pairs, strict=True)])
    count = torch.tensor(float(len(regions)), device=regions.device)
    n_pairs = mean_over_processes(count).clamp(min=1)
    return (1 - F.cosine_similarity(regions, texts, dim=-1)).sum() / n_pairs
