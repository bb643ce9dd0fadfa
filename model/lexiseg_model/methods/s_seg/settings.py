"""Settings of an S-Seg model. The authors released no code: where the paper is silent, defaults are MaskFormer's or
GroupViT's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lexiseg_model.cards import StrictModel
from lexiseg_model.clip import windowed
from lexiseg_model.clip.by_example import ExampleLevels
from lexiseg_model.clip.text_side import template_set

Pooling = Literal["mean_then_project", "project_then_mean"]
Combination = Literal["sum", "mean"]


class SSegSizes(StrictModel):
    """Sizes of backbone, mask head, text transformer and projectors."""

    backbone: str = Field(
        "swin_small_patch4_window7_224", description="timm's name of a network with features at strides 4, 8, 16, 32"
    )
    drop_path: float | None = Field(
        0.3,
        ge=0,
        lt=1,
        description="rate of the backbone's dropped residual paths in training (MaskFormer's); None: it knows none",
    )
    n_queries: int = Field(64, ge=1, description="masks of an image (paper)")
    mask_width: int = Field(
        256, ge=32, multiple_of=32, description="channels of queries and mask features (MaskFormer's)"
    )
    decoder_layers: int = Field(6, ge=1, description="layers of the mask decoder (paper)")
    dropout: float = Field(0.1, ge=0, lt=1, description="rate of dropout in the decoder (MaskFormer's)")
    text_layers: int = Field(12, ge=1, description="layers of the text transformer (paper)")
    text_width: int = Field(
        256, ge=64, multiple_of=64, description="channels of the text transformer, one head for each 64 (paper)"
    )
    embedding: int = Field(256, ge=1, description="width of the space that masks and texts share (paper)")
    projector_hidden: int = Field(4096, ge=1, description="channels between the two layers of a projector (GroupViT's)")
    pooling: Pooling = Field(
        "mean_then_project",
        description="an image's vector from its mask features: the mean goes through the projector (as in GroupViT), "
        "or every mask feature does and the mean is taken of what comes out",
    )


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
    examples: ExampleLevels = ExampleLevels()
    candidates: int | None = Field(
        None, ge=1, description="number of classes, the likeliest of the image, that compete (GroupViT: 5); None: all"
    )

    least_quality: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="a proposal's mean probability inside its mask, which more than a half has by its making",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        windowed.require_windows(self.window, self.stride)
        template_set(self.templates)
        return self
