"""Recipe of a DINO tower."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.training.recipe import RunRecipe
from lexiseg_model.types import StrictModel


class TowerSize(StrictModel):
    """Sizes of a plain vision transformer; positions are learned at the size of the run's crop."""

    patch: int = Field(8, ge=2)
    width: int = Field(384, ge=64, multiple_of=64, description="of a token; one head for each 64")
    depth: int = Field(12, ge=1)


class ViewSettings(StrictModel):
    """Views of a photograph (DINO, section 3.1 and appendix)."""

    wide: tuple[float, float] = Field((0.4, 1.0), description="share of the photograph in each of the two large views")
    narrow: tuple[float, float] = Field((0.05, 0.4), description="share of it in a small one")
    n_narrow: int = Field(8, ge=0, description="small views, which the student alone sees")
    narrow_side: float = Field(96 / 224, gt=0, le=1, description="of the side of a large view")


class DinoSettings(StrictModel):
    """Settings of the self-distillation; the defaults are DINO's for ViT-S."""

    outputs: int = Field(65_536, ge=2, description="what views are sorted into")
    hidden: int = Field(2_048, ge=1, description="of the head")
    bottleneck: int = Field(256, ge=1, description="of the head")
    student_temperature: float = Field(0.1, gt=0)
    teacher_temperature: float = Field(0.04, gt=0)
    momentum: float = Field(0.996, ge=0, le=1, description="of the teacher at the beginning; it rises to 1 by a cosine")
    centre: float = Field(0.9, ge=0, lt=1, description="momentum of the mean that is taken off the teacher's outputs")


class TowerRecipe(RunRecipe):
    """Recipe of a training of a tower by self-distillation, without labels."""

    out: Path = Path("runs/dino")
    photographs: list[Path] = Field(min_length=1, description="folders of photographs below `data`")
    shrunk: int | None = Field(None, ge=32, description="short side of photographs kept in memory; null: as they are")
    tower: TowerSize = TowerSize()
    views: ViewSettings = ViewSettings()
    dino: DinoSettings = DinoSettings()
    judged: list[str] = Field([], description="sets whose val splits say how well the tower's clusters fit objects")
    held_out: int = Field(0, ge=0, description="photographs that are not trained on: do two views find each other?")
    mismatched: bool = Field(False, description="views of other photographs: a control, which learns no photograph")
