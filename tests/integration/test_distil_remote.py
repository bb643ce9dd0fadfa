"""`lexiseg train distil` with a teacher in this process and one at the address of a server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from tests import pictures
from tests.integration.server import Server
from tests.service.commands.command_line import CommandLine

NAMES = ["china", "flower", "coffee", "astronaut"]
VALUES = ["classes=[sky, flower, cup]", "steps=2", "decay_steps=0", "warmup_steps=1", "photographs=null", "samples=1"]


@pytest.fixture
def lexiseg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / f"{name}.jpg").write_bytes(pictures.encoded(pictures.small(name, 160), "JPEG"))
    return tmp_path


def read(path: Path) -> NDArray[np.int64]:
    return np.asarray(Image.open(path)).astype(np.int64)


@pytest.mark.parametrize("by", ["url", "grpc"])
def test_a_server_teaches_what_this_process_teaches(
    server: Server, lexiseg: CommandLine, photographs: Path, by: str
) -> None:
    values = [*VALUES, f"data={photographs}", "held_out=0.5"]

    here = lexiseg("train", "distil-smoke", "--teacher", "tiny", f"out={photographs / 'here'}", *values)
    there = lexiseg("train", "distil-smoke", "--teacher", getattr(server, by), f"out={photographs / 'there'}", *values)

    assert (here.status, there.status) == (0, 0), here.err + there.err
    assert "mIoU" in there.out
    cards = [yaml.safe_load((photographs / name / "card.yaml").read_text()) for name in ("here", "there")]
    assert all(card["training_data"][-1].startswith("2 photographs, labelled by tiny ") for card in cards)
    masks = sorted((photographs / "here" / "laid-out" / "pictures").glob("*/masks/*.png"))
    assert len(masks) == len(NAMES)
    for path in masks:
        other = photographs / "there" / path.relative_to(photographs / "here")
        assert (read(path) == read(other)).mean() > 0.97  # the server's image pass is in 8 bits
        shares = [read(each.parents[1] / "shares" / each.name) for each in (path, other)]
        assert abs(shares[0] - shares[1]).mean() < 8
