"""`dense-clip` as a Segmenter: sliding windows, cosines with texts, the published refinement and background rule.

Features of an image (`Features.tensors`): `patches` [N, D, h, w], unit vectors on the patch grid of each window,
`guide` uint8 [3, H, W], the canvas, and for CLIP-DINOiser `objectness` [N, h, w]. `class_scores` are cosines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.clip import by_example, windowed
from lexiseg_model.clip.images import Padding, normalise
from lexiseg_model.clip.segmenter import ClipSegmenter
from lexiseg_model.clip.text import TextTower
from lexiseg_model.clip.text_side import ClassRule
from lexiseg_model.device import Execution
from lexiseg_model.features import Features, Layout, Plan, TileFeatures
from lexiseg_model.masks import pamr
from lexiseg_model.masks.pamr import PamrSettings
from lexiseg_model.methods.dense_clip.network import DenseNetwork, ImagePass
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.dense_clip.stored import Parts, fetch_from_hub, open_parts, settings_of
from lexiseg_model.segmenter import Competing, ExampleVectors, TextBank, TextRows
from lexiseg_model.types import ModelCard, Refinement, Region
from lexiseg_model.vocabulary.examples import cells_of, means_of

TEXTS_AT_ONCE = 256  # maps of so many are averaged over windows before their classes take the best
MOST_AT_FULL_SIZE = 2**28  # scores, of classes and pixels: a gigabyte
LEAST = 1e-6  # of a threshold of probability, before its logarithm


class DenseClipSegmenter(ClipSegmenter):
    """A stock CLIP under an attention policy, on one device."""

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        rule: ClassRule = "mean_of_units"
        tower = TextTower(parts.towers, execution.device)
        super().__init__(
            card, parts.digest, tower, settings.templates, rule, settings.window, settings.stride, execution
        )
        self.settings = settings
        network = DenseNetwork(parts.towers.visual, settings, parts.proxy, parts.heads)
        self.network = network.to(execution.device, execution.dtype).eval()
        self.probability_scale = settings.logit_scale

    # images

    def image_network(self) -> ImagePass:
        return ImagePass(self.network)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        # Copies: a view would keep the whole batch in memory for as long as this image is remembered.
        tensors = {name: part.clone() for name, part in zip(("patches", "objectness"), tile_features, strict=False)}
        return Features(plan.size, tensors | {"guide": windowed.canvas_of(plan)}, windowed.layout_of(plan))

    @torch.inference_mode()
    def image_embedding(self, tiles: NDArray[np.uint8]) -> Tensor:
        """CLIP's own vectors [N, D] of whole tiles, of unit length."""
        return self.network.image_embedding(torch.from_numpy(tiles).to(self._execution.device))

    # vocabulary side

    @torch.inference_mode()
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        if bank.n_classes == len(bank.owner):
            return self._text_scores(features, bank.vectors)
        return torch.cat([best for best, _ in self._by_class(features, bank)])

    @torch.inference_mode()
    def competing(self, features: Features, bank: TextBank, refine: Refinement) -> Competing:
        """As released: texts compete, averaged over windows, and a class has the probability of its best text.

        Exact: at the image's own size, but on the canvas where that would take too much memory (0.02 % of the fixture's
        labels differ). Fast and refined: the colours are looked at for classes only.
        """
        fast = self._execution.precision == "fast"
        if bank.n_classes == len(bank.owner) or (refine == "pamr" and fast):
            return super().competing(features, bank, refine)
        refined = refine == "pamr"
        whole = not fast and bank.n_classes * math.prod(features.size) <= MOST_AT_FULL_SIZE
        parts = list(self._by_class(features, bank, features.size if whole or refined else None, refined))
        classes = torch.cat([best for best, _ in parts])
        everything = torch.stack([of_texts for _, of_texts in parts]).logsumexp(0)
        best = (classes * self.probability_scale).logsumexp(0)
        others = everything + torch.log1p(-(best - everything).clamp(max=-LEAST).exp())
        return Competing(classes, others, refined)

    @torch.inference_mode()
    def example_rows(self, features: Features, regions: Sequence[Region]) -> NDArray[np.float16]:
        """[R, 2 D]: the mean embedding of each region's cells, and that of the picture."""
        maps = self._embeddings(features)
        cells = [cells_of(region, features.size, maps) for region in regions]
        return by_example.rows_of(means_of(cells, maps), maps.mean((1, 2)))

    @torch.inference_mode()
    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        device = self._execution.device
        return by_example.vectors(positive, negative, self.settings.examples, self.card.embedding, device)

    def _embeddings(self, features: Features) -> Tensor:
        """[D, h, w] over the canvas on a grid as fine as that of the windows, which are averaged."""
        layout = features.layout or Layout(features.size, features.size)
        padding = Padding.to_multiple(layout.tile, self.network.multiple)
        patches = features.tensors["patches"]
        maps = (self._on_window(each.float(), layout, padding) for each in patches)
        merged = windowed.merge(maps, layout, self._execution.precision)
        rows, columns = (max(1, round(side / self.network.multiple)) for side in layout.canvas)
        return F.adaptive_avg_pool2d(merged[None], (rows, columns))[0]

    def _by_class(
        self, features: Features, bank: TextBank, size: tuple[int, int] | None = None, refined: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Of some classes at a time, their best texts' scores [k, h, w] and the logit [h, w] of all their texts."""
        for part, texts in _groups(bank):
            scores = self._text_scores(features, texts)
            if size is not None:
                scores = windowed.resize(scores, size)
            if refined:
                guide = normalise(features.tensors["guide"].to(scores.device)[None], self.settings.normalisation)[0]
                scores = self._refine(scores, windowed.resize(guide, features.size))
            yield windowed.best_of_texts(scores, part), (scores * self.probability_scale).logsumexp(0)

    def _text_scores(self, features: Features, vectors: Tensor) -> Tensor:
        """Cosines [T, h, w] with vectors [T, D], windows averaged."""
        layout = features.layout or Layout(features.size, features.size)
        padding = Padding.to_multiple(layout.tile, self.network.multiple)
        maps = (self._on_window(cosines, layout, padding) for cosines in self.cosines(features, vectors))
        return windowed.merge(maps, layout, self._execution.precision)

    def cosines(self, features: Features, vectors: Tensor) -> Iterator[Tensor]:
        """[T, h, w] on the patch grid of each window, padding included; of vectors [T, D]."""
        for patches in features.tensors["patches"]:
            # [T, D] x [D, h*w] -> [T, h, w]
            yield (vectors @ patches.float().flatten(1)).view(-1, *patches.shape[1:])

    def refined_scores(self, features: Features, bank: TextBank) -> Tensor:
        """PAMR on the cosines, as NACLIP has it.

        Exact: at the image's own size, as published. Fast: on the canvas, and only of classes that win somewhere;
        the others keep their lowest score everywhere.
        """
        scores = self.class_scores(features, bank)
        canvas = features.tensors["guide"].to(self._execution.device)
        guide = normalise(canvas[None], self.settings.normalisation)[0]
        if self._execution.precision == "exact":
            return self._refine(windowed.resize(scores, features.size), windowed.resize(guide, features.size))
        scores = windowed.resize(scores, (guide.shape[1], guide.shape[2]))
        winning = torch.bincount(scores.argmax(0).flatten(), minlength=len(scores)).nonzero()[:, 0]
        refined = scores.amin((1, 2), keepdim=True).expand_as(scores).clone()
        refined[winning] = self._refine(scores[winning], guide)
        return refined

    def nobody_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """Where the best is less probable than the threshold among all that competes, the pixel is nobody's.

        CLIP-DINOiser: less probable than `certainty`, and its heads see no object there.
        """
        if self.settings.policy == "clip_dinoiser" and threshold is None:
            unsure = logits.logsumexp(0) + math.log(self.settings.certainty)
            if features is None:
                return unsure
            is_object = self._objectness(features, (logits.shape[1], logits.shape[2])) > 0.5
            return torch.where(is_object, -torch.inf, unsure)
        least = self.settings.prob_thd if threshold is None else threshold
        return logits.logsumexp(0) + math.log(max(least, LEAST))

    def _refine(self, scores: Tensor, guide: Tensor) -> Tensor:
        steps = PamrSettings(self.settings.pamr_iterations or PamrSettings().iterations, self.settings.pamr_dilations)
        return pamr.refine(scores, guide, steps)

    def _on_window(self, maps: Tensor, layout: Layout, padding: Padding) -> Tensor:
        """[T, h, w] on the patch grid -> on the window's pixels, or lattice when fast, without the padding."""
        step = 1 if self._execution.precision == "exact" else windowed.LATTICE
        height, width = padding.padded(layout.tile)
        return padding.over(step).crop(windowed.resize(maps, (height // step, width // step)))

    def _objectness(self, features: Features, size: tuple[int, int]) -> Tensor:
        """[H, W] in 0..1, windows averaged."""
        layout = features.layout or Layout(features.size, features.size)
        padding = Padding.to_multiple(layout.tile, self.network.multiple)
        maps = (self._on_window(each.float()[None], layout, padding) for each in features.tensors["objectness"])
        return windowed.resize(windowed.merge(maps, layout, self._execution.precision), size)[0]


def _groups(bank: TextBank) -> Iterator[tuple[TextBank, Tensor]]:
    """Neighbouring classes with about `TEXTS_AT_ONCE` texts: their own bank, and its vectors."""
    first = 0
    ends = np.searchsorted(bank.owner, np.arange(1, bank.n_classes + 1))
    while first < bank.n_classes:
        begin = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, begin + TEXTS_AT_ONCE, "right")))
        chosen = slice(begin, int(ends[last - 1]))
        vectors = bank.vectors[chosen]
        yield TextBank(vectors, bank.owner[chosen] - first, last - first), vectors
        first = last


def load(folder: Path, card: ModelCard, execution: Execution) -> DenseClipSegmenter:
    """Loads a model directory, or the hub's weights by the card's settings.

    Raises:
        WeightsError: the weights are missing, damaged, or of another model.
    """
    settings = settings_of(card)
    return DenseClipSegmenter(open_parts(folder, card, settings), settings, card, execution)


def require_weights(card: ModelCard) -> None:
    """Fetches the hub's weights of a card that names no file.

    Raises:
        WeightsError: they cannot be had; the message says the two ways to provide them.
    """
    fetch_from_hub(card)
