"""How fast one model does its work on this machine, beside what a request is expected to cost anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Speed:
    """Times as long as an ordinary core of 2025 takes with `tiny`, and milliseconds of what a size does not know."""

    decode: float = 1.0
    image: float = 1.0
    finish: float = 1.0
    tiles: int = 1  # of a photograph
    prompt: float = 3.0  # milliseconds of each prompt
    look: float = 35.0  # more, of one whose box is small
    extra: Mapping[str, float] = field(default_factory=lambda: {"pamr": 150.0})  # by task and refinement, beyond plain


ORDINARY = Speed()
