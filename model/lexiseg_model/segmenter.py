"""The Segmenter interface: image work and vocabulary work are split, because one is dear and shared, the other cheap.

plan(rgb)            -> Plan          what to encode
encode_tiles(tiles)  -> TileFeatures  the only heavy pass; tiles of many requests together
assemble(plan, ...)  -> Features      one image, to be kept
encode_texts(texts)  -> rows          raw rows of the text tower, to be kept for ever
text_bank(classes)   -> TextBank      the method's own rule from rows to class vectors
class_scores(...)    -> [K, h, w]     cheap; any number of vocabularies over the same Features

Of methods that have masks of their own:

propose(features)    -> Proposals     masks of everything, made once and kept with the features
prompt(features, ..) -> PromptMasks   masks of what points and boxes show
embed_masks(...)     -> [N, D]        what any masks show
region_scores(...)   -> [K, N]        which class that is
places(features)     -> [D, h, w]     what each place shows, to follow objects through a video

Of methods that take classes by example:

example_rows(...)    -> rows          what regions of an image show, to be kept like text rows
example_vectors(...) -> [V, D]        the method's own rule from them to vectors of a class
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
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
RowsOf = Callable[[list[str]], TextRows]  # text rows, from a cache or the tower


class Proposals(NamedTuple):
    """Masks of what there is in one image, whatever it is called, best first; N may be 0.

    `masks` [N, h, w] logits, the whole image at a resolution of the method's own; `embeddings` [N, D] for
    `region_scores`; `quality` [N] in 0..1.
    """

    masks: Tensor
    embeddings: Tensor
    quality: Tensor


class Regions(NamedTuple):
    """Parts of one image whose pixels vote together: `share` [N, h, w] in 0..1 of each cell that is a region's, at the
    resolution of `class_scores`, and the `weight` [N] of its vote beside a cell's own, which is 1; N may be 0."""

    share: Tensor
    weight: Tensor


class NamedMasks(NamedTuple):
    """Found by the words of a bank: logits [N, h, w] of the whole image, how sure each is of its class, that class."""

    masks: Tensor
    share: Tensor
    owner: Tensor


class PromptMasks(NamedTuple):
    """The masks that one prompt may mean, best first: logits [M, h, w] of the whole image, quality [M] in 0..1.

    M is at least 1; h and w are the same for all prompts of an image. What is best the method decides: quality need
    not fall from mask to mask.
    """

    masks: Tensor
    quality: Tensor


class Unfamiliar(NamedTuple):
    """A class that a model was not trained to name; `nearest` is the word of training that is most like it."""

    class_index: int
    nearest: str
    likeness: float  # cosine of the two
    bound: float  # from which a word is familiar
    is_foreign: bool = False  # not a word of the language that the text tower reads


@dataclass(frozen=True)
class TextBank:
    """Vectors [T, D] of texts; `owner` [T] says which class each stands for, ascending."""

    vectors: Tensor
    owner: NDArray[np.int64]
    n_classes: int
    has_examples: bool = False  # then some vectors come of examples, and need not be as long as those of texts
    levels: Tensor | None = None  # [T], what a method adds to each text's logits; None: nothing
    n_background: int = 0  # of the classes, the last: words that stand for nobody
    # By name, what was made of it: who asks with the same words again has the same bank.
    derived: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors, and of what was made of them."""
        return held_bytes(self)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, or gave under this name. Two who ask at once may both make it."""
        made: T | None = self.derived.get(name)
        if made is None:
            made = self.derived[name] = make()
        return made


class ExampleVectors(NamedTuple):
    """A class by its examples: `vectors` [V, D] for a bank, and the unit `means` [M, D] of what was shown."""

    vectors: Tensor
    means: Tensor


class Competing(NamedTuple):
    """What competes for the pixels of an image.

    `classes` [K, h, w] are scores, to be written to; background words may be one row. `others` [h, w], where a method
    lets all texts compete: the logit of all that is not the best text of its class. `refined`: colours were looked at.
    """

    classes: Tensor
    others: Tensor | None = None
    refined: bool = False


