"""`lexiseg data oracle`: k-means of colours beside a tower's tokens, on a set whose classes are colours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lexiseg_model.clip.dino import KINDS, DinoTower
from tests.service.commands.command_line import CommandLine


def test_colours_that_are_the_classes_reach_all_of_it(lexiseg: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "flags" / "val"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    (tmp_path / "data" / "flags" / "classes.json").write_text('["background", "red", "green"]')
    truth = np.zeros((64, 64), np.uint8)
    truth[:32, 32:], truth[32:, :32] = 1, 2
    colours = np.array([[30, 30, 30], [220, 40, 40], [40, 200, 60]], np.uint8)
    Image.fromarray(colours[truth]).save(folder / "images" / "one.png")
    Image.fromarray(truth).save(folder / "masks" / "one.png")
    torch.manual_seed(0)
    torch.save(DinoTower(KINDS["dino_vits8"]).vit.state_dict(), tmp_path / "tower.pth")

    outcome = lexiseg(
        "data", "oracle", "flags", "--root", tmp_path / "data", "--weights", tmp_path / "tower.pth",
        "--side", 64, "--masks", 3, "--json", tmp_path / "oracle.json",
    )  # fmt: skip

    assert outcome.status == 0, outcome.err
    miou = json.loads((tmp_path / "oracle.json").read_text())["miou"]
    assert miou["colours"] == 100
    assert 0 < miou["dino_vits8"] <= 100
    assert "flags/val, 1 photographs, colours: 100.0 % mIoU" in outcome.out
