"""Photographs without captions as a source of pairs, and their augmented views for self-distillation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from lexiseg_model.clip.images import STATISTICS
from lexiseg_model.data.pairs.source import Skipped, StoredPair
from lexiseg_model.data.pairs.stream import Drawn
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.methods.s_seg.training.tower.recipe import ViewSettings
from lexiseg_model.training.deit import drawn_by

SUFFIXES = {".jpg", ".jpeg", ".png"}
MASKS = "masks"  # folders that hold no photographs
N_WIDE = 2
BLURRED, SOLARISED = (1.0, 0.1), (0.0, 0.2)  # probability for the first and the second large view
NARROW_BLURRED = 0.5


class Photographs:
    """All photographs in some folders as one part, with empty captions."""

    damaged: Sequence[Skipped] = ()

    def __init__(self, folders: Sequence[Path]) -> None:
        """
        Raises:
            DatasetError: there is none.
        """
        paths = {path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
        self._paths = sorted(path for path in paths if MASKS not in path.parts)
        if not self._paths:
            raise DatasetError(f"no photographs in {', '.join(map(str, folders))}; expected .jpg or .png files")
        self.sizes = [len(self._paths)]

    def read(self, part: int, index: int) -> StoredPair:
        path = self._paths[index]
        try:
            return StoredPair(str(path), path.read_bytes(), ("",))
        except OSError as error:
            raise SampleError(str(path), f"cannot be read: {error.strerror}") from None


class ViewBatch(NamedTuple):
    """Views `wide` [2 B, 3, S, S], first views first, and `narrow` [n B, 3, s, s]; samples that could not be read."""

    wide: Tensor
    narrow: Tensor
    skipped: tuple[Skipped, ...]


class ViewBatches:
    """Makes batches of views of drawn photographs."""

    def __init__(self, settings: ViewSettings, size: int, patch: int, mismatched: bool = False) -> None:
        """
        Args:
            settings: number, area and size of the views.
            size: side of a large view in pixels; that of a small one is rounded to whole patches.
            patch: patch of the tower in pixels.
            mismatched: control experiment: the views of a photograph come from different photographs of the batch.
        """
        self._settings = settings
        self._mismatched = mismatched
        small = max(1, round(settings.narrow_side * size / patch)) * patch
        self._wide = [_transform(size, settings.wide, *chances) for chances in zip(BLURRED, SOLARISED, strict=True)]
        self._narrow = _transform(small, settings.narrow, NARROW_BLURRED, 0.0)

    def __call__(self, drawn: Sequence[Drawn]) -> ViewBatch:
        views = [self._views(pair) for pair in drawn]
        by_view = list(zip(*views, strict=True))  # the same view of all photographs together
        if self._mismatched:
            by_view = [view[number:] + view[:number] for number, view in enumerate(by_view)]
        narrow = [view for views in by_view[N_WIDE:] for view in views]
        return ViewBatch(
            torch.stack([view for views in by_view[:N_WIDE] for view in views]),
            torch.stack(narrow) if narrow else torch.empty(0, 3, 0, 0),
            tuple(skipped for pair in drawn for skipped in pair.skipped),
        )

    def _views(self, pair: Drawn) -> list[Tensor]:
        picture = Image.fromarray(pair.image)
        with drawn_by(pair.random()):
            return [
                *(transform(picture) for transform in self._wide),
                *(self._narrow(picture) for _ in range(self._settings.n_narrow)),
            ]


def _transform(size: int, scale: tuple[float, float], blurred: float, solarised: float) -> Any:
    """DINO's augmentation: crop, mirroring, colours, grey, blur, solarisation (appendix, after BYOL)."""
    from torchvision import transforms  # type: ignore[import-untyped]

    mean, std = STATISTICS["imagenet"]
    blur_side = max(3, size // 20 * 2 + 1)  # a tenth of the view, as in BYOL
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([transforms.GaussianBlur(blur_side, (0.1, 2.0))], blurred),
            transforms.RandomSolarize(128, solarised),
            transforms.ToTensor(),
            transforms.Normalize([value / 255 for value in mean], [value / 255 for value in std]),
        ]
    )
