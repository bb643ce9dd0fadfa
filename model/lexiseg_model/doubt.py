"""Classes of a short request that are hardly believed to be there, and what they lose for it.

Asked for a cow, a model that sees a sheep paints what is most like a cow: with a probability that is low all over, and
in a picture that does not look like one with cows. Neither alone tells such a class from one that is there; both do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

STEP = 3  # down and across: a ninth of the cells says as much of a class
TINY = 1e-6  # whose logarithm nothing falls below

Doubts = NDArray[np.float32]  # [K]: what the logits of each class lose


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


class Contest(NamedTuple):
    """One question about N cells of an image: logits `scores` [K + W, N] of its classes and of the words behind them,
    `decided` [K + 1, N], by which classes and nobody win, and `presence` [K], by which the picture shows a class."""

    scores: Tensor
    decided: Tensor
    presence: Tensor


def doubt(contest: Contest, likeness: NDArray[np.float64], must_beat: float, rule: DoubtRule) -> Doubts:
    """What each class's logits lose, [K]; 0 for a class that won nothing.

    Args:
        contest: how cells are decided, and what else speaks for a class.
        likeness: [K] cosines of classes with the word of training that is nearest.
        must_beat: the logit that every class must beat, before words.
        rule: how they make a belief.
    """
    n_classes = len(contest.presence)
    best, winner = contest.decided[:n_classes].max(0)
    won = (best > contest.decided[n_classes]).float()
    among = torch.logaddexp(contest.scores.logsumexp(0), best.new_tensor(must_beat))
    of_cells = torch.stack([won, won * (best - among).exp(), won * (best - must_beat)])
    sums = of_cells.new_zeros(3, n_classes).index_add_(1, winner, of_cells)
    cells, probability, lead = sums.cpu().numpy()  # [K] each, over the cells that a class won
    there, presence = cells.clip(1), contest.presence.cpu().numpy()
    belief = np.log(probability.clip(TINY) / there) + rule.presence * presence + rule.lead * lead / there
    belief += rule.area * np.log(there / len(best))
    lacking = np.where(cells > 0, (rule.least - belief).clip(0), 0)
    known = ((likeness - rule.familiar) / (1 - rule.familiar)).clip(0, 1)
    lost: Doubts = (rule.weight * known * lacking).astype(np.float32)
    return lost
