"""`dense-clip` as a Segmenter: CLIP with a replaced last block, under the published background rule.

Names of weights: `clip.*` (open_clip's), `proxy.*` of a second tower (timm's) and `sam.*` (transformers').
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue import models
from lexiseg_model.catalogue.weights import WEIGHTS, image_digest, read_weights, settings_of, state_digest, under
from lexiseg_model.clip import windowed
from lexiseg_model.clip.dino import DinoTower, dino_from_hub, dino_from_state
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.patch_text import MIN_PROBABILITY, ImageTower, PatchTextSegmenter
from lexiseg_model.clip.text import TextTower
from lexiseg_model.clip.towers import ClipTowers, clip_from_hub, clip_from_state, hub_file, tokenizer
from lexiseg_model.errors import ExportError, WeightsError
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures, picture_size
from lexiseg_model.methods.dense_clip import trident
from lexiseg_model.methods.dense_clip.corrclip import CorrClipTower, nearest, region_map
from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.dense_clip.trident import Answer, Sam, SamView
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import Competing, Segmenter, TextBank
from lexiseg_model.types import Refinement

MAX_AT_FULL_SIZE = 2**27  # logits of classes x pixels: half a gigabyte
State = dict[str, Tensor]
CLIP, PROXY, SAM = "clip.", "proxy.", "sam."


class Parts(NamedTuple):
    """Networks of a model; `digest` identifies its image pass."""

    towers: ClipTowers
    proxy: DinoTower | None
    digest: str
    sam: Sam | None = None


def open_parts(folder: Path, card: ModelCard, settings: DenseClipSettings) -> Parts:
    """Build the networks from the weights in a card's folder, or from the hub's if the card names none."""
    if card.weights_sha256 is None:
        tag = _tag(card, settings)
        towers = clip_from_hub(settings.architecture, tag, quick_gelu=settings.quick_gelu, model=card.name)
        proxy = dino_from_hub(settings.proxy, card.name) if settings.has_proxy else None
        sam = trident.sam_from_hub(card.name) if settings.policy == "trident" else None
        return Parts(towers, proxy, image_digest(card, state_digest(flat_state(towers, proxy, sam))), sam)
    state = read_weights(folder / WEIGHTS, card.weights_sha256)
    towers = clip_from_state(settings.architecture, under(CLIP, state), quick_gelu=bool(settings.quick_gelu))
    proxy = dino_from_state(settings.proxy, under(PROXY, state)) if settings.has_proxy else None
    sam = trident.sam_from_state(settings.sam or {}, under(SAM, state)) if settings.policy == "trident" else None
    return Parts(towers, proxy, image_digest(card, card.weights_sha256), sam)


def flat_state(towers: ClipTowers, proxy: DinoTower | None, sam: Sam | None = None) -> State:
    """Flat state that `open_parts` reads."""
    state = {CLIP + name: value for name, value in towers.state.items()}
    if proxy is not None:
        state |= {PROXY + name: value for name, value in proxy.vit.state_dict().items()}
    if sam is not None:
        # Copies: SAM's positions have two names, and safetensors does not store shared tensors.
        state |= {SAM + name: value.clone() for name, value in sam.model.state_dict().items()}
    return state


def _tag(card: ModelCard, settings: DenseClipSettings) -> str:
    if settings.pretrained is None:
        raise WeightsError(f"{card.name}: the card names neither weights (weights_sha256) nor a pretrained tag")
    return settings.pretrained


def majority_vote(logits: Tensor, regions: Tensor, size: tuple[int, int]) -> Tensor:
    """Give every region [h', w'], 0: none, its majority label, by swapping logits [K, h, w] where another label wins.

    The result is at the image's `size`, or at that of the regions where it would exceed `MAX_AT_FULL_SIZE` numbers.
    """
    shape = size if len(logits) * math.prod(size) <= MAX_AT_FULL_SIZE else (regions.shape[0], regions.shape[1])
    logits = F.interpolate(logits[None], size=shape, mode="bilinear", align_corners=False)[0]
    return put_first(logits, majority_labels(logits.argmax(0), nearest(regions, shape).to(logits.device), len(logits)))


def majority_labels(labels: Tensor, regions: Tensor, n_labels: int) -> Tensor:
    """Labels [h, w] in which each region has its majority label, the lowest in a tie; other cells keep theirs."""
    pairs = (regions * n_labels + labels).flatten()
    counts = torch.bincount(pairs, minlength=(int(regions.max()) + 1) * n_labels).view(-1, n_labels)
    return torch.where(regions > 0, counts.argmax(1)[regions], labels)


def put_first(logits: Tensor, winner: Tensor) -> Tensor:
    """Logits [K, h, w] in which the row `winner` [h, w] of a pixel has changed places with that of the highest."""
    best, first = logits.max(0)
    swapped = logits.gather(0, winner[None])
    return logits.scatter(0, first[None], swapped).scatter_(0, winner[None], best[None])


class DenseClipSegmenter(PatchTextSegmenter):
    """CLIP under an attention policy, on one device."""

    settings: DenseClipSettings

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        tower = image_tower(parts, settings)
        texts = TextTower(parts.towers, execution.device)
        super().__init__(tower, texts, settings, card, parts.digest, execution)
        self._proxy = parts.proxy

    @torch.inference_mode()
    def likeness(self, features: Features) -> Tensor | None:
        """Values of DINO's last block where there is a DINO, as LPOSS has them; of the whole canvas at once."""
        dino = self._proxy
        if dino is None:
            return super().likeness(features)

        def values() -> Tensor:
            canvas = features.tensors["guide"].to(self._execution.device).float()
            rows, columns = (max(1, round(side / dino.kind.patch)) * dino.kind.patch for side in canvas.shape[1:])
            images = normalise(windowed.resize(canvas, (rows, columns))[None], "imagenet")
            return F.normalize(dino.values(images.to(self._execution.dtype)).float()[0], dim=0)

        return features.derived.once("values of DINO", values)


