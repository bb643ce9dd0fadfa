"""What decides an S-Seg model: its networks, and how it answers.

The authors released no code. Where their paper is silent the default is what the code that they built on does
(MaskFormer, GroupViT), and the field's description says so.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lexiseg_model.clip.text_side import template_set
from lexiseg_model.methods.s_seg.sizes import SSegSizes

Combination = Literal["sum", "mean"]


class SSegSettings(SSegSizes):
    """`settings` of a card of method s-seg."""

    window: int | None = Field(
        None,
        ge=32,
        multiple_of=32,
        description="side of a sliding window in pixels (GroupViT's protocol: 448); None: the whole image at once, "
        "which alone gives masks of whole objects",
    )
    stride: int | None = Field(None, ge=16, multiple_of=4, description="step between windows (GroupViT's: 224)")
    templates: str = Field("simple", description="template set of the text side (GroupViT's)")
    combination: Combination = Field(
        "mean",
        description="a pixel's score: the masks over it times what they show, divided by the sum of the masks, which "
        "makes it the probability that GroupViT's threshold is for, or summed as in MaskFormer, which can exceed 1",
    )
    background: float = Field(
        0.95,
        ge=0,
        le=1,
        description="score that a class must reach (GroupViT's of VOC and COCO; 0.35 for Context); "
        "meant for probabilities, which `sum` does not give",
    )
    candidates: int | None = Field(
        None, ge=1, description="only so many classes, the likeliest of the image, compete (GroupViT: 5); None: all"
    )

    least_quality: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="a proposal's mean probability inside its mask, which more than a half has by its making",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.window is None) != (self.stride is None):
            raise ValueError("window and stride come together, or neither")
        if self.window is not None and self.stride is not None and self.stride > self.window:
            raise ValueError(f"stride {self.stride} beyond window {self.window} leaves gaps")
        template_set(self.templates)
        return self
