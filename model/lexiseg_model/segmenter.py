"""The Segmenter interface: image work, which is expensive and shared, apart from vocabulary work, which is cheap.

plan(rgb)            -> Plan          the tiles to encode
encode_tiles(tiles)  -> TileFeatures  the only heavy pass; tiles of many requests go together
assemble(plan, ...)  -> Features      of one image, to be cached
encode_texts(texts)  -> rows          raw rows of the text tower, to be cached
text_bank(classes)   -> TextBank      from rows to class vectors, by the method's rule
class_scores(...)    -> [K, h, w]     cheap: any number of vocabularies over the same Features

All methods have the first three; those without words end there and take prompts alone. Methods with masks of their own
implement:

propose(features)    -> Proposals     masks of everything in the image
prompt(features, ..) -> PromptMasks   masks of what points and boxes show
embed_masks(...)     -> [N, D]        embeddings of what masks show
region_scores(...)   -> [K, N]        class scores of these embeddings
places(features)     -> [D, h, w]     embeddings of places, to follow objects through a video

Methods that take classes by example implement:

example_rows(...)    -> rows          of regions of an image, to be cached like text rows
example_vectors(...) -> [V, D]        from these rows to vectors of a class, by the method's rule

Shapes: K classes, T texts, S rows, D dimensions of an embedding, N masks or regions, [h, w] the method's own low
resolution, [H, W] the size of the image. A card declares what a method implements; `lexiseg_model.tasks` builds the
tasks from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError, TaskError
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures
from lexiseg_model.lru import Lru
from lexiseg_model.masks.specks import NO_SPECKS, SpeckRule
from lexiseg_model.memory import held_bytes
from lexiseg_model.types import ClassEntry, ModelCard, Prompt, Refinement, Region

T = TypeVar("T")
TextRows = NDArray[np.float16] | NDArray[np.float32]  # [S, D]
RowsOf = Callable[[list[str]], TextRows]  # gives the rows of texts, from a cache or the text tower


class Proposals(NamedTuple):
    """Masks of everything in one image, best first; N may be 0.

    `masks` [N, h, w] logits over the whole image; `embeddings` [N, D] for `region_scores`; `quality` [N] in 0..1, the
    estimated IoU with an object.
    """

    masks: Tensor
    embeddings: Tensor
    quality: Tensor


class Regions(NamedTuple):
    """Parts of one image whose cells vote together; N may be 0.

    `share` [N, h, w] in 0..1: how much of each cell of `class_scores` belongs to a region. `weight` [N]: of a region's
    vote, where a cell's own vote weighs 1.
    """

    share: Tensor
    weight: Tensor


class NamedMasks(NamedTuple):
    """Masks found by words: logits [N, h, w], `share` [N] the probability of their class, `owner` [N] its index."""

    masks: Tensor
    share: Tensor
    owner: Tensor


class PromptMasks(NamedTuple):
    """The masks that one prompt may mean, best first: logits [M, h, w], quality [M] in 0..1.

    M is at least 1; h and w are the same for all prompts of an image. The method decides the order, so quality need not
    fall from mask to mask.
    """

    masks: Tensor
    quality: Tensor


def require_shown(prompts: Sequence[Prompt]) -> None:
    """Raises OptionError: a prompt has neither points nor a box."""
    for index, prompt in enumerate(prompts):
        if not prompt.points and prompt.box is None:
            raise OptionError(f"prompt {index} has neither points nor a box; it needs at least one")


class Unfamiliar(NamedTuple):
    """A class that is far from all words that a model was trained on; `nearest` is the closest of them."""

    class_index: int
    nearest: str
    likeness: float  # cosine of the two, -1..1
    bound: float  # likeness from which a word is familiar
    is_foreign: bool = False  # not a word of the language that the text tower reads


class Support(NamedTuple):
    """What classes say and show, some of them both: unit vectors of `texts` [T, D] and of `examples` [R, D].

    `text_owner` [T] and `example_owner` [R] are int64 on the same device.
    """

    texts: Tensor
    text_owner: Tensor
    examples: Tensor
    example_owner: Tensor


@dataclass(frozen=True)
class TextBank:
    """What a vocabulary is to a model: one vector for each text or example.

    Attributes:
        vectors: [T, D].
        owner: [T] int64, ascending: the class that each vector stands for.
        n_classes: background words included.
        has_examples: some vectors come from examples, and need not have unit length.
        levels: [T], added to the logits of each text; None: nothing.
        n_background: how many of the last classes are background words.
        support: of classes by words and examples together, for methods that fuse them; None: there are none.
        derived: what methods computed from the bank, by name; cached with it.
    """

    vectors: Tensor
    owner: NDArray[np.int64]
    n_classes: int
    has_examples: bool = False
    levels: Tensor | None = None
    n_background: int = 0
    support: Support | None = None
    derived: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors, and of what was derived from them."""
        return held_bytes(self)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returned first under this name. Concurrent callers may both make it."""
        made: T | None = self.derived.get(name)
        if made is None:
            made = self.derived[name] = make()
        return made

    def best_of_texts(self, scores: Tensor) -> Tensor:
        """The best of each class's texts: scores [T, ...] of the vectors -> [K, ...]."""
        if len(scores) == self.n_classes:
            return scores
        owner = torch.from_numpy(self.owner).to(scores.device).view(-1, *[1] * (scores.ndim - 1)).expand_as(scores)
        best = scores.new_full((self.n_classes, *scores.shape[1:]), -torch.inf)
        return best.scatter_reduce_(0, owner, scores, "amax")


