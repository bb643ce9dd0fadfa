"""From a JPEG file to pixels for a plan: by the CPU's decoder and, on a CUDA device, by nvJPEG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import cv2
import numpy as np
import simplejpeg
import torch

from benchmarks.clock import print_table, rounds, spread
from benchmarks.device.extent import Extent
from benchmarks.runtimes import photographs
from lexiseg_model import catalog
from lexiseg_service.settings import Limits
from lexiseg_service.worker.decode import OnDevice, decode
from lexiseg_service.worker.jpeg.agreement import MOST_MEAN, difference, differences
from lexiseg_service.worker.jpeg.nvjpeg import DeviceJpeg, NoNvJpeg, Planes, nvjpeg

SIZES = ((480, 640), (1080, 1920), (3000, 4000))
QUALITY = 90
LIMITS = Limits()


def decoders(device: torch.device, find: Callable[[torch.device], Planes] = nvjpeg) -> Mapping[str, OnDevice | None]:
    """The CPU's, and nvJPEG where it is; says how far it is from the CPU's on the picture by which a worker judges."""
    try:
        there = DeviceJpeg(device, find(device))
    except NoNvJpeg as error:
        print(f"\nno nvJPEG: {error}", flush=True)
        return {"CPU": None}
    for sampling, levels in differences(there).items():
        told = "refused" if levels is None else f"{levels.mean:.2f} levels in the mean, 99 of 100 in {levels.of_99:.0f}"
        print(f"\nnvJPEG, chroma {sampling}: {told}", flush=True)
    return {"CPU": None, "nvJPEG": there}


def jpeg(device: torch.device, extent: Extent, find: Callable[[torch.device], Planes] = nvjpeg) -> None:
    """Prints milliseconds a file, one at a time, as a worker decodes it for `tiny`, and levels between the answers."""
    shortest = 2 * catalog.read_card(catalog.bundled()["tiny"]).input.short_side
    by = decoders(device, find)
    photograph = np.ascontiguousarray(photographs()[0])
    rows = []
    for height, width in SIZES:
        pixels = cv2.resize(photograph, (width, height), interpolation=cv2.INTER_CUBIC)
        image = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), QUALITY, colorsubsampling="420")
        whole = [decode(image, LIMITS, None, each).rgb for each in by.values()]
        levels = [difference(whole[0], each).mean for each in whole[1:]]
        assert all(each <= MOST_MEAN for each in levels), f"nvJPEG: {levels[0]:.2f} levels from the CPU's in the mean"
        work = [partial(decode, image, LIMITS, shortest, each) for each in by.values()]
        seconds = rounds(work, extent.rounds, extent.warm_ups)[:, :, 0]
        times = [spread((1e3 * each).tolist(), 2) for each in seconds.T]
        rows.append([f"{width} x {height}", *times, *(f"{each:.2f}" for each in levels)])
    head = ["JPEG", *(f"{name}, ms" for name in by), *(["levels between them"] if len(by) > 1 else [])]
    print_table(f"JPEG to the pixels that tiny looks at, {extent.rounds} rounds, one file at a time", head, rows)
