"""Packs and checkpoints in parts: small enough, whole again, and missed when one is missing."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError
from lexiseg_model.training.packs import Pack, Photograph, write_pack
from lexiseg_model.training.parts import join, main, receive_packs, send_pack, split

LIMIT = 40_000  # bytes


def smooth(random: np.random.Generator) -> NDArray[np.uint8]:
    noise = random.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    random = np.random.default_rng(0)
    photographs = [
        Photograph(
            f"photo {index}",
            smooth(random),
            None if index % 3 == 0 else random.integers(0, 3, (120, 160)).astype(np.uint8),
            ("sky",) if index % 2 else (),
        )
        for index in range(12)
    ]
    return write_pack(tmp_path / "packs" / "pets", "pets", ("background", "cat", "dog"), photographs, ("sky",), True)


def test_no_part_is_larger_than_the_limit(pack: Pack, tmp_path: Path) -> None:
    parts = send_pack(pack, tmp_path / "sent", LIMIT)

    assert len(parts) > 2
    assert max(part.stat().st_size for part in parts) <= LIMIT


def test_a_pack_comes_out_as_it_went_in(pack: Pack, tmp_path: Path) -> None:
    send_pack(pack, tmp_path / "sent", LIMIT)

    (received,) = receive_packs(tmp_path / "sent", tmp_path / "received")

    assert (received.classes, received.names, received.complete) == (pack.classes, pack.names, pack.complete)
    assert (received.photographs, received.present) == (pack.photographs, pack.present)
    np.testing.assert_array_equal(received.places, pack.places)
    np.testing.assert_array_equal(received.labels, pack.labels)  # masks to the pixel
    off = np.abs(received.pixels.astype(int) - pack.pixels)
    assert off.mean() < 3  # photographs as JPEG keeps them


def test_a_pack_that_is_there_is_not_unpacked_again(pack: Pack, tmp_path: Path) -> None:
    for part in send_pack(pack, tmp_path / "sent", LIMIT):
        part.write_bytes(b"")

    (received,) = receive_packs(tmp_path / "sent", tmp_path / "packs")

    np.testing.assert_array_equal(received.pixels, pack.pixels)


@pytest.mark.parametrize("which", [0, 1, -1], ids=["first", "second", "last"])
def test_a_part_that_is_missing_is_named(pack: Pack, tmp_path: Path, which: int) -> None:
    missing = send_pack(pack, tmp_path / "sent", LIMIT)[which]
    missing.unlink()

    with pytest.raises(DatasetError, match=f"part {missing.name} is missing"):
        receive_packs(tmp_path / "sent", tmp_path / "received")


def test_a_file_in_pieces_is_put_together(tmp_path: Path) -> None:
    content = os.urandom(2500)
    (tmp_path / "checkpoint.pt").write_bytes(content)

    pieces = split(tmp_path / "checkpoint.pt", tmp_path / "sent", 1000)
    (whole,) = join(tmp_path / "sent", tmp_path / "run")

    assert [piece.stat().st_size for piece in pieces] == [1000, 1000, 500]
    assert (whole, whole.read_bytes()) == (tmp_path / "run" / "checkpoint.pt", content)


def test_a_piece_that_is_missing_leaves_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"new" * 1000)
    split(tmp_path / "checkpoint.pt", tmp_path / "sent", 1000)[1].unlink()

    with pytest.raises(DatasetError, match=r"checkpoint\.pt: the pieces .* are not all of it"):
        join(tmp_path / "sent", tmp_path)

    assert (tmp_path / "checkpoint.pt").read_bytes() == b"new" * 1000


def test_text_rows_go_with_the_packs(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "packs" / "texts-0.npz").write_bytes(b"rows")

    main("pack", tmp_path / "packs", tmp_path / "sent")
    main("unpack", tmp_path / "sent", tmp_path / "there")

    assert (tmp_path / "there" / "texts-0.npz").read_bytes() == b"rows"
    assert (tmp_path / "there" / "pets").is_dir()
