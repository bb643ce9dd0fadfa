"""Train S-Seg on image-text pairs, with pseudo-masks computed on the way."""

from __future__ import annotations

import torch
from torch import Tensor

from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.clip.text import tokenize
from lexiseg_model.data.pairs.files import open_pairs
from lexiseg_model.data.pairs.source import PairSource, set_apart
from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.methods.s_seg.training.losses import SSegLosses
from lexiseg_model.methods.s_seg.training.pseudo_masks import mask_maker
from lexiseg_model.methods.s_seg.training.recipe import SSegRecipe
from lexiseg_model.methods.s_seg.training.validation import retrieval
from lexiseg_model.training.deit import DeitViews
from lexiseg_model.training.pairs import Mismatched, NumberedPairs, PairBatch, PairBatches, Shrunk
from lexiseg_model.training.recipe import LocalPhase
from lexiseg_model.training.run import Run

NETWORK = "network."  # of the losses' names for the weights


class SSegTrainer(Run[SSegRecipe, SSegLosses, PairBatch]):
    """Trains everything but the tower that pseudo-masks come from."""

    file = WEIGHTS

    def __init__(self, recipe: SSegRecipe) -> None:
        """
        Raises:
            DatasetError: there are no pairs.
            WeightsError: the weights of the tower or of the backbone cannot be had.
        """
        self.maker = mask_maker(recipe.masks, recipe.tower)
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, SSegLosses(SSegNetwork(recipe.network, recipe.backbone), recipe.loss))
        self.maker = self.maker.to(self.device)
        pairs: PairSource
        pairs, self.held_out = split_pairs(recipe)
        pairs = Mismatched.of(pairs, recipe.seed) if recipe.mismatched else pairs
        self.pairs = Shrunk(pairs, recipe.shrunk) if recipe.shrunk else pairs
        self._parts: list[Tensor] = []

    def _batches(self, phase: LocalPhase) -> NumberedPairs[PairBatch]:
        make = PairBatches(DeitViews(self.recipe.views, phase.crop, "imagenet"), tokenize)
        return NumberedPairs(self.pairs, make, phase.batch, self.recipe.seed)

    def _loss(self, batch: PairBatch) -> Tensor:
        self.skips.add(batch.skipped)
        images = batch.images.to(self.device, non_blocking=True)
        pseudo = self.maker(images)
        with self.autocast():
            losses = self.network(images, batch.tokens.to(self.device, non_blocking=True), pseudo)
        self._parts.append(torch.stack([losses.masks, losses.earlier_masks, losses.contrast]).detach())
        total: Tensor = losses.total
        return total

    def _examples(self) -> int:
        return sum(self.pairs.sizes)

    def _told(self) -> dict[str, float]:
        means = torch.stack(self._parts).mean(0).tolist()
        self._parts.clear()
        named = zip(("masks", "earlier_masks", "contrast"), means, strict=True)
        scale = self.network.network.contrast.scale.item()
        return {name: round(value, 4) for name, value in named} | {
            "scale": round(scale, 2),
            "skipped": len(self.skips),
        }

    def _validate(self) -> dict[str, float]:
        """How held-out photographs and captions find each other."""
        if self.held_out is None:
            return {}
        reached = retrieval(self.network.network, self.held_out, self.recipe.phases[-1].crop)
        return {"held_out_contrast": reached.loss, "own_rank": reached.rank, "recall_at_10": reached.at_10}

    def _weights(self) -> dict[str, Tensor]:
        return {name.removeprefix(NETWORK): value for name, value in self.average.items()}


def split_pairs(recipe: SSegRecipe) -> tuple[PairSource, PairSource | None]:
    """What is trained on, and what is held out, the same pairs for every seed.

    Raises:
        DatasetError: there are no pairs.
    """
    source = open_pairs(*(recipe.data / path for path in recipe.pairs))
    return set_apart(source, recipe.held_out) if recipe.held_out else (source, None)
