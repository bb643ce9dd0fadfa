"""Recipe of an image and a text tower."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_train.training.recipe import PairsRecipe


class ClipRecipe(PairsRecipe):
    """Recipe of an image and a text tower from random weights, trained as CLIP."""

    out: Path = Path("runs/clip")
    architecture: str = Field("lexiseg-mini-16", description="open_clip's name")
    quick_gelu: bool = Field(True, description="activation: QuickGELU, as OpenAI's models have it, or GELU")
