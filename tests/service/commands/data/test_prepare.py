"""`lexiseg data prepare` as the shell sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.model.data import trees
from tests.service.commands.command_line import CommandLine


def test_a_set_is_laid_out_and_what_is_not_there_is_said(lexiseg: CommandLine, tmp_path: Path) -> None:
    trees.write_voc(tmp_path / "downloads", {"2007_000033": np.full((6, 8), 3)})

    outcome = lexiseg("data", "prepare", "voc2012", tmp_path / "downloads", tmp_path / "sets")

    assert (outcome.status, outcome.out) == (0, f"{tmp_path}/sets/voc: val 1\n")
    assert "voc2012: 1 of 1, " in outcome.err
    assert "train is not there: voc21, split 'train'" in outcome.err


def test_a_set_that_nobody_knows_is_one_line(lexiseg: CommandLine, tmp_path: Path) -> None:
    outcome = lexiseg("data", "prepare", "voc2007", tmp_path, tmp_path / "sets")

    assert (outcome.status, outcome.out) == (1, "")
    assert "no official set 'voc2007'; known sets: voc2012, camvid, coco, coco-stuff" in outcome.err
