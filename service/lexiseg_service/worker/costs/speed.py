"""How fast one model does its work on this machine, beside what a request is expected to cost anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OF_EACH_CLASS = frozenset({"pamr", "instance", "panoptic"})  # these look at each class; proposals are made once
OF_EACH_TEXT = frozenset({"instance", "panoptic"})  # and these at each synonym once more
WITH_WORDS = 0.75  # power of the number of classes: 20 to 850 of `tiny`'s take between its square root and itself
REFINED = 8.0  # classes that are refined in the time of the masks of one prompt: most classes are nowhere in an image
SYNONYM = 0.5  # of what a class takes
TRIED_ON = 0.3  # megapixels of what a task or refinement was tried on; what a large image takes beyond that is apart


@dataclass(frozen=True)
class Speed:
    """Times as long as an ordinary core of 2025 takes with `tiny`, and milliseconds of what a size does not know."""

    decode: float = 1.0
    image: float = 1.0
    finish: float = 1.0
    tiles: int = 1  # of a photograph
    shared: float = 12.0  # milliseconds of what all prompts about an image share
    prompt: float = 3.0  # likewise of each prompt
    look: float = 35.0  # more, of one whose box is small
    word: float = 0.08  # likewise of each class that is asked for, though its rows are known
    # By task and refinement, beyond plain, with as many words as were tried.
    extra: Mapping[str, float] = field(default_factory=lambda: {"pamr": 150.0, "regions": 300.0, "everything": 300.0})
    # Of each megapixel more, likewise.
    pixels: Mapping[str, float] = field(default_factory=lambda: {"instance": 15.0, "panoptic": 15.0})
    words: int = 20

    def beyond_plain(self, name: str | None, n_classes: int, n_synonyms: int = 0, megapixels: float = 0.0) -> float:
        """Milliseconds of a task or a refinement about so many classes, and their synonyms, in so large an image."""
        more = max(1.0, n_classes / self.words) ** WITH_WORDS if name in OF_EACH_CLASS else 1.0
        of_texts = SYNONYM * self.word * n_synonyms if name in OF_EACH_TEXT else 0.0
        of_pixels = self.pixels.get(name or "", 0.0) * max(0.0, megapixels - TRIED_ON)
        return more * self.extra.get(name or "", 0.0) + of_texts + of_pixels

    def refined(self, n_prompts: int) -> float:
        """Milliseconds of PAMR for the masks of so many prompts."""
        return REFINED * n_prompts * self.extra.get("pamr", 0.0) / self.words


ORDINARY = Speed()
