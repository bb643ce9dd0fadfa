"""Capabilities that one or two methods of ours have, and that may change: not part of the promised interface.

A method that has the methods of a protocol can do it, as in `lexiseg_model.abilities`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from lexiseg_model.abilities import PromptMasks, prompts_of
from lexiseg_model.errors import FieldError, OptionError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Point, Prompt


@runtime_checkable
class Corrections(Protocol):
    """Masks that prompts correct; for other promptable methods, `lexiseg_model.tasks` applies the corrections."""

    def correct(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """As `Prompts.prompt`, of prompts that may hold a mask."""


@runtime_checkable
class LearnedNegativePoints(Protocol):
    """Prompts for a head that has learned what a negative point means; others ignore it, or answer with more."""

    def prompt_with_negatives(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """As `Prompts.prompt`, with masks that leave out what negative points mark."""


@runtime_checkable
class LearnedCorrections(Protocol):
    """A head that has learned how a point corrects a mask; for others, it tells what a click shows there."""

    def mask_cells(self, features: Features) -> tuple[int, int]:
        """The height and width of the head's masks."""

    def after_point(self, features: Features, mask: Tensor, point: Point) -> PromptMasks:
        """The mask after a point of the image: masks [1, h, w] of `mask` [h, w], logits both, and quality [1]."""


@runtime_checkable
class RegionRefinement(Protocol):
    """Labels that follow regions of the image: the refinement `regions`."""

    def by_regions(
        self, features: Features, logits: Tensor, total: Tensor | None = None, winner: Tensor | None = None
    ) -> Tensor:
        """Logits [K, h, w], of any size, after the refinement.

        `total` [h, w]: the logarithm of the sum of exponentials of all that competes; None: of these rows. `winner`
        [h, w]: the row that each cell has before; None: that of its highest logit.
        """


def prompt_masks(
    segmenter: Segmenter, features: Features, prompts: Sequence[Prompt], places: Sequence[int] | None = None
) -> list[PromptMasks]:
    """As `Prompts.prompt`, of prompts at these `places` in a request, all of it by default.

    Raises TaskError: the model takes no prompts; FieldError: it takes no negative points.
    """
    if isinstance(segmenter, LearnedNegativePoints):
        return segmenter.prompt_with_negatives(features, prompts)
    for place, prompt in zip(places or range(len(prompts)), prompts, strict=True):
        if prompt.negatives:
            expected = f"positive points: {segmenter.card.name} has not learned negative ones"
            raise FieldError(f"prompts.{place}.points", "a negative point", expected)
    return prompts_of(segmenter).prompt(features, prompts)


def region_refinement_of(segmenter: Segmenter) -> RegionRefinement:
    """The model, as one that refines by regions. Raises OptionError: it does not."""
    if not isinstance(segmenter, RegionRefinement):
        expected = ", ".join(segmenter.card.refinements)
        raise OptionError(f"{segmenter.card.name} has no regions; refine must be one of {expected}")
    return segmenter
