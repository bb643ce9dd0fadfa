"""Settings of a student: its network and its classes."""

from __future__ import annotations

from pydantic import Field

from lexiseg_model.types import StrictModel


class SSegPlusSettings(StrictModel):
    """`settings` of a card of method s_seg_plus. The paper names a ViT with UperNet; sizes are mmseg's with MAE."""

    classes: tuple[str, ...] = Field((), description="classes that it was taught; `background` may be first")
    backbone: str = Field("vit_base_patch16_224", description="timm's name of a plain vision transformer")
    layers: tuple[int, int, int, int] = Field((3, 5, 7, 11), description="blocks whose tokens are read")
    drop_path: float = Field(0.1, ge=0, lt=1, description="rate of dropped residual paths in training")
    width: int = Field(512, ge=8, description="channels of UperNet's maps")
    helper_width: int = Field(256, ge=8, description="channels of the second head, which training alone asks")
    dropout: float = Field(0.1, ge=0, lt=1, description="rate of dropout before the last layer, in training")
