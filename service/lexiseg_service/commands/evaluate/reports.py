"""Files of reports."""

from __future__ import annotations

from pathlib import Path


def write_report(target: Path | None, text: str) -> None:
    """Write a report with the folders above it, where a file is asked for."""
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