class PictureSegmenter(DenseClipSegmenter, ABC):
    """A model that encodes the whole picture with a further network: a tile is a picture in its original size."""

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        super().__init__(parts, settings, card, execution)
        self.buckets = ((card.input.short_side, card.input.short_side),)

    def image_network(self) -> nn.Module:
        raise ExportError(f"{self.card.name} cannot be written as ONNX: its image pass is more than one network")

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        limits = self.card.input.model_copy(update={"short_side": min(picture_size(rgb))})
        return windowed.plan_windows(rgb, limits, None, None, options)

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        passes = [self._encode_picture(np.ascontiguousarray(tile.transpose(1, 2, 0))) for tile in tiles]
        return tuple(torch.stack(parts) for parts in zip(*passes, strict=True))

    @abstractmethod
    def _encode_picture(self, rgb: NDArray[np.uint8]) -> TileFeatures:
        """Features of a picture [H, W, 3]: `patches` first, `guide` uint8 [3, h, w], the canvas, last."""


def image_tower(parts: Parts, settings: DenseClipSettings) -> ImageTower:
    """Image tower of CLIP under its policy. Raises WeightsError: it is no plain ViT, or does not suit the policy."""
    kind = CorrClipTower if settings.policy == "corrclip" else DenseNetwork
    return kind(parts.towers.visual, settings, parts.proxy)


class CorrClipSegmenter(PictureSegmenter):
    """CorrCLIP over the masks of another model; each of the kept `regions` [H, W] takes its most frequent label."""

    def __init__(
        self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution, masks_of: Segmenter
    ) -> None:
        mixed = parts._replace(digest=image_digest(card, parts.digest + masks_of.digest))
        super().__init__(mixed, settings, card, execution)
        self._masks_of = masks_of

    def _encode_picture(self, rgb: NDArray[np.uint8]) -> TileFeatures:
        precision, device = self._execution.precision, self._execution.device
        plan = windowed.plan_windows(rgb, self.card.input, self._window, self._stride, precision=precision)
        layout = windowed.layout_of(plan)
        regions = region_map(self._masks_of, rgb)
        labels = windowed.windows_of(nearest(regions, layout.canvas)[None].to(device), layout)
        windows = zip(torch.from_numpy(plan.tiles), labels, strict=True)
        patches = torch.cat([self.tower(tile[None].to(device), of_tile)[0] for tile, of_tile in windows])
        return *windowed.as_kept((patches,), precision), regions, windowed.canvas_of(plan)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        patches, regions, guide = (part[0] for part in tile_features)
        canvas = (guide.shape[1], guide.shape[2])
        layout = windowed.place_windows(canvas, self._window or max(canvas), self._stride or max(canvas))
        return Features(plan.size, {"patches": patches, "regions": regions, "guide": guide}, layout)

    def by_regions(
        self, features: Features, logits: Tensor, total: Tensor | None = None, winner: Tensor | None = None
    ) -> Tensor:
        if winner is not None:
            logits = put_first(logits, winner)
        regions = features.tensors["regions"].long()
        # As released: the lowest label is no region, also where every pixel has one.
        return majority_vote(logits, torch.where(regions > regions.min(), regions, 0), features.size)


