"""What the card of an imported SAM 3 says of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Sam3Settings(BaseModel):
    """All that is needed beside the weights to run them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: dict[str, Any] = Field(description="of `transformers.Sam3Model`, as its checkpoint has it")
    side: int = Field(gt=0, description="of the network's input in pixels; pictures are brought to this square")
    mean: tuple[float, float, float] = Field(description="of colours in 0..1")
    std: tuple[float, float, float] = Field(description="of colours in 0..1")
    tokens: int = Field(gt=0, description="of a text, with those that begin and end it, and padding")
    padding: int = Field(ge=0, description="the token that fills a text up")
    probability: float = Field(0.5, gt=0, lt=1, description="that a class needs to own a pixel")
