"""Who decodes JPEG: the CPU, or nvJPEG where that is wanted, there, and agrees with the CPU. The log says which."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
import torch

from lexiseg_model.device import choose_device
from lexiseg_service.settings import Settings
from lexiseg_service.worker.jpeg.agreement import differences
from lexiseg_service.worker.jpeg.nvjpeg import DeviceJpeg, NoNvJpeg, Planes, nvjpeg

logger = structlog.get_logger("lexiseg.jpeg")


class JpegChoice:
    """Chooses when it is first asked, which takes seconds; then the choice stands. Safe from any thread."""

    def __init__(self, settings: Settings, find: Callable[[torch.device], Planes] | None = None) -> None:
        """`find` is another decoder's way to planes than nvJPEG's."""
        self._settings = settings
        self._find = find or nvjpeg
        self._guard = threading.Lock()
        self._is_open = settings.jpeg_decoder == "auto"
        self._chosen: DeviceJpeg | None = None

    def on_device(self) -> DeviceJpeg | None:
        """What decodes on the device; None where the CPU does."""
        if self._is_open:
            with self._guard:
                if self._is_open:
                    self._chosen = self._choose()
                    self._is_open = False
        return self._chosen

    def _choose(self) -> DeviceJpeg | None:
        device = choose_device(self._settings.device)
        try:
            decoder = DeviceJpeg(device, self._find(device))
            found = differences(decoder)
        except (NoNvJpeg, RuntimeError) as error:
            logger.warning("JPEG is decoded by the CPU: no nvJPEG", why=str(error))
            return None
        levels = {sampling: each and [round(level, 2) for level in each] for sampling, each in found.items()}
        if not all(each is not None and each.is_small for each in found.values()):
            logger.warning("JPEG is decoded by the CPU: nvJPEG does not agree with it", levels=levels)
            return None
        logger.info("JPEG is decoded by nvJPEG", device=str(device), levels=levels)
        return decoder
