"""Recipe and training of TCL's grounder over a frozen CLIP, from captioned photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from lexiseg_model.cards import StrictModel
from lexiseg_train.training.recipe import PairsRecipe
from lexiseg_train.training.recipes.prerequisites import lacks_pairs, lacks_prerequisite
from lexiseg_train.training.recipes.training import Prerequisite, Training, code_at

HERE = "lexiseg_train.methods.tcl"


class LossSettings(StrictModel):
    """Weights of the losses (TCL, section 3.3), and target areas of masks as shares of the image."""

    image_contrast: float = 0.1
    feature_contrast: float = 0.1
    area: float = 0.4
    negative_area: float = 0.4
    image_variation: float = 1.0
    mask_variation: float = 1.0
    own_share: float = 0.4
    other_share: float = 0.0


class TclRecipe(PairsRecipe):
    """Recipe of TCL's grounder over a frozen CLIP."""

    out: Path = Path("runs/tcl")
    clip: Path = Field(description="weights of both towers, in a file that `lexiseg models import --clip` takes")
    architecture: str = Field(description="open_clip's name of them, with QuickGELU")
    clip_recipe: str | None = Field(None, description="trained first where `clip` is not there yet: it must write it")
    grounder_steps: int = Field(30_000, ge=0, description="steps before the copy of CLIP's last block learns, too")
    selection: list[str] = Field([], description="sets with masks; mIoU on their train splits is what `best_by` asks")
    photographs: int = Field(200, ge=1, description="photographs of each set, evenly over the split")
    loss: LossSettings = LossSettings()

    @model_validator(mode="after")
    def _whole_patches(self) -> Self:
        if odd := [phase.crop for phase in self.phases if phase.crop % 16]:
            raise ValueError(f"crops of {odd} pixels; expected multiples of the patch, 16")
        return self


class TclTraining(Training[TclRecipe]):
    recipe = TclRecipe

    at = code_at(f"{HERE}.trainer", "TclTrainer")

    def start(self, recipe: TclRecipe) -> str:
        return f"a new grounder over {recipe.clip}, {recipe.architecture}"

    def lacks(self, recipe: TclRecipe) -> str | None:
        if (lack := lacks_pairs(recipe.data, recipe.pairs)) is not None:
            return lack
        if recipe.clip_recipe is None and not recipe.clip.is_file():
            return (
                f"there is no CLIP at {recipe.clip}; say where with clip=FILE and architecture=NAME, or train a small "
                "one: lexiseg train clip-smoke, then clip=runs/clip-smoke/clip.safetensors architecture=lexiseg-mini-16"
            )
        return lacks_prerequisite(self.prerequisites(recipe), recipe)

    def prerequisites(self, recipe: TclRecipe) -> list[Prerequisite]:
        return Prerequisite.if_named("clip", recipe.clip, recipe.clip_recipe)


TRAININGS: dict[str, Training[Any]] = {"tcl": TclTraining()}
