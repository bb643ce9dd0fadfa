"""`unpair-seg` as a Segmenter: masks for points, boxes and everything, named by CLIP.

Features, over the network's input: `masks` [C, H/4, W/4] and `level32`, `level16`, `level8` of the pixel decoder,
`dense` [C, H/32, W/32] of CLIP, `adapted` [C, H/8, W/8] after stage two; and `guide` uint8 [3, h/2, w/2] over the
image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors, PromptMasks, Proposals
from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue import weights
from lexiseg_model.catalogue.weights import WEIGHTS, image_digest, read_weights, require_named_weights
from lexiseg_model.clip import by_example, fusion, windowed
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.text import TextTower
from lexiseg_model.clip.text_side import TextSide, WithTexts, template_set
from lexiseg_model.errors import WeightsError
from lexiseg_model.export.exportable import TorchPass
from lexiseg_model.features import Features, InferenceOptions, Layout, Plan, TileFeatures, picture_size
from lexiseg_model.masks.rle import decode
from lexiseg_model.methods.unpair_seg import compatibility, proposals, regions
from lexiseg_model.methods.unpair_seg.canvas import Canvas, canvas_to_image, image_to_canvas, laid_on, lay_out
from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.layers.trunk import STRIDE
from lexiseg_model.methods.unpair_seg.network import EncodedImages, Restored, restore
from lexiseg_model.methods.unpair_seg.proposals import prompt_masks
from lexiseg_model.methods.unpair_seg.regions import CERTAIN_LOGIT, stability, tidied
from lexiseg_model.methods.unpair_seg.settings import UnpairSegSettings
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank, TextRows
from lexiseg_model.types import ClassEntry, Prompt, Refinement, Region
from lexiseg_model.vocabulary.examples import box_cells, mask_cells

NAMES = ("masks", "level32", "level16", "level8", "dense", "adapted")
GUIDE_STRIDE = 2  # pixels of the network's input per pixel of the guide
PLACE_STRIDE = 8  # of the finest level; its cells distinguish objects in a video
MIN_PROBABILITY = 1e-6  # lower bound before a logarithm
UNLIKELY = 1e-30  # lower bound of class maps before a logarithm


class UnpairSegSegmenter(WithTexts, TorchPass):
    """Unpair-Seg on one device, with stage two's adapter if the weights contain one."""

    def __init__(
        self, restored: Restored, settings: UnpairSegSettings, card: ModelCard, digest: str, execution: Execution
    ) -> None:
        self.card, self.digest, self.settings = card, digest, settings
        self._execution = execution
        tower = TextTower(restored.towers, execution.device)
        templates = template_set(settings.templates)
        self._templates = len(templates)
        self._text = TextSide(tower, templates, "mean_of_units", execution.device, execution.precision)
        self.text_digest = tower.digest
        self.network = restored.network.to(execution.device)
        # Only CLIP's maps, nine tenths of the work, are computed in the fast type.
        self.network.trunk.compute_maps_in(execution.dtype)
        learned = float(restored.towers.state["logit_scale"].exp())
        self._scale = min(learned, regions.LARGEST_SCALE) if settings.logit_scale is None else settings.logit_scale
        side = card.input.long_side
        self.buckets = ((side, side),)

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        size = picture_size(rgb)
        longest = self.card.input.long_side
        if options.max_side is not None:
            longest = min(longest, max(STRIDE, options.max_side // STRIDE * STRIDE))
        canvas = lay_out(size, longest, self.settings.padding, self.settings.compatibility)
        return Plan(size, laid_on(rgb, canvas)[None], Layout(canvas.inside, canvas.size))

    def _image_pass(self, tiles: Tensor) -> TileFeatures:
        encoded = self.network(normalise(tiles, "clip"))
        adapted = () if encoded.adapted is None else (encoded.adapted,)
        maps = (encoded.features.masks, *encoded.features.levels, encoded.dense, *adapted)
        return windowed.as_kept(maps, self._execution.precision)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        tensors = {name: part[0] for name, part in zip(NAMES, tile_features, strict=False)}
        layout = windowed.layout_of(plan)
        height, width = layout.canvas
        image = torch.from_numpy(plan.tiles[0, :, :height, :width]).float()
        size = max(1, height // GUIDE_STRIDE), max(1, width // GUIDE_STRIDE)
        guide = F.interpolate(image[None], size=size, mode="area")[0]
        return Features(plan.size, tensors | {"guide": guide.round().to(torch.uint8)}, layout)

    def guide(self, features: Features) -> Tensor:
        return normalise(features.tensors["guide"].to(self._execution.device)[None], "clip")[0]

    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        """One vector per template and text; `region_scores` takes the best of each class."""
        bank = TextBank.of_rows(classes, rows, self._text.tower.width, self._execution.device, self._templates)
        return replace(bank, vectors=F.normalize(bank.vectors, dim=1))

    @torch.inference_mode()
    def propose(self, features: Features) -> Proposals:
        on_canvas = self.proposals_on_canvas(features)
        return on_canvas._replace(masks=canvas_to_image(on_canvas.masks, _canvas(features)))

    def proposals_on_canvas(self, features: Features) -> Proposals:
        """`propose` before masks are cut to the image: [N, H/4, W/4] over the network's input."""
        return features.derived.once("proposals", lambda: self._propose(features))

    @torch.inference_mode()
    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        canvas = _canvas(features)
        height, width = features.size
        scale = (canvas.inside[1] / width, canvas.inside[0] / height)
        answers = prompt_masks(
            self.network.masks, self._pixels(features), prompts, scale, canvas.size, self.settings.compatibility
        )
        return [answer._replace(masks=canvas_to_image(answer.masks, canvas)) for answer in answers]

    @torch.inference_mode()
    def embed_masks(self, features: Features, masks: Tensor) -> Tensor:
        return self._embed(features, image_to_canvas(masks.to(self._execution.device), _canvas(features)))

    def places(self, features: Features) -> Tensor:
        """Unit vectors float32 [C, h, w] of the pixel decoder, at stride 8 of the network's input."""
        height, width = (max(1, round(side / PLACE_STRIDE)) for side in _canvas(features).inside)
        level = features.tensors["level8"][:, :height, :width]
        return F.normalize(level.to(self._execution.device).float(), dim=0)

    patches = places

    @torch.inference_mode()
    def region_scores(self, features: Features, embeddings: Tensor, bank: TextBank) -> Tensor:
        """Log probabilities of classes: the best text of each class, as in FC-CLIP and OpenSeg, then a softmax."""

        def proposed_units() -> Tensor:
            return F.normalize(self.proposals_on_canvas(features).embeddings.float(), dim=1)

        units = F.normalize(embeddings.float(), dim=1)
        fused = fusion.bank_for_image(features, bank, proposed_units, 1.0)
        if fused.levels is not None:
            logits = (units @ fused.vectors.T + fused.levels).T  # [N, D] x [D, K] -> [K, N]
        else:
            logits = self._scale * bank.best_of_texts((units @ bank.vectors.T).T)
        return logits.log_softmax(0)

    @torch.inference_mode()
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Logarithm of the sum over proposals of class probability times mask probability.

        The exponentials sum to the number of masks that cover a pixel. Exact: of masks enlarged to the image, [K, H,
        W].
        """
        proposed = self.proposals_on_canvas(features)
        probabilities = self.region_scores(features, proposed.embeddings, bank).exp().T
        canvas = _canvas(features)
        if self._execution.precision == "exact":
            maps = probabilities.new_zeros(bank.n_classes, *features.size)
            some_at_once = (torch.split(part, compatibility.AT_IMAGE) for part in (probabilities, proposed.masks))
            for some, masks in zip(*some_at_once, strict=True):
                maps += regions.class_maps(some, compatibility.at_image(masks, canvas.size, features.size))
        else:
            maps = regions.class_maps(probabilities, canvas_to_image(proposed.masks, canvas))
        return maps.clamp_min(UNLIKELY).log()

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """Score that wins where the best class is below the threshold or masks hardly cover the pixel."""
        covered = logits.logsumexp(0)
        unsure = covered + math.log(max(self.settings.probability if threshold is None else threshold, MIN_PROBABILITY))
        # A region's probabilities sum to 1, so a region is always covered.
        uncovered = covered < math.log(max(self.settings.covered, MIN_PROBABILITY))
        return torch.where(uncovered, covered + 1, unsure)

    @torch.inference_mode()
    def example_rows(self, features: Features, regions: Sequence[Region]) -> NDArray[np.float16]:
        """Rows [R, 2 D]: the embedding of each region (of a prompt, its best mask) and that of the picture."""
        prompts = {index: region.prompt for index, region in enumerate(regions) if region.prompt is not None}
        answers = dict(zip(prompts, self.prompt(features, [*prompts.values()]) if prompts else (), strict=True))
        grid = (features.tensors["guide"].shape[1], features.tensors["guide"].shape[2])
        masks = [
            _region_mask(region, features.size, answers[index].masks[0] if index in answers else None, grid)
            for index, region in enumerate(regions)
        ]
        everything = torch.full(grid, CERTAIN_LOGIT)
        embedded = self.embed_masks(features, torch.stack([*masks, everything]))
        return by_example.rows_of(embedded[:-1], embedded[-1])

    @torch.inference_mode()
    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        width, device = self._text.tower.width, self._execution.device
        return by_example.vectors(positive, negative, self.settings.examples, width, device)

    def _propose(self, features: Features) -> Proposals:
        canvas = _canvas(features)
        settings = self.settings.proposals
        candidates = proposals.propose(
            self.network.masks,
            self._pixels(features),
            proposals.grid_points(settings.grid, features.size, canvas.size),
            canvas.size,
            settings,
            self.settings.compatibility,
        )
        masks = candidates.masks
        if self.settings.compatibility == "released":
            stable = compatibility.stability(masks, canvas.size, features.size)
        else:
            # Clear the masks in the padding.
            masks = image_to_canvas(canvas_to_image(masks, canvas), canvas)
            stable = stability(masks)
        stable_masks = (stable >= self.settings.cleaning.stability).nonzero()[:, 0]
        masks = tidied(masks[stable_masks], self.settings.cleaning.specks)
        rounded = windowed.as_kept((masks,), self._execution.precision)[0]
        return Proposals(rounded, self._embed(features, masks), candidates.quality[stable_masks].float())

    def _embed(self, features: Features, masks: Tensor) -> Tensor:
        """Embeddings float32 [N, D] of mask logits [N, H/4, W/4] over the network's input, not of unit length."""
        if not len(masks):
            return masks.new_zeros(0, self._text.tower.width)
        dense = features.tensors["dense"].float()[None]
        adapted = features.tensors.get("adapted")
        encoded = EncodedImages(self._pixels(features), dense, None if adapted is None else adapted.float()[None])
        pool = regions.pool if self.settings.compatibility == "released" else regions.pool_legible
        return self.network.embed(encoded, masks[None], pool)[0]

    def _pixels(self, features: Features) -> PixelFeatures:
        masks, *levels = (features.tensors[name].float()[None] for name in NAMES[:4])
        return PixelFeatures(masks, tuple(levels))


def _region_mask(region: Region, size: tuple[int, int], prompted: Tensor | None, grid: tuple[int, int]) -> Tensor:
    """Mask logits at size `grid` of a mask, or of what was prompted, within the prompt's box; the box if none is."""
    if prompted is None:
        assert region.mask is not None
        return CERTAIN_LOGIT * (2 * mask_cells(decode(region.mask), grid).float() - 1)
    logits = F.interpolate(prompted[None, None].float().cpu(), size=grid, mode="bilinear")[0, 0]
    if region.prompt is None or region.prompt.box is None:
        return logits
    box = CERTAIN_LOGIT * (2 * box_cells(region.prompt.box, size, grid).float() - 1)
    inside = torch.minimum(logits, box)
    return inside if (inside > 0).any() else box


def _canvas(features: Features) -> Canvas:
    assert features.layout is not None
    return Canvas(features.layout.tile, features.layout.canvas)


def settings_of(card: ModelCard) -> UnpairSegSettings:
    """Settings of a card, with an input of multiples of 32."""
    settings = weights.settings_of(card, UnpairSegSettings)
    if card.input.long_side % STRIDE:
        raise WeightsError(f"{card.name}: input.long_side is {card.input.long_side}; expected a multiple of {STRIDE}")
    return settings


require_weights = partial(
    require_named_weights,
    what="the authors' stage-one checkpoint, as CLIP's weights find no masks",
    arguments="--checkpoint FILE [--clip FILE] unpair-seg",
)


def load(folder: Path, card: ModelCard, execution: Execution) -> UnpairSegSegmenter:
    """Load a model directory (`weights.safetensors` and a card)."""
    require_weights(card)
    settings = settings_of(card)
    restored = restore(read_weights(folder / WEIGHTS, card.weights_sha256), settings.architecture)
    return UnpairSegSegmenter(restored, settings, card, image_digest(card, str(card.weights_sha256)), execution)
