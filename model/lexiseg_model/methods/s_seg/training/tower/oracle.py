"""How well clusters fit objects: the mIoU that pseudo-masks reach when each is given its best class by the truth.

The measure of the paper's table of pseudo-masks: it is what any naming of these masks could reach at most.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from lexiseg_model.clip.images import normalise
from lexiseg_model.data.indexed import IGNORE, IndexedDataset, read_dataset
from lexiseg_model.evaluation.counts import Counts, count, scores
from lexiseg_model.methods.s_seg.training.pseudo_masks import PseudoMaskMaker, PseudoMaskSettings, mask_maker
from lexiseg_model.methods.s_seg.training.tower.distillation import Judge
from lexiseg_model.methods.s_seg.training.tower.recipe import TowerRecipe


def report(recipe: TowerRecipe, weights: Path) -> dict[str, float]:
    """Says what the clusters of a trained tower reach on the val splits of `recipe.judged`, and of a random one."""
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
    return reached


def oracle_side(recipe: TowerRecipe) -> int:
    """Pixels of the squares that photographs are judged in: twice a view in training, in whole patches."""
    return recipe.phases[-1].crop // recipe.tower.patch * recipe.tower.patch * 2


def oracle_miou(maker: PseudoMaskMaker, data: IndexedDataset, side: int) -> float:
    """In percent, over the classes of a data set, background included.

    Args:
        maker: of the masks.
        data: photographs with masks.
        side: photographs are squeezed into squares of so many pixels, a multiple of the tower's patch.
    """
    counts = Counts.none(len(data.classes))
    for sample in data.samples:
        truth = sample.read_mask()
        square = cv2.resize(sample.read_image(), (side, side), interpolation=cv2.INTER_AREA)
        image = normalise(torch.from_numpy(square).permute(2, 0, 1)[None], "imagenet")
        labels = maker(image).masks[0].argmax(0).numpy().astype(np.uint8)
        clusters = cv2.resize(labels, truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
        named = np.zeros_like(truth)
        for cluster in np.unique(clusters):
            inside = truth[(clusters == cluster) & (truth != IGNORE)]
            named[clusters == cluster] = np.bincount(inside, minlength=1).argmax()
        counts += count(truth, named, len(data.classes))
    return float(scores(counts).miou)