class ExampleVectors(NamedTuple):
    """A class by its examples: `vectors` [V, D] for a bank, and the unit `means` [M, D] of the examples.

    `negatives` [N, D], of unit length, are what the class is not; the vectors are already turned away from them, those
    of the words of the class are not. `beside_words` scales the vectors of a class that is asked by words as well.
    `examples` [R, D], of unit length, are what the class looks like, where the method fuses them with words.
    """

    vectors: Tensor
    means: Tensor
    negatives: Tensor | None = None
    beside_words: float = 1.0
    examples: Tensor | None = None


class Competing(NamedTuple):
    """Scores that compete for the cells of an image.

    Attributes:
        classes: [K, h, w] scores, which callers may write to; all background words may share one row.
        others: [h, w] logit of all texts but the best of each class, where a method lets all texts compete.
        refined: the scores already follow the colours of the image.
    """

    classes: Tensor
    others: Tensor | None = None
    refined: bool = False


class Segmenter(ABC):
    """A loaded model. Methods implement what they can; the card declares it."""

    card: ModelCard
    digest: str  # of the weights and settings of the image pass: the key of cached features
    text_digest: str  # of the text tower: models of the same digest share text rows
    buckets: tuple[tuple[int, int], ...]  # tile shapes (s, t) to warm up
    probability_scale: float = 1.0  # softmax(scores * probability_scale) are probabilities
    # (classes, background words) -> bank; None where weights or card may change, as in training.
    banks: Lru[tuple[tuple[ClassEntry, ...], ...], TextBank] | None = None
    passes_side_by_side: bool = False  # `encode_tiles` may run in several threads at once
    masks_by_word: bool = False  # things are found by `named_masks`, not by proposals or regions
    takes_masks: bool = False  # `prompt` reads the mask of a prompt, too

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in memory; a method adds those that no tensor shows."""
        return held_bytes(self)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the cached banks."""
        return sum(bank.nbytes for bank in self.banks.values()) if self.banks is not None else 0

    @abstractmethod
    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        """Decide what to encode.

        Args:
            rgb: [H, W, 3] uint8; the plan may keep a reference, so it must not be written to.
            options: of the image pass.

        Raises:
            ShapeError: rgb is not a non-empty uint8 [H, W, 3].
        """

    @abstractmethod
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        """Encode uint8 tiles [N, 3, s, t] of one bucket; a tile's features do not depend on its batch."""

    @abstractmethod
    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        """Put the tile features of one plan together."""

    def encode(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Features:
        """The whole image pass of one image [H, W, 3]; arguments and errors as `plan`."""
        plan = self.plan(rgb, options)
        return self.assemble(plan, self.encode_tiles(plan.tiles))

    def texts(self, classes: tuple[ClassEntry, ...]) -> list[str]:
        """The exact strings, templates filled in, whose rows `text_bank` needs, in its order.

        Raises:
            TaskError: the method has no words; so do the three methods below and `nobody_score`.
        """
        raise self.no_words

    def encode_texts(self, texts: list[str]) -> TextRows:
        """Raw rows [S, D] of the text tower: fp16, so that cached and fresh rows are equal; float32 when exact."""
        raise self.no_words

    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        """Make the vectors of each class from the rows of `texts(classes)`, by the method's rule.

        Raises:
            ShapeError: `rows` has not one row for each of `texts(classes)`.
        """
        raise self.no_words

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Scores [K, h, w] float32 in the method's own units, before the background rule."""
        raise self.no_words

    @property
    def no_words(self) -> TaskError:
        """The error of a model that is asked for classes and knows prompts alone."""
        return TaskError(f"{self.card.name} has no words: it cuts out what prompts show, without classes")

    def presence(self, features: Features, bank: TextBank) -> Tensor:
        """How surely each class is anywhere in the image: [K] float32; by default its highest score."""
        return self.class_scores(features, bank).flatten(1).amax(1)

    def whole_image(self, features: Features, bank: TextBank) -> Tensor:
        """The logit that each class is anywhere in the image: [K] float32. Without a head for that: `presence`."""
        return self.presence(features, bank)

    def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        """The classes that the model can only guess at; none where its words of training are unknown.

        `rows_of` gives rows of `texts(classes)`; it is not called for texts that were judged before.
        """
        return []

    def refined_scores(self, features: Features, bank: TextBank) -> Tensor | None:
        """Scores [K, H, W] after the method's own refinement by colours.

        None where it has none: then the probabilities of classes and nobody are refined by PAMR.
        """
        return None

    def competing(self, features: Features, bank: TextBank, refine: Refinement) -> Competing:
        """The scores that compete, refined by the method's own rule where it has one and `refine` is pamr."""
        scores = self.refined_scores(features, bank) if refine == "pamr" else None
        return Competing(self.class_scores(features, bank)) if scores is None else Competing(scores, refined=True)

    @property
    def specks(self) -> SpeckRule:
        """Which small regions of the label map are given to their surroundings."""
        return NO_SPECKS

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        """Unit vectors [T, D], one for each text, to compare background words with classes."""
        return rows.astype(np.float32)

    def guide(self, features: Features) -> Tensor:
        """A small, normalised image [3, H, W] float32 for refinement. Raises OptionError where there is none."""
        raise OptionError(f"{self.card.name} cannot refine its masks; refine must be none")

    def colours(self, features: Features) -> Tensor:
        """A small picture uint8 [3, H, W] for refinement. Raises OptionError where there is none."""
        guide = features.tensors.get("guide")
        if guide is None:
            raise OptionError(f"{self.card.name} cannot refine its masks; refine must be none")
        return guide.view(3, *guide.shape[-2:])

    def patches(self, features: Features) -> Tensor | None:
        """Unit vectors [D, h, w] of patches that cover the image, for the refinement `lposs`; None: colours alone."""
        return None

    def regions(self, features: Features) -> Regions:
        """Parts of the image for the refinement `regions`. Raises OptionError where the method has none."""
        raise OptionError(f"{self.card.name} has no regions; refine must be one of {', '.join(self.card.refinements)}")

    def by_regions(self, features: Features, logits: Tensor) -> Tensor | None:
        """Logits [K, h, w] after the method's own refinement `regions`, at any size; None: its `regions` vote."""
        return None

    def example_rows(self, features: Features, regions: Sequence[Region]) -> TextRows:
        """Encode what parts of an image show: rows [R, E] fp16 in the method's own space, to be cached like text rows.

        Raises:
            TaskError: the method takes no examples.
            OptionError: a region has nothing in it.
        """
        raise TaskError(f"{self.card.name} takes no classes by example")

    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        """Make vectors that compete with those of texts from the rows of a class's examples.

        Args:
            positive: [P, E] of regions that show the class; P is at least 1.
            negative: [N, E] of regions that show what it is not; N may be 0.

        Raises:
            TaskError: the method takes no examples.
            OptionError: the rows are not this method's.
        """
        raise TaskError(f"{self.card.name} takes no classes by example")

    def nobody_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """The logit that a class must beat to own a cell, before the card's calibration.

        Args:
            logits: [K, h, w], scores times `probability_scale`, background words included; [K, 1, N] of regions.
            threshold: probability in 0..1; None: the method's own.
            refine: how the logits were refined; a method may have a threshold for each.
            features: of the image, for methods that see in them what no class explains.

        Returns:
            [h, w], or [] where it is the same everywhere.
        """
        raise self.no_words

    def propose(self, features: Features) -> Proposals:
        """Masks of everything in the image; cached with the features.

        Raises:
            TaskError: the method has no masks of its own.
        """
        raise TaskError(f"{self.card.name} proposes no masks")

    def named_masks(self, features: Features, bank: TextBank) -> NamedMasks:
        """Instances of the classes of a bank, for methods that search by words.

        Raises:
            TaskError: the method finds masks without words, or none.
        """
        raise TaskError(f"{self.card.name} finds no masks by words")

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """Masks for each prompt, in order; coordinates are pixels of the image as sent.

        Raises:
            TaskError: the method takes no prompts.
        """
        raise TaskError(f"{self.card.name} takes no prompts")

    def places(self, features: Features) -> Tensor:
        """Unit vectors [D, h, w] of places, comparable between frames. Raises TaskError where the method has none."""
        raise TaskError(f"{self.card.name} follows no objects through a video")

    def embed_masks(self, features: Features, masks: Tensor) -> Tensor:
        """Embed what masks show: logits [N, h, w] over the whole image -> [N, D] as `Proposals.embeddings`.

        Raises:
            TaskError: the method has no masks of its own.
        """
        raise TaskError(f"{self.card.name} names no masks")

    def region_scores(self, features: Features, embeddings: Tensor, bank: TextBank) -> Tensor:
        """Scores [K, N] float32 of classes for regions, in the units of `class_scores`.

        Args:
            features: of the image that the regions are in.
            embeddings: [N, D], of `propose` or `embed_masks`.
            bank: of the classes.

        Raises:
            TaskError: the method has no masks of its own.
        """
        raise TaskError(f"{self.card.name} names no masks")
