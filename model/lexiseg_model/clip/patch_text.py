"""Segmenters over two towers with a common space: one for patches of images, one for rows of texts.

Features of an image: `patches` [N, D, h, w], unit vectors on the patch grid of each window, `guide` uint8 [3, H, W],
the canvas, and whatever else the image tower gives. `class_scores` are cosines.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from lexiseg_model.abilities import ExampleVectors
from lexiseg_model.cards import ModelCard, StrictModel
from lexiseg_model.clip import by_example, fusion, windowed
from lexiseg_model.clip.by_example import ExampleLevels
from lexiseg_model.clip.images import Normalisation, Padding, normalise
from lexiseg_model.clip.segmenter import ClipSegmenter
from lexiseg_model.clip.text_side import RawRows, template_set
from lexiseg_model.features import Features, Layout
from lexiseg_model.masks import pamr
from lexiseg_model.masks.pamr import PamrSettings
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import Competing, TextBank, TextRows
from lexiseg_model.types import Refinement, Region

TEXTS_AT_ONCE = 256  # maps of so many are averaged over windows before their classes take the best
MAX_SCORES_AT_FULL_SIZE = 2**28  # scores, of classes and pixels: a gigabyte
MIN_PROBABILITY = 1e-6  # of a threshold of probability, before its logarithm


class PatchTextSettings(StrictModel):
    """Sliding windows, text templates, and the rule from scores to labels; part of a card's `settings`."""

    normalisation: Normalisation = "clip_rounded"

    window: int | None = Field(224, ge=32, description="side of a square window in pixels; None: the whole image")
    stride: int | None = Field(112, ge=1, description="distance between windows, in pixels")

    templates: str = Field("imagenet80", description="a set of lexiseg_model.clip.text_side")
    logit_scale: float = Field(40, gt=0, description="factor of cosines before the softmax over texts")
    prob_thd: float = Field(0, ge=0, le=1, description="probability below which a pixel goes to class 0")
    pamr_iterations: int = Field(0, ge=0, description="passes of refinement on the cosines; 0: none")
    pamr_dilations: tuple[int, ...] = Field((8, 16), min_length=1)

    examples: ExampleLevels = ExampleLevels()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        windowed.require_windows(self.window, self.stride)
        template_set(self.templates)
        return self


