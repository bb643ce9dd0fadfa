from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.words.doubt import STEP, DoubtRule, doubt, won
from lexiseg_model.segmenter import Competing, Doubts, RowsOf, TextBank
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.scoring import score_vocabulary
from tests.model.stand_in import NOBODY, SCALE, ColourSegmenter, picture

RULE = DoubtRule(
    weight=2.0,
    least=-1.0,
    presence=0.5,
    lead=0.25,
    area=-0.1,
    familiar=0.6,
    hard_words=frozenset({"vest"}),
    hard_least=0.5,
)
MUST_BEAT = 1.0


def lost(n_classes: int = 1, presence: float = -4.0, likeness: float = 1.0, like: str = "cow") -> list[float]:
    """Of ten cells the first class has five by a score of 3, any other nothing; a word scores 4 all over."""
    logits = torch.zeros(n_classes + 1, 1, 10 * STEP)
    logits[0, :, : 5 * STEP] = 3.0
    logits[-1] = 2.0
    doubted = RULE.of([(like, likeness)] * n_classes)
    cells = won(logits, doubted.share)
    scores = np.zeros((n_classes + 1, len(cells.places)), np.float32)
    scores[0], scores[-1] = 3.0, 4.0
    return list(map(float, doubt(cells, scores, np.full(n_classes, presence, np.float32), doubted, MUST_BEAT, RULE)))


def test_a_class_loses_what_its_belief_lacks() -> None:
    probability = math.exp(3) / (math.exp(3) + math.exp(4) + math.exp(MUST_BEAT))
    belief = math.log(probability) + 0.5 * -4 + 0.25 * (3 - MUST_BEAT) - 0.1 * math.log(0.5)

    assert lost() == [pytest.approx(2 * (-1 - belief))]


def test_a_class_that_is_believed_loses_nothing() -> None:
    assert lost(presence=4.0) == [0]


def test_words_that_are_hard_to_tell_apart_need_more_belief() -> None:
    assert lost(like="vest") == [pytest.approx(lost()[0] + 2 * (0.5 - RULE.least))]


def test_a_class_that_won_nothing_has_nothing_to_lose() -> None:
    assert lost(n_classes=2)[1] == 0


@pytest.mark.parametrize(("likeness", "share"), [(0.3, 0), (0.6, 0), (0.8, 0.5), (1, 1)])
def test_who_is_like_no_word_of_training_is_not_doubted(likeness: float, share: float) -> None:
    assert lost(likeness=likeness) == [pytest.approx(share * lost()[0], abs=1e-5)]


def test_cells_are_known_by_their_places_in_the_image() -> None:
    logits = torch.zeros(3, 8, 10)
    logits[0, 6, 3], logits[1, 3, 9], logits[1, 4, 4] = 2.0, 3.0, 4.0  # the last lies between those looked at

    cells = won(logits, np.ones(2))

    assert (cells.places.tolist(), cells.winner.tolist(), cells.logit.tolist()) == ([39, 63], [1, 0], [3.0, 2.0])
    assert cells.looked_at == 3 * 4


def test_cells_of_who_is_not_doubted_are_left_out() -> None:
    logits = torch.zeros(3, 1, 2 * STEP)
    logits[0, 0, 0], logits[1, 0, STEP] = 1.0, 1.0

    assert won(logits, np.array([0, 0.5])).places.tolist() == [STEP]


class Doubtful(ColourSegmenter):
    """Takes from every class half of what it lies above nobody."""

    def doubt(
        self, features: Features, bank: TextBank, classes: tuple[ClassEntry, ...], rivals: Competing, rows_of: RowsOf
    ) -> Doubts | None:
        return np.full(len(classes), (SCALE - NOBODY) / 2, np.float32)


def best(*names: str, background: Background | None = Background(), **options: Any) -> float:
    """The logit of the first class on a red picture."""
    segmenter = Doubtful()
    plan = segmenter.plan(picture(["rrrr"]))
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    vocabulary = Vocabulary(tuple(map(ClassEntry, names)), background)
    return score_vocabulary(segmenter, features, vocabulary, segmenter.encode_texts, **options)[0, 0, 0].item()


def test_doubt_fades_as_lists_grow() -> None:
    fades_at = Doubtful().card.background.fades_at
    losses = [SCALE - best("red", *(f"word {n}" for n in range(others))) for others in (0, 1, 4, fades_at - 1)]

    assert losses[0] == pytest.approx((SCALE - NOBODY) / 2, abs=0.01)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(0, abs=0.01)


def test_where_every_pixel_gets_a_class_nobody_is_doubted() -> None:
    assert best("red", background=None) == pytest.approx(SCALE, abs=0.01)


def test_frames_of_a_video_are_not_doubted_one_by_one() -> None:
    assert best("red", steady=lambda logits: logits) == pytest.approx(SCALE, abs=0.01)


def test_untidied_logits_are_not_doubted() -> None:
    assert best("red", tidy=False) == pytest.approx(SCALE, abs=0.01)
