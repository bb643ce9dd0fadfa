"""What methods may also do, apart from words: a method that has the methods of a protocol can do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import ExamplesError, OptionError, TaskError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Excluded, Segmenter, TextBank, TextRows
from lexiseg_model.types import Learned, Prompt, Region
from lexiseg_model.vocabulary.heads import LabelledPicture, Lesson


class Proposals(NamedTuple):
    """Masks of everything in one image, best first; N may be 0.

    `masks` [N, h, w] logits over the whole image; `embeddings` [N, D] for `region_scores`; `quality` [N] in 0..1, the
    estimated IoU with an object.
    """

    masks: Tensor
    embeddings: Tensor
    quality: Tensor


class PromptMasks(NamedTuple):
    """Candidate masks of one prompt, best first: logits [M, h, w], quality [M] in 0..1, the estimated IoU.

    M is at least 1; h and w are the same for all prompts of an image. The method defines the order, which may differ
    from that of the quality.
    """

    masks: Tensor
    quality: Tensor


class NamedMasks(NamedTuple):
    """Masks found by words: logits [N, h, w], `share` [N] the probability of their class, `owner` [N] its index."""

    masks: Tensor
    share: Tensor
    owner: Tensor


class ExampleVectors(NamedTuple):
    """A class by example: `vectors` [V, D] for a bank, and the unit `means` [M, D] of the examples.

    `negatives` [N, D]: unit vectors of negative examples, already accounted for in `vectors`, not in the ones of the
    class's texts. `beside_words`: scale of the vectors of a class that has texts as well. `examples` [R, D]: unit
    vectors of the examples, for methods that fuse them with texts. `excluded`: for methods that exclude single cells.
    """

    vectors: Tensor
    means: Tensor
    negatives: Tensor | None = None
    beside_words: float = 1.0
    examples: Tensor | None = None
    excluded: Excluded | None = None


def require_shown(prompts: Sequence[Prompt]) -> None:
    """Check that every prompt shows something. Raises OptionError: one has neither points nor a box."""
    for index, prompt in enumerate(prompts):
        if not prompt.points and prompt.box is None:
            raise OptionError(f"prompt {index} has neither points nor a box; it needs at least one")


@runtime_checkable
class Prompts(Protocol):
    """Masks for points and boxes."""

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """Masks for each prompt, in order; coordinates are pixels of the image as sent.

        Raises:
            OptionError: a prompt shows nothing.
        """


@runtime_checkable
class Proposing(Protocol):
    """Masks of everything in an image, without classes."""

    def propose(self, features: Features) -> Proposals:
        """Class-agnostic masks of everything in the image; cached with the features."""


@runtime_checkable
class Regions(Protocol):
    """Classes of any masks."""

    def embed_masks(self, features: Features, masks: Tensor) -> Tensor:
        """Embed masks: logits [N, h, w] over the whole image -> [N, D] as `Proposals.embeddings`."""

    def region_scores(self, features: Features, embeddings: Tensor, bank: TextBank) -> Tensor:
        """Class scores [K, N] float32 of regions by their `embeddings` [N, D], in the units of `class_scores`."""


@runtime_checkable
class Detection(Protocol):
    """Instances found by words, which take the place of proposals and regions."""

    def named_masks(self, features: Features, bank: TextBank) -> NamedMasks:
        """Instances of the classes of a bank; N may be 0."""


@runtime_checkable
class Guided(Protocol):
    """Masks that follow the colours of the image: the refinement `pamr`."""

    def guide(self, features: Features) -> Tensor:
        """A small, normalised image [3, H, W] float32."""


@runtime_checkable
class Examples(Protocol):
    """Classes by example: regions of images."""

    def example_rows(self, features: Features, regions: Sequence[Region]) -> TextRows:
        """Encode regions of an image: rows [R, E] fp16 in the method's own space, to be cached like text rows.

        Raises:
            OptionError: a region is empty.
        """

    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        """Vectors that compete with text vectors, of the rows of a class's examples [P, E] and negatives [N, E].

        N may be 0. Raises ForeignExamplesError: the rows come from another method.
        """


@runtime_checkable
class Teachable(Protocol):
    """Classes learned from reviewed pictures."""

    teaching_size: int  # F, numbers of a cell; the last is 1
    fine_size: int  # G, numbers of a cell's detail (`InferenceOptions.fine`), which stand before them
    own_classes: Mapping[str, Learned]  # by lower-case name, of a model that was tuned on pictures of them

    def lesson(self, features: Features, labelled: LabelledPicture, bank: TextBank) -> Lesson:
        """What a picture teaches, by a bank of `labelled.classes` with the default background.

        Raises:
            TeachingError: the features were not kept with `InferenceOptions.teaching`, or the labels have another size.
        """


@runtime_checkable
class Places(Protocol):
    """Cells that can be compared between the frames of a video, to follow objects."""

    def places(self, features: Features) -> Tensor:
        """Unit vectors [D, h, w] of cells, comparable between frames."""


Prompter = Callable[[Sequence[Prompt]], list[PromptMasks]]


@runtime_checkable
class PromptsNearby(Protocol):
    """A model that answers boxes by only their surroundings, in less time than by the whole image."""

    def near(self, features: Features, boxes: NDArray[np.float64]) -> Prompter:
        """`Prompts.prompt` about boxes with `single_pass` among these [N, 4]; masks end with their surroundings."""


def prompts_of(segmenter: Segmenter) -> Prompts:
    """The model, as one that takes points and boxes. Raises TaskError: it does not."""
    if not isinstance(segmenter, Prompts):
        raise TaskError(f"{segmenter.card.name} takes no prompts")
    return segmenter


def proposing(segmenter: Segmenter) -> Proposing:
    """The model, as one that proposes masks. Raises TaskError: it does not."""
    if not isinstance(segmenter, Proposing):
        raise TaskError(f"{segmenter.card.name} proposes no masks")
    return segmenter


def regions_of(segmenter: Segmenter) -> Regions:
    """The model, as one that classifies masks. Raises TaskError: it does not."""
    if not isinstance(segmenter, Regions):
        raise TaskError(f"{segmenter.card.name} does not classify masks")
    return segmenter


def guide_of(segmenter: Segmenter, features: Features) -> Tensor:
    """The guide of an image, [3, H, W] float32. Raises OptionError: masks of the model do not follow colours."""
    if not isinstance(segmenter, Guided):
        raise OptionError(f"{segmenter.card.name} cannot refine its masks; refine must be none")
    return segmenter.guide(features)


def colours_of(segmenter: Segmenter, features: Features) -> Tensor:
    """The small image uint8 [3, H, W] that features keep as `guide`. Raises OptionError: they keep none."""
    guide = features.tensors.get("guide")
    if guide is None:
        raise OptionError(f"{segmenter.card.name} cannot refine its masks; refine must be none")
    return guide.view(3, *guide.shape[-2:])


def examples_of(segmenter: Segmenter) -> Examples:
    """The model, as one that takes classes by example. Raises ExamplesError: it does not."""
    if not isinstance(segmenter, Examples):
        raise ExamplesError(f"{segmenter.card.name} takes no classes by example")
    return segmenter


def teachable(segmenter: Segmenter) -> Teachable:
    """The model, as one that is taught by pictures. Raises TaskError: it is not."""
    if not isinstance(segmenter, Teachable):
        raise TaskError(f"{segmenter.card.name} cannot be taught; it takes words and examples alone")
    return segmenter


def places_of(segmenter: Segmenter) -> Places:
    """The model, as one that follows objects. Raises TaskError: it does not."""
    if not isinstance(segmenter, Places):
        raise TaskError(f"{segmenter.card.name} does not track objects through a video")
    return segmenter
