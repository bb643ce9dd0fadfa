"""JPEG by nvJPEG, which torchvision has where it is built for CUDA: decoded and shrunk on the device, and brought back.

Taken are files that every decoder reads alike: one sequential scan with its end, three colours, an ordinary chroma. The
rest (progressive, grey, CMYK, 12 bits, cut short) is left to the CPU's decoder, and so is what nvJPEG refuses or fails
at, so a damaged file has the same error whoever looked at it first. ICC profiles are ignored, orientation is undone
later, as for the CPU's decoder.

One file is on the device at a time. It takes three bytes a pixel there, up to five more while it shrinks, and what
nvJPEG needs by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import numpy as np
import structlog
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_service.image.jpeg_scans import components_in_one_scan

logger = structlog.get_logger("lexiseg.jpeg")

MOST_PIXELS = 16_000_000  # of a file; larger ones would hold too much of the device, and what nvJPEG takes it keeps
SAMPLINGS = ("444", "422", "420")  # of chroma
END_OF_IMAGE = b"\xff\xd9"
FACTORS = (8, 4, 2)  # by which pictures shrink

Size = tuple[int, int]  # (height, width)
Planes = Callable[[Tensor], Tensor]  # the bytes of a file, uint8 [n] on the CPU, to its pixels, uint8 [3, H, W]


class NoNvJpeg(Exception):
    """It is not to be had here; the message says why."""


class DeviceJpeg:
    """Decodes on one device; the planes come from `planes`. Safe from any thread."""

    def __init__(self, device: torch.device, planes: Planes) -> None:
        self._device = device
        self._planes = planes
        self._guard = threading.Lock()
        # A stream of its own: pixels wait for no image pass. nvJPEG's hardware also writes where it was told to before
        # the stream is there (pytorch/vision#9606), so memory has to come from a stream with nothing under way.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._has_told = False

    def __call__(self, image: bytes, sampling: str, size: Size, least: Size) -> NDArray[np.uint8] | None:
        """The pixels as stored, [h, w, 3]: at least `least` (height, width), up to eight times fewer a side.

        Args:
            image: the file, whose header was read.
            sampling: of its chroma, as simplejpeg calls it.
            size: (height, width) as stored, by its header.
            least: that it may shrink to, and not below.

        Returns:
            None where the CPU's decoder is to do it.
        """
        if not suits(image, sampling, size):
            return None
        try:
            return self._decoded(image, size, least)
        except (RuntimeError, ValueError) as error:
            tell = logger.debug if self._has_told else logger.warning
            self._has_told = True  # or whoever sends such files fills the log
            tell("nvJPEG refused a file, as it may others; the CPU decodes it", error=str(error)[:200])
            return None

    def _decoded(self, image: bytes, size: Size, least: Size) -> NDArray[np.uint8]:
        content = torch.from_numpy(np.frombuffer(image, np.uint8).copy())
        with self._guard, torch.inference_mode(), ExitStack() as on_device:
            if self._stream is not None:
                on_device.enter_context(torch.cuda.device(self._device))
                on_device.enter_context(torch.cuda.stream(self._stream))
                self._stream.synchronize()
            planes = self._planes(content)
            if tuple(planes.shape) != (3, *size):
                raise ValueError(f"{list(planes.shape)} came of a file of {size[1]} x {size[0]}")
            rgb: NDArray[np.uint8] = shrunk(planes, factor(size, least)).permute(1, 2, 0).contiguous().cpu().numpy()
            return rgb


def suits(image: bytes, sampling: str, size: Size) -> bool:
    """Whether every decoder reads it alike, but for rounding, and there is room for it."""
    return (
        sampling in SAMPLINGS
        and size[0] * size[1] <= MOST_PIXELS
        and image.endswith(END_OF_IMAGE)
        and components_in_one_scan(image) > 0
    )


def factor(size: Size, least: Size) -> int:
    """The largest that leaves as many pixels as asked for."""
    for each in FACTORS:
        if all(-(-have // each) >= want for have, want in zip(size, least, strict=True)):
            return each
    return 1


def shrunk(planes: Tensor, by: int) -> Tensor:
    """uint8 [C, H, W] -> uint8 [C, ceil(H / by), ceil(W / by)], means of squares; what is cut off counts as it is."""
    if by == 1:
        return planes
    # One by one: a plane takes four bytes a pixel meanwhile.
    means = (F.avg_pool2d(plane[None].float(), by, ceil_mode=True)[0] for plane in planes)
    return torch.stack([plane.round_().to(torch.uint8) for plane in means])


def nvjpeg(device: torch.device) -> Planes:
    """nvJPEG on a CUDA device.

    Raises:
        NoNvJpeg: torchvision is not installed, or not built for this torch's CUDA.
    """
    if device.type != "cuda":
        raise NoNvJpeg("the device is no CUDA device")
    try:
        from torchvision.io import ImageReadMode, decode_jpeg  # type: ignore[import-untyped]

        import lexiseg_model.clip  # noqa: F401  # makes torchvision importable
    except (ImportError, OSError, RuntimeError) as error:
        raise NoNvJpeg(f"torchvision cannot be imported: {error}") from None
    if not hasattr(torch.ops.image, "decode_jpegs_cuda"):
        raise NoNvJpeg("torchvision's library of pictures does not load beside this torch")
    return partial(decode_jpeg, mode=ImageReadMode.RGB, device=device)
