"""Mask encoding: RLE in one pass against pycocotools class by class; polygons by the kernel against numpy."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from benchmarks.finish import SIZE, smooth_scores
from benchmarks.kernel import kernel_disabled
from benchmarks.timing import cost, print_table
from lexiseg_model.masks.encodings import rings_of
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.masks.upsample import winners

CLASSES = (10, 50, 150)


def class_by_class(labels: NDArray[np.unsignedinteger], n_classes: int) -> list[bytes]:
    """The usual way: one boolean mask per class, column-major, through pycocotools."""
    return [coco.encode(np.asfortranarray((labels == index).astype(np.uint8)))["counts"] for index in range(n_classes)]


def run() -> None:
    """Print CPU milliseconds of RLE and polygons."""
    rows = []
    for n_classes in CLASSES:
        labels = winners(smooth_scores(n_classes), SIZE).labels
        one_pass = cost(partial(encode_label_map, labels, n_classes)).cpu
        per_class = cost(partial(class_by_class, labels, n_classes)).cpu
        rows.append([str(n_classes), f"{1e3 * one_pass:.1f}", f"{1e3 * per_class:.1f}", f"{per_class / one_pass:.1f}x"])
    head = ["classes", "one pass, ms", "pycocotools per class, ms", "gain"]
    print_table(f"RLE of a {SIZE[1]} x {SIZE[0]} label map, CPU time", head, rows)
    polygons()


def polygons() -> None:
    """CPU milliseconds for the largest of ten masks, every corner kept."""
    rows = []
    for size in ((480, 640), SIZE, (3000, 4000)):
        rles = encode_label_map(winners(smooth_scores(10), size).labels, 10)
        largest = max(rles, key=lambda rle: rle.area)
        compiled = cost(partial(rings_of, largest)).cpu
        with kernel_disabled():
            plain = cost(partial(rings_of, largest)).cpu
        corners = [
            sum(len(flat) // 2 for ring in rings_of(largest, tolerance) for flat in (ring.exterior, *ring.holes))
            for tolerance in (0.0, 1.0)
        ]
        what = [f"{size[1]} x {size[0]}", f"{largest.area:,}", *(f"{number:,}" for number in corners)]
        rows.append([*what, f"{1e3 * compiled:.2f}", f"{1e3 * plain:.2f}", f"{plain / compiled:.1f}x"])
    head = ["image", "pixels", "corners", "with simplify=1", "compiled, ms", "numpy, ms", "gain"]
    print_table("Exact polygons of the largest of ten masks, CPU time", head, rows)
