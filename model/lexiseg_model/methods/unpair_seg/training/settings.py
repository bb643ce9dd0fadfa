"""What the losses of both stages are told; free of torch, for recipes hold it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

# Of the longer side, in pixels. The paper does not name its scales; leftovers of the released configuration name these.
SIZES = (896, 1024)


class PointSettings(BaseModel):
    """As Mask2Former trains, and Unpair-Seg after it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: int = Field(12_544, ge=1, description="for each mask")
    oversample: float = Field(3.0, ge=1, description="candidates for each point, of which the unsure ones are taken")
    importance: float = Field(0.75, ge=0, le=1, description="share of points chosen so; the rest lies anywhere")


POINTS = PointSettings()


class AlignmentSettings(BaseModel):
    """What the paper leaves open; defaults keep every pair, as the authors' later code does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep: float = Field(1.0, gt=0, le=1, description="share of an image's pairs that is kept, the most probable ones")
    confidence: float = Field(0.0, ge=0, lt=1, description="probability that a pair must have to be kept")
    sizes: tuple[int, ...] = Field(
        SIZES, min_length=1, description="of the image's longer side in pixels, over which CLIP's view is averaged"
    )
    adapter_share: float = Field(
        0.5, ge=0, le=1, description="of the adapter in matching at the end of training; it grows from 0"
    )


KEEP_ALL = AlignmentSettings()
