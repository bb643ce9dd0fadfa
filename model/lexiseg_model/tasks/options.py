"""What may be asked beside the vocabulary, and what goes together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import PromptMasks, Segmenter
from lexiseg_model.types import Prompt, Refinement, Vocabulary
from lexiseg_model.vocabulary.scoring import Steady

# In a video, for each object that is followed: its mask in this frame, or None where it is lost.
Follow = Callable[[Segmenter, Features], Sequence[PromptMasks | None]]


@dataclass(frozen=True)
class Options:
    """What may be asked beside the vocabulary.

    `threshold` drops segments with a lower score, a class's own goes before it, None means the card's;
    `refine` None means the card's default;
    `keep_probability` also gives each pixel's confidence; `steady` averages logits over a video; `prompts` are those of
    the task prompt; with `follow` it has what that gives instead. `keep_label_map`, and of prompts `keep_counts`, may
    be left out: what a picture, and what run lengths, cost for each mask is then saved. `check` is called between the
    pieces of long work; what it raises ends that.
    """

    threshold: float | None = None
    refine: Refinement | None = None
    keep_probability: bool = False
    steady: Steady | None = None
    prompts: tuple[Prompt, ...] = ()
    follow: Follow | None = None
    keep_label_map: bool = True
    keep_counts: bool = True
    check: Callable[[], None] = lambda: None

    def min_score(self, threshold_of_class: float | None, default: float = 0.0) -> float:
        """Return the score that a segment of a class must reach; `default` where neither request nor class has one."""
        if threshold_of_class is not None:
            return threshold_of_class
        return default if self.threshold is None else self.threshold


def check_vocabulary(vocabulary: Vocabulary, options: Options) -> None:
    """What holds whenever classes compete.

    Raises:
        OptionError: there is no class, or a threshold is set although every pixel must get one.
    """
    if not vocabulary.classes:
        raise OptionError("the task needs at least one class, none came")
    if vocabulary.background is None and (options.threshold or any(entry.threshold for entry in vocabulary.classes)):
        raise OptionError("a threshold drops segments, but background=false promises a class for every pixel")
