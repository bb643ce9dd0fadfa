"""The Segmenter interface of all methods: expensive, shared image encoding, and cheap scoring per vocabulary.

plan(rgb)            -> Plan          the tiles to encode
encode_tiles(tiles)  -> TileFeatures  the only heavy pass; tiles of many requests are batched
assemble(plan, ...)  -> Features      features of one image, to be cached
encode_texts(texts)  -> rows          rows of the text tower, to be cached
text_bank(classes)   -> TextBank      class vectors from rows
class_scores(...)    -> [K, h, w]     scores, for any number of vocabularies over the same Features

All methods implement the first three. Each other group of steps is a protocol, `Words` or one of
`lexiseg_model.abilities`: a method that has its methods can do it, and the card shows it.
`lexiseg_model.video.following` has the memory of videos.

Shapes: K classes, T texts, S rows, D embedding dimensions, N masks or regions, [h, w] the method's own low resolution,
[H, W] the size of the image. A card declares what a method implements; `lexiseg_model.tasks` builds the tasks from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.cards import ModelCard
from lexiseg_model.errors import ShapeError, TaskError
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures
from lexiseg_model.resources.device import held_bytes
from lexiseg_model.resources.lru import Lru
from lexiseg_model.types import ClassEntry, Refinement, Vocabulary

TextRows = NDArray[np.float16] | NDArray[np.float32]  # [S, D]
RowsOf = Callable[[list[str]], TextRows]  # returns the rows of texts, from a cache or the text tower


class Unfamiliar(NamedTuple):
    """A class unlike all training words of a model; `nearest` is the most similar of them."""

    class_index: int
    nearest: str
    likeness: float  # cosine with `nearest`, -1..1
    bound: float  # cosine from which a word is familiar
    is_foreign: bool = False  # not in a language that the text tower reads


class Support(NamedTuple):
    """Texts and examples of classes, to be fused: unit vectors `texts` [T, D] and `examples` [R, D].

    `text_owner` [T] and `example_owner` [R] are class indices, int64 on the same device.
    """

    texts: Tensor
    text_owner: Tensor
    examples: Tensor
    example_owner: Tensor


@dataclass(frozen=True)
class TextBank:
    """An encoded vocabulary: one vector for each text or example.

    Attributes:
        vectors: [T, D].
        owner: [T] int64, ascending: class index of each vector.
        n_classes: K, background words included.
        has_examples: some vectors come from examples, and need not have unit length.
        levels: [T], added to the logits of each text; None: zeros.
        support: texts and examples of classes that have both, for methods that fuse them; None: there are none.
        excluded: cells that classes do not get, by class index.
        learned: what classes were taught; None: nothing.
        of_head: class indices of a head, taught or not, and of the model's own taught classes.
        n_background: how many of the classes, the last ones, are background words.
        shifts: [T, F], what training adds to the scores of each text, in numbers of the method's own; None: nothing.
        parts: parts among the classes that are asked; None: no class is one.
        derived: values that methods computed from the bank, by name; cached with it.
    """

    vectors: Tensor
    owner: NDArray[np.int64]
    n_classes: int
    has_examples: bool = False
    levels: Tensor | None = None
    support: Support | None = None
    excluded: dict[int, Excluded] = field(default_factory=dict)
    learned: LearnedClasses | None = None
    of_head: tuple[int, ...] = ()
    n_background: int = 0
    shifts: Tensor | None = None
    parts: AskedParts | None = None
    derived: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @classmethod
    def of_rows(
        cls, classes: Sequence[ClassEntry], rows: TextRows, width: int, device: torch.device, templates: int = 1
    ) -> TextBank:
        """A bank of unchanged text rows [T, width], as float32 on the device; a class has a row per text and template.

        Raises:
            ShapeError: the rows have another shape.
        """
        owner = np.repeat(np.arange(len(classes)), [len(entry.texts) * templates for entry in classes])
        if rows.shape != (len(owner), width):
            raise ShapeError(f"expected text rows {[len(owner), width]}, got {list(rows.shape)}")
        return cls(torch.tensor(rows, dtype=torch.float32, device=device), owner, len(classes))

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors and of the derived values."""
        return held_bytes(self)

    def best_of_texts(self, scores: Tensor) -> Tensor:
        """Scores [K, ...] of each class's best vector, of scores [T, ...]."""
        if len(scores) == self.n_classes:
            return scores
        owner = torch.from_numpy(self.owner).to(scores.device).view(-1, *[1] * (scores.ndim - 1)).expand_as(scores)
        best = scores.new_full((self.n_classes, *scores.shape[1:]), -torch.inf)
        return best.scatter_reduce_(0, owner, scores, "amax")


