"""Conversion between the authors' checkpoint layout and ours; other files are refused."""

from __future__ import annotations

import math

import pytest
import torch

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tcl.checkpoint import State, from_official, restore, to_official
from tests.golden import golden_weights
from tests.golden.weights import openai_clip_vitb16_state
from tests.model.methods.tcl import golden


def numbered(names: list[str]) -> State:
    """A state of scalars, each another number."""
    return {name: torch.tensor(float(index)) for index, name in enumerate(sorted(names))}


def clip() -> State:
    return numbered([*golden_weights.openai_clip_vitb16()])


def released() -> State:
    return numbered([*golden_weights.tcl_masker()])


def whole_run() -> State:
    temperatures = numbered([f"{loss}.logit_scale" for loss in ("tcli_loss", "tclf_loss")])
    return released() | temperatures | to_official({f"clip.{name}": value for name, value in clip().items()})


def test_a_whole_run_has_340_tensors() -> None:
    assert (len(released()), len(whole_run())) == (37, 340)


def test_released_weights_round_trip() -> None:
    back = to_official(from_official(released(), clip()))

    assert {name: back[name] for name in released()} == released()


def test_towers_of_a_whole_run_are_as_good_as_given_ones() -> None:
    inside = from_official(whole_run(), None)
    given = from_official(released(), clip())

    assert all(inside[name] == value for name, value in given.items() if name != "clip.logit_scale")
    assert inside["clip.logit_scale"].item() == pytest.approx(math.log(100))


def test_another_clip_than_the_one_trained_over_is_refused() -> None:
    towers = clip()
    towers["visual.proj"] = -towers["visual.proj"]

    with pytest.raises(WeightsError, match=r"another CLIP.*visual\.proj"):
        from_official(whole_run(), towers)


def test_a_released_file_needs_a_clip() -> None:
    with pytest.raises(WeightsError, match="OpenAI's ViT-B/16"):
        from_official(released(), None)


def test_unknown_tensors_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"unexpected masker\.extra"):
        from_official(released() | {"masker.extra": torch.zeros(1)}, clip())


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
