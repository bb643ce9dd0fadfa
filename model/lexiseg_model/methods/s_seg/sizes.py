"""What decides S-Seg's networks; free of torch, for recipes hold it.

The authors released no code. Where their paper is silent the default is what the code that they built on does
(MaskFormer, GroupViT).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Pooling = Literal["mean_then_project", "project_then_mean"]


class SSegSizes(BaseModel):
    """Backbone, mask head, text transformer and projectors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(
        "swin_small_patch4_window7_224", description="timm's name of a network with features at strides 4, 8, 16, 32"
    )
    drop_path: float | None = Field(
        0.3, ge=0, lt=1, description="of the backbone in training (MaskFormer's); None: it knows none"
    )
    n_queries: int = Field(64, ge=1, description="masks of an image (paper)")
    mask_width: int = Field(256, ge=32, multiple_of=32, description="of queries and mask features (MaskFormer's)")
    decoder_layers: int = Field(6, ge=1, description="paper")
    dropout: float = Field(0.1, ge=0, lt=1, description="in the decoder (MaskFormer's)")
    text_layers: int = Field(12, ge=1, description="paper")
    text_width: int = Field(256, ge=64, multiple_of=64, description="paper; one head for each 64")
    embedding: int = Field(256, ge=1, description="width of the space that masks and texts share (paper)")
    projector_hidden: int = Field(4096, ge=1, description="between the two layers of a projector (GroupViT's)")
    pooling: Pooling = Field(
        "mean_then_project",
        description="an image's vector from its mask features: the mean goes through the projector (as in GroupViT), "
        "or every mask feature does and the mean is taken of what comes out",
    )