class AskedParts(NamedTuple):
    """Which of K classes are parts of things, `is_part` [K] bool, and P pairs of a `part` with its `whole`, [P] int64.

    The product of `directions` [P, F] with a method's own numbers of a cell says by how much it is rather the part's.
    Pairs that are `by_text` [P] bool have none: texts say which cells are such a part's.
    """

    is_part: Tensor
    part: Tensor
    whole: Tensor
    directions: Tensor
    by_text: Tensor

    def among(self, n_classes: int) -> AskedParts | None:
        """The parts among the first classes, and the pairs of the ones that are in no whole by text."""
        is_part = self.is_part[:n_classes]
        if not is_part.any():
            return None
        pairs = (self.part < n_classes) & (self.whole < n_classes)
        pairs &= ~torch.isin(self.part, self.part[pairs & self.by_text])
        return AskedParts(is_part, *(each[pairs] for each in self[1:]))


class Excluded(NamedTuple):
    """Cells that a class by example does not get, because they are like its negative examples.

    `negatives` [N, D]: unit embeddings; a cell is like one from a cosine of its `bound` [N] on. `examples` [P, D]:
    unit embeddings; a cell that is more like one of them stays.
    """

    negatives: Tensor
    bound: Tensor
    examples: Tensor


class LearnedClasses(NamedTuple):
    """The L classes of a bank that a head has learned.

    `classes` [L]: class indices; `directions` [L, F] float32; `text` [L] float32: factors of the logits by words;
    `n_listed`: classes before the background words; `by_words` [P]: indices of the head's classes that keep the pixels
    that words give to them; `places` [L, S + 1] float32 as of `Head`, None where each picture has all as taught.
    """

    classes: NDArray[np.int64]
    directions: Tensor
    text: Tensor
    n_listed: int
    by_words: NDArray[np.int64]
    places: Tensor | None


class Competing(NamedTuple):
    """Scores that compete for the cells of an image.

    Attributes:
        classes: [K, h, w] scores, which callers may overwrite; all background words may share one row.
        others: [h, w] logit of all texts but the best of each class, for methods in which all texts compete.
        refined: the scores are already refined by colours.
        whole_image: [K] as of `Segmenter.whole_image`, where the scores are made with it.
    """

    classes: Tensor
    others: Tensor | None = None
    refined: bool = False
    whole_image: Tensor | None = None


