"""`lexiseg compare`: one model after the other over all photographs, then the differences of their labels.

A over all photographs -> its maps as PNG -> B over all of them, each against the map of A -> figures, small pictures
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.evaluation.comparison.agreement import Agreement, ClassOverlap, agreement, label_all
from lexiseg_model.masks.png import to_png
from lexiseg_model.types import LabelMap, Vocabulary
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.compare.report import Previews, Report
from lexiseg_service.commands.image_files import SUFFIXES, read_bounded
from lexiseg_service.commands.in_process import named_or_folder, resolved
from lexiseg_service.commands.question import Question
from lexiseg_service.errors import ServiceError
from lexiseg_service.settings import Limits, Settings
from lexiseg_service.worker.decode import decode


def run(
    a: str,
    b: str,
    folder: Path,
    question: Question,
    out: Path,
    figures: Path | None,
    shown: int,
    least: float | None,
    settings: Settings,
) -> int:
    """Write the report and print the figures. Returns 1 if the models agree less than `least`.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: a model cannot be loaded, or there are no photographs.
    """
    vocabulary = resolved(question.validated(), settings)
    photographs = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not photographs:
        raise DatasetError(f"{folder} holds no photographs; expected {', '.join(sorted(SUFFIXES))}")
    names = tuple(entry.name for entry in vocabulary.classes)
    maps: dict[Path, bytes] = {}  # of A, as PNG: a hundredth of their size
    overlap, agreements, previews = ClassOverlap(len(names)), list[Agreement](), Previews(shown)

    def keep(path: Path, labels: LabelMap) -> None:
        maps[path] = to_png(labels)

    def against(path: Path, labels: LabelMap) -> None:
        before = _map(maps.pop(path))
        overlap.add(before, labels)
        agreements.append(agreement(path, before, labels))
        previews.add(agreements[-1], before, labels)

    models, unread = [], dict[Path, str]()
    for name, receive in ((a, keep), (b, against)):
        models.append(_over_all(name, photographs, vocabulary, receive, unread, settings))
        photographs = [path for path in photographs if path not in unread]
    if not agreements:
        raise DatasetError(f"none of the {len(unread)} photographs of {folder} can be read")
    agreements.sort(key=lambda each: each.share)
    report = Report(a, b, models, names, agreements, overlap, unread)
    page = report.html(previews.most_different, lambda path: _read(path, settings.limits))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    if figures is not None:
        figures.parent.mkdir(parents=True, exist_ok=True)
        figures.write_text(json.dumps(report.figures(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _say(report, out)
    return int(least is not None and report.share < least)


def _over_all(
    name: str,
    photographs: list[Path],
    vocabulary: Vocabulary,
    receive: Callable[[Path, LabelMap], None],
    unread: dict[Path, str],
    settings: Settings,
) -> dict[str, str]:
    """Label all photographs by one model, and free it; its name, version and digest."""
    segmenter = named_or_folder(settings, name)
    with bar_of(name) as bar:
        bar.expect(len(photographs))
        unread |= label_all(
            segmenter, photographs, vocabulary, lambda path: _read(path, settings.limits), receive, bar.step
        )
    model = {"model": segmenter.card.name, "version": segmenter.card.version, "digest": segmenter.digest}
    del segmenter
    gc.collect()
    return model


def _read(path: Path, limits: Limits) -> NDArray[np.uint8]:
    """[H, W, 3] pixels, upright, as the service sees them.

    Raises:
        SampleError: it cannot be read.
    """
    try:
        return decode(read_bounded(path, limits), limits, None).rgb
    except ServiceError as error:
        raise SampleError(str(path), error.detail) from None


def _map(png: bytes) -> LabelMap:
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None  # written here
    return pixels.astype(np.uint16)


def _say(report: Report, out: Path) -> None:
    worst = report.agreements[0]
    typer.echo(
        f"{report.a} and {report.b} agree on {report.share:.2%} of the pixels of {len(report.agreements)} photographs"
    )
    typer.echo(f"least, {worst.share:.2%}, on {worst.path}")
    for path, reason in report.unread.items():
        typer.echo(f"lexiseg: {path}: {reason}", err=True)
    typer.echo(str(out))
