"""How the loss went, from the journal that a run writes in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

JOURNAL = "journal.jsonl"
TOLD = 5  # points of a curve that a card tells


class Logged(NamedTuple):
    """The mean loss of the steps up to this one."""

    step: int
    loss: float


def read_curve(out: Path) -> list[Logged]:
    """Every entry with a loss; nothing where there is no journal. A line that a kill cut off is passed over."""
    path = out / JOURNAL
    if not path.is_file():
        return []
    points = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"step", "loss"} <= entry.keys():
            points.append(Logged(int(entry["step"]), float(entry["loss"])))
    return points


def in_words(curve: list[Logged]) -> str:
    """A sentence of at most TOLD points, evenly over the curve, with a space before it; empty without points."""
    if not curve:
        return ""
    last = len(curve) - 1
    places = sorted({round(last * n / (TOLD - 1)) for n in range(TOLD)})
    told = ", ".join(f"{curve[place].loss:.4g} at step {curve[place].step}" for place in places)
    return f" Loss: {told}."
