"""Base of all runs on captioned photographs: their pairs and batches, and a batch of held-out pairs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import ClassVar, Generic, TypeVar

from torch import Tensor, nn

from lexiseg_model.clip.images import Normalisation
from lexiseg_model.data.pairs.files import open_pairs
from lexiseg_model.data.pairs.source import PairSource, set_apart
from lexiseg_model.training.deit import DeitViews
from lexiseg_model.training.pairs import Mismatched, NumberedPairs, PairBatch, PairBatches, Shrunk
from lexiseg_model.training.recipe import LocalPhase, PairsRecipe
from lexiseg_model.training.retrieval import held_out_batch
from lexiseg_model.training.run import Run

Recipe = TypeVar("Recipe", bound=PairsRecipe)
Network = TypeVar("Network", bound=nn.Module)


class PairRun(Run[Recipe, Network, PairBatch], Generic[Recipe, Network]):
    """A run that draws captioned photographs under DeiT's augmentation; `held_out` is None where all are trained on."""

    normalisation: ClassVar[Normalisation] = "imagenet"

    def __init__(self, recipe: Recipe, network: Network, tokenize: Callable[[list[str]], Tensor]) -> None:
        """
        Raises:
            DatasetError: there are no pairs.
        """
        super().__init__(recipe, network)
        self.tokenize = tokenize
        pairs: PairSource = open_pairs(*(recipe.place(name) for name in recipe.pairs))
        if recipe.held_out:  # the same pairs for every seed
            pairs, self.held_out = set_apart(pairs, recipe.held_out)
        pairs = Mismatched.of(pairs, recipe.seed) if recipe.mismatched else pairs
        self.pairs = Shrunk(pairs, recipe.shrunk) if recipe.shrunk else pairs

    def _batches(self, phase: LocalPhase) -> NumberedPairs[PairBatch]:
        views = DeitViews(self.recipe.views, phase.crop, self.normalisation)
        return NumberedPairs(self.pairs, PairBatches(views, self.tokenize), phase.batch, self.recipe.seed)

    def _examples(self) -> int:
        return sum(self.pairs.sizes)

    @cached_property
    def held_out_pairs(self) -> PairBatch:
        """All held-out pairs as one batch."""
        assert self.held_out is not None
        return held_out_batch(self.held_out, self.recipe.phases[-1].crop, self.normalisation, self.tokenize)
