"""`s-seg` as a Segmenter: masks of the whole image, their classes, and the background rule.

Features, of each window: mask logits `masks` [B, N, h, w] at stride 4, `queries` [B, N, 256], unit vectors of masks
(`embeddings` [B, N, D]) and of the window (`image` [B, D]); `guide` uint8 [3, H, W]. Masks of different windows are not
merged, so images with several have no proposals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors, Proposals
from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.weights import WEIGHTS, image_digest, read_weights, require_named_weights, settings_of
from lexiseg_model.clip import by_example, fusion, windowed
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.segmenter import ClipSegmenter
from lexiseg_model.errors import TaskError, WeightsError
from lexiseg_model.features import Features
from lexiseg_model.methods.s_seg.backbone import STRIDES
from lexiseg_model.methods.s_seg.network import ImagePass, SSegNetwork, SSegTextTower, restore
from lexiseg_model.methods.s_seg.settings import Combination, SSegSettings
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank, TextRows
from lexiseg_model.types import Refinement, Region

EPSILON = 1e-6
MIN_SCORE = 1e-8  # lower bound of scores before a logarithm


def class_cosines(masks: Tensor, bank: TextBank) -> Tensor:
    """Cosine [N, K] of each mask, unit vectors [N, D], and the best text of each class."""
    of_texts = bank.vectors @ masks.T  # [T, D] x [D, N] -> [T, N]
    return bank.best_of_texts(of_texts).T


def pixel_scores(logits: Tensor, shares: Tensor, combination: Combination) -> Tensor:
    """Scores [K, h, w]: sum over masks, logits [N, h, w], of mask times class probability [N, K] (MaskFormer, 3.4).

    The sum exceeds 1 where masks overlap; `mean` divides it by the sum of the mask probabilities.
    """
    inside = logits.sigmoid()
    summed = torch.einsum("nk,nhw->khw", shares, inside)
    return summed / inside.sum(0).clamp(min=EPSILON) if combination == "mean" else summed


def background_level(scores: Tensor, threshold: float) -> Tensor:
    """Score [] of the background as in GroupViT: the threshold, or the image's best score if lower."""
    return scores.max().clamp(max=threshold) if scores.numel() else scores.new_tensor(threshold)


def overlaps(masks: Tensor, others: Tensor) -> Tensor:
    """IoU [N, M] of masks, logits [N, h, w], with others [M, h, w]; 0 if both are empty."""
    flat, against = ((each > 0).float().flatten(1) for each in (masks, others))
    shared = flat @ against.T  # [N, h*w] x [h*w, M] -> [N, M]
    return shared / (flat.sum(1)[:, None] + against.sum(1) - shared).clamp(min=1)


