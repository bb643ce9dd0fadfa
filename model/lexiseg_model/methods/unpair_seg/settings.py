"""What decides how an image is laid out, which masks a grid of points proposes and how these are named.

The defaults are sane; `compatibility: released` repeats the released code, see `compatibility`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lexiseg_model.clip.by_example import ExampleLevels
from lexiseg_model.masks.overlap_rule import OVERLAPS, OverlapRule

ARCHITECTURE = "convnext_large_d_320"  # of the authors: weights laion2b_s29b_b131k_ft_soup, with GELU

# How far to follow what was released where it is not what was meant; see `compatibility`.
Compatibility = Literal["none", "released"]
Padding = Literal["square", "multiple"]  # of the network's input, beside and below the image


class ProposalSettings(BaseModel):
    """Stage one's inference, as released: 20 x 20 points with four masks each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grid: int = Field(20, ge=1, le=64, description="points along each side of the image")
    points_per_pass: int = Field(100, ge=1, description="points that go through the mask decoder together")
    # The released code keeps 0.65 of a sigmoid taken twice: the same masks.
    quality: float = Field(
        0.619,
        ge=0,
        le=1,
        description="predicted quality from which a mask is kept; without effect with compatibility: released",
    )
    rule: OverlapRule = OVERLAPS


PROPOSALS = ProposalSettings()


class CleaningSettings(BaseModel):
    """What happens to proposals before they are kept. 0 switches either off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stability: float = Field(
        0.92, ge=0, le=1, description="a proposal goes whose area depends more than that on the threshold"
    )
    specks: int = Field(
        64,
        ge=0,
        description="pixels of the network's input, 16 a cell; smaller holes are filled, smaller parts dropped",
    )


class UnpairSegSettings(BaseModel):
    """`settings` of a card of method unpair_seg."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str = Field(ARCHITECTURE, description="open_clip's name of the CLIP, a ConvNeXt")
    compatibility: Compatibility = Field("none", description="released: the released code, quirks and all")
    padding: Padding = Field(
        "square", description="square: as released; multiple: the shorter side to a multiple of 32 only, cheaper"
    )
    proposals: ProposalSettings = PROPOSALS
    cleaning: CleaningSettings = CleaningSettings()
    templates: str = Field("vild14", description="template set of the text side; a class answers by its best text")
    logit_scale: float | None = Field(None, gt=0, le=100, description="of cosines; None: CLIP's own, at most 100")
    covered: float = Field(
        0.5, ge=0, le=1, description="sum of mask probabilities below which a pixel is nobody's, whatever its class"
    )
    probability: float = Field(
        0.3, ge=0, le=1, description="of a class among all that competes, below which a pixel or region is nobody's"
    )

    examples: ExampleLevels = ExampleLevels()

    @model_validator(mode="after")
    def _released_is_square(self) -> UnpairSegSettings:
        if self.compatibility == "released" and self.padding != "square":
            raise ValueError(
                f"compatibility: released goes with padding: square alone, got padding: {self.padding}; "
                "the released code knows no other canvas"
            )
        return self
