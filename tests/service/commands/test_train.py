from __future__ import annotations

from pathlib import Path

from tests.service.commands.command_line import CommandLine


def test_without_data_the_layout_is_explained(lexiseg: CommandLine, tmp_path: Path) -> None:
    outcome = lexiseg("train", "tiny", f"data={tmp_path / 'nowhere'}", f"out={tmp_path / 'run'}", f"packs={tmp_path}")

    assert outcome.status == 1
    for word in (str(tmp_path / "nowhere"), "classes.json", "train/images", "train/masks", "data=FOLDER"):
        assert word in outcome.err


def test_without_data_for_prompts_an_override_shows_how_a_set_looks(lexiseg: CommandLine, tmp_path: Path) -> None:
    outcome = lexiseg("train", "tiny_prompts", f"data={tmp_path / 'nowhere'}", f"out={tmp_path / 'run'}")

    assert outcome.status == 1
    assert "lexiseg train tiny_prompts data=FOLDER sets='{SET: {share: 1.0}}'" in outcome.err


def test_an_unknown_recipe_names_those_that_are_there(lexiseg: CommandLine) -> None:
    outcome = lexiseg("train", "huge")

    assert (outcome.status, outcome.err) == (1, "lexiseg: no recipe 'huge'; there is: tiny, tiny_prompts, tiny_names\n")


def test_an_override_without_a_value_shows_how(lexiseg: CommandLine) -> None:
    outcome = lexiseg("train", "tiny", "steps")

    assert outcome.status == 1
    assert "is not key=value" in outcome.err


def test_an_override_out_of_range_names_the_key_and_what_came(lexiseg: CommandLine) -> None:
    outcome = lexiseg("train", "tiny", "steps=-3", "colour=red")

    assert outcome.status == 1
    assert "steps: " in outcome.err
    assert "-3" in outcome.err
    assert "colour: " in outcome.err


def test_an_override_that_is_no_yaml_is_one_line(lexiseg: CommandLine) -> None:
    outcome = lexiseg("train", "tiny", "sets=[")

    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
