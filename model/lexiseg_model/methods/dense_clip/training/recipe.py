"""Recipe values of CLIP pairs (image and text tower) and of CLIP-DINOiser heads."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.training.recipe import PairsRecipe, RunRecipe


class ClipRecipe(PairsRecipe):
    """One training of an image and a text tower, from random weights, as CLIP is trained."""

    out: Path = Path("runs/clip")
    architecture: str = Field("lexiseg-mini-16", description="open_clip's name")
    quick_gelu: bool = Field(True, description="activation: QuickGELU, as OpenAI's models have it, or GELU")


class DinoiserRecipe(RunRecipe):
    """One training of the two heads over a frozen CLIP, taught by a frozen DINO; no label is looked at."""

    out: Path = Path("runs/dinoiser")
    photographs: Path = Field(description="folder of photographs, below `data`; whatever lies deeper counts, too")
    most: int = Field(1000, ge=1, description="of them, drawn by the seed")
    held_out: int = Field(0, ge=0, description="others, drawn with them, that the held-out losses are measured on")
    mismatched: bool = Field(False, description="taught of other photographs: a control, which learns no photograph")
    architecture: str = Field("ViT-B-16", description="open_clip's name of the CLIP")
    clip: Path | None = Field(None, description="its towers; null: `pretrained` of the hub")
    pretrained: str = Field("laion2b_s34b_b88k", description="open_clip's tag, where `clip` is null")
    clip_recipe: str | None = Field(None, description="trained first where `clip` is not there yet: it must write it")
    teacher: str = Field("dino_vitb16", description="DINO tower; `dino`: any, whose sizes its weights say")
    tower: Path | None = Field(None, description="the teacher's weights; null: of timm's hub")
    tower_recipe: str | None = Field(None, description="trained first where `tower` is not there yet")
    least_correlation: float = Field(0.2, ge=0, lt=1, description="gamma: values more alike belong together")
    background_likeness: float = Field(0.3, ge=-1, le=1, description="FOUND's tau, of keys and the seed's")
    brightness: float = Field(0.5, ge=0, lt=1, description="photographs are that much brighter or darker at most")
