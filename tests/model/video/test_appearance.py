from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model.video.appearance import LATER_FRAMES, MAX_LOGIT, Appearance
from tests.model.stand_in import ColourSegmenter
from tests.model.video.moving import HEIGHT, WIDTH, Corner, Mask, features, square

EVERYWHERE = np.ones((HEIGHT, WIDTH), np.bool_)


def places(**squares: Corner) -> Tensor:
    model = ColourSegmenter()
    return model.places(features(model, **squares))


def sure(mask: Mask) -> Tensor:
    return torch.from_numpy(mask).float()


@pytest.fixture
def red() -> Appearance:
    return Appearance(places(red=(4, 4)), sure(square((4, 4))), EVERYWHERE)


def test_what_looks_like_the_object_is_told_from_its_surroundings_anywhere(red: Appearance) -> None:
    likeness = red.likeness(places(red=(40, 20)))

    assert likeness.shape == (HEIGHT, WIDTH)
    assert torch.equal(likeness > 0, torch.from_numpy(square((40, 20))))
    assert likeness.abs().max() <= MAX_LOGIT


def test_what_was_never_seen_is_neither(red: Appearance) -> None:
    likeness = red.likeness(places(green=(40, 20)))

    assert likeness[torch.from_numpy(square((40, 20)))].abs().max() == 0


def test_a_mask_that_drifts_teaches_nothing(red: Appearance) -> None:
    drifted = places(red=(4, 4), green=(40, 20))
    before, held = red.likeness(drifted), red.nbytes

    red.learn(drifted, sure(square((40, 20))), EVERYWHERE, before)

    assert red.nbytes == held
    assert torch.equal(red.likeness(drifted), before)


def test_the_first_frame_is_kept_and_later_ones_make_room(red: Appearance) -> None:
    held = []
    for step in range(LATER_FRAMES + 3):
        frame = places(red=(4 + step, 4))
        red.learn(frame, sure(square((4 + step, 4))), EVERYWHERE, red.likeness(frame))
        held.append(red.nbytes)

    assert held[0] < held[LATER_FRAMES - 1] == held[-1]
    assert torch.equal(red.likeness(places(red=(30, 9))) > 0, torch.from_numpy(square((30, 9))))
