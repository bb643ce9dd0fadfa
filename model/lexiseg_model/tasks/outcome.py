"""From the logits that compete to what an answer is made of: specks go, pixels are won, and each class has its runs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.kernel import library
from lexiseg_model.kernel import outcome as compiled
from lexiseg_model.masks.bilinear import axes
from lexiseg_model.masks.regions import MOST_REGIONS
from lexiseg_model.masks.rle import encode_label_map, encode_label_runs
from lexiseg_model.masks.specks import NO_SPECKS, SpeckRule, without_specks
from lexiseg_model.masks.upsample import winners
from lexiseg_model.masks.winners import Winners
from lexiseg_model.types import LabelMap, Rle


class Outcome(NamedTuple):
    """As `Winners`, with the run lengths of the classes where they were asked for; votes are those of the classes."""

    labels: LabelMap
    votes: NDArray[np.float64]
    probability: NDArray[np.float32] | None
    rles: list[Rle] | None


def outcome(
    logits: Tensor,
    size: tuple[int, int],
    n_classes: int,
    rule: SpeckRule = NO_SPECKS,
    *,
    keep_probability: bool = False,
    encode: bool = True,
) -> Outcome:
    """The winners of logits without their specks.

    Args:
        logits: [K, h, w] of the classes, and of nobody if there is one row more; may be written to.
        size: (H, W) of the answer.
        n_classes: how many classes.
        rule: what is a speck.
        keep_probability: also give the probability of every pixel's winner.
        encode: also give the run lengths of the classes.
    """
    on_cpu = logits.device.type == "cpu" and logits.dtype == torch.float32
    if library.ready() and on_cpu and len(logits) < MOST_REGIONS:
        numbers, places = logits.contiguous().numpy(), axes((logits.shape[1], logits.shape[2]), size)
        shares = rule.area, rule.part, rule.least
        return Outcome(
            *compiled.outcome(
                numbers, places, n_classes, shares, MOST_REGIONS, keep_probability=keep_probability, encode=encode
            )
        )
    won = winners(without_specks(logits, n_classes, rule), size, keep_probability)
    rles = _encoded(won, n_classes) if encode else None
    return Outcome(won.labels, won.votes, won.probability, rles)


def _encoded(won: Winners, n_classes: int) -> list[Rle]:
    return encode_label_map(won.labels, n_classes) if won.runs is None else encode_label_runs(won.runs, n_classes)
