"""A Segmenter whose answers are known: words are colours, a pixel scores its likeness to the word's colour.

Red, green and blue are orthogonal, amber lies between red and green; a word that is no colour is like no pixel. So a
pixel scores `SCALE` for its own colour, 0 for any that is orthogonal, and `BACKGROUND_LOGIT` for the background.

Its proposals are the connected regions of one colour, black included, the largest first. A lone click may mean the
region under it, all that has its colour, or the whole picture; several clicks mean the regions of the positive ones
without those of the negative ones; a box means what it holds of its commonest colour.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors, PromptMasks, Proposals, require_shown
from lexiseg_model.cards import BackgroundRule, InputSize, ModelCard, PanopticRule
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures, picture_size
from lexiseg_model.segmenter import Segmenter, TextBank, TextRows
from lexiseg_model.types import ClassEntry, Prompt, Refinement, Region, Task
from lexiseg_model.vocabulary.examples import cells_of, mean_embeddings

SCALE = 8.0
BACKGROUND_LOGIT = 4.0
INSIDE = 10.0  # logit of a mask's pixels; those of the others are as far below 0
QUALITIES = (0.9, 0.6, 0.3)  # of what a lone click may mean
SURE = 0.8  # quality of any other answer
WORD_BONUS = 1.0  # a background word that stays beats a class that is just as likely
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "amber": (204, 153, 0)}
SAME_AS = {"crimson": "red", "lime": "green", "navy": "blue"}


def picture(rows: Sequence[str]) -> NDArray[np.uint8]:
    """An image [H, W, 3] from letters: r, g, b, a are colours, anything else is black, which is like no word."""
    by_letter = {name[0]: colour for name, colour in COLOURS.items()}
    return np.array([[by_letter.get(letter, (0, 0, 0)) for letter in row] for row in rows], np.uint8)


def card(
    words: Sequence[str] = (),
    name: str = "colours",
    tasks: Sequence[Task] = ("semantic",),
    panoptic: PanopticRule = PanopticRule(),
) -> ModelCard:
    return ModelCard(
        name=name,
        version="1",
        method="colours",
        summary="Words are colours.",
        tasks=list(tasks),
        licence="MIT",
        refinements=["none"],
        training_data=[],
        recipe="none",
        commit="0",
        seed=0,
        input=InputSize(short_side=32, long_side=64, multiple=1),
        embedding=4,
        text_tower="colours",
        background=BackgroundRule(words=list(words), same_meaning=0.9, margin=-WORD_BONUS),
        panoptic=panoptic,
        limits=[],
        weights_sha256="0",
    )


class ColourSegmenter(Segmenter):
    """Scores at the image's own resolution, or at the finest that `max_side` allows.

    `asked` lists the strings that went through the text tower; `looked` counts how often regions were looked for.
    """

    def __init__(
        self, words: Sequence[str] = (), tasks: Sequence[Task] = ("semantic",), panoptic: PanopticRule = PanopticRule()
    ) -> None:
        self.card = card(words, tasks=tasks, panoptic=panoptic)
        self.digest = "colours"
        self.text_digest = "colours"
        self.buckets = ()
        self.asked: list[str] = []
        self.looked = 0

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        size = picture_size(rgb)
        step = 1 if options.max_side is None else math.ceil(max(size) / options.max_side)
        return Plan(size, np.ascontiguousarray(rgb[::step, ::step].transpose(2, 0, 1))[None])

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        pixels = torch.from_numpy(tiles).float() / 255
        return (torch.cat([pixels, torch.zeros_like(pixels[:, :1])], 1).half(),)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        return Features(plan.size, {"pixels": tile_features[0][0]})

    def texts(self, classes: tuple[ClassEntry, ...]) -> list[str]:
        return [text for entry in classes for text in entry.texts]

    def encode_texts(self, texts: list[str]) -> NDArray[np.float16]:
        self.asked += texts
        rows = np.zeros((len(texts), 4), np.float16)
        for row, text in zip(rows, texts, strict=True):
            colour = COLOURS.get(SAME_AS.get(text, text))
            row[:] = (0, 0, 0, 1) if colour is None else (*(channel / 255 for channel in colour), 0)
        return rows

    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        return TextBank.of_rows(classes, rows, 4, torch.device("cpu"))

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        return bank.best_of_texts(SCALE * torch.einsum("td,dhw->thw", bank.vectors, features.tensors["pixels"].float()))

    def example_rows(self, features: Features, regions: Sequence[Region]) -> TextRows:
        pixels = features.tensors["pixels"].float()
        cells = [cells_of(region, features.size, pixels) for region in regions]
        return mean_embeddings(cells, pixels).numpy().astype(np.float16)

    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        if positive.shape[1] != 4:
            raise OptionError(f"expected rows [R, 4] of examples, got {list(positive.shape)}")
        mean = F.normalize(torch.from_numpy(positive.astype(np.float32)).mean(0, keepdim=True), dim=1)
        away = torch.from_numpy(negative.astype(np.float32)).mean(0) if len(negative) else 0.0
        return ExampleVectors(mean - away, mean)

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        if threshold is None:
            return torch.tensor(BACKGROUND_LOGIT)
        share = min(max(threshold, 1e-6), 1 - 1e-6)
        return torch.tensor(BACKGROUND_LOGIT + math.log(share / (1 - share)))

    def propose(self, features: Features) -> Proposals:
        return features.derived.once("proposals", lambda: self._propose(features))

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        require_shown(prompts)
        (regions,) = features.derived.once("regions", lambda: (self._regions(features),))
        return [self._answer(features, regions, prompt) for prompt in prompts]

    def prompt_with_negatives(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        return self.prompt(features, prompts)

    def places(self, features: Features) -> Tensor:
        pixels = features.tensors["pixels"].float()[:3]
        dark = (pixels.amax(0, keepdim=True) == 0).float()
        return F.normalize(torch.cat([pixels, dark]), dim=0)

    def embed_masks(self, features: Features, masks: Tensor) -> Tensor:
        pixels = features.tensors["pixels"].float()
        inside = F.interpolate(masks.float()[:, None], size=pixels.shape[1:])[:, 0].gt(0).float()
        summed = torch.einsum("nhw,dhw->nd", inside, pixels)
        return summed / inside.sum((1, 2)).clamp_min(1)[:, None]

    def region_scores(self, features: Features, embeddings: Tensor, bank: TextBank) -> Tensor:
        return bank.best_of_texts(SCALE * bank.vectors @ embeddings.T)

    def _propose(self, features: Features) -> Proposals:
        regions = self._regions(features)
        areas = torch.bincount(regions.flatten())
        masks = torch.stack([_logits(regions == index) for index in areas.argsort(descending=True, stable=True)])
        return Proposals(masks, self.embed_masks(features, masks), torch.full((len(masks),), SURE))

    def _regions(self, features: Features) -> Tensor:
        """[H, W] number of each pixel's region."""
        self.looked += 1
        colours = _colours(features)
        return _parted(colours.numpy().tobytes(), colours.shape[1])

    def _answer(self, features: Features, regions: Tensor, prompt: Prompt) -> PromptMasks:
        colours = _colours(features)
        height, width = colours.shape
        down, across = height / features.size[0], width / features.size[1]

        def under(x: float, y: float) -> tuple[int, int]:
            return min(int(y * down), height - 1), min(int(x * across), width - 1)

        if prompt.box is None and len(prompt.points) == 1:
            at = under(prompt.points[0].x, prompt.points[0].y)
            meant = [regions == regions[at], colours == colours[at], torch.ones_like(regions, dtype=torch.bool)]
            return PromptMasks(torch.stack([_logits(mask) for mask in meant]), torch.tensor(QUALITIES))
        mask = torch.zeros_like(regions, dtype=torch.bool)
        if prompt.box is not None:
            x0, y0, x1, y1 = (round(side * scale) for side, scale in zip(prompt.box, (across, down) * 2, strict=True))
            inside = colours[y0:y1, x0:x1]
            mask[y0:y1, x0:x1] = inside == inside.flatten().mode().values
        for point in sorted(prompt.points, key=lambda point: not point.positive):
            mask[regions == regions[under(point.x, point.y)]] = point.positive
        return PromptMasks(_logits(mask)[None], torch.tensor([SURE]))


def _colours(features: Features) -> Tensor:
    """[H, W] one number for each colour."""
    channels = (255 * features.tensors["pixels"].float()).round().long()
    return channels[0] * 65536 + channels[1] * 256 + channels[2]


@lru_cache(4)  # a test asks about one picture again and again
def _parted(colours: bytes, width: int) -> Tensor:
    """[H, W] number of each pixel's region, of `_colours` row after row. Shared: never write into it."""
    values = np.frombuffer(colours, np.int64).reshape(-1, width)
    regions = np.zeros(values.shape, np.int64)
    n_regions = 0
    for value in np.unique(values):
        n_parts, parts = cv2.connectedComponents((values == value).astype(np.uint8), connectivity=4)
        inside = parts > 0
        regions[inside] = parts[inside] - 1 + n_regions
        n_regions += n_parts - 1
    return torch.from_numpy(regions)


def _logits(mask: Tensor) -> Tensor:
    return INSIDE * (2 * mask.float() - 1)
