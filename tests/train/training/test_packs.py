"""Packs of photographs and masks."""

from pathlib import Path

import numpy as np
import pytest

from lexiseg_train.training.packs import Photograph, write_pack


@pytest.mark.parametrize(("value", "warns"), [(255, True), (1, False)])
def test_masks_of_0_and_255_alone_are_warned_about(
    value: int, warns: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = value
    photographs = [Photograph("a", np.zeros((32, 32, 3), np.uint8), mask)]

    write_pack(tmp_path / "pack", "mine", ("background", "cat"), photographs)

    said = "warning: the masks of mine hold only 0 and perhaps 255"
    assert capsys.readouterr().out.startswith(said) == warns
