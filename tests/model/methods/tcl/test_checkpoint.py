"""The authors' checkpoint layout and ours, both ways; what does not belong is named."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tcl.checkpoint import (
    TEMPERATURES,
    State,
    flat_state,
    from_official,
    names_of,
    read_official,
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


def test_released_weights_go_there_and_back() -> None:
    state = from_official(released(), clip())

    back = to_official(state)

    assert {name: back[name] for name in released()} == released()


def test_a_whole_run_goes_there_and_back_with_its_temperatures() -> None:
    assert to_official(from_official(whole_run(), None)) == whole_run()


def test_towers_of_a_whole_run_are_as_good_as_given_ones() -> None:
    towers = {ours.removeprefix("clip."): whole_run()[theirs] for ours, theirs in TOWERS.items()}

    inside = from_official(whole_run(), None)
    given = from_official({name: whole_run()[name] for name in released()}, towers)

    assert all(inside[name] == value for name, value in given.items())
    assert inside["clip.logit_scale"].item() == pytest.approx(math.log(100))


def test_a_model_goes_there_and_back_bit_for_bit() -> None:
    state = flat_state(golden.restored())

    wanted = from_official(golden.official(), openai_clip_vitb16_state())

    assert state.keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in state.items())


def test_half_precision_towers_are_the_same_towers() -> None:
    towers = {ours.removeprefix("clip."): whole_run()[theirs].half() for ours, theirs in TOWERS.items()}

    state = from_official(whole_run(), towers)

    assert {value.dtype for value in state.values()} == {torch.float32}


def test_another_clip_than_the_one_trained_over_is_refused() -> None:
    towers = {ours.removeprefix("clip."): whole_run()[theirs] for ours, theirs in TOWERS.items()}
    towers["visual.proj"] = towers["visual.proj"] + 1

    with pytest.raises(WeightsError, match=r"another CLIP.*visual\.proj"):
        from_official(whole_run(), towers)


def test_a_released_file_needs_a_clip() -> None:
    with pytest.raises(WeightsError, match="OpenAI's ViT-B/16"):
        from_official(released(), None)


def test_a_whole_run_with_a_hole_in_its_towers_is_refused() -> None:
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
def test_a_state_that_does_not_fit_is_not_restored(name: str, shape: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        restore(changed(name, shape))


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_file_is_read_with_and_without_its_wrapper(wrapped: bool, tmp_path: Path) -> None:
    path = tmp_path / "tcl.pth"
    torch.save({"model": released(), "step": 50_000, "config": {"seed": 0}} if wrapped else released(), path)

    assert read_official(path) == released()


class Stranger:
    """Code that a checkpoint could bring along."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"a": Stranger()}}, "plain tensors"),
        ({"model": {"a": "text"}}, "no state dict of TCL"),
        ({"model": [torch.zeros(1)]}, "no state dict of TCL"),
        (torch.zeros(1), "expected a state dict"),
    ],
    ids=["code", "text", "list", "tensor"],
)
def test_a_file_with_other_things_than_tensors_is_refused(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tcl.pth"
    torch.save(content, path)

    with pytest.raises(WeightsError, match=message):
        read_official(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"tcl\.pth"):
        read_official(tmp_path / "tcl.pth")


def test_a_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tcl.pth"
    torch.save(released(), path)
    path.write_bytes(path.read_bytes()[:400])

    with pytest.raises(WeightsError):
        read_official(path)
