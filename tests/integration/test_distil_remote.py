"""`lexiseg train distil` with a teacher in this process and one at the address of a server."""

from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from lexiseg_service.commands.program import LexisegProgram
from lexiseg_service.settings import Settings
from lexiseg_train.commands.train.run import teacher_at
from lexiseg_train.methods.tiny.own.distil import label
from lexiseg_train.methods.tiny.trainings import DistilRecipe
from tests import pictures
from tests.integration.server import Server
from tests.service.commands.command_line import CommandLine
from tests.train.methods.short_runs import read_as

NAMES = ["china", "flower", "coffee", "astronaut"]
VALUES = ["classes=[sky, flower, cup]", "steps=2", "decay_steps=0", "warmup_steps=1", "photographs=null", "samples=1"]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / f"{name}.jpg").write_bytes(pictures.encoded(pictures.small(name, 160), "JPEG"))
    return tmp_path


def read(path: Path) -> NDArray[np.int64]:
    return np.asarray(Image.open(path)).astype(np.int64)


@pytest.fixture
def exact(tmp_path: Path) -> Iterator[Server]:
    """A server with the numbers of this process: in 8 bits a tenth of the cells of so small pictures differ."""
    with Server(tmp_path / "log.jsonl", LEXISEG_RUNTIME="torch") as server:
        yield server


def test_a_server_teaches_what_this_process_teaches_over_either_protocol(
    exact: Server, lexiseg: CommandLine, photographs: Path
) -> None:
    values = [*VALUES, f"data={photographs}", "held_out=0.5", f"packs={photographs / 'packs'}"]

    asked = partial(teacher_at, LexisegProgram(Settings()))
    for name, teacher in {"here": "tiny", "grpc": exact.grpc}.items():
        overrides = [*values, f"teacher={teacher}", f"out={photographs / name}"]
        assert label(read_as(DistilRecipe, "distil-smoke", overrides), asked).startswith("tiny ")
    outcome = lexiseg("train", "distil-smoke", "--teacher", exact.url, f"out={photographs / 'rest'}", *values)

    assert outcome.status == 0, outcome.err
    assert "mIoU" in outcome.out
    card = yaml.safe_load((photographs / "rest" / "card.yaml").read_text())
    assert card["training_data"][-1].startswith("2 photographs, labelled by tiny ")

    masks = sorted((photographs / "here" / "laid-out" / "pictures").glob("*/masks/*.png"))
    assert len(masks) == len(NAMES)
    for path, name in product(masks, ("rest", "grpc")):
        other = photographs / name / path.relative_to(photographs / "here")
        assert (read(path) == read(other)).mean() > 0.95
        shares = [read(each.parents[1] / "shares" / each.name) for each in (path, other)]
        assert abs(shares[0] - shares[1]).mean() < 10
