"""Contents of a request to a model: the image's features, the vocabulary, and options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import RowsOf, Segmenter, TextBank, words_of
from lexiseg_model.types import Prompt, Refinement, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of
from lexiseg_model.vocabulary.scoring import Steady

# In a video: the mask of each followed object in this frame, None where the object is lost.
Follow = Callable[[Segmenter, Features], Sequence[PromptMasks | None]]

_check: ContextVar[Callable[[], None]] = ContextVar("check", default=lambda: None)


@contextmanager
def checked_by(check: Callable[[], None]) -> Iterator[None]:
    """Let long work of a method inside be ended by `check`, which raises."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def check_work() -> None:
    """Called between the steps of long work, such as tokens; raises where a question's deadline has passed."""
    _check.get()()


@dataclass(frozen=True)
class Options:
    """Options of a task, apart from the vocabulary.

    Attributes:
        threshold: the score in 0..1 below which segments are dropped, unless their class has its own; None: the card's.
        refine: how masks follow the colours of the image; None: the card's default.
        keep_probability: also give the probability of each pixel's winner.
        steady: averages the logits of a frame with the frames before it.
        prompts: of the task prompt.
        follow: gives the masks of followed objects, in place of prompts.
        keep_label_map: whether the label map is needed; without it, a map of [0, 0] is given.
        doubtful: also answer segments under their threshold, marked, of classes of which nothing else was found.
        check: called between the steps of long work, to end it by raising.
    """

    threshold: float | None = None
    refine: Refinement | None = None
    keep_probability: bool = False
    steady: Steady | None = None
    prompts: tuple[Prompt, ...] = ()
    follow: Follow | None = None
    keep_label_map: bool = True
    doubtful: bool = False
    check: Callable[[], None] = lambda: None

    def min_score(self, threshold_of_class: float | None, default: float = 0.0) -> float:
        """The score that a segment of a class must reach; `default` where neither request nor class has one."""
        if threshold_of_class is not None:
            return threshold_of_class
        return default if self.threshold is None else self.threshold


@dataclass(frozen=True)
class Query:
    """One question about one image; `rows_of` gives the text rows of its words."""

    segmenter: Segmenter
    features: Features
    vocabulary: Vocabulary
    options: Options
    rows_of: RowsOf

    @cached_property
    def bank(self) -> TextBank:
        """The bank of the vocabulary, which has at least one class."""
        return bank_of(self.segmenter, self.vocabulary, self.rows_of)

    @property
    def refine(self) -> Refinement:
        """The refinement that is asked for, or the default of the model's card."""
        return self.options.refine or self.segmenter.card.refine

    def check_vocabulary(self) -> None:
        """Check the vocabulary and the thresholds of a task in which classes compete; errors as `tasks.answer`."""
        classes = self.vocabulary.classes
        words_of(self.segmenter)
        if not classes:
            raise OptionError("the task needs at least one class, none came")
        if self.vocabulary.background is None and (self.options.threshold or any(entry.threshold for entry in classes)):
            raise OptionError("a threshold drops segments, but background=false promises a class for every pixel")
