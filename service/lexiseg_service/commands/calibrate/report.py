"""What was found, for people: report.html with pictures of what stands nearest to each threshold."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from lexiseg_service.commands.calibrate.looking import Looked
from lexiseg_service.commands.calibrate.thresholds import Choice, Finding
from lexiseg_service.commands.segment.answers import as_clients
from lexiseg_service.settings import Limits
from lexiseg_service.worker.decode import decode

PICTURES = 2  # on either side of a threshold
LONGEST_SIDE = 420  # pixels of a picture
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  color-scheme: light dark; }
table { border-collapse: collapse; } th, td { padding: .25rem .75rem; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; } img { max-width: 26rem; }
"""


def write_report(
    folder: Path, vocabulary: str, names: Sequence[str], choices: Sequence[Choice], looked: Looked, said: str
) -> Path:
    """Writes report.html and its pictures; the folder is made if there is none.

    Args:
        said: one sentence on what became of the thresholds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, parts = [], []
    for index, (name, choice) in enumerate(zip(names, choices, strict=True)):
        cells = [
            f"<td>{html.escape(name)}</td>",
            *(f'<td class="n">{_number(value)}</td>' for value in (choice.threshold, choice.before, choice.after)),
            f"<td>{html.escape(choice.reason)}</td>",
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
        figures = [
            _figure(folder, looked, index, name, finding, choice) for finding in _near(looked.findings[index], choice)
        ]
        if figures:
            parts.append(f"<h2>{html.escape(name)}</h2>{''.join(figures)}")
    title = html.escape(f"Thresholds of {vocabulary}")
    head = "<th>class</th><th>threshold</th><th>IoU before</th><th>IoU with it</th><th>why</th>"
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"<h1>{title}</h1><p>{len(looked.shown)} photographs. {html.escape(said)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"<p>Below: what stands nearest to each threshold.</p>{''.join(parts)}</html>\n"
    )
    path = folder / "report.html"
    path.write_text(page)
    return path


def _near(findings: Sequence[Finding], choice: Choice) -> list[Finding]:
    """The findings nearest below and above a threshold; without one the lowest."""
    scored = sorted((each for each in findings if each.score is not None), key=lambda each: each.score or 0.0)
    if choice.threshold is None:
        return scored[:PICTURES]
    below = [each for each in scored if (each.score or 0.0) < choice.threshold]
    above = [each for each in scored if (each.score or 0.0) >= choice.threshold]
    return [*below[-PICTURES:], *above[:PICTURES]]


def _figure(folder: Path, looked: Looked, index: int, name: str, finding: Finding, choice: Choice) -> str:
    source, answer = looked.shown[finding.image]
    rgb = decode(source.read(Limits()), Limits(), None).rgb
    whole = as_clients(answer, "")
    segments = tuple(segment for segment in whole if segment.class_index == index)
    painted = replace(whole, segments=segments).paint(rgb)
    picture = Image.fromarray(np.asarray(painted))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    stem = re.sub(r"[^\w-]+", "-", f"{name}-{Path(finding.image).stem}")[:80]
    file = f"{index + 1}-{stem}.jpg"
    picture.save(folder / file, quality=85)
    dropped = choice.threshold is not None and (finding.score or 0.0) < choice.threshold
    fate = "dropped" if dropped else "kept"
    told = html.escape(f"{Path(finding.image).name}: {finding.score:.3f}, {fate}")
    return f'<figure><img src="{html.escape(file)}" alt="{told}"><figcaption>{told}</figcaption></figure>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
