"""`tiny` as a Segmenter: one tile per image, one vector per text, presence of a class as a bonus on its pixels."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from model.device import Execution
from model.errors import ShapeError, WeightsError
from model.export.exportable import Exportable
from model.methods.tiny.image_pass import ImagePass
from model.methods.tiny.network import EMBEDDING, MEAN, STD, TinyNetwork
from model.methods.tiny.text_tower import load_text_tower
from model.methods.tiny.weights import TEMPLATE
from model.segmenter import Features, InferenceOptions, Plan, TextBank, TextRows, TileFeatures
from model.types import ClassEntry, InputSize, ModelCard, Refinement
from model.weights import read_weights

GUIDE_STRIDE = 2  # pixels of the network's input per pixel of the guide
CLASSES_AT_ONCE = 64  # in one product: synonyms are reduced before the next, so memory does not grow with them


class TinySegmenter(Exportable):
    """The bundled model on one device."""

    any_size = True  # the network is convolutions throughout

    def __init__(self, network: TinyNetwork, card: ModelCard, digest: str, execution: Execution) -> None:
        device = execution.device
        self.card = card
        self.digest = digest
        self._tower = load_text_tower()
        self.text_digest = self._tower.digest
        self._device = device
        self._dtype = execution.dtype
        self._scale = network.log_scale.exp().item()
        self._nobody = self._scale * network.nobody.item()
        self._network: TinyNetwork = convert_conv2d_weight_memory_format(_fuse(network).to(device), torch.channels_last)
        # Scalars and the text projection stay in float32; only the image pass runs in the fast type.
        for name in ("stem", "stages", "context", "lateral", "smooth", "pixel_head", "image_head"):
            getattr(self._network, name).to(self._dtype)
        self._cores = _cores() if device.type == "cpu" and self._dtype == torch.bfloat16 else None
        self._mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
        self._inverse_std = 1 / torch.tensor(STD, device=device).view(1, 3, 1, 1)
        self.buckets = _buckets(card.input)

    def image_network(self) -> ImagePass:
        return ImagePass(self._network)

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
            raise ShapeError(f"expected uint8 [H, W, 3], got {rgb.dtype} {rgb.shape}")
        size = (rgb.shape[0], rgb.shape[1])
        height, width = self._fit(size, options.max_side)
        shrinks = height * width < size[0] * size[1]
        resized = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return Plan(size, np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)[None])

    def _fit(self, size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
        """The network's input shape for an image of `size`; sides are rounded, not padded."""
        limits = self.card.input
        long_side = limits.long_side
        if max_side is not None:  # whole multiples of it, or rounding could go beyond the cap
            long_side = min(long_side, max_side // limits.multiple * limits.multiple)
        factor = min(limits.short_side / min(size), long_side / max(size))
        height, width = (
            max(limits.multiple, round(side * factor / limits.multiple) * limits.multiple) for side in size
        )
        return height, width

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        done = self._encode_elsewhere(tiles)
        if done is not None:
            return tuple(part.half() for part in done)
        if self._device.type != "cpu":
            return self._forward(tiles)
        # A batched kernel may round otherwise than that of a single tile, and gains nothing on a CPU. Tiles side by
        # side, each on a core of its own, never wait for each other inside a layer.
        single = [tiles[index : index + 1] for index in range(len(tiles))]
        side_by_side = self._cores.map if self._cores is not None and len(tiles) > 1 else map
        passes = list(side_by_side(self._forward, single))
        return tuple(torch.cat(parts) for parts in zip(*passes, strict=True))

    @torch.inference_mode()
    def _forward(self, tiles: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(tiles).to(self._device, non_blocking=True).float()
        images = ((pixels - self._mean) * self._inverse_std).to(self._dtype, memory_format=torch.channels_last)
        features = self._network(images)
        return features.pixels.half(), features.image.half()

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        pixels, image = tile_features
        # Copies: a view would keep the whole batch in memory for as long as this image is remembered.
        guide = F.avg_pool2d(torch.from_numpy(plan.tiles).float(), GUIDE_STRIDE)[0].round().byte()
        return Features(plan.size, {"pixels": pixels[0].clone(), "image": image[0].clone(), "guide": guide})

    def guide(self, features: Features) -> Tensor:
        guide = features.tensors["guide"].to(self._device).float()
        return ((guide - self._mean) * self._inverse_std)[0]

    def texts(self, classes: tuple[ClassEntry, ...]) -> list[str]:
        return [TEMPLATE.format(text) for entry in classes for text in entry.texts]

    def encode_texts(self, texts: list[str]) -> NDArray[np.float16]:
        return self._tower.encode(texts).astype(np.float16)

    @torch.inference_mode()
    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        owner = np.repeat(np.arange(len(classes)), [len(entry.texts) for entry in classes])
        if rows.shape != (len(owner), self._tower.width):
            raise ShapeError(f"expected text rows [{len(owner)}, {self._tower.width}], got {list(rows.shape)}")
        vectors = self._network.project_texts(torch.from_numpy(rows).to(self._device))
        return TextBank(vectors, owner, len(classes))

    @torch.inference_mode()
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        bonus = self._network.presence_bonus(features.tensors["image"].float(), bank.vectors)
        return self._best_per_class(features, bank, bonus)

    def nobody_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        if threshold is None:
            return logits.new_tensor(self._nobody)
        clipped = min(max(threshold, 1e-6), 1 - 1e-6)
        return logits.new_tensor(self._nobody + math.log(clipped / (1 - clipped)))

    def _best_per_class(self, features: Features, bank: TextBank, bonus: Tensor) -> Tensor:
        """Each class's best text: scaled cosine plus `bonus` [T], to [K, h, w]."""
        pixels = features.tensors["pixels"].float()
        best = pixels.new_empty(bank.n_classes, *pixels.shape[1:])
        first = np.searchsorted(bank.owner, np.arange(bank.n_classes + 1))
        for start in range(0, bank.n_classes, CLASSES_AT_ONCE):
            end = min(start + CLASSES_AT_ONCE, bank.n_classes)
            texts = slice(first[start], first[end])
            # [t, 96] x [96, h*w] -> [t, h*w]
            scores = torch.addmm(bonus[texts, None], bank.vectors[texts], pixels.flatten(1), alpha=self._scale)
            if len(scores) > end - start:
                inside = pairwise(first[start : end + 1] - first[start])
                scores = torch.stack([scores[a:b].amax(0) for a, b in inside])
            best[start:end] = scores.view(-1, *pixels.shape[1:])
        return best


def load(folder: Path, card: ModelCard, execution: Execution) -> TinySegmenter:
    """Loads a model directory (`tiny.safetensors` beside its card).

    Raises:
        WeightsError: the weights are missing, damaged, or not of this network.
    """
    if card.weights_sha256 is None:
        raise WeightsError(f"{folder}: the card names no weights (weights_sha256)")
    network = TinyNetwork()
    state = read_weights(folder / "tiny.safetensors", card.weights_sha256)
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:  # a tensor of another shape
        raise WeightsError(f"{folder}: {error}") from None
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise WeightsError(f"{folder}: weights lack {missing[:3]} and hold unknown {list(unexpected)[:3]}")
    if card.embedding != EMBEDDING:
        raise WeightsError(f"{folder}: the card says {card.embedding}-dimensional embeddings, tiny has {EMBEDDING}")
    return TinySegmenter(network.eval().requires_grad_(False), card, card.weights_sha256[:16], execution)


def _buckets(limits: InputSize) -> tuple[tuple[int, int], ...]:
    """Every input shape (height, width) of images up to `long_side / short_side` times as long as wide, 2.2 for tiny.

    Longer ones, panoramas and the like, have shapes of their own: their first image pass takes a little more.
    """
    wide = [(limits.short_side, side) for side in range(limits.short_side, limits.long_side + 1, limits.multiple)]
    return tuple(sorted({*wide, *((width, height) for height, width in wide)}))


def _cores() -> ThreadPoolExecutor:
    """One thread for each core, whose torch work stays on it.

    For bfloat16 alone: there a layer's result does not depend on how many threads share it, in float32 it does in
    the last bit, and the answer for a tile must not depend on its company.
    """
    return ThreadPoolExecutor(torch.get_num_threads(), "tile", lambda: torch.set_num_threads(1))


def _fuse(module: TinyNetwork) -> TinyNetwork:
    """Folds every batch norm into the convolution before it."""

    def walk(parent: nn.Module) -> None:
        for child in parent.children():
            if isinstance(child, nn.Sequential) and len(child) > 1 and isinstance(child[1], nn.BatchNorm2d):
                assert isinstance(child[0], nn.Conv2d)
                child[0] = fuse_conv_bn_eval(child[0], child[1])
                child[1] = nn.Identity()
            else:
                walk(child)

    walk(module)
    return module