class ImageTower(nn.Module, ABC):
    """An image tower that gives patches."""

    multiple: int  # pixels: tiles are padded with the mean colour to multiples of it

    @abstractmethod
    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Encode tiles uint8 [N, 3, s, t]: `patches` [N, D, h, w] of unit length in the text space, and other maps."""


class PatchTextSegmenter(ClipSegmenter):
    """An image tower and a text tower on one device."""

    maps = ("patches",)

    def __init__(
        self,
        tower: ImageTower,
        texts: RawRows,
        settings: PatchTextSettings,
        card: ModelCard,
        digest: str,
        execution: Execution,
    ) -> None:
        windows = settings.window, settings.stride
        super().__init__(card, digest, texts, settings.templates, "mean_of_units", *windows, execution)
        self.settings = settings
        self.tower = tower.to(execution.device, execution.dtype).eval()
        self.probability_scale = settings.logit_scale

    def image_network(self) -> nn.Module:
        return self.tower

    @torch.inference_mode()
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        bank = self._fused(features, bank)
        if bank.n_classes == len(bank.owner):
            scores = self._text_scores(features, bank.vectors)
            return scores if bank.levels is None else scores + bank.levels[:, None, None] / self.probability_scale
        return torch.cat([best for best, _ in self._by_class(features, bank)])

    @torch.inference_mode()
    def competing(self, features: Features, bank: TextBank, refine: Refinement) -> Competing:
        """As released: texts compete, averaged over windows, and a class has the probability of its best text.

        Exact: at the image's own size where memory allows, else on the canvas. Fast and refined: of classes only.
        """
        bank = self._fused(features, bank)
        fast = self._execution.precision == "fast"
        if bank.n_classes == len(bank.owner) or (refine == "pamr" and fast):
            return super().competing(features, bank, refine)
        refined = refine == "pamr"
        whole = not fast and bank.n_classes * math.prod(features.size) <= MAX_SCORES_AT_FULL_SIZE
        parts = list(self._by_class(features, bank, features.size if whole or refined else None, refined))
        classes = torch.cat([best for best, _ in parts])
        everything = torch.stack([of_texts for _, of_texts in parts]).logsumexp(0)
        best = (classes * self.probability_scale).logsumexp(0)
        # log(exp(everything) - exp(best)): the texts that are not the best of their class.
        others = everything + torch.log1p(-(best - everything).clamp(max=-MIN_PROBABILITY).exp())
        return Competing(classes, others, refined)

    @torch.inference_mode()
    def example_rows(self, features: Features, regions: Sequence[Region]) -> NDArray[np.float16]:
        """[R, 2 D]: the mean embedding of each region's cells, and that of the picture."""
        return by_example.region_rows(self._embeddings(features), features.size, regions)

    @torch.inference_mode()
    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        device = self._execution.device
        return by_example.vectors(positive, negative, self.settings.examples, self.card.embedding, device)

    def _fused(self, features: Features, bank: TextBank) -> TextBank:

        def cells() -> Tensor:
            return self.patches(features).flatten(1).T  # [D, h, w] -> [h*w, D]

        return fusion.bank_for_image(features, bank, cells, self.probability_scale)

    def patches(self, features: Features) -> Tensor:
        """Unit embeddings [D, h, w] over the canvas on a grid as fine as that of the windows."""
        return F.normalize(self._embeddings(features), dim=0)

    def _embeddings(self, features: Features) -> Tensor:
        """[D, h, w] over the canvas on a grid as fine as that of the windows, which are averaged."""
        layout = windowed.layout_of(features)
        padding = Padding.to_multiple(layout.tile, self.tower.multiple)
        patches = features.tensors["patches"]
        maps = (self.on_window(each.float(), layout, padding) for each in patches)
        merged = windowed.merge(maps, layout, self._execution.precision)
        rows, columns = (max(1, round(side / self.tower.multiple)) for side in layout.canvas)
        return F.adaptive_avg_pool2d(merged[None], (rows, columns))[0]

    def _by_class(
        self, features: Features, bank: TextBank, size: tuple[int, int] | None = None, refined: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, for some classes at a time, scores [k, h, w] of their best texts and the logit [h, w] of all texts."""
        guide = windowed.resize(self._guide(features), features.size) if refined else None
        for part in _parts_of(bank):
            scores = self._text_scores(features, part.vectors)
            if size is not None:
                scores = windowed.resize(scores, size)
            if guide is not None:
                scores = self._refine(scores, guide)
            yield part.best_of_texts(scores), (scores * self.probability_scale).logsumexp(0)

    def _text_scores(self, features: Features, vectors: Tensor) -> Tensor:
        """Cosines [T, h, w] with vectors [T, D], windows averaged."""
        layout = windowed.layout_of(features)
        padding = Padding.to_multiple(layout.tile, self.tower.multiple)
        maps = (self.on_window(cosines, layout, padding) for cosines in self.cosines(features, vectors))
        return windowed.merge(maps, layout, self._execution.precision)

    def cosines(self, features: Features, vectors: Tensor) -> Iterator[Tensor]:
        """[T, h, w] on the patch grid of each window, padding included; of vectors [T, D]."""
        for patches in features.tensors["patches"]:
            # [T, D] x [D, h*w] -> [T, h, w]
            yield (vectors @ patches.float().flatten(1)).view(-1, *patches.shape[1:])

    def refined_scores(self, features: Features, bank: TextBank) -> Tensor:
        """PAMR on the cosines, as NACLIP has it: exact at the image's own size, fast on the canvas, of classes that
        win."""
        scores = self.class_scores(features, bank)
        guide = self._guide(features)
        if self._execution.precision == "exact":
            return self._refine(windowed.resize(scores, features.size), windowed.resize(guide, features.size))
        scores = windowed.resize(scores, (guide.shape[1], guide.shape[2]))
        winning = torch.bincount(scores.argmax(0).flatten(), minlength=len(scores)).nonzero()[:, 0]
        refined = scores.amin((1, 2), keepdim=True).expand_as(scores).clone()
        refined[winning] = self._refine(scores[winning], guide)
        return refined

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """Score that wins where the best class is less probable than the threshold among all that competes."""
        threshold = self.settings.prob_thd if threshold is None else threshold
        return logits.logsumexp(0) + math.log(max(threshold, MIN_PROBABILITY))

    def _guide(self, features: Features) -> Tensor:
        """The canvas float32 [3, H, W], normalised: the colours that PAMR compares."""
        canvas = features.tensors["guide"].to(self._execution.device)
        return normalise(canvas[None], self.settings.normalisation)[0]

    def _refine(self, scores: Tensor, guide: Tensor) -> Tensor:
        """Scores [K, h, w] after PAMR by the colours of a guide [3, h, w]."""
        steps = PamrSettings(self.settings.pamr_iterations or PamrSettings().iterations, self.settings.pamr_dilations)
        return pamr.refine(scores, guide, steps)

    def on_window(self, maps: Tensor, layout: Layout, padding: Padding) -> Tensor:
        """Resize maps [T, h, w] of the patch grid to the window's pixels, or its lattice when fast, without padding."""
        step = 1 if self._execution.precision == "exact" else windowed.LATTICE
        height, width = padding.padded(layout.tile)
        return padding.over(step).crop(windowed.resize(maps, (height // step, width // step)))


def _parts_of(bank: TextBank) -> Iterator[TextBank]:
    """Split a bank into banks of neighbouring classes with about `TEXTS_AT_ONCE` texts."""
    first = 0
    ends = np.searchsorted(bank.owner, np.arange(1, bank.n_classes + 1))
    while first < bank.n_classes:
        begin = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, begin + TEXTS_AT_ONCE, "right")))
        rows = slice(begin, int(ends[last - 1]))
        yield TextBank(bank.vectors[rows], bank.owner[rows] - first, last - first)
        first = last