class SSegSegmenter(ClipSegmenter):
    """S-Seg on one device."""

    maps = ("masks", "queries", "embeddings", "image")
    whole_patches = True  # no padding, so masks end with the image

    def __init__(
        self, network: SSegNetwork, settings: SSegSettings, card: ModelCard, digest: str, execution: Execution
    ) -> None:
        tower = SSegTextTower(network.text, network.text_projector, execution.device)
        windows = settings.window, settings.stride
        super().__init__(card, digest, tower, settings.templates, "mean_of_units", *windows, execution)
        self._settings = settings
        self._network = network.to(execution.device)
        # Projectors and text transformer stay in float32: they are cheap and decide every class.
        self._network.backbone.to(execution.dtype)
        self._network.sem_seg_head.to(execution.dtype)
        self._scale = network.contrast.scale.item()
        multiple = card.input.multiple
        side = settings.window or round(card.input.short_side / multiple) * multiple
        self.buckets = ((side, side),)

    def image_network(self) -> ImagePass:
        return ImagePass(self._network)

    def guide(self, features: Features) -> Tensor:
        canvas = features.tensors["guide"].to(self._execution.device)
        return normalise(canvas[None], "imagenet")[0]

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Logarithms of `pixel_scores`; their softmax is each class's share of a pixel's scores."""
        return self.pixel_scores(features, bank).clamp(min=MIN_SCORE).log()

    @torch.inference_mode()
    def pixel_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Class scores [K, h, w], averaged over windows; exact: of masks enlarged to the canvas, fast: at stride 4."""
        layout = windowed.layout_of(features)
        exact = self._execution.precision == "exact"

        def of_windows() -> Iterator[Tensor]:
            for index, masks in enumerate(features.tensors["masks"]):
                logits = windowed.resize(masks.float(), layout.tile) if exact else masks.float()
                shares = self._shares(features, features.tensors["embeddings"][index], bank, index)
                yield pixel_scores(logits, shares, self._settings.combination)

        return windowed.merge(of_windows(), layout, self._execution.precision)

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """Score of the background by GroupViT's rule (`background_level`); background words count as classes."""
        threshold = self._settings.background if threshold is None else threshold
        level = background_level(logits.exp(), threshold)
        return level.clamp(min=MIN_SCORE).log()

    @torch.inference_mode()
    def example_rows(self, features: Features, regions: Sequence[Region]) -> TextRows:
        """Rows [R, 2 D]: the mean embedding of the masks over each region's pixels, and that of the picture."""
        layout = windowed.layout_of(features)
        windows = zip(features.tensors["masks"], features.tensors["embeddings"], strict=True)
        maps = (pixel_scores(masks.float(), embeddings.float(), "mean") for masks, embeddings in windows)
        return by_example.region_rows(windowed.merge(maps, layout, "fast"), features.size, regions)

    @torch.inference_mode()
    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        levels, width = self._settings.examples, self._settings.embedding
        return by_example.vectors(positive, negative, levels, width, self._execution.device)

    @torch.inference_mode()
    def propose(self, features: Features) -> Proposals:
        """Masks of the queries above the least quality, which is the mean probability inside."""
        masks = self._own_masks(features)

        def ranked() -> tuple[Tensor, Tensor]:
            inside = (masks > 0).float()
            sureness = (masks.sigmoid() * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)  # as in Mask2Former
            quality, order = sureness.sort(descending=True, stable=True)
            good = quality > self._settings.least_quality
            return order[good], quality[good]

        order, quality = features.derived.once("proposals", ranked)
        return Proposals(masks[order], features.tensors["embeddings"][0][order].float(), quality)

    @torch.inference_mode()
    def embed_masks(self, features: Features, masks: Tensor) -> Tensor:
        """Embeddings [N, D]: means of those of the model's masks by IoU with the given ones; zeros without any
        overlap."""
        masks_of_model = self._own_masks(features)
        resized = F.interpolate(masks.float()[:, None], size=masks_of_model.shape[1:], mode="bilinear")[:, 0]
        shared = overlaps(resized, masks_of_model)
        return F.normalize(shared @ features.tensors["embeddings"][0].float(), dim=1)

    @torch.inference_mode()
    def region_scores(self, features: Features, embeddings: Tensor, bank: TextBank) -> Tensor:
        """Logarithms of class probabilities [K, N] of regions."""
        return self._shares(features, embeddings, bank, 0).clamp(min=MIN_SCORE).log().T

    def _own_masks(self, features: Features) -> Tensor:
        """Mask logits float32 [N, h, w] of the whole image."""
        masks = features.tensors["masks"]
        if len(masks) != 1:
            raise TaskError(
                f"{self.card.name} saw this image through {len(masks)} windows, which have no masks in common; its "
                "card's settings.window must be null"
            )
        return masks[0].float()

    def _shares(self, features: Features, embeddings: Tensor, bank: TextBank, window: int) -> Tensor:
        """Class probabilities [N, K] of masks, zero for all but the image's candidate classes."""
        own = features.tensors["embeddings"]
        fused = fusion.bank_for_image(features, bank, lambda: own.float().flatten(0, 1), self._scale)
        cosines = class_cosines(embeddings.float(), fused)
        if fused.levels is not None:
            cosines = cosines + fused.levels / self._scale
        shares = (self._scale * cosines).softmax(1)
        image = class_cosines(features.tensors["image"][window : window + 1].float(), bank)[0]
        candidates = self._settings.candidates
        if candidates is None or candidates >= len(image):
            return shares
        likely = torch.zeros(len(image), dtype=torch.bool, device=shares.device)
        likely[image.topk(candidates).indices] = True
        return shares * likely


require_weights = partial(
    require_named_weights,
    what="a checkpoint of your own training, as the authors released none",
    arguments="--checkpoint FILE NAME",
)


def load(folder: Path, card: ModelCard, execution: Execution) -> SSegSegmenter:
    """Load a model directory (`weights.safetensors` and a card)."""
    require_weights(card)
    settings = settings_of(card, SSegSettings)
    if card.input.multiple % STRIDES[-1]:
        raise WeightsError(
            f"{folder}: the card's input.multiple is {card.input.multiple}; expected a multiple of {STRIDES[-1]}"
        )
    if card.embedding != settings.embedding:
        raise WeightsError(f"{folder}: the card says embedding {card.embedding}, its settings {settings.embedding}")
    apart = [task for task in card.tasks if task in ("instance", "panoptic")]
    if settings.window is not None and card.panoptic.source == "proposals" and apart:
        raise WeightsError(
            f"{folder}: the card has settings.window {settings.window} and panoptic.source proposals for tasks "
            f"{', '.join(apart)}; windows have no masks in common: expected settings.window null, or panoptic.source "
            "regions"
        )
    network = restore(read_weights(folder / WEIGHTS, card.weights_sha256), settings)
    return SSegSegmenter(network, settings, card, image_digest(card, str(card.weights_sha256)), execution)
