"""The report of a comparison: one HTML file that needs nothing else, the most different photographs first."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.evaluation.comparison.agreement import NOBODY, Agreement, ClassOverlap
from lexiseg_model.masks.overlay import OPACITY, colour
from lexiseg_model.types import LabelMap
from lexiseg_service.commands.compare.preview import Preview, size_of

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 82]
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1360px;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;text-align:right;
border-bottom:1px solid #d8dee4}td:first-child,th:first-child{text-align:left}section{margin:2rem 0;border-top:1px solid
#d8dee4}figure{display:inline-block;margin:.3rem;vertical-align:top}figcaption,.quiet{color:#57606a;font-size:.85rem}
img{max-width:100%;display:block;border-radius:4px}.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;
margin-right:.4em}h2{font-size:1rem;overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}td,th,section{border-color:#30363d}
figcaption,.quiet{color:#8b949e}}
"""


@dataclass(frozen=True)
class Report:
    """What two models say of the same photographs; `agreements` begin with the smallest."""

    a: str
    b: str
    models: list[dict[str, str]]
    classes: tuple[str, ...]
    agreements: list[Agreement]
    overlap: ClassOverlap
    unread: dict[Path, str]

    @property
    def share(self) -> float:
        """Of all pixels, those with one label."""
        pixels = sum(each.pixels for each in self.agreements)
        return sum(each.share * each.pixels for each in self.agreements) / pixels

    def label(self, index: int) -> str:
        """What a value of a map stands for."""
        return "nobody" if index == NOBODY else self.classes[index - 1]


def html_of(report: Report, previews: Sequence[Preview], read: Callable[[Path], NDArray[np.uint8]]) -> str:
    """The page.

    Args:
        report: the figures.
        previews: of the first of its agreements; as many photographs are shown.
        read: pixels [H, W, 3] of a photograph.
    """
    sections = [_section(report, each, read(each.agreement.path)) for each in previews]
    versions = " against ".join(
        f"{escape(name)} <span class=quiet>({escape(model['model'])} {escape(model['version'])}, "
        f"{escape(model['digest'][:12])})</span>"
        for name, model in zip((report.a, report.b), report.models, strict=True)
    )
    unread = "".join(f"<li>{escape(str(path))}: {escape(reason)}</li>" for path, reason in report.unread.items())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(report.a)} against {escape(report.b)}</title><style>{STYLE}</style>"
        f"<h1>{report.share:.2%} agreement</h1>"
        f"<p>{versions}, pixel by pixel on {len(report.agreements)} photographs.</p>"
        f"{_classes(report)}"
        + (f"<p>Not read:</p><ul>{unread}</ul>" if unread else "")
        + "".join(sections)
        + _rest(report, len(sections))
        + "</html>\n"
    )


def _classes(report: Report) -> str:
    """How each class fares, those that differ most first."""
    rows = []
    total = int(report.overlap.a.sum())
    for index in range(len(report.classes) + 1):
        iou = report.overlap.iou(index)
        if iou is not None:
            shares = (report.overlap.a[index] / total, report.overlap.b[index] / total)
            rows.append((iou, index, shares))
    body = "".join(
        f"<tr><td>{_key(index)}{escape(report.label(index))}<td>{iou:.1%}<td>{a:.2%}<td>{b:.2%}"
        for iou, index, (a, b) in sorted(rows)
    )
    return f"<table><tr><th>class<th>IoU of A and B<th>pixels of A<th>pixels of B{body}</table>"


def _section(report: Report, preview: Preview, photograph: NDArray[np.uint8]) -> str:
    each = preview.agreement
    rgb = cv2.resize(photograph, size_of(*photograph.shape[:2]), interpolation=cv2.INTER_AREA).astype(np.uint8)
    pictures = (
        ("photograph", rgb),
        (report.a, _painted(rgb, preview.a)),
        (report.b, _painted(rgb, preview.b)),
        ("different", np.where(preview.differs[..., None], np.uint8(255), rgb // 4)),
    )
    figures = "".join(
        f"<figure><img alt='{escape(name)}' src='{_jpeg(picture)}'><figcaption>{escape(name)}</figcaption></figure>"
        for name, picture in pictures
    )
    swaps = ", ".join(
        f"{_key(swap.a)}{escape(report.label(swap.a))} → {_key(swap.b)}{escape(report.label(swap.b))} "
        f"{swap.pixels / each.pixels:.1%}"
        for swap in each.swaps
    )
    return f"<section><h2>{each.share:.2%} {escape(str(each.path))}</h2>{figures}<p class=quiet>{swaps}</p></section>"


def _rest(report: Report, shown: int) -> str:
    rows = "".join(f"<tr><td>{escape(str(each.path))}<td>{each.share:.2%}" for each in report.agreements[shown:])
    return f"<section><table><tr><th>photograph<th>agreement{rows}</table></section>" if rows else ""


def _painted(rgb: NDArray[np.uint8], labels: LabelMap) -> NDArray[np.uint8]:
    palette = np.array([(0, 0, 0), *(colour(index) for index in range(int(labels.max())))], np.float32)
    mixed = rgb * (1 - OPACITY) + palette[labels] * OPACITY
    return np.where((labels > NOBODY)[..., None], mixed, rgb).round().astype(np.uint8)


def _key(index: int) -> str:
    red, green, blue = (128, 128, 128) if index == NOBODY else colour(index - 1)
    return f"<span class=key style='background:rgb({red},{green},{blue})'></span>"


def _jpeg(rgb: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
