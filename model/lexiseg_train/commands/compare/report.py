"""`lexiseg compare`: one model after the other over all photographs, then the differences of their labels.

A over all photographs -> its maps as PNG -> B likewise -> agreement of each pair -> figures, small pictures
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.palette import colour
from lexiseg_labels.picture_names import LISTED_SUFFIXES, is_picture_name
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.files.names import visible_files
from lexiseg_model.masks.overlay import OPACITY
from lexiseg_model.masks.png import to_png
from lexiseg_model.tasks.label_maps import labeller
from lexiseg_model.types import LabelMap, Vocabulary
from lexiseg_train.commands.pages import jpeg_url, render
from lexiseg_train.commands.program import Program
from lexiseg_train.data.indexed import read_photograph
from lexiseg_train.evaluation.comparison.agreement import BACKGROUND, largest_swaps
from lexiseg_train.evaluation.counts import Counts, count

MAX_WIDTH = 420  # pixels of a picture
GRAY = (128, 128, 128)  # the colour of pixels without a class
PAGE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True)
class Report:
    """The labels of two models on the same photographs.

    `figures` are --json's; their photographs begin with the one of least agreement. `share` is that of the
    pixels with one label, `shares` [2, n] of the pixels with each label by A and by B. `maps` has the labels of
    each model as PNG, by the name of the photograph.
    """

    names: tuple[str, str]  # of the models, as typed
    labels: tuple[str, ...]  # of the values of a map
    share: float
    shares: NDArray[np.float64]
    figures: dict[str, Any]
    maps: Mapping[str, Sequence[bytes]]

    def html(self, n_pictures: int) -> str:
        """The page, with pictures of the `n_pictures` photographs that differ most."""
        photographs = self.figures["photographs"]
        ious = self.figures["iou"].values()
        rows = zip(ious, self.labels, *self.shares.tolist(), strict=True)
        return render(
            PAGE,
            title=" against ".join(self.names),
            figures=self.figures,
            models=[(name, self.figures[side]) for name, side in zip(self.names, "ab", strict=True)],
            classes=sorted(row for row in rows if row[0] is not None),
            sections=[(each, *self._pictures(each["photograph"])) for each in photographs[:n_pictures]],
            rest=photographs[n_pictures:],
            colours={label: colour(index - 1) if index else GRAY for index, label in enumerate(self.labels)},
        )

    def _pictures(self, photograph: str) -> tuple[int, list[tuple[str, str]]]:
        """A photograph's number of pixels; small pictures of it, of both label maps, of their difference, by name."""
        a, b = (_labels(png) for png in self.maps[photograph])
        height, width = a.shape
        size = (width, height) if width <= MAX_WIDTH else (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
        pixels = read_photograph(Path(photograph))
        rgb = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        # A difference of one pixel must not vanish in the small picture.
        differs = cv2.resize((a != b).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        small_a, small_b = (cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST) for labels in (a, b))
        pictures = (
            ("photograph", rgb),
            (self.names[0], _painted(rgb, small_a.astype(np.uint16))),
            (self.names[1], _painted(rgb, small_b.astype(np.uint16))),
            ("different", np.where(differs[..., None], np.uint8(255), rgb // 4)),
        )
        return a.size, [(name, jpeg_url(picture)) for name, picture in pictures]


def _painted(rgb: NDArray[np.uint8], labels: LabelMap) -> NDArray[np.uint8]:
    palette = np.array([(0, 0, 0), *(colour(index) for index in range(int(labels.max())))], np.float32)
    mixed = rgb * (1 - OPACITY) + palette[labels] * OPACITY
    return np.where((labels > BACKGROUND)[..., None], mixed, rgb).round().astype(np.uint8)


def compare_models(names: tuple[str, str], folder: Path, vocabulary: Vocabulary, program: Program) -> Report:
    """Label the photographs of a folder by one model after the other.

    Raises:
        ModelError: there are no photographs, none of them can be read, or a model cannot be loaded.
    """
    # Label maps as PNG take a hundredth of the memory.
    maps: dict[str, list[bytes]] = {str(path): [] for path in visible_files(folder) if is_picture_name(path)}
    if not maps:
        raise DatasetError(f"{folder} holds no photographs; expected {LISTED_SUFFIXES}")
    models, unread = [], dict[str, str]()
    for name in names:
        models.append(_label_all(name, vocabulary, maps, unread, program))
        gc.collect()
    if len(unread) == len(maps):
        raise DatasetError(f"none of the {len(unread)} photographs of {folder} can be read")
    labels = ("background", *(entry.name for entry in vocabulary.classes))
    counts = np.zeros((3, len(labels)), np.int64)
    photographs: list[dict[str, Any]] = []
    for photograph, pngs in maps.items():
        if photograph in unread:
            continue
        a, b = map(_labels, pngs)
        counts += count(a, b, len(labels))
        swaps = [{"a": labels[one], "b": labels[other], "pixels": n} for one, other, n in largest_swaps(a, b)]
        agreement = round(float((a == b).mean()), 6)
        photographs.append({"photograph": photograph, "agreement": agreement, "swaps": swaps})
    n_pixels = counts[1].sum()
    share = float(counts[0].sum() / n_pixels)
    figures = {
        "a": models[0],
        "b": models[1],
        "agreement": round(share, 6),
        "iou": dict(zip(labels, _ious(counts), strict=True)),
        "photographs": sorted(photographs, key=lambda each: each["agreement"]),
        "unread": unread,
    }
    return Report(names, labels, share, counts[1:] / n_pixels, figures, maps)


def _ious(counts: Counts) -> list[float | None]:
    """IoU of each label, 0 to 1; None where neither model gave it."""
    hits, a, b = counts
    unions = (a + b - hits).tolist()
    return [hit / union if union else None for hit, union in zip(hits.tolist(), unions, strict=True)]


def _label_all(
    name: str, vocabulary: Vocabulary, maps: Mapping[str, list[bytes]], unread: dict[str, str], program: Program
) -> dict[str, str]:
    """Label all readable photographs with one model, into `maps`; returns its name, version and digest."""
    segmenter = program.load(name)
    label = labeller(segmenter, vocabulary, segmenter.card.refine)
    values = np.append(np.arange(1, len(vocabulary.classes) + 1), BACKGROUND).astype(np.uint16)
    photographs = [photograph for photograph in maps if photograph not in unread]
    with bar_of(name, len(photographs)) as bar:
        for photograph in photographs:
            try:
                maps[photograph].append(to_png(values[label(read_photograph(Path(photograph)))]))
            except SampleError as error:
                unread[photograph] = error.reason
            bar.step()
    return {"model": segmenter.card.name, "version": segmenter.card.version, "digest": segmenter.digest}


def _labels(png: bytes) -> LabelMap:
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None  # written here
    return pixels.astype(np.uint16)
