"""The report of a calibration: a page with pictures of the segments nearest to each threshold."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from PIL import Image

from lexiseg_model.command_line.options import write_text
from lexiseg_train.commands.calibrate.thresholds import Choice, Finding, Findings

PICTURES = 2  # on either side of a threshold
MAX_SIDE = 420  # pixels of a picture
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 82]
PAGE = Path(__file__).with_name("report.html.j2")


def write_report(folder: Path, vocabulary: str, choices: Sequence[Choice], findings: Findings, outcome: str) -> Path:
    """Write report.html into a folder; `outcome` is one sentence on whether the thresholds were kept."""
    rows: list[dict[str, Any]] = []
    for index, (name, choice) in enumerate(zip(findings.names, choices, strict=True)):
        near = _near(findings.by_class[index], choice)
        rows.append(
            {
                "name": name,
                "numbers": (choice.threshold, choice.before, choice.after),
                "reason": choice.reason,
                "figures": [_figure(findings, index, finding, choice) for finding in near],
            }
        )
    path = folder / "report.html"
    title = f"Thresholds of {vocabulary}"
    page = jinja2.Template(PAGE.read_text(encoding="utf-8"), autoescape=True, undefined=jinja2.StrictUndefined)
    write_text(path, page.render(title=title, n_photographs=len(findings.answers), outcome=outcome, rows=rows))
    return path


def _near(findings: Sequence[Finding], choice: Choice) -> list[Finding]:
    """The findings nearest below and above a threshold; without one the lowest."""
    scored = sorted((each for each in findings if each.score is not None), key=lambda each: each.score or 0.0)
    if choice.threshold is None:
        return scored[:PICTURES]
    below = [each for each in scored if (each.score or 0.0) < choice.threshold]
    above = [each for each in scored if (each.score or 0.0) >= choice.threshold]
    return [*below[-PICTURES:], *above[:PICTURES]]


def _figure(findings: Findings, index: int, finding: Finding, choice: Choice) -> tuple[str, str]:
    """A class's segments painted on a photograph, as a data URL, and a caption."""
    photograph, answer = findings.answers[finding.image]
    of_class = tuple(segment for segment in answer if segment.class_index == index)
    picture = Image.fromarray(replace(answer, segments=of_class).paint(photograph.pixels()))
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    dropped = choice.threshold is not None and (finding.score or 0.0) < choice.threshold
    caption = f"{Path(finding.image).name}: {finding.score:.3f}, {'dropped' if dropped else 'kept'}"
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR), QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode(), caption
