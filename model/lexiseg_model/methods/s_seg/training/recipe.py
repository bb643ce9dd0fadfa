"""What decides the weights of an S-Seg, beside the pairs themselves."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.methods.s_seg.sizes import SSegSizes
from lexiseg_model.methods.s_seg.training.settings import LossSettings, PseudoMaskSettings
from lexiseg_model.training.recipe import DeitSettings, RunRecipe


class SSegRecipe(RunRecipe):
    """One training of S-Seg from captioned photographs."""

    out: Path = Path("runs/s-seg")
    pairs: list[Path] = Field([Path("captions")], min_length=1, description="captioned photographs, below `data`")
    held_out: int = Field(0, ge=0, description="pairs that are not trained on: what retrieval is measured with")
    shrunk: int | None = Field(None, ge=32, description="short side of photographs kept in memory; null: as they are")
    network: SSegSizes = SSegSizes()
    backbone: Path | None = Field(None, description="the backbone's first weights, in timm's format; null: fresh ones")
    tower: Path | None = Field(None, description="weights of the DINO tower `masks.tower`; null: from timm's hub")
    tower_recipe: str | None = Field(None, description="trained first where `tower` is not there yet: it must write it")
    masks: PseudoMaskSettings = PseudoMaskSettings()
    loss: LossSettings = LossSettings()
    views: DeitSettings = DeitSettings()
    mismatched: bool = Field(False, description="captions of other photographs: a control, which learns no words")
    thresholds: list[str] = Field([], description="sets with masks whose train splits the background threshold fits")
    photographs: int = Field(60, ge=1, description="of each of them")
