"""What `python -m benchmarks device` prints: here of a CPU, in small sizes, by real models and a real server."""

import re

import pytest
import torch

from benchmarks.device.run import main, measure
from benchmarks.device.workload import Workload
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.types import Precision
from tests.model.clip import small as small_clip
from tests.model.methods.dense_clip import small

SMALL = Workload(tiles=(1, 2), images=(1, 3), warm_ups=1, rounds=2, clients=2, served_rounds=1, served_seconds=0.2)
PACE = r"[\d.]+ \([\d.]+ to [\d.]+\)"  # a median and its range


def small_vit(device: torch.device, precision: Precision) -> Exportable:
    assert device.type == "cpu"
    return small.segmenter(precision)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside pycocotools
def test_one_command_prints_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    measure(torch.device("cpu"), SMALL, small_vit, small_clip.PRETRAINED_SIDE)

    printed = capsys.readouterr().out
    tables = {part.partition("\n")[0]: part for part in printed.split("\n### ")[1:]}
    on, tiny, vit, served, answers = tables
    assert (on, tiny[:18], vit[:23], served[:13]) == (
        "Measured on", "Image pass of tiny", "Image pass of ViT-B/16 ", "lexiseg serve"
    )  # fmt: skip
    assert re.search(rf"\| torch \| {re.escape(torch.__version__)} \|", tables[on])
    assert re.findall(rf"^\| (\d) \| {PACE} \| [\d.]+ \|$", tables[tiny], re.M) == ["1", "2"]
    assert re.findall(rf"^\| (\d) \| {PACE} \| [\d.]+ \| {PACE} \| [\d.]+ \|$", tables[vit], re.M) == ["1", "3"]
    assert re.search(rf"^\| {PACE} \| {PACE} \| {PACE} \| (yes|no) \|", tables[served], re.M)
    assert re.findall(rf"^\| (\d+ x \d+ \| \d+) \| {PACE} \| {PACE} \| 100.000 % \|$", tables[answers], re.M) == [
        "640 x 480 | 20", "1920 x 1080 | 150"
    ]  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("arguments", [[], ["auto"]])
def test_without_a_gpu_one_line_says_how_to_run_it_on_a_cpu(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no CUDA device" in line
    assert "`python -m benchmarks device cpu`" in line
