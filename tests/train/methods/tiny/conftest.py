"""The text tower asked once, and a data set with one cup."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from tests.text_rows import RememberedRows
from tests.train.data.own.made import save


@pytest.fixture(scope="package", autouse=True)
def rows_once(tower: MiniLM) -> Iterator[None]:
    """Trainers want the same rows again and again: the tower is asked once for each string."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower, "encode", RememberedRows(tower).encode)
        yield


@pytest.fixture
def cups(tmp_path: Path, photographs: dict[str, NDArray[np.uint8]]) -> Path:
    """A folder with `cups/train`: a photograph twice, once with its cup as an object and once with none."""
    root, cup = tmp_path, photographs["coffee"]
    labels = np.zeros(cup.shape[:2], np.uint8)
    labels[100:300, 200:400] = 1
    for name, mask in (("with", labels), ("without", np.zeros_like(labels))):
        save(root / "cups" / "train", name, cup, mask)
    (root / "cups" / "classes.json").write_text(json.dumps(["background", "cup"]))
    return root
