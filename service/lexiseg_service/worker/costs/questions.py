"""Questions about the encoded picture of a trial, and the seconds that their answers take."""

from __future__ import annotations

from functools import cached_property
from itertools import count

import numpy as np
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.features import Plan, TileFeatures
from lexiseg_model.segmenter import RowsOf, Segmenter
from lexiseg_model.types import ClassEntry, Point, Prompt, Refinement, Task, Vocabulary
from lexiseg_service.worker.costs.stopwatch import Stopwatch

LARGE = (1500, 2000)  # height and width that the same picture is said to have been
MANY = 200  # words, of which none has been asked for
CLICKS = tuple(Prompt((Point(40.0 * n + 20.0, 240.0),)) for n in range(16))


class Questions:
    """Each is answered as if nobody had asked about the picture before.

    Args:
        segmenter: the model.
        plan: of the picture.
        tile_features: of the plan's tiles.
        vocabulary: classes whose rows are in memory.
        rows_of: where they are.
        stopwatch: what the answers are timed by.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        plan: Plan,
        tile_features: TileFeatures,
        vocabulary: Vocabulary,
        rows_of: RowsOf,
        stopwatch: Stopwatch,
    ) -> None:
        self._segmenter = segmenter
        self._plan = plan
        self._tile_features = tile_features
        self._vocabulary = vocabulary
        self._rows_of = rows_of
        self._stopwatch = stopwatch

    @cached_property
    def plain(self) -> float:
        """Seconds of an answer about the vocabulary, unrefined; 0 of a model that does not do that."""
        return self.ask() if "semantic" in self._segmenter.card.tasks else 0.0

    @cached_property
    def plain_of_large(self) -> float:
        """Likewise, were the picture as large as `LARGE`."""
        return self.ask(size=LARGE) if "semantic" in self._segmenter.card.tasks else 0.0

    def ask(
        self,
        task: Task = "semantic",
        refine: Refinement | None = None,
        prompts: tuple[Prompt, ...] = CLICKS,
        size: tuple[int, int] | None = None,
    ) -> float:
        """Seconds of one answer.

        Args:
            task: which; about the vocabulary, where it takes one.
            refine: None for the default of the card.
            prompts: of the task `prompt`; others take none.
            size: height and width that the picture is said to have been; None for its own.
        """
        options = tasks.Options(refine=refine, prompts=prompts if task == "prompt" else (), keep_label_map=False)
        vocabulary = Vocabulary(()) if task in ("prompt", "everything") else self._vocabulary
        plan = self._plan if size is None else self._plan.of_size(size)

        def answer() -> None:
            features = self._segmenter.assemble(plan, self._tile_features)
            tasks.segment(task, self._segmenter, features, vocabulary, options, self._rows_of)

        return self._stopwatch.timed(answer)[0]

    def about_many_words(self) -> float:
        """Seconds of an answer about `MANY` words, new ones each time, whose rows are known."""
        lists = [tuple(ClassEntry(f"a word {number} of {MANY}, {turn}") for number in range(MANY)) for turn in range(2)]
        texts = [text for words in lists for text in self._segmenter.texts(words)]
        own = self._rows_of(self._segmenter.texts(self._vocabulary.classes))
        # Rows like those of words, no two the same.
        made = {text: np.roll(own[place % len(own)], 1 + place // len(own)) for place, text in enumerate(texts)}
        turns = count()

        def rows_of(asked: list[str]) -> NDArray[np.float16]:
            known = [text for text in asked if text not in made]
            rows = dict(zip(known, self._rows_of(known), strict=True)) if known else {}
            return np.stack([made[text] if text in made else rows[text] for text in asked])

        def answer() -> None:
            words = Vocabulary(lists[next(turns)])
            features = self._segmenter.assemble(self._plan, self._tile_features)
            tasks.segment("semantic", self._segmenter, features, words, tasks.Options(keep_label_map=False), rows_of)

        return self._stopwatch.timed(answer)[0]
