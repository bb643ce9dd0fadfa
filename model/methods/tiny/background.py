"""The background rule of `tiny`: words that answer for what a request does not name, and a cosine to beat."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field


class BackgroundRule(BaseModel):
    """Words, and the likeness from which a word means the same as a requested class and steps aside."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: list[str]
    same_meaning: float = Field(gt=0, le=1)


def read_rule() -> BackgroundRule:
    """The rule that training and serving share."""
    path = Path(__file__).with_name("background.yaml")
    return BackgroundRule.model_validate(yaml.safe_load(path.read_text()))