class TridentSegmenter(PictureSegmenter):
    """Trident. There is one map of patches, on SAM's grid; scores are given on it."""

    tower: DenseNetwork

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        if parts.sam is None or parts.proxy is None:
            raise WeightsError(f"{card.name}: policy trident needs DINO's tower and SAM's encoder")
        super().__init__(parts, settings, card, execution)
        self._sam = parts.sam.to(execution.device)
        self._patch = self.tower.visual.patch_size[0]

    def _encode_picture(self, rgb: NDArray[np.uint8]) -> TileFeatures:
        pixels = torch.from_numpy(windowed.plan_windows(rgb, self.card.input, None, None).tiles[0])
        height, width = self._encoder_size((rgb.shape[0], rgb.shape[1]))  # whole patches of CLIP, as SAM gets it
        resized = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        views, embedding = self._views(resized)
        size = (pixels.shape[1], pixels.shape[2])
        sides = trident.canvas_sides(size, self._patch if self._window else self.tower.multiple, self._window or 0)
        canvas = windowed.resize(pixels.to(self._execution.device).float(), sides)
        layout = windowed.place_windows(sides, self._window or max(sides), self._stride or max(sides))
        tokens = trident.window_tokens(self.tower, list(windowed.windows_of(canvas, layout)))
        plane = trident.spliced(tokens, layout, self._patch)
        plane = trident.aggregated(plane, views, self.settings.sam_factor, self.settings.sam_low_bound)
        parts = (trident.projected(self.tower.visual, plane)[None], embedding)
        return *windowed.as_kept(parts, self._execution.precision), pixels

    def _views(self, rgb: NDArray[np.uint8]) -> tuple[list[SamView], Tensor]:
        """What SAM says of the strips of a picture, and its embedding of the whole."""
        whole, strips = self._sam(rgb), self.settings.sam_strips
        if strips == 1:
            return [whole], whole.embedding
        embedding = whole.embedding
        del whole  # its attention takes most of a gigabyte
        return [self._sam(np.ascontiguousarray(part)) for part in np.array_split(rgb, strips, axis=1)], embedding

    def _encoder_size(self, size: tuple[int, int]) -> tuple[int, int]:
        height, width = (-(-side // self._patch) * self._patch for side in size)
        return height, width

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        patches, embedding, guide = (part[0] for part in tile_features)
        return Features(plan.size, {"patches": patches, "sam": embedding, "guide": guide}, plan.layout)

    def competing(self, features: Features, bank: TextBank, refine: Refinement) -> Competing:
        """For SAM's refinement at the picture's own size, where memory allows."""
        competing = super().competing(features, bank, refine)
        if refine != "regions" or competing.others is not None:
            return competing
        return competing._replace(
            classes=windowed.resize(competing.classes, self._answer_size(features, bank.n_classes))
        )

    def _text_scores(self, features: Features, vectors: Tensor) -> Tensor:
        return next(self.cosines(features, vectors))

    def _embeddings(self, features: Features) -> Tensor:
        return features.tensors["patches"][0].float()

    def _answer_size(self, features: Features, n_classes: int) -> tuple[int, int]:
        """Size of the answer that SAM refines: the picture's, or that of the canvas where memory is short."""
        guide = features.tensors["guide"]
        fits = n_classes * math.prod(features.size) <= MAX_AT_FULL_SIZE
        return features.size if fits else (guide.shape[1], guide.shape[2])

    @torch.inference_mode()
    def by_regions(
        self, features: Features, logits: Tensor, total: Tensor | None = None, winner: Tensor | None = None
    ) -> Tensor:
        size = self._answer_size(features, len(logits))
        resized = windowed.resize(logits, size)
        everything = resized.logsumexp(0) if total is None else windowed.resize(total[None], size)[0]
        first = resized.argmax(0) if winner is None else nearest(winner, size)
        answer = Answer((resized - everything).exp(), first)
        encoder_size = self._encoder_size(windowed.layout_of(features).canvas)
        refined = trident.prompted(
            self._sam, features.tensors["sam"].float(), encoder_size, answer, self.settings.sam_least
        )
        return put_first(refined.shares.clamp_min(MIN_PROBABILITY).log(), refined.winner)


def load(folder: Path, card: ModelCard, execution: Execution) -> DenseClipSegmenter:
    """Load a model directory, or the hub's weights by the card's settings."""
    settings = settings_of(card, DenseClipSettings)
    parts = open_parts(folder, card, settings)
    if settings.policy == "trident":
        return TridentSegmenter(parts, settings, card, execution)
    if not settings.takes_masks:
        return DenseClipSegmenter(parts, settings, card, execution)
    beside = None if card.weights_sha256 is None else folder.parent
    masks_of = models.load(
        settings.proposals, models_dir=beside, device=str(execution.device), text_tower=execution.text_tower
    )
    return CorrClipSegmenter(parts, settings, card, execution, masks_of)


def require_weights(card: ModelCard) -> None:
    """Fetch the hub's weights for a card without a weights file, unless they are cached."""
    settings = settings_of(card, DenseClipSettings)
    hub_file(settings.architecture, _tag(card, settings), card.name)
    tokenizer(settings.architecture)
    if settings.has_proxy:
        dino_from_hub(settings.proxy, card.name)
    if settings.policy == "trident":
        trident.sam_from_hub(card.name)
    if settings.takes_masks:
        models.require(settings.proposals)
