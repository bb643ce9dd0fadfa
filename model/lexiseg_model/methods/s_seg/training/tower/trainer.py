"""Training of a tower of DINO's make, and its file: the teacher's tensors, as the authors' files have them."""

from __future__ import annotations

import torch
from torch import Tensor

from lexiseg_model.data.pairs.skips import Skips
from lexiseg_model.data.pairs.source import PairSource
from lexiseg_model.methods.s_seg.training.tower.distillation import Distillation
from lexiseg_model.methods.s_seg.training.tower.photographs import Photographs, ViewBatch, ViewBatches
from lexiseg_model.methods.s_seg.training.tower.recipe import TowerRecipe
from lexiseg_model.training.pair_batches import NumberedPairs
from lexiseg_model.training.recipe import Phase
from lexiseg_model.training.run import Run
from lexiseg_model.training.shrunk import Shrunk
from lexiseg_model.weights import WEIGHTS

TEACHER = "teacher.tower.vit."


class TowerTrainer(Run[TowerRecipe, Distillation, ViewBatch]):
    """Trains the student; the teacher follows, and is what is kept."""

    file = WEIGHTS

    def __init__(self, recipe: TowerRecipe) -> None:
        """
        Raises:
            DatasetError: there are no photographs.
        """
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, Distillation(recipe.tower, recipe.phases[0].crop, recipe.dino))
        source: PairSource = Photographs([recipe.data / folder for folder in recipe.photographs])
        self.source = Shrunk(source, recipe.shrunk) if recipe.shrunk else source
        self.skips = Skips(recipe.out / "skipped.jsonl")

    def _batches(self, phase: Phase) -> NumberedPairs[ViewBatch]:
        make = ViewBatches(self.recipe.views, phase.crop, self.recipe.tower.patch)
        return NumberedPairs(self.source, make, phase.batch, self.recipe.seed)

    def _loss(self, batch: ViewBatch) -> Tensor:
        self.skips.add(batch.skipped)
        if self.step:  # to where the step before left the student
            self.network.follow(self.progress)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            loss: Tensor = self.network(batch.wide.to(self.device), batch.narrow.to(self.device))
        return loss

    def _told(self) -> dict[str, float]:
        return {"centre": round(self.network.centre.norm().item(), 4), "skipped": len(self.skips)}

    def _weights(self) -> dict[str, Tensor]:
        """The teacher as it is: an average already."""
        state = self.network.state_dict()
        return {name.removeprefix(TEACHER): value for name, value in state.items() if name.startswith(TEACHER)}
