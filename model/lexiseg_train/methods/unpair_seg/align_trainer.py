"""Training of stage two: aligns embeddings of regions with the entities of a caption, unpaired.

Frozen CLIP and stage one give masks and their embeddings at several image sizes. Regions and entities are matched by
these embeddings, increasingly mixed with an averaged adapter's. The adapter learns the matched regions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from lexiseg_model.cards import InputSize, ModelCard
from lexiseg_model.catalogue.weights import WEIGHTS, naming_files, under
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.text import TextTower
from lexiseg_model.clip.towers import clip_from_files
from lexiseg_model.methods.unpair_seg import proposals
from lexiseg_model.methods.unpair_seg.canvas import Canvas, laid_on, lay_out
from lexiseg_model.methods.unpair_seg.import_ import Options, read
from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.layers.trunk import STRIDE, ClipTrunk, RegionAdapter, TrunkMaps
from lexiseg_model.methods.unpair_seg.network import ADAPTER, Restored, flat_state, read_weights, restore
from lexiseg_model.methods.unpair_seg.regions import pool
from lexiseg_model.methods.unpair_seg.settings import PUBLISHED
from lexiseg_train.data.labelling.entities import SEPARATOR, WithEntities, read_entities
from lexiseg_train.data.pairs.files import open_pairs
from lexiseg_train.data.pairs.source import PairSource, Skipped, readable_pairs
from lexiseg_train.methods.unpair_seg.masks_trainer import meta_trunk
from lexiseg_train.methods.unpair_seg.trainings import AlignmentSettings, AlignRecipe
from lexiseg_train.training.distributed import mean_over_processes
from lexiseg_train.training.losses import Pairs, assign
from lexiseg_train.training.model_card import data_entry, write_model
from lexiseg_train.training.pair_run import NumberedPairs, PairDraw, split_pairs
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.run import Run


class EntityBatch(NamedTuple):
    """Images uint8 [B, 3, S, S] with their canvases and entities, and samples that could not be read."""

    images: Tensor
    canvases: tuple[Canvas, ...]
    entities: tuple[tuple[str, ...], ...]
    skipped: tuple[Skipped, ...]


def batch_of(size: int, mirrored: float, pairs: Sequence[PairDraw]) -> EntityBatch:
    """A batch of pairs with entities as captions; a share `mirrored` of the photographs is mirrored."""
    canvases = tuple(lay_out((pair.image.shape[0], pair.image.shape[1]), size) for pair in pairs)
    images = [
        laid_on(pair.image[:, ::-1] if pair.random().random() < mirrored else pair.image, canvas)
        for pair, canvas in zip(pairs, canvases, strict=True)
    ]
    return EntityBatch(
        torch.from_numpy(np.stack(images)),
        canvases,
        tuple(tuple(pair.caption.split(SEPARATOR)) for pair in pairs),
        tuple(skipped for pair in pairs for skipped in pair.skipped),
    )


def one_by_one(source: PairSource, size: int) -> Iterator[EntityBatch]:
    """Yield every readable photograph in order as a batch of one, resized to `size`."""
    for pair, image in readable_pairs(source):
        canvas = lay_out((image.shape[0], image.shape[1]), size)
        pixels = torch.from_numpy(laid_on(image, canvas)[None])
        yield EntityBatch(pixels, (canvas,), (tuple(pair.captions[0].split(SEPARATOR)),), ())


@torch.no_grad()
def at_sizes(trunk: ClipTrunk, images: Tensor, masks: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Embeddings [B, Q, D] of regions, logits [B, Q, h, w], by frozen CLIP at longer sides, multiples of 32."""
    return [trunk.embed(pool(trunk(_resized(images, size)).dense, masks)) for size in sizes]


def _resized(images: Tensor, longer: int) -> Tensor:
    sides = (images.shape[2], images.shape[3])
    height, width = (max(STRIDE, round(side * longer / max(sides) / STRIDE) * STRIDE) for side in sides)
    if (height, width) == sides:
        return images
    return F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False, antialias=True)


def mixed_embedding(clip: Tensor, adapted: Tensor, share: float) -> Tensor:
    """Unit vectors [R, D] between CLIP's embeddings [R, D] and a `share` of the adapter's [R, D]."""
    return F.normalize((1 - share) * clip + share * adapted, dim=-1)


def adapter_share(step: int, steps: int, settings: AlignmentSettings) -> float:
    """Share of the adapter in matching, which grows linearly; `step` counts from 0."""
    return settings.adapter_share * (step + 1) / steps


@torch.no_grad()
def entity_probabilities(scales: Sequence[Tensor], entities: Tensor, scale: float | Tensor) -> Tensor:
    """Probability [R, T] of entities, rows [T, D], for regions [R, D] of each of `scales`, averaged; rows sum to 1."""
    texts = F.normalize(entities, dim=-1)
    each = [(scale * F.normalize(regions, dim=-1) @ texts.T).softmax(-1) for regions in scales]
    return torch.stack(each).mean(0)