class Segmenter(ABC):
    """A loaded model: its image side, which every method has, and defaults that methods with words may override.

    What else it can do is which of the protocols below it has the methods of.
    """

    card: ModelCard
    digest: str  # of the weights and settings of the image pass: the key of cached features
    text_digest: str  # of the text tower: models of the same digest share text rows
    buckets: tuple[tuple[int, int], ...]  # tile shapes (s, t) to warm up
    probability_scale: float = 1.0  # softmax(scores * probability_scale) are probabilities
    # (classes, background words) -> bank; None where weights or card may change, as in training.
    banks: Lru[tuple[tuple[ClassEntry, ...], tuple[str, ...]], TextBank] | None = None
    # Whether image passes of several threads share a CPU well. Torch's compete: each starts threads of its own.
    passes_overlap: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in memory; methods add memory outside tensors."""
        return held_bytes(self)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the cached banks."""
        return sum(bank.nbytes for bank in self.banks.values()) if self.banks is not None else 0

    @abstractmethod
    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        """Plan the tiles of an image uint8 [H, W, 3], which the plan may keep: it must not be modified.

        Raises:
            ShapeError: rgb is not a non-empty uint8 [H, W, 3].
        """

    @abstractmethod
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        """Encode uint8 tiles [N, 3, s, t] of one bucket; a tile's features do not depend on its batch."""

    def encode_teaching(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        """As `encode_tiles`, with what teaching needs behind it, where the model can be taught."""
        return self.encode_tiles(tiles)

    @abstractmethod
    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        """Assemble the features of one image from its tiles', which it may keep: they share no memory."""

    def encode(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Features:
        """The whole image pass of one image [H, W, 3]; arguments and errors as `plan`."""
        plan = self.plan(rgb, options)
        encode = self.encode_teaching if plan.teaching else self.encode_tiles
        return self.assemble(plan, encode(plan.tiles))

    def presence(self, features: Features, bank: TextBank) -> Tensor:
        """Logit [K] float32 of each class being in the image; by default its highest score."""
        return words_of(self).class_scores(features, bank).flatten(1).amax(1)

    def whole_image(self, features: Features, bank: TextBank) -> Tensor:
        """Logit [K] float32 of each class in the whole-image head; by default `presence`."""
        return self.presence(features, bank)

    def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        """The classes unlike all training words; none where these are unknown.

        `rows_of` returns rows of `texts(classes)`; it is not called for texts that were checked before.
        """
        return []

    def training_words(self) -> Sequence[str]:
        """All words of the training, in English; empty where they are unknown."""
        return ()

    def readable(self, vocabulary: Vocabulary, english: Callable[[Vocabulary], Vocabulary]) -> Vocabulary:
        """The vocabulary with texts that the text tower reads; by default of `english`, which translates them."""
        return english(vocabulary)

    def explained(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary with the `senses` of words that the model knows better by their glosses; by default none."""
        return vocabulary

    def refined_scores(self, features: Features, bank: TextBank) -> Tensor | None:
        """Scores [K, H, W] after the method's own refinement by colours.

        None: the method has none, and PAMR refines the probabilities of classes and background.
        """
        return None

    def competing(self, features: Features, bank: TextBank, refine: Refinement) -> Competing:
        """The competing scores; with `refine` pamr after `refined_scores`, if the method has it."""
        scores = self.refined_scores(features, bank) if refine == "pamr" else None
        if scores is None:
            return Competing(words_of(self).class_scores(features, bank))
        return Competing(scores, refined=True)

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        """Unit vectors [T, D], one for each text, to compare background words with classes."""
        return rows.astype(np.float32)

    def patches(self, features: Features) -> Tensor | None:
        """Unit vectors [D, h, w] of the image's patches; None: there are none."""
        return None

    def likeness(self, features: Features) -> Tensor | None:
        """Unit vectors [C, h, w] that say what belongs together, for the refinement `lposs`; None: only colours do."""
        return self.patches(features)


@runtime_checkable
class Words(Protocol):
    """Text classes, scored against features."""

    def texts(self, classes: tuple[ClassEntry, ...]) -> list[str]:
        """The exact strings, in the method's templates, for the rows that `text_bank` needs, in its order."""

    def encode_texts(self, texts: list[str]) -> TextRows:
        """Rows [S, D] of the text tower: fp16, so that cached and new rows are equal; float32 when exact."""

    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        """Compute the vectors of each class from the rows of `texts(classes)`.

        Raises:
            ShapeError: `rows` does not have one row for each of `texts(classes)`.
        """

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Scores [K, h, w] float32 in the method's own units, before the background rule."""

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """The background logit that a class must exceed to win a cell, before the card's calibration.

        Args:
            logits: [K, h, w], scores times `probability_scale`, background words included; [K, 1, N] of regions.
            threshold: probability in 0..1; None: the method's own, which may depend on `refine`.

        Returns:
            [h, w], or [] if it is the same everywhere.
        """


def words_of(segmenter: Segmenter) -> Words:
    """The model, as one with text classes. Raises TaskError: it has none."""
    if not isinstance(segmenter, Words):
        raise TaskError(f"{segmenter.card.name} has no text classes: it segments what prompts show")
    return segmenter