class Segmenter(ABC):
    """A loaded model. Methods implement what they can; the card declares it."""

    card: ModelCard
    digest: str  # of the weights that decide the image pass
    text_digest: str  # of the text tower: rows of one digest may be shared between models
    buckets: tuple[tuple[int, int], ...]  # tile shapes to warm up
    probability_scale: float = 1.0  # the softmax of scores times this is a probability
    # Classes and background words -> bank, where the model is served: its weights and card stay as they are.
    banks: Lru[tuple[tuple[ClassEntry, ...], ...], TextBank] | None = None
    passes_side_by_side: bool = False  # several threads may be in `encode_tiles`, each with as many as torch has there
    masks_by_word: bool = False  # `named_masks` finds things; then they are neither proposals nor regions

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in memory. A method that holds some where no tensor shows them adds these."""
        return held_bytes(self)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the cached banks."""
        return sum(bank.nbytes for bank in self.banks.values()) if self.banks is not None else 0

    @abstractmethod
    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        """Decides what to encode.

        Args:
            rgb: [H, W, 3]; where it owns its pixels the plan may keep them, and they must stay as they are.
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
        """Raw rows [S, D] of the text tower, as fp16 (exact: float32), so that a kept row and a fresh one are equal."""

    @abstractmethod
    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        """The method's rule from rows (of `texts(classes)`, in order) to the vectors of each class.

        Raises:
            ShapeError: `rows` has not one row for each of `texts(classes)`.
        """

    @abstractmethod
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Scores [K, h, w] float32 at native resolution, before the background rule, in units of the method's own."""

    def presence(self, features: Features, bank: TextBank) -> Tensor:
        """How present each class is in the whole image: [K] float32, more is surer; without opinion its best score."""
        return self.class_scores(features, bank).flatten(1).amax(1)

    def whole_image(self, features: Features, bank: TextBank) -> Tensor:
        """The logit that each class is anywhere in the image: [K] float32. Without a head for that: `presence`."""
        return self.presence(features, bank)

    def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        """The classes that the model can only guess at; none where nobody knows what it was trained to name.

        `rows_of` is asked for rows of `texts(classes)`, but for those that were judged before.
        """
        return []

    def refined_scores(self, features: Features, bank: TextBank) -> Tensor | None:
        """Scores [K, H, W] after the method's own refinement by colours.

        None where it has none of its own: then probabilities are refined, once classes and nobody have competed.
        """
        return None

    def competing(self, features: Features, bank: TextBank, refine: Refinement) -> Competing:
        """The scores of the classes, refined by the method's own rule where it has one and `refine` is pamr."""
        scores = self.refined_scores(features, bank) if refine == "pamr" else None
        return Competing(self.class_scores(features, bank)) if scores is None else Competing(scores, refined=True)

    @property
    def specks(self) -> SpeckRule:
        """Which regions of the answer go to what is around them."""
        return NO_SPECKS

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        """Unit vectors [T, D], one for each text of the classes: what tells a background word from a class."""
        return rows.astype(np.float32)

    def guide(self, features: Features) -> Tensor:
        """A small, normalised image [3, H, W] float32 for refinement by colours. OptionError: the method keeps none."""
        raise OptionError(f"{self.card.name} cannot refine its masks; refine must be none")

    def regions(self, features: Features) -> Regions:
        """Parts of the image for the refinement `regions`. OptionError: the method has none."""
        raise OptionError(f"{self.card.name} has no regions; refine must be one of {', '.join(self.card.refinements)}")

    def example_rows(self, features: Features, regions: Sequence[Region]) -> TextRows:
        """What parts of an image show, to be kept like text rows: [R, E] in fp16, in a space of the method's own.

        Raises:
            TaskError: the method takes no examples.
            OptionError: a region has nothing in it.
        """
        raise TaskError(f"{self.card.name} takes no classes by example")

    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        """The method's rule from the rows of a class's examples to vectors that stand beside those of texts.

        Args:
            positive: [P, E] of regions that show the class; P is at least 1.
            negative: [N, E] of regions that show what it is not; N may be 0.

        Raises:
            TaskError: the method takes no examples.
            OptionError: the rows are not this method's.
        """
        raise TaskError(f"{self.card.name} takes no classes by example")

    @abstractmethod
    def nobody_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """The logit that a class must beat to own a pixel, before the card's calibration.

        Args:
            logits: [K, h, w] of all that competes, background words included: scores times `probability_scale`. Of
                regions [K, 1, N]: a picture one pixel high.
            threshold: probability in 0..1 that replaces the method's own; None keeps that.
            refine: how the logits were refined; a method may have a threshold for each.
            features: of the image, for methods that see in them what no class explains.

        Returns:
            [h, w], or [] where every pixel has the same.
        """

    def propose(self, features: Features) -> Proposals:
        """Masks of everything in the image. Kept with the features: only the first call computes.

        Raises:
            TaskError: the method has no masks of its own.
        """
        raise TaskError(f"{self.card.name} proposes no masks")

    def named_masks(self, features: Features, bank: TextBank) -> NamedMasks:
        """Instances of the classes of a bank, for methods that look for each word.

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
        """What each place shows: unit vectors [D, h, w], to be compared between frames. TaskError: it has none."""
        raise TaskError(f"{self.card.name} follows no objects through a video")

    def embed_masks(self, features: Features, masks: Tensor) -> Tensor:
        """What any masks show: logits [N, h, w] of the whole image -> [N, D] as `Proposals.embeddings`.

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
