"""The Segmenter interface: image work and vocabulary work are split, because one is dear and shared, the other cheap.

plan(rgb)            -> Plan          what to encode
encode_tiles(tiles)  -> TileFeatures  the only heavy pass; tiles of many requests together
assemble(plan, ...)  -> Features      one image, to be kept
encode_texts(texts)  -> rows          raw rows of the text tower, to be kept for ever
text_bank(classes)   -> TextBank      the method's own rule from rows to class vectors
class_scores(...)    -> [K, h, w]     cheap; any number of vocabularies over the same Features
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.errors import OptionError
from model.memory import held_bytes
from model.types import ClassEntry, ModelCard, Refinement

TileFeatures = tuple[Tensor, ...]  # every tensor has one entry per tile in front
TextRows = NDArray[np.float16] | NDArray[np.float32]  # [S, D]


@dataclass(frozen=True)
class InferenceOptions:
    """What may change the image pass. `max_side` caps the longer side of the network's input, in pixels."""

    max_side: int | None = None


@dataclass(frozen=True)
class Layout:
    """Where the tiles of one image lie: `offsets` (top, left) of each on a `canvas` (height, width) of pixels."""

    canvas: tuple[int, int]
    tile: tuple[int, int]
    offsets: tuple[tuple[int, int], ...] = ((0, 0),)


@dataclass(frozen=True)
class Plan:
    """The tiles of one image and how to put them back.

    `tiles` is uint8 [N, 3, s, t] RGB; every tile of one plan has the same shape, its *bucket*. A plan without a
    `layout` is one tile, the whole image.
    """

    size: tuple[int, int]  # of the image as sent
    tiles: NDArray[np.uint8]
    layout: Layout | None = None

    @property
    def bucket(self) -> tuple[int, int]:
        """(s, t) of the tiles; tiles of one bucket can be encoded together."""
        return (self.tiles.shape[2], self.tiles.shape[3])

    def of_size(self, size: tuple[int, int]) -> Plan:
        """The same tiles for an image that was decoded smaller than its `size`."""
        return replace(self, size=size)


@dataclass(frozen=True)
class Features:
    """What is kept of one image: tensors by name, fp16 (float32 where the model was loaded as exact)."""

    size: tuple[int, int]
    tensors: dict[str, Tensor]
    layout: Layout | None = None

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())


@dataclass(frozen=True)
class TextBank:
    """Vectors [T, D] of texts; `owner` [T] says which class each stands for."""

    vectors: Tensor
    owner: NDArray[np.int64]
    n_classes: int


class Segmenter(ABC):
    """A loaded model. Methods implement what they can; the card declares it."""

    card: ModelCard
    digest: str  # of the weights that decide the image pass
    text_digest: str  # of the text tower: rows of one digest may be shared between models
    buckets: tuple[tuple[int, int], ...]  # tile shapes to warm up
    probability_scale: float = 1.0  # the softmax of scores times this is a probability

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in memory, for a worker's budget.

        A method that holds weights where no tensor shows them adds these.
        """
        return held_bytes(self)

    @abstractmethod
    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        """Decides what to encode.

        Args:
            rgb: [H, W, 3].
            options: what the request says about the image pass.

        Raises:
            ShapeError: rgb is not a non-empty uint8 [H, W, 3].
        """

    @abstractmethod
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        """Encodes tiles [N, 3, s, t] of one bucket; the answer for a tile does not depend on its neighbours."""

    @abstractmethod
    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        """Puts the tiles of one plan together."""

    @abstractmethod
    def texts(self, classes: tuple[ClassEntry, ...]) -> list[str]:
        """The exact strings whose rows `text_bank` needs, in its order (templates filled in)."""

    @abstractmethod
    def encode_texts(self, texts: list[str]) -> TextRows:
        """Raw rows [S, D] of the text tower, rounded to fp16 so that a kept row and a fresh one are equal.

        A model loaded as exact gives float32.
        """

    @abstractmethod
    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        """The method's rule from rows (of `texts(classes)`, in order) to the vectors of each class.

        Raises:
            ShapeError: `rows` has not one row for each of `texts(classes)`.
        """

    @abstractmethod
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Scores [K, h, w] float32 at native resolution, before the background rule.

        In the method's own units; times `probability_scale` they are logits.
        """

    def refined_scores(self, features: Features, bank: TextBank) -> Tensor | None:
        """Scores [K, H, W] after the method's own refinement by colours.

        None where it has none of its own: then probabilities are refined, once classes and nobody have competed.
        """
        return None

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        """Unit vectors [T, D], one for each text of the classes: what tells a background word from a class."""
        return rows.astype(np.float32)

    def guide(self, features: Features) -> Tensor:
        """A small, normalised image [3, H, W] float32 for refinement by colours.

        Raises:
            OptionError: the method keeps none.
        """
        raise OptionError(f"{self.card.name} cannot refine its masks; refine must be none")

    @abstractmethod
    def nobody_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """The logit that a class must beat to own a pixel, before the card's calibration.

        Args:
            logits: [K, h, w] of all that competes, background words included: scores times `probability_scale`.
            threshold: probability in 0..1 that replaces the method's own; None keeps that.
            refine: how the logits were refined; a method may have a threshold for each.
            features: of the image, for methods that see in them what no class explains.

        Returns:
            [h, w], or [] where every pixel has the same.
        """
