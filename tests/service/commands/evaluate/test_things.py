"""`python -m lexiseg_service.commands.evaluate.things`: the rule for things of a card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_service.commands.evaluate import things
from tests import pictures


def test_the_rule_for_things_is_printed_as_a_card_holds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "cups" / "train" / kind).mkdir(parents=True)
    (tmp_path / "cups" / "classes.json").write_text(json.dumps(["background", "cup"]))
    cup = pictures.photograph("coffee")
    labels = np.zeros((cup.height, cup.width), np.uint8)
    labels[100:300, 200:400] = 1
    cup.save(tmp_path / "cups" / "train" / "images" / "one.jpg")
    Image.fromarray(labels).save(tmp_path / "cups" / "train" / "masks" / "one.png")

    things.main(["tiny", str(tmp_path), "cups"])

    printed = capsys.readouterr().out
    assert printed.startswith("things: {'probability': ")
    assert "cups: PQ of things " in printed
