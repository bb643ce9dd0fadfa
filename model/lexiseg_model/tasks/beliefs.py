"""Probabilities by the logistic rules of a card, in tensor operations, of which a browser runs graphs.

N segments or regions have mean probabilities [N], shares of the image [N] and logits of their classes' presence [N].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.types import ScoreRule, ThingBelief

MIN_PROBABILITY = 1e-6  # keeps log-odds finite
MAX_LOGIT = 50.0  # of a score
MIN_SHARE = 1e-6  # keeps the logarithms of a region finite


def score_weights(rule: ScoreRule) -> Tensor:
    """The weights [5] float64 of `scores`."""
    return torch.tensor([rule.presence, rule.probability, rule.classes, rule.area, rule.bias], dtype=torch.float64)


def scores(weights: Tensor, presence: Tensor, probability: Tensor, n_classes: Tensor, area: Tensor) -> Tensor:
    """Scores [N] in 0..1 of segments in a request of `n_classes` []; float64."""
    odds = probability.clamp(MIN_PROBABILITY, 1 - MIN_PROBABILITY).logit()
    inputs = (presence, odds, n_classes.log(), area.log(), torch.ones_like(n_classes))
    logits = torch.stack([weight * each.expand_as(odds) for weight, each in zip(weights, inputs, strict=True)]).sum(0)
    return logits.clamp(-MAX_LOGIT, MAX_LOGIT).sigmoid()


def thing_weights(rule: ThingBelief) -> Tensor:
    """The weights [4] float64 of `thing_probability`."""
    return torch.tensor([rule.probability, rule.area, rule.presence, rule.bias], dtype=torch.float64)


def evidence(presence: Tensor, probability: Tensor, area: Tensor) -> Tensor:
    """Logarithms [N, 3] of mean probability, share of the image, and the presence of the class in 0..1."""
    shares = (each.clamp_min(MIN_SHARE).log() for each in (probability, area))
    return torch.stack([*shares, F.logsigmoid(presence)], 1)


def thing_probability(weights: Tensor, presence: Tensor, probability: Tensor, area: Tensor) -> Tensor:
    """Probability [N] that each region is a whole thing of its class; float64."""
    return (evidence(presence, probability, area) @ weights[:3] + weights[3]).sigmoid()
