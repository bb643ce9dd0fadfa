"""Recipe and training of S-Seg from captioned photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lexiseg_model.cards import StrictModel
from lexiseg_model.methods.s_seg.settings import SSegSizes
from lexiseg_model.types import DinoName
from lexiseg_train.training.recipe import MaskLossSettings, PairsRecipe
from lexiseg_train.training.recipes.prerequisites import lacks_pairs
from lexiseg_train.training.recipes.training import Training, code_at

HERE = "lexiseg_train.methods.s_seg"


class PseudoMaskSettings(StrictModel):
    """Settings of the pseudo-masks."""

    tower: DinoName | Literal["colours"] = Field(
        "dino_vits8",
        description="tower whose tokens are clustered (paper: DINO ViT-S/8); colours: means of 8 x 8 pixels",
    )
    k: int = Field(8, ge=1, description="masks of an image (paper)")
    iterations: int = Field(10, ge=1, description="iterations of k-means; the paper is silent")
    unit_length: bool = Field(True, description="compare tokens by direction only; the paper is silent")
    seed: int = Field(0, description="seed of the first centres; the paper is silent")
    repeat: int = Field(
        1,
        ge=1,
        description="cells of a mask for each token, along each axis: 1 leaves the masks on the tower's grid, its "
        "patch gives them the image's size; the paper is silent",
    )


class LossSettings(StrictModel):
    """Weights of the losses, by default the paper's: masks and contrast 1, within the masks dice 1 and focal 20."""

    masks: float = 1.0
    contrast: float = 1.0  # of the plain sum of both directions
    earlier_layers: float = (
        1.0  # of the masks' loss on all decoder layers but the last; the paper is silent, MaskFormer: 1
    )
    mask_losses: MaskLossSettings = MaskLossSettings()


class SSegRecipe(PairsRecipe):
    """Recipe of a training of S-Seg from captioned photographs."""

    out: Path = Path("runs/s-seg")
    network: SSegSizes = SSegSizes()
    backbone: Path | None = Field(None, description="the backbone's first weights, in timm's format; null: fresh ones")
    tower: Path | None = Field(None, description="weights of the DINO tower `masks.tower`; null: from timm's hub")
    masks: PseudoMaskSettings = PseudoMaskSettings()
    loss: LossSettings = LossSettings()
    thresholds: list[str] = Field([], description="sets with masks whose train splits the background threshold fits")
    photographs: int = Field(60, ge=1, description="photographs of each set")


class PairsTraining(Training[SSegRecipe]):
    recipe = SSegRecipe

    at = code_at(f"{HERE}.trainer", "SSegTrainer")

    def start(self, recipe: SSegRecipe) -> str:
        backbone = "a backbone of random weights" if recipe.backbone is None else f"the backbone of {recipe.backbone}"
        tower = recipe.masks.tower if recipe.tower is None else recipe.tower
        return f"{backbone}, all else random; pseudo-masks by {tower}"

    def lacks(self, recipe: SSegRecipe) -> str | None:
        if recipe.tower is not None and not recipe.tower.exists():
            return f"there are no weights of a DINO tower at {recipe.tower}; masks.tower=colours needs none"
        return lacks_pairs(recipe.data, recipe.pairs)


TRAININGS: dict[str, Training[Any]] = {"s-seg": PairsTraining()}
