"""Logits refined by colours."""

from functools import partial

import pytest
import torch
from torch import Tensor

from lexiseg_model.errors import OptionError
from lexiseg_model.masks import pamr
from lexiseg_model.masks.upsample import winners
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.scoring import refine_logits, score_vocabulary
from tests.model.stand_in import ColourSegmenter, picture

SIZE = (24, 32)
GUIDE = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1))
BY_PAMR = partial(pamr.refine, image=GUIDE)


def close() -> Tensor:
    """Four rows, two of which win, one half each and not by much; the others come last everywhere. [4, 12, 16]."""
    logits = torch.zeros(4, 12, 16)
    logits[1], logits[3] = 0.8, 1.0
    logits[1, :, :8] = 1.3
    logits[0, :, 0] = 0.4
    return logits


def crossing() -> Tensor:
    """Rows 0 and 1 are sure of a half each, and one that never wins is second everywhere. [3, 12, 16]."""
    logits = torch.full((3, 12, 16), -8.0)
    logits[0, :, :8] = logits[1, :, 8:] = 4.0
    logits[2] = 3.5
    return logits


def plain(logits: Tensor) -> Tensor:
    """Every row refined, none left out."""
    return pamr.refine(logits.softmax(0), GUIDE)


@pytest.mark.parametrize("logits", [close(), crossing()], ids=["close", "crossing"])
@pytest.mark.parametrize("size", [SIZE, (240, 320), (37, 50), (7, 9)])
def test_rows_that_won_nowhere_win_nowhere_at_any_size(logits: Tensor, size: tuple[int, int]) -> None:
    refined = refine_logits(logits, BY_PAMR)
    winning = torch.tensor(sorted(set(logits.argmax(0).flatten().tolist())))

    found = winners(refined, size).labels

    assert (found == winning.numpy()[winners(refined[winning], size).labels]).all()


def test_where_the_rest_would_win_the_winner_is_more_probable_than_refined_and_never_less() -> None:
    best = refine_logits(crossing(), BY_PAMR).softmax(0).amax(0)

    assert best.max() <= 1
    assert (best >= plain(crossing())[:2].amax(0) - 1e-5).all()


def test_a_method_without_regions_says_what_it_offers() -> None:
    segmenter = ColourSegmenter()
    features = segmenter.encode(picture(["rg"]))

    with pytest.raises(OptionError, match="has no regions; refine must be one of none"):
        score_vocabulary(segmenter, features, Vocabulary((ClassEntry("red"),)), segmenter.encode_texts, "regions")
