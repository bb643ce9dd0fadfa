"""Batches, matching, loss and figures of stage two: regions of an image and entities of its caption, unpaired.

Frozen CLIP decides the matches over several sizes of the image; later in training the adapter takes part. The loss
trains the adapter's embeddings of the matched regions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.data.entities import SEPARATOR
from lexiseg_model.data.pairs.source import PairSource, Skipped, readable_pairs
from lexiseg_model.data.read_scenes import object_scenes
from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.canvas import Canvas, drawn, lay_out
from lexiseg_model.methods.unpair_seg.layers.trunk import STRIDE, ClipTrunk
from lexiseg_model.methods.unpair_seg.segmenter import UnpairSegSegmenter
from lexiseg_model.methods.unpair_seg.training import KEEP_ALL as KEEP_ALL
from lexiseg_model.methods.unpair_seg.training import SIZES
from lexiseg_model.methods.unpair_seg.training import AlignmentSettings as AlignmentSettings
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.training.losses import assign, mean_over_processes
from lexiseg_model.training.pairs import Drawn
from lexiseg_model.types import ClassEntry

INSIDE = 10.0  # logit of a pixel of the true mask; outside it is the negative
ROUNDING = 1e-9  # tolerance of a share times a number: two thirds of three are two


def say_naming(segmenter: Segmenter, root: Path, name: str, photographs: int) -> dict[str, float]:
    """Print `named_rank` with and without the adapter, and return both."""
    assert isinstance(segmenter, UnpairSegSegmenter)
    reached = {"with the adapter": named_rank(segmenter, root, name, photographs)}
    adapter, segmenter.network.adapter = segmenter.network.adapter, None
    try:
        reached["by CLIP alone"] = named_rank(segmenter, root, name, photographs)
    finally:
        segmenter.network.adapter = adapter
    for which, rank in reached.items():
        print(f"{name}: objects' own names stand at {rank:.1f} % of the list {which}", flush=True)
    return reached


@torch.inference_mode()
def named_rank(segmenter: UnpairSegSegmenter, root: Path, name: str, photographs: int) -> float:
    """Mean rank in percent of an object's true class name among the set's names: 0 at best, 50 by chance.

    Classes weigh the same. Objects are those of the first `photographs` of the val split of the set `name`.
    """
    scenes = object_scenes(root, name, "val", lambda _: True)
    classes = tuple(ClassEntry(entry.name) for entry in scenes.classes)
    bank = segmenter.text_bank(classes, segmenter.encode_texts(segmenter.texts(classes)))
    ranks: dict[int, list[float]] = {}
    for scene in islice(scenes.scenes, photographs):
        objects = scene.read_truth()
        if not objects.labels:
            continue
        features = segmenter.encode(scene.read_image())
        numbers = np.arange(1, len(objects.labels) + 1)
        masks = torch.from_numpy(objects.ids[None] == numbers[:, None, None])
        embeddings = segmenter.embed_masks(features, INSIDE * (2 * masks.float() - 1))
        scores = segmenter.region_scores(features, embeddings, bank)  # [K, N]
        for column, label in enumerate(objects.labels):
            before = (scores[:, column] > scores[label, column]).sum().item()
            ranks.setdefault(label, []).append(100 * before / max(1, len(classes) - 1))
    return float(np.mean([np.mean(of_class) for of_class in ranks.values()])) if ranks else 50.0


class EntityBatch(NamedTuple):
    """Images uint8 [B, 3, S, S] with their canvases and entities, and samples that could not be read."""

    images: Tensor
    canvases: tuple[Canvas, ...]
    entities: tuple[tuple[str, ...], ...]
    skipped: tuple[Skipped, ...]


class EntityBatches:
    """Makes batches of pairs whose captions are entities; a share `mirrored` of the photographs is mirrored."""

    def __init__(self, size: int, mirrored: float) -> None:
        self._size, self._mirrored = size, mirrored

    def __call__(self, pairs: Sequence[Drawn]) -> EntityBatch:
        canvases = tuple(lay_out((pair.image.shape[0], pair.image.shape[1]), self._size) for pair in pairs)
        images = [drawn(self._mirror(pair), canvas) for pair, canvas in zip(pairs, canvases, strict=True)]
        return EntityBatch(
            torch.from_numpy(np.stack(images)),
            canvases,
            tuple(tuple(pair.caption.split(SEPARATOR)) for pair in pairs),
            tuple(skipped for pair in pairs for skipped in pair.skipped),
        )

    def _mirror(self, pair: Drawn) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return pair.image[:, ::-1] if pair.random().random() < self._mirrored else pair.image


def one_by_one(source: PairSource, size: int) -> Iterator[EntityBatch]:
    """Yield every readable photograph in order as a batch of one, resized to `size`."""
    for pair, image in readable_pairs(source):
        canvas = lay_out((image.shape[0], image.shape[1]), size)
        pixels = torch.from_numpy(drawn(image, canvas)[None])
        yield EntityBatch(pixels, (canvas,), (tuple(pair.captions[0].split(SEPARATOR)),), ())


@torch.no_grad()
def at_sizes(trunk: ClipTrunk, images: Tensor, masks: Tensor, sizes: Sequence[int] = SIZES) -> list[Tensor]:
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
    """M pairs by falling probability: indexes int64 [M] of `region` and `entity`, and `probability` [M]."""

    region: Tensor
    entity: Tensor
    probability: Tensor


def mixed_embedding(clip: Tensor, adapted: Tensor, share: float) -> Tensor:
    """Unit vectors [R, D] between CLIP's embeddings [R, D] and a `share` of the adapter's [R, D]."""
    return F.normalize((1 - share) * clip + share * adapted, dim=-1)


def adapter_share(step: int, steps: int, settings: AlignmentSettings = KEEP_ALL) -> float:
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
def match_entities(probabilities: Tensor, settings: AlignmentSettings = KEEP_ALL) -> EntityPairs:
    """Most probable one-to-one assignment of regions to entities.

    Args:
        probabilities: [R, T].
        settings: `keep` is the share of assigned pairs that is kept (rounded up), `confidence` their least probability.

    Returns:
        At most min(R, T) pairs.
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
        adapted: the adapter's embeddings [R, D] of each image's regions.
        entities: the text rows [T, D] of each image's entities.
        pairs: matched pairs of each image.

    Returns:
        A scalar whose mean over processes weighs every pair the same; 0 without pairs.
    """
    regions = torch.cat([rows[of.region] for rows, of in zip(adapted, pairs, strict=True)])
    texts = torch.cat([rows[of.entity] for rows, of in zip(entities, pairs, strict=True)])
    count = torch.tensor(float(len(regions)), device=regions.device)
    n_pairs = mean_over_processes(count).clamp(min=1)
    return (1 - F.cosine_similarity(regions, texts, dim=-1)).sum() / n_pairs
