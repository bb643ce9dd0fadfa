"""Train S-Seg on image-text pairs, with pseudo-masks computed on the way."""

from __future__ import annotations

import torch
from torch import Tensor

from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.clip.text import tokenize
from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.methods.s_seg.training.losses import SSegLosses
from lexiseg_model.methods.s_seg.training.pseudo_masks import mask_maker
from lexiseg_model.methods.s_seg.training.recipe import SSegRecipe
from lexiseg_model.methods.s_seg.training.validation import retrieval
from lexiseg_model.training.pair_run import PairRun
from lexiseg_model.training.pairs import PairBatch

NETWORK = "network."  # of the losses' names for the weights


class SSegTrainer(PairRun[SSegRecipe, SSegLosses]):
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
        super().__init__(recipe, SSegLosses(SSegNetwork(recipe.network, recipe.backbone), recipe.loss), tokenize)
        self.maker = self.maker.to(self.device)

    def _loss(self, batch: PairBatch) -> Tensor:
        self.skips.add(batch.skipped)
        images = batch.images.to(self.device, non_blocking=True)
        pseudo = self.maker(images)
        with self.autocast():
            losses = self.network(images, batch.tokens.to(self.device, non_blocking=True), pseudo)
        self.note(**losses.figures)
        total: Tensor = losses.total
        return total

    def _told(self) -> dict[str, float]:
        return {"scale": round(self.network.network.contrast.scale.item(), 2)}

    def _validate(self) -> dict[str, float]:
        """How held-out photographs and captions find each other."""
        if self.held_out is None:
            return {}
        reached = retrieval(self.network.network, self.held_out_pairs)
        return {"held_out_contrast": reached.loss, "own_rank": reached.rank, "recall_at_10": reached.at_10}

    def _weights(self) -> dict[str, Tensor]:
        return {name.removeprefix(NETWORK): value for name, value in self.average.items()}
