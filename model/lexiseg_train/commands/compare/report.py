"""`lexiseg compare`: one model after the other over all photographs, then the differences of their labels.

A over all photographs -> its maps as PNG -> B likewise -> agreement of each pair -> figures
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lexiseg_labels.picture_names import LISTED_SUFFIXES, is_picture_name
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.files.names import visible_files
from lexiseg_model.masks.encodings import to_png
from lexiseg_model.tasks.label_maps import labeller
from lexiseg_model.types import LabelMap, Vocabulary
from lexiseg_train.commands.program import Program
from lexiseg_train.data.indexed import read_photograph
from lexiseg_train.evaluation.counts import count

MAX_SWAPS = 3  # reported for a photograph
BACKGROUND = 0  # in a map of labels; classes count from 1


def largest_swaps(a: LabelMap, b: LabelMap) -> list[tuple[int, int, int]]:
    """The pairs of labels with most differing pixels in two label maps [H, W] of one photograph: (a, b, pixels)."""
    differs = a != b
    # Two 16-bit labels in one number.
    pairs, counts = np.unique(a[differs].astype(np.uint32) << 16 | b[differs], return_counts=True)
    largest = np.argsort(-counts, kind="stable")[:MAX_SWAPS]
    return [(int(pairs[i]) >> 16, int(pairs[i]) & 0xFFFF, int(counts[i])) for i in largest]


def compare_models(names: tuple[str, str], folder: Path, vocabulary: Vocabulary, program: Program) -> dict[str, Any]:
    """The figures of --json: photographs, from least agreement on, labelled by one model after the other."""
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
    named = zip(labels, counts.T.tolist(), strict=True)
    return {
        "a": models[0],
        "b": models[1],
        "agreement": round(float(counts[0].sum() / counts[1].sum()), 6),
        "iou": {label: hit / (a + b - hit) if a + b else None for label, (hit, a, b) in named},
        "photographs": sorted(photographs, key=lambda each: each["agreement"]),
        "unread": unread,
    }


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
