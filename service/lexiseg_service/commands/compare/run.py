"""`lexiseg compare`: one model after the other over all photographs, then what they say differently."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import typer

from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.comparison.agreement import Agreement, ClassOverlap, agreement, label_all
from lexiseg_model.masks.png import to_png
from lexiseg_model.pseudo_labels import PHOTOGRAPHS
from lexiseg_model.types import LabelMap
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.classes import resolved
from lexiseg_service.commands.compare.report import Report, html_of
from lexiseg_service.commands.loading import named_or_folder
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.settings import Settings

Maps = dict[Path, bytes]  # label maps as PNG: a hundredth of their size


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
    """Writes the report and says the figures. Returns 1 if the models agree less than `least`.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: a model cannot be loaded, or there are no photographs.
    """
    vocabulary = resolved(question.validated(), settings)
    photographs = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTOGRAPHS)
    if not photographs:
        raise DatasetError(f"{folder} holds no photographs; expected {', '.join(sorted(PHOTOGRAPHS))}")
    models: list[dict[str, str]] = []
    maps: list[Maps] = []
    unread: dict[Path, str] = {}
    for name in (a, b):
        segmenter = named_or_folder(settings, name)
        kept: Maps = {}
        with bar_of(name) as bar:
            bar.expect(len(photographs))
            unread |= label_all(
                segmenter,
                photographs,
                vocabulary,
                lambda path, labels, kept=kept: kept.update({path: to_png(labels)}),  # type: ignore[misc]
                bar.step,
            )
        card = segmenter.card
        models.append({"model": card.name, "version": card.version, "digest": segmenter.digest})
        maps.append(kept)
        del segmenter
        gc.collect()
    names = tuple(entry.name for entry in vocabulary.classes)
    overlap, agreements = ClassOverlap(len(names)), []
    for path in maps[0]:
        labels = _map(maps[0][path]), _map(maps[1][path])
        overlap.add(*labels)
        agreements.append(agreement(path, *labels))
    if not agreements:
        raise DatasetError(f"none of the {len(photographs)} photographs of {folder} can be read")
    agreements.sort(key=lambda each: each.share)
    report = Report(a, b, models, names, agreements, overlap, unread)
    pairs = ((_map(maps[0][each.path]), _map(maps[1][each.path])) for each in agreements[:shown])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html_of(report, pairs), encoding="utf-8")
    if figures is not None:
        figures.write_text(json.dumps(_figures(report), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _say(report, out)
    return int(least is not None and report.share < least)


def _map(png: bytes) -> LabelMap:
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None  # written here
    return pixels.astype(np.uint16)


def _figures(report: Report) -> dict[str, Any]:
    def told(each: Agreement) -> dict[str, Any]:
        swaps = [{"a": report.label(swap.a), "b": report.label(swap.b), "pixels": swap.pixels} for swap in each.swaps]
        return {"photograph": str(each.path), "agreement": round(each.share, 6), "swaps": swaps}

    return {
        "a": report.models[0],
        "b": report.models[1],
        "agreement": round(report.share, 6),
        "iou": {report.label(index): report.overlap.iou(index) for index in range(len(report.classes) + 1)},
        "photographs": [told(each) for each in report.agreements],
        "unread": {str(path): reason for path, reason in report.unread.items()},
    }


def _say(report: Report, out: Path) -> None:
    worst = report.agreements[0]
    typer.echo(
        f"{report.a} and {report.b} agree on {report.share:.2%} of the pixels of {len(report.agreements)} photographs"
    )
    typer.echo(f"least, {worst.share:.2%}, on {worst.path}")
    for path, reason in report.unread.items():
        typer.echo(f"lexiseg: {path}: {reason}", err=True)
    typer.echo(str(out))
