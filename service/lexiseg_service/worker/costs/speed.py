"""How fast one model does its work on this machine, beside what a request is expected to cost anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OF_EACH_CLASS = frozenset({"pamr", "instance", "panoptic"})  # these look at each class; proposals are made once
WITH_WORDS = 0.75  # power of the number of classes: 20 to 850 of `tiny`'s take between its square root and itself


@dataclass(frozen=True)
class Speed:
    """Times as long as an ordinary core of 2025 takes with `tiny`, and milliseconds of what a size does not know."""

    decode: float = 1.0
    image: float = 1.0
    finish: float = 1.0
    tiles: int = 1  # of a photograph
    prompt: float = 3.0  # milliseconds of each prompt
    look: float = 35.0  # more, of one whose box is small
    # By task and refinement, beyond plain, with as many words as were tried.
    extra: Mapping[str, float] = field(default_factory=lambda: {"pamr": 150.0, "regions": 300.0, "everything": 300.0})
    words: int = 20

    def beyond_plain(self, name: str | None, n_classes: int) -> float:
        """Milliseconds of a task or a refinement about so many classes."""
        more = max(1.0, n_classes / self.words) ** WITH_WORDS if name in OF_EACH_CLASS else 1.0
        return more * self.extra.get(name or "", 0.0)


ORDINARY = Speed()
