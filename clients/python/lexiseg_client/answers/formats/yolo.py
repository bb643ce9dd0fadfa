"""Lines of Ultralytics' segmentation labels: `CLASS x y x y ...`, corners in shares of width and height."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexiseg_client.answers.formats.shapes import borders, exported
from lexiseg_client.answers.outlines import one_loop

if TYPE_CHECKING:
    from lexiseg_client.answers.segmentation import Segmentation

DECIMALS = 6  # a fiftieth of a pixel in an image of 20,000


def lines(answer: Segmentation, tolerance: float) -> str:
    """See `Segmentation.to_yolo`."""
    height, width = answer.size
    text = []
    for segment in exported(answer):
        corners = one_loop(borders(segment, tolerance)) / (width, height)
        numbers = " ".join(f"{value:.{DECIMALS}f}" for value in corners.reshape(-1).tolist())
        text.append(f"{0 if segment.class_index is None else segment.class_index} {numbers}\n")
    return "".join(text)
