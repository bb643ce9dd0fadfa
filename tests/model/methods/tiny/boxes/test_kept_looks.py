"""Looks that stay: the last few, each taken once."""

from __future__ import annotations

import torch

from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.boxes.kept_looks import KEPT, KeptLooks


def features() -> Features:
    return Features((1, 1), {"pixels": torch.zeros(1)})


def refused() -> Features:
    raise AssertionError("looked twice")


def test_a_part_is_looked_at_once() -> None:
    looks = KeptLooks()

    assert looks.once("here", features) is looks.once("here", refused)


def test_the_last_that_were_asked_for_stay() -> None:
    looks = KeptLooks()
    taken = [looks.once(place, features) for place in range(KEPT)]
    looks.once(0, refused)

    last = looks.once(KEPT, features)

    assert [id(look) for look in looks] == [id(look) for look in (*taken[2:], taken[0], last)]
