"""Packs return the photographs written to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.training.packs import Pack, Photograph, write_pack

CLASSES = ("background", "cat", "dog")


def photographs() -> list[Photograph]:
    random = np.random.default_rng(0)
    first = Photograph("a", random.integers(0, 256, (8, 12, 3)).astype(np.uint8), np.full((8, 12), 2, np.uint8))
    second = Photograph("b", random.integers(0, 256, (4, 4, 3)).astype(np.uint8), None, ("cat", "tree"))
    return [first, second]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return write_pack(tmp_path / "pets", "pets", CLASSES, iter(photographs()), ("cat", "tree"), complete=True)


def test_a_pack_returns_the_photographs_and_masks_written_to_it(pack: Pack) -> None:
    for index, photograph in enumerate(photographs()):
        np.testing.assert_array_equal(pack.image(index), photograph.image)
    np.testing.assert_array_equal(pack.mask(0), 2)


def test_a_failed_write_leaves_no_pack(tmp_path: Path) -> None:
    def breaking() -> Iterator[Photograph]:
        yield photographs()[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_pack(tmp_path / "pets", "pets", CLASSES, breaking())

    assert not (tmp_path / "pets").exists()
