"""Classes of a short request that are hardly believed to be there, and what they lose for it.

Asked for a cow, a model that sees a sheep paints what is most like a cow: with a probability that is low all over, and
in a picture that does not look like one with cows. Neither alone tells such a class from one that is there; both do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from lexiseg_model.segmenter import Doubts

STEP = 3  # down and across: a ninth of the cells says as much of a class
TINY = 1e-6  # whose logarithm nothing falls below


class Doubted(NamedTuple):
    """How far each of K classes is doubted, 0..1, and the belief that lacks nothing of it; [K] each."""

    share: NDArray[np.float64]
    least: NDArray[np.float64]


class DoubtRule(BaseModel):
    """How far a class steps back that is hardly believed; fitted on training photographs (docs/training.md).

    Belief is the natural logarithm of the mean probability of the cells that a class won, and three numbers beside it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(0.0, ge=0, description="of what belief lacks, taken from the logits; 0: nobody is doubted")
    least: float = Field(-1.7, description="belief that lacks nothing")
    presence: float = Field(0.8, ge=0, description="of the logit that the picture as a whole shows the class")
    lead: float = Field(0.2, ge=0, description="of the mean score of its cells above what every class must beat")
    area: float = Field(-0.2, description="of the natural logarithm of its share of the picture")
    familiar: float = Field(
        0.8, ge=0, lt=1, description="likeness to a word of training from which a class is doubted, fully at 1"
    )

    hard_words: frozenset[str] = Field(frozenset(), description="of training that are hard to tell from each other")
    hard_least: float = Field(-1.7, description="belief that lacks nothing of a class that is most like one of these")

    def of(self, nearest: Sequence[tuple[str, float]]) -> Doubted:
        """By the word of training that is nearest to each class, and the cosine of both."""
        likeness = np.array([cosine for _, cosine in nearest], np.float64)
        least = [self.hard_least if word in self.hard_words else self.least for word, _ in nearest]
        return Doubted(((likeness - self.familiar) / (1 - self.familiar)).clip(0, 1), np.array(least, np.float64))


class Won(NamedTuple):
    """The cells of an image that K classes won, M of the `looked_at`: where each is among all cells, who won it and by
    which logit; [M] each."""

    places: NDArray[np.int64]
    winner: NDArray[np.int64]
    logit: NDArray[np.float32]
    looked_at: int


def won(logits: Tensor, share: NDArray[np.float64]) -> Won:
    """What classes won that are doubted at all, by logits [K + 1, h, w], the last of which is nobody's; `share` [K]."""
    width = logits.shape[2]
    some = logits[:, ::STEP, ::STEP].flatten(1).cpu().numpy()
    best = some[:-1].max(0)
    cells = np.flatnonzero(best > some[-1])
    winner = some[:-1].take(cells, 1).argmax(0)
    doubted = share[winner] > 0
    cells, winner = cells[doubted], winner[doubted]
    down, across = np.divmod(cells, -(-width // STEP))
    return Won(STEP * (down * width + across), winner, best[cells], some.shape[1])


def doubt(
    cells: Won,
    scores: NDArray[np.float32],
    presence: NDArray[np.float32],
    doubted: Doubted,
    must_beat: float,
    rule: DoubtRule,
) -> Doubts:
    """What each class's logits lose, [K]; 0 for a class that won nothing.

    Args:
        cells: what doubted classes won.
        scores: [K + W, M] logits of all classes and of the words behind them in these cells.
        presence: [K] logits by which the picture as a whole shows a class.
        doubted: how far each is, and below which belief.
        must_beat: the logit that every class must beat, before words.
        rule: how they make a belief.
    """
    # Beside the winner, which nothing lies far above: nothing overflows.
    probability = 1 / (np.exp(scores - cells.logit).sum(0) + np.exp(must_beat - cells.logit))
    of_cells = (None, probability, cells.logit - must_beat)
    count, probable, lead = (np.bincount(cells.winner, summed, len(presence)) for summed in of_cells)  # [K] each
    there = count.clip(1)
    belief = np.log(probable.clip(TINY) / there) + rule.presence * presence + rule.lead * lead / there
    belief += rule.area * np.log(there / cells.looked_at)
    lacking = np.where(count > 0, doubted.least - belief, 0).clip(0)
    lost: Doubts = (rule.weight * doubted.share * lacking).astype(np.float32)
    return lost
