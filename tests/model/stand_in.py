"""A Segmenter whose answers are known: words are colours, a pixel scores its likeness to the word's colour.

Red, green and blue are orthogonal, amber lies between red and green; a word that is no colour is like no pixel. So a
pixel scores `SCALE` for its own colour, 0 for any that is orthogonal, and `NOBODY` for nobody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.segmenter import Features, InferenceOptions, Plan, Segmenter, TextBank, TextRows, TileFeatures
from model.types import BackgroundRule, ClassEntry, InputSize, ModelCard, Refinement

SCALE = 8.0
NOBODY = 4.0
WORD_BONUS = 1.0  # a background word that stays beats a class that is just as likely
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "amber": (204, 153, 0)}
SAME_AS = {"crimson": "red", "lime": "green", "navy": "blue"}


def picture(rows: Sequence[str]) -> NDArray[np.uint8]:
    """An image [H, W, 3] from letters: r, g, b, a are colours, anything else is black, which is like no word."""
    by_letter = {name[0]: colour for name, colour in COLOURS.items()}
    return np.array([[by_letter.get(letter, (0, 0, 0)) for letter in row] for row in rows], np.uint8)


def card(words: Sequence[str] = (), name: str = "colours") -> ModelCard:
    return ModelCard(
        name=name,
        version="1",
        method="colours",
        summary="Words are colours.",
        tasks=["semantic"],
        licence="MIT",
        training_data=[],
        recipe="none",
        commit="0",
        seed=0,
        input=InputSize(short_side=32, long_side=64, multiple=1),
        embedding=4,
        text_tower="colours",
        background=BackgroundRule(words=list(words), same_meaning=0.9, margin=-WORD_BONUS),
        limits=[],
        weights_sha256="0",
    )


class ColourSegmenter(Segmenter):
    """Scores at the image's own resolution; `asked` lists the strings that went through the text tower."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.card = card(words)
        self.digest = "colours"
        self.text_digest = "colours"
        self.buckets = ()
        self.asked: list[str] = []

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        return Plan((rgb.shape[0], rgb.shape[1]), np.ascontiguousarray(rgb.transpose(2, 0, 1))[None])

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
        owner = np.repeat(np.arange(len(classes)), [len(entry.texts) for entry in classes])
        return TextBank(torch.from_numpy(rows).float(), owner, len(classes))

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        scores = SCALE * torch.einsum("td,dhw->thw", bank.vectors, features.tensors["pixels"].float())
        return torch.stack([scores[torch.from_numpy(bank.owner == k)].amax(0) for k in range(bank.n_classes)])

    def nobody_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        if threshold is None:
            return torch.tensor(NOBODY)
        share = min(max(threshold, 1e-6), 1 - 1e-6)
        return torch.tensor(NOBODY + math.log(share / (1 - share)))
