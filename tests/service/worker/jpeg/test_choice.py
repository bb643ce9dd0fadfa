from __future__ import annotations

from dataclasses import replace

import pytest
import structlog
import torch

from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.jpeg import choice as module
from lexiseg_service.worker.jpeg.choice import JpegChoice
from lexiseg_service.worker.jpeg.nvjpeg import NoNvJpeg, Planes
from tests import pictures
from tests.model.stand_in import ColourSegmenter
from tests.service.worker.gated_colours import ask
from tests.service.worker.jpeg import stand_in

AUTO = Settings(jpeg_decoder="auto", device="cpu")


def stands_in(_: torch.device) -> Planes:
    return stand_in.Planes()


def test_the_cpu_decodes_unless_somebody_wants_it_otherwise() -> None:
    def find(_: torch.device) -> Planes:
        raise AssertionError("not asked for")

    assert JpegChoice(Settings(device="cpu"), find).on_device() is None


def test_what_agrees_is_taken_and_the_log_says_how_far() -> None:
    choice = JpegChoice(AUTO, stands_in)
    with structlog.testing.capture_logs() as lines:
        decoder = choice.on_device()
        assert choice.on_device() is decoder

    assert decoder is not None
    (line,) = lines
    assert line["event"] == "JPEG is decoded by nvJPEG"
    assert line["levels"]["420"] == [0.98, 10.0]


@pytest.mark.parametrize("wrong", ["order", "refused", "absent", "broken"])
def test_without_agreement_the_cpu_decodes_and_the_log_says_why(wrong: str) -> None:
    def find(_: torch.device) -> Planes:
        if wrong == "absent":
            raise NoNvJpeg("torchvision is not there")
        if wrong == "broken":
            raise RuntimeError("CUDA error")
        planes = stand_in.Planes()
        return (lambda content: planes(content).flip(0)) if wrong == "order" else (lambda content: content)

    with structlog.testing.capture_logs() as lines:
        assert JpegChoice(AUTO, find).on_device() is None

    assert lines[-1]["log_level"] == "warning"
    assert lines[-1]["event"].startswith("JPEG is decoded by the CPU")


def test_a_machine_without_a_gpu_goes_on_with_the_cpu() -> None:
    with structlog.testing.capture_logs() as lines:
        assert JpegChoice(AUTO).on_device() is None

    assert lines[-1]["why"] == "the device is no CUDA device"


def test_a_worker_decodes_by_what_was_chosen_and_counts_by_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "nvjpeg", stands_in)
    metrics = Metrics()
    engine = Engine(ColourSegmenter(), AUTO, metrics)
    try:
        for kind in ("JPEG", "PNG"):
            engine.submit(replace(ask("red"), image=pictures.encoded(pictures.small(), kind))).result(30)
    finally:
        engine.close(0)

    scrape = metrics.render().decode()
    assert 'lexiseg_images_decoded_total{decoder="nvjpeg"} 1.0' in scrape
    assert 'lexiseg_images_decoded_total{decoder="cpu"} 1.0' in scrape
