"""What decides a pair of towers, beside the captioned photographs themselves."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.training.recipe import DeitSettings, RunRecipe


class ClipRecipe(RunRecipe):
    """One training of an image and a text tower, from random weights, as CLIP is trained."""

    out: Path = Path("runs/clip")
    architecture: str = Field("lexiseg-mini-16", description="open_clip's name")
    quick_gelu: bool = Field(True, description="activation: QuickGELU, as OpenAI's models have it, or GELU")
    pairs: list[Path] = Field([Path("captions")], min_length=1, description="captioned photographs, below `data`")
    held_out: int = Field(0, ge=0, description="pairs that are not trained on: what retrieval is measured with")
    shrunk: int | None = Field(None, ge=32, description="short side of photographs kept in memory; null: as they are")
    views: DeitSettings = DeitSettings()
    mismatched: bool = Field(False, description="captions of other photographs: a control, which learns no words")
