"""A method whose words are names of colours: a pixel belongs to the nearest colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageColor
from torch import Tensor

from lexiseg_model import (
    ClassEntry,
    Execution,
    Features,
    InferenceOptions,
    ModelCard,
    Plan,
    Refinement,
    Segmenter,
    ShapeError,
    TextBank,
    TextRows,
    TileFeatures,
    picture_size,
)

SHARPNESS = 40.0  # of the softmax over distances
FAR = 0.3  # distance of colours (0 to 1 each channel) from which a pixel belongs to no class
NOWHERE = (-9.0, -9.0, -9.0)  # colour of a word that names none: far from every pixel


def require_weights(card: ModelCard) -> None:
    """Check that weights are there, before a model is loaded; this method has none."""


def load(folder: Path, card: ModelCard, execution: Execution) -> Segmenter:
    """Load the model; a method with weights reads them from `folder` onto `execution.device`."""
    return PaletteSegmenter(card)


class PaletteSegmenter(Segmenter):
    """The steps from which lexiseg makes the tasks semantic, instance and panoptic."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self.digest = self.text_digest = f"palette-{card.version}"
        self.buckets = ()

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        """One tile [1, 3, s, t]: every `step`-th pixel of an image [H, W, 3]."""
        size = picture_size(rgb)
        longest = min(options.max_side or self.card.input.long_side, self.card.input.long_side)
        step = -(-max(size) // longest)
        tile = np.ascontiguousarray(rgb[::step, ::step].transpose(2, 0, 1))
        return Plan(size, tile[None])

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        """Tiles [N, 3, s, t] -> colours [N, 3, s, t] in 0..1; a network's image pass would be here."""
        return ((torch.from_numpy(tiles).float() / 255).half(),)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        """Features of one image from those of its tiles."""
        return Features(plan.size, {"colours": tile_features[0][0]})

    def texts(self, classes: tuple[ClassEntry, ...]) -> list[str]:
        """The texts to encode: names and synonyms as they are."""
        return [text for entry in classes for text in entry.texts]

    def encode_texts(self, texts: list[str]) -> TextRows:
        """Texts -> colours [S, 3]; a text tower would be here."""
        return np.array([_colour(text) for text in texts], np.float16).reshape(-1, 3)

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        """Unit vectors [T, 3] of the colours, by which background words are compared with classes."""
        centred = rows.astype(np.float32) - 0.499  # black has a direction, too
        lengths: NDArray[np.float32] = np.linalg.norm(centred, axis=1, keepdims=True)
        return centred / lengths

    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        """Colours [T, 3] of all texts, with the class of each."""
        owner = np.repeat(np.arange(len(classes)), [len(entry.texts) for entry in classes])
        if rows.shape != (len(owner), 3):
            raise ShapeError(f"expected text rows [{len(owner)}, 3], got {list(rows.shape)}")
        return TextBank(torch.from_numpy(rows).float(), owner, len(classes))

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Scores [K, h, w]: minus the distance to the nearest of a class's colours."""
        colours = features.tensors["colours"].float()
        distances = torch.stack([(colours - row[:, None, None]).norm(dim=0) for row in bank.vectors])  # [T, h, w]
        owner = torch.from_numpy(bank.owner)
        return torch.stack([-SHARPNESS * distances[owner == k].amin(0) for k in range(bank.n_classes)])

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """The score that a class must exceed: that of the distance FAR, shifted by a threshold (0 to 1)."""
        share = min(max(0.5 if threshold is None else threshold, 1e-6), 1 - 1e-6)
        return torch.tensor(-SHARPNESS * FAR) + torch.logit(torch.tensor(share))


def _colour(text: str) -> tuple[float, ...]:
    try:
        return tuple(channel / 255 for channel in ImageColor.getrgb(text.replace(" ", ""))[:3])
    except ValueError:
        return NOWHERE
