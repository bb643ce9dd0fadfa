"""`lexiseg eval` without the name of a command."""

import pytest

from lexiseg_train.commands.evaluate.spelling import with_command


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--model m --dataset d --root r", "semantic --model m --dataset d --root r"),
        ("--dataset d --task semantic", "semantic --dataset d"),
        ("--compare a b --dataset d", "compare a b --dataset d"),
        ("--dataset d --compare=a b", "compare a b --dataset d"),
        ("--dataset d --progress p", "semantic --dataset d"),
    ],
)
def test_without_a_command_it_is_semantic_or_compare(typed: str, meant: str) -> None:
    assert with_command(typed.split()) == meant.split()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--task box --dataset d", "box --dataset d"),
        ("--dataset d --task=panoptic", "panoptic --dataset d"),
        ("--task point --points grid", "point --grid 20"),
        ("--task point --points grid --grid 5", "point --grid 5"),
        ("--task point --points centre", "point"),
        ("--protocol tcl --dataset all", "benchmark --protocol tcl --dataset all"),
        ("--paper s-seg --limit 1", "paper s-seg --limit 1"),
        ("--task box --progress p", "box --progress p"),
    ],
)
def test_options_that_chose_the_way_of_measuring_still_do(typed: str, meant: str) -> None:
    assert with_command(typed.split()) == meant.split()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--task box --protocol tcl", "benchmark --protocol tcl --task box"),
        ("--task box --points grid", "box --points grid"),
        ("--compare a b --task box", "box --compare a b"),
    ],
)
def test_options_that_do_not_go_together_are_left_for_the_command_to_refuse(typed: str, meant: str) -> None:
    assert with_command(typed.split()) == meant.split()
