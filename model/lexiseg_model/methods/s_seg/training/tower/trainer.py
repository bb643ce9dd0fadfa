"""Training of a DINO tower by self-distillation; its file holds the teacher's tensors under the authors' names."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.catalogue.weights import WEIGHTS, under
from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.data.pairs.source import PairSource, set_apart
from lexiseg_model.methods.s_seg.training.oracle import oracle_miou
from lexiseg_model.methods.s_seg.training.pseudo_masks import PseudoMaskMaker, PseudoMaskSettings, mask_maker
from lexiseg_model.methods.s_seg.training.tower.distillation import Distillation, Judge
from lexiseg_model.methods.s_seg.training.tower.photographs import Photographs, ViewBatch, ViewBatches
from lexiseg_model.methods.s_seg.training.tower.recipe import TowerRecipe
from lexiseg_model.training.pairs import NumberedPairs, Shrunk
from lexiseg_model.training.recipe import LocalPhase
from lexiseg_model.training.retrieval import recall
from lexiseg_model.training.run import Run

TEACHER = "teacher.tower.vit."  # prefix of the published tensors


def report(recipe: TowerRecipe, weights: Path) -> None:
    """Print the oracle mIoU of a trained tower's clusters and of a random one's on the val splits of `judged`."""
    settings = PseudoMaskSettings(tower="dino")
    side = oracle_side(recipe)
    torch.manual_seed(recipe.seed)
    random = Judge(recipe.tower, recipe.phases[0].crop, recipe.dino).tower
    makers = {"trained": mask_maker(settings, weights), "random": PseudoMaskMaker(random, settings)}
    reached = {}
    for name in recipe.judged:
        data = read_dataset(recipe.data, name, "val")
        for which, maker in makers.items():
            reached[f"{name}, {which}"] = oracle_miou(maker, data, side)
    for what, miou in reached.items():
        print(f"{what}: clusters named by the truth reach {miou:.2f} % mIoU", flush=True)


def oracle_side(recipe: TowerRecipe) -> int:
    """Pixels of the squares that photographs are judged in: twice a view in training, in whole patches."""
    return recipe.phases[-1].crop // recipe.tower.patch * recipe.tower.patch * 2


def untrained(recipe: TowerRecipe) -> Distillation:
    """Untrained student and teacher of a recipe."""
    return Distillation(recipe.tower, recipe.phases[0].crop, recipe.dino)


class TowerTrainer(Run[TowerRecipe, Distillation, ViewBatch]):
    """Trains the student; the teacher, its moving average, is saved."""

    file = WEIGHTS

    def __init__(self, recipe: TowerRecipe) -> None:
        """
        Raises:
            DatasetError: there are no photographs.
        """
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, untrained(recipe))
        source: PairSource = Photographs([recipe.data / folder for folder in recipe.photographs])
        self.held_out: PairSource | None = None
        if recipe.held_out:
            source, self.held_out = set_apart(source, recipe.held_out)
        self.source = Shrunk(source, recipe.shrunk) if recipe.shrunk else source
        self._kept_views: Tensor | None = None

    def _batches(self, phase: LocalPhase) -> NumberedPairs[ViewBatch]:
        recipe = self.recipe
        make = ViewBatches(recipe.views, phase.crop, recipe.tower.patch, recipe.mismatched)
        return NumberedPairs(self.source, make, phase.batch, recipe.seed)

    def _mode(self) -> None:
        super()._mode()
        if self.step:  # once per step, which may have several batches
            self.network.follow(self.progress)

    def _loss(self, batch: ViewBatch) -> Tensor:
        self.skips.add(batch.skipped)
        with self.autocast():
            loss: Tensor = self.network(batch.wide.to(self.device), batch.narrow.to(self.device))
        return loss

    def _extra_figures(self) -> dict[str, float]:
        return {"centre": round(self.network.centre.norm().item(), 4)}

    def _validate(self) -> dict[str, float]:
        """Retrieval between two views of held-out photographs, and oracle mIoU of the clusters on `judged`."""
        recipe, tower = self.recipe, self.network.teacher.tower
        reached: dict[str, float] = {}
        if self.held_out is not None:
            views = self._views(self.held_out)
            one, other = F.normalize(tower.tokens(views)[:, 0], dim=1).chunk(2)
            reached = {"held_out_loss": self.network.agreement(views)} | recall(one @ other.T)
        maker = PseudoMaskMaker(tower, PseudoMaskSettings(tower="dino"))
        side = oracle_side(recipe)
        for name in recipe.judged:
            reached[f"{name}_clusters_miou"] = oracle_miou(maker, read_dataset(recipe.data, name, "val"), side)
        return reached

    def _views(self, held_out: PairSource) -> Tensor:
        """Two large views [2 N, 3, S, S] of every held-out photograph, the same for every seed."""
        if self._kept_views is None:
            recipe = self.recipe
            make = ViewBatches(recipe.views, recipe.phases[-1].crop, recipe.tower.patch)
            pairs = Shrunk(held_out, recipe.shrunk) if recipe.shrunk else held_out
            self._kept_views = NumberedPairs(pairs, make, recipe.held_out, 0).numbered(0).wide.to(self.device)
        return self._kept_views

    def _weights(self) -> dict[str, Tensor]:
        """Tensors of the teacher, which is already an average."""
        return under(TEACHER, dict(self.network.named_parameters()))