@torch.no_grad()
def match_entities(probabilities: Tensor) -> Pairs:
    """Most probable one-to-one assignment of regions to entities, by probabilities [R, T]: min(R, T) pairs."""
    return assign(1 - probabilities[None])


def alignment_loss(adapted: Sequence[Tensor], entities: Sequence[Tensor], pairs: Sequence[Pairs]) -> Tensor:
    """Mean over the pairs of all images and processes of 1 - cos(region [R, D], entity [T, D]); 0 without pairs."""
    regions = torch.cat([rows[of.prediction] for rows, of in zip(adapted, pairs, strict=True)])
    texts = torch.cat([rows[of.target] for rows, of in zip(entities, pairs, strict=True)])
    count = torch.tensor(float(len(regions)), device=regions.device)
    n_pairs = mean_over_processes(count).clamp(min=1)
    return (1 - F.cosine_similarity(regions, texts, dim=-1)).sum() / n_pairs


Maps = TypeVar("Maps", TrunkMaps, PixelFeatures)


class Adapters(nn.Module):
    """The learning adapter, and its moving average `target`, which takes part in matching."""

    def __init__(self, adapter: RegionAdapter) -> None:
        super().__init__()
        self.adapter = adapter
        self.target = deepcopy(adapter).requires_grad_(False)

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        torch._foreach_lerp_(list(self.target.parameters()), list(self.adapter.parameters()), 1 - momentum)


def untrained(recipe: AlignRecipe) -> RegionAdapter:
    size = recipe.adapter
    return RegionAdapter(
        meta_trunk(recipe.architecture).channels, PUBLISHED.width, width=size.width, blocks=size.blocks
    )


class Aligned(NamedTuple):
    """Embeddings of regions [R, D], rows of entities [T, D] and their matched pairs, for each photograph."""

    regions: list[Tensor]
    texts: list[Tensor]
    pairs: list[Pairs]


