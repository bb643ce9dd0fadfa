"""Conversion between the authors' checkpoint layout and ours; other files are refused."""

from __future__ import annotations

import math

import pytest
import torch

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tcl.checkpoint import (
    TEMPERATURES,
    State,
    from_official,
    names_of,
    restore,
    to_official,
)
from tests.golden import golden_weights
from tests.golden.weights import openai_clip_vitb16_state
from tests.model.methods.tcl import golden

LEARNED, TOWERS = names_of()


def numbered(names: list[str]) -> State:
    """A state of scalars, each another number."""
    return {name: torch.tensor(float(index)) for index, name in enumerate(sorted(names))}


def released() -> State:
    return numbered([*LEARNED.values()])


def whole_run() -> State:
    return numbered([*LEARNED.values(), *TEMPERATURES.values(), *TOWERS.values()])


def clip() -> State:
    return numbered([*golden_weights.openai_clip_vitb16()])


def test_a_whole_run_has_340_tensors() -> None:
    assert (len(LEARNED), len(TEMPERATURES), len(TOWERS), len(whole_run())) == (37, 2, 301, 340)


def test_released_weights_round_trip() -> None:
    state = from_official(released(), clip())

    back = to_official(state)

    assert {name: back[name] for name in released()} == released()


def test_towers_of_a_whole_run_are_as_good_as_given_ones() -> None:
    towers = {ours.removeprefix("clip."): whole_run()[theirs] for ours, theirs in TOWERS.items()}

    inside = from_official(whole_run(), None)
    given = from_official({name: whole_run()[name] for name in released()}, towers)

    assert all(inside[name] == value for name, value in given.items())
    assert inside["clip.logit_scale"].item() == pytest.approx(math.log(100))


def test_another_clip_than_the_one_trained_over_is_refused() -> None:
    towers = {ours.removeprefix("clip."): whole_run()[theirs] for ours, theirs in TOWERS.items()}
    towers["visual.proj"] = towers["visual.proj"] + 1

    with pytest.raises(WeightsError, match=r"another CLIP.*visual\.proj"):
        from_official(whole_run(), towers)


def test_a_released_file_needs_a_clip() -> None:
    with pytest.raises(WeightsError, match="OpenAI's ViT-B/16"):
        from_official(released(), None)


def test_a_checkpoint_with_missing_tower_weights_is_refused() -> None:
    state = whole_run()
    del state["clip_text_encoder.ln_final.bias"]

    with pytest.raises(WeightsError, match=r"missing clip_text_encoder\.ln_final\.bias"):
        from_official(state, clip())


def changed(name: str, shape: tuple[int, ...] | None) -> State:
    state = from_official(golden.official(), openai_clip_vitb16_state())
    if shape is None:
        del state[name]
        return state
    return state | {name: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("sim2mask.scale", (1,), r"sim2mask\.scale is \[1\]; expected \[\]"),
        ("sim2mask.bias", None, r"missing sim2mask\.bias"),
        ("grounder.extra", (1,), r"unexpected grounder\.extra"),
        ("clip.visual.proj", (768, 4), r"visual\.proj is \[768, 4\]"),
    ],
)
def test_a_mismatching_state_is_refused(name: str, shape: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        restore(changed(name, shape))
