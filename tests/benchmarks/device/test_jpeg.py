"""The CPU's decoder of JPEG beside another, by a stand-in for nvJPEG."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from benchmarks.device import jpeg as module
from benchmarks.device.extent import Extent
from benchmarks.device.jpeg import jpeg
from tests.service.worker.jpeg.stand_in import CPU, Planes

SMALL = Extent(tiles=(1,), images=(1,), warm_ups=0, rounds=2, clients=1, served_rounds=1, served_seconds=0.1)
PACE = r"[\d.]+ \([\d.]+ to [\d.]+\)"


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZES", ((240, 320),))


def test_both_decoders_are_timed_and_their_levels_told(capsys: pytest.CaptureFixture[str]) -> None:
    jpeg(CPU, SMALL, lambda _: Planes())

    printed = capsys.readouterr().out
    assert "nvJPEG, chroma 420: 0.98 levels in the mean, 99 of 100 in 10" in printed
    assert re.search(rf"^\| 320 x 240 \| {PACE} \| {PACE} \| [01]\.\d\d \|$", printed, re.M)


def test_without_nvjpeg_the_cpu_is_timed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    jpeg(CPU, SMALL)

    printed = capsys.readouterr().out
    assert "no nvJPEG: the device is no CUDA device" in printed
    assert re.search(rf"^\| 320 x 240 \| {PACE} \|$", printed, re.M)


def test_a_decoder_of_other_pixels_is_not_timed() -> None:
    def wrong(content: Tensor) -> Tensor:
        return Planes()(content).roll(1, 0)

    with pytest.raises(AssertionError, match="levels from the CPU's"):
        jpeg(torch.device("cpu"), SMALL, lambda _: wrong)