class AlignTrainer(Run[AlignRecipe, Adapters, EntityBatch]):
    file = WEIGHTS

    def __init__(self, recipe: AlignRecipe) -> None:
        self.stage_one = frozen_stage_one(recipe.stage_one, recipe.clip, recipe.architecture)
        torch.manual_seed(recipe.seed)
        network = self.stage_one.network
        sizes = network.masks.sizes
        size = recipe.adapter
        super().__init__(
            recipe, Adapters(RegionAdapter(sizes.channels, sizes.width, width=size.width, blocks=size.blocks))
        )
        self.trunk, self.masks = network.trunk.to(self.device), network.masks.to(self.device)
        self.tower = TextTower(self.stage_one.towers, self.device)
        self.scale = float(self.stage_one.towers.state["logit_scale"].exp().clamp(max=100))
        source = open_pairs(*(recipe.place(name) for name in recipe.pairs), json_captions=recipe.json_captions)
        self.pairs, self.held_out = split_pairs(recipe, WithEntities(source, read_entities(recipe.listing)))
        self._rows: dict[str, Tensor] = {}

    def _batches(self, phase: LocalPhase) -> NumberedPairs[EntityBatch]:
        make = partial(batch_of, phase.crop, self.recipe.mirrored)
        return NumberedPairs(self.pairs, make, phase.batch, self.recipe.seed)

    def _mode(self) -> None:
        super()._mode()
        if self.step:  # once per step, which may have several batches
            self.network.follow(self.recipe.momentum)

    def _loss(self, batch: EntityBatch) -> Tensor:
        share = adapter_share(self.step, self.expected_steps, self.recipe.matching)
        with self.autocast():
            aligned = self._align(batch, share)
        self.note(matched=sum(len(pair.target) for pair in aligned.pairs), regions=sum(map(len, aligned.regions)))
        return alignment_loss(*aligned)

    def _align(self, batch: EntityBatch, share: float) -> Aligned:
        images = normalise(batch.images.to(self.device), "clip")
        with torch.no_grad():
            maps = self.trunk(images)
            features = self.masks.features(maps.stages)
            regions = [self._propose(features, index, canvas) for index, canvas in enumerate(batch.canvases)]
        texts = [self._texts(entities) for entities in batch.entities]
        pairs = [
            self._match(
                images[index : index + 1], _of_image(maps, index), _of_image(features, index), masks, rows, share
            )
            for index, (masks, rows) in enumerate(zip(regions, texts, strict=True))
        ]
        return Aligned(self._adapted(self.network.adapter, maps, features, regions), texts, pairs)

    def _propose(self, features: PixelFeatures, index: int, canvas: Canvas) -> Tensor:
        """Logits [Q, S/4, S/4] of the best proposals of a photograph; one mask of everything if there are none."""
        recipe = self.recipe
        points = proposals.grid_points(recipe.proposals.grid, canvas.inside, canvas.size)
        proposed = proposals.propose(self.masks, _of_image(features, index), points, canvas.size, recipe.proposals)
        whole = torch.ones(1, *features.masks.shape[2:], device=self.device)
        return proposed.masks[: recipe.regions] if len(proposed.masks) else whole

    @torch.no_grad()
    def _match(
        self, image: Tensor, maps: TrunkMaps, features: PixelFeatures, masks: Tensor, rows: Tensor, share: float
    ) -> Pairs:
        """Match regions and entities of one photograph by CLIP's embeddings at all sizes and the averaged adapter's."""
        adapted = self._adapted(self.network.target, maps, features, [masks])[0]
        unit = F.normalize(adapted, dim=-1)
        scales = [
            mixed_embedding(F.normalize(view[0], dim=-1), unit, share)
            for view in at_sizes(self.trunk, image, masks[None], self.recipe.matching.sizes)
        ]
        return match_entities(entity_probabilities(scales, rows, self.scale))

    def _adapted(
        self, adapter: RegionAdapter, maps: TrunkMaps, features: PixelFeatures, regions: Sequence[Tensor]
    ) -> list[Tensor]:
        """The adapter's embeddings [Q, D] of each photograph's regions, not of unit length."""
        mixed = adapter(maps.stages, features.levels)
        return [
            self.trunk.embed(adapter.pooled(mixed[index : index + 1], maps.dense[index : index + 1], masks[None]))[0]
            for index, masks in enumerate(regions)
        ]

    def _texts(self, entities: Sequence[str]) -> Tensor:
        """Rows [T, D] of entities; each is encoded once in a run."""
        fresh = [entity for entity in dict.fromkeys(entities) if entity not in self._rows]
        rows = self.tower.encode([self.recipe.text.format(entity) for entity in fresh])
        self._rows.update(zip(fresh, torch.from_numpy(rows).to(self.device), strict=True))
        return torch.stack([self._rows[entity] for entity in entities])

    def _examples(self) -> int:
        return sum(self.pairs.sizes)

    def _validate(self) -> dict[str, float]:
        """Loss with matches of frozen CLIP, and rank of a photograph's own entities among all held-out pairs'.

        The loss has no negatives, so it draws all regions towards the mean of all entities; the rank is without the
        means."""
        if self.held_out is None:
            return {}
        losses, photographs, entities = [], [], []
        for batch in one_by_one(self.held_out, self.recipe.phases[-1].crop):
            with torch.no_grad():
                aligned = self._align(batch, 0.0)
            losses.append(alignment_loss(*aligned).item())
            photographs.append(F.normalize(aligned.regions[0], dim=1).mean(0))
            entities.append(F.normalize(aligned.texts[0], dim=1).mean(0))
        images, named = (F.normalize(rows - rows.mean(0), dim=1) for rows in map(torch.stack, (photographs, entities)))
        return {"held_out_loss": float(np.mean(losses)), "centred_rank": own_rank(images @ named.T)}

    def _weights(self) -> dict[str, Tensor]:
        adapter = under("adapter.", self.average)
        return flat_state(self.stage_one.towers.state, self.masks.state_dict(), adapter)


def own_rank(likeness: Tensor) -> float:
    """Mean rank in percent of matching pairs in similarities [N, N], both ways: 0 at best; ties count half."""
    ranks = []
    for rows in (likeness, likeness.T):
        matching = rows.diagonal()[:, None]
        ranks.append((rows > matching).sum(1) + ((rows == matching).sum(1) - 1) / 2)
    return 100 * torch.cat(ranks).float().mean().item() / max(1, len(likeness) - 1)


def publish_aligned(recipe: AlignRecipe, weights: Path) -> ModelCard:
    imported = read(Options(checkpoint=weights, architecture=recipe.architecture))
    side, stage_one = recipe.phases[-1].crop, recipe.stage_one.name
    pairs = [data_entry("captioned photographs", recipe.place(name)) for name in recipe.pairs]
    changes = {
        "training_data": [*pairs, f"that of stage one: {stage_one}"],
        "input": InputSize(short_side=side, long_side=side, multiple=32),
        "settings": imported.card.settings | {"proposals": recipe.proposals.model_dump(mode="json")},
    }
    return write_model(imported, weights.parent, recipe, f"stage one, {stage_one}", changes)


def frozen_stage_one(path: Path, clip: Sequence[Path], architecture: str) -> Restored:
    """Stage one of an own training or of the authors, in evaluation mode and without an adapter."""
    towers = clip_from_files(architecture, tuple(clip), quick_gelu=False) if clip else None
    state = read_weights(path, None if towers is None else towers.state)
    with naming_files(path, *clip):
        return restore({name: value for name, value in state.items() if not name.startswith(ADAPTER)}, architecture)


def _of_image(maps: Maps, index: int) -> Maps:
    """Maps of one image of a batch, which stays an axis."""
    one: Maps = tree_map(lambda part: part[index : index + 1], maps)
    return one
