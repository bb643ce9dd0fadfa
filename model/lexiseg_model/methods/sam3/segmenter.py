"""Segmenter of `sam3`: one image pass for all texts, then a decoder pass per text; prompts go to the tracker.

SAM 3 scores each text by itself; here they compete for pixels. The probability of a class at a pixel is the larger of
presence times the semantic map, and score times mask of each instance; classes are compared by a softmax over logits,
with the background at the threshold, so a single class keeps its probability.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors, NamedMasks
from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.transformers_model import require_transformers
from lexiseg_model.catalogue.weights import WEIGHTS, image_digest, read_weights, settings_of
from lexiseg_model.clip.text_side import AS_IT_IS, EPSILON, TextSide, WithTexts, logit_of_threshold
from lexiseg_model.features import Features, Plan, TileFeatures
from lexiseg_model.methods.sam2.head import LEVELS as TRACKED
from lexiseg_model.methods.sam2.head import PromptedSegmenter, PromptHead, SquareSegmenter
from lexiseg_model.methods.sam3 import examples
from lexiseg_model.methods.sam3.network import NAME, Detections, Sam3Network, Sam3Settings, TokenRows
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank, TextRows
from lexiseg_model.tasks.options import check_work
from lexiseg_model.types import ClassEntry, Refinement, Region

LEVELS = ("fine", "middle", "coarse")
PICTURE = "picture"  # name of the fingerprint among the features
BATCH_SIZE = 8  # texts, on a GPU; on a CPU a batch is no faster and may round differently
MIN_SCORE = 0.05  # of an instance in an answer


class Sam3Segmenter(WithTexts, SquareSegmenter):
    """SAM 3 on one device."""

    kept_maps: tuple[str, ...] = LEVELS

    def __init__(
        self, state: dict[str, Tensor], settings: Sam3Settings, card: ModelCard, digest: str, execution: Execution
    ) -> None:
        super().__init__(settings, card, digest, execution)
        self.settings = settings
        self.network = Sam3Network(settings, state, execution.device)
        self._tokens = TokenRows(self.network, settings, state)
        self._text = TextSide(self._tokens, AS_IT_IS, "rows", execution.device, execution.precision)
        self.text_digest = self._tokens.digest

    def image_maps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return self.network.levels(pixels)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        features = super().assemble(plan, tile_features)
        features.tensors[PICTURE] = examples.fingerprint(plan.tiles[0])
        return features

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        """The normalised mean [T, C] of each text's tokens."""
        words, _ = self._tokens.words(torch.from_numpy(rows.astype(np.float32)))
        return F.normalize(words.sum(1), dim=1).numpy()  # padding is zero

    def example_rows(self, features: Features, regions: Sequence[Region]) -> TextRows:
        """Rows [R, 16]: the box of each region and the image's fingerprint."""
        return examples.rows(regions, features.size, features.tensors[PICTURE])

    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        vectors = examples.vectors(positive, negative, self._tokens.width)
        device = self._execution.device
        return vectors._replace(vectors=vectors.vectors.to(device), means=vectors.means.to(device))

    @torch.inference_mode()
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Logits [K, h, w] of the probability of each class, at the resolution of the finest map."""
        maps = torch.cat([_pixel_probability(detections) for detections in self._detect(features, bank)])
        return bank.best_of_texts(maps.clamp(EPSILON, 1 - EPSILON).logit())

    @torch.inference_mode()
    def named_masks(self, features: Features, bank: TextBank) -> NamedMasks:
        """Instances of every class. Synonyms may find an object twice; the competition for pixels leaves one."""
        parts = [(detections.score > MIN_SCORE, detections) for detections in self._detect(features, bank)]
        owner = torch.from_numpy(bank.owner).to(self._execution.device)
        text = torch.cat([keep for keep, _ in parts]).nonzero()[:, 0]
        masks = torch.cat([detections.masks[keep] for keep, detections in parts])
        return NamedMasks(masks, torch.cat([detections.score[keep] for keep, detections in parts]), owner[text])

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        return logit_of_threshold(logits, self.settings.probability if threshold is None else threshold)

    def _detect(self, features: Features, bank: TextBank) -> Iterator[Detections]:
        """Detections of each vector of the bank, in order; texts of a class with boxes are asked together with
        these."""
        device = self._execution.device
        levels = [features.tensors[name].to(device).float() for name in LEVELS]
        is_text = (bank.vectors[:, -1] > 0).tolist()
        boxes_by_class = {int(bank.owner[row]): bank.vectors[row] for row, text in enumerate(is_text) if not text}
        first = {int(bank.owner[row]): row for row in reversed(range(len(is_text))) if is_text[row]}
        together: dict[int, Detections] = {}  # by the row of the text
        for rows in _batches(bank.owner, boxes_by_class, 1 if device.type == "cpu" else BATCH_SIZE):
            check_work()  # a decoder pass takes a CPU seconds
            owner = int(bank.owner[rows[0]])
            if owner not in boxes_by_class:
                yield self.network.detect(levels, *self._tokens.words(bank.vectors[rows]))
                continue
            text = rows[0] if is_text[rows[0]] else first.get(owner, rows[0])
            if text not in together:
                words = bank.vectors[text][None] if is_text[text] else self._box_text
                boxes = examples.boxes_of(boxes_by_class[owner], features.tensors[PICTURE])
                together[text] = self.network.detect(levels, *self._tokens.words(words), boxes)
            yield together[text]

    @cached_property
    def _box_text(self) -> Tensor:
        """The row [1, L * C + 1] of the text that SAM 3 uses where there are only boxes."""
        return torch.from_numpy(self.encode_texts([examples.WORD]).astype(np.float32)).to(self._execution.device)


class PromptableSam3(Sam3Segmenter, PromptedSegmenter):
    """SAM 3 with its tracker."""

    kept_maps = (*LEVELS, *TRACKED)

    @property
    def sam_head(self) -> PromptHead:
        assert self.network.head is not None
        return self.network.head

    def embed_masks(self, features: Features, masks: Tensor) -> Tensor:
        """The share of each mask in each cell of the finest map: [N, h * w], rows sum to 1."""
        size = features.tensors[LEVELS[0]].shape[1:]
        share = F.interpolate(masks[None].float(), size, mode="bilinear", antialias=True)[0].sigmoid().flatten(1)
        return share / share.sum(1, keepdim=True)

    def region_scores(self, features: Features, embeddings: Tensor, bank: TextBank) -> Tensor:
        """Logits [K, N] of the mean probability of each class in a mask."""
        probability = self.class_scores(features, bank).sigmoid().flatten(1) @ embeddings.T
        return probability.clamp(EPSILON, 1 - EPSILON).logit()


def _batches(owner: NDArray[np.int64], with_examples: Container[int], batch_size: int) -> Iterator[list[int]]:
    """Split the rows of a bank in order, into batches of texts, and single rows of classes with boxes."""
    for with_boxes, group in groupby(range(len(owner)), lambda row: int(owner[row]) in with_examples):
        rows, size = list(group), 1 if with_boxes else batch_size
        yield from (rows[start : start + size] for start in range(0, len(rows), size))


def _pixel_probability(detections: Detections) -> Tensor:
    """Probability [B, h, w] of each text at each pixel: the larger of its semantic map and its best instance."""
    semantic = detections.presence[:, None, None] * detections.semantic.sigmoid()
    instances = (detections.score[..., None, None] * detections.masks.sigmoid()).amax(1)
    return torch.maximum(semantic, instances)


def load(folder: Path, card: ModelCard, execution: Execution) -> Sam3Segmenter:
    """Load a model directory (`weights.safetensors` and a card)."""
    require_transformers(NAME)
    settings = settings_of(card, Sam3Settings)
    state = read_weights(folder / WEIGHTS, card.weights_sha256)
    kind = Sam3Segmenter if settings.tracker is None else PromptableSam3
    return kind(state, settings, card, image_digest(card, str(card.weights_sha256)), execution)
