"""The options of `lexiseg segment --window`, read."""

from __future__ import annotations

from pathlib import Path

import typer

from lexiseg_service.commands.segment.question import Question
from lexiseg_service.settings import Settings

OVERLAP = 0.25  # of a window's side


def run_in_windows(
    images: list[Path],
    question: Question,
    out: Path,
    settings: Settings,
    window: int,
    overlap: int | None,
    bands: str | None,
    stretch: str | None,
    min_area: int | None,
) -> int:
    """Pictures of any size; returns 1 if any failed.

    Raises:
        typer.BadParameter: an option is not as expected, or its libraries are not installed.
    """
    try:
        import pyogrio  # noqa: F401
        import rasterio  # noqa: F401
        import shapely  # noqa: F401
    except ImportError:
        raise typer.BadParameter(
            "needs what reads and writes maps: pip install rasterio pyogrio shapely", param_hint="'--window'"
        ) from None
    from lexiseg_service.commands.segment.scene.reading import Reading
    from lexiseg_service.commands.segment.scene.run import Cut, run

    if window**2 > settings.limits.max_pixels:
        longest = int(settings.limits.max_pixels**0.5)
        raise typer.BadParameter(
            f"expected at most {longest} pixels, by --max-pixels; got {window}", param_hint="'--window'"
        )
    if overlap is not None and not 0 < overlap <= window // 2:
        raise typer.BadParameter(
            f"windows of {window} pixels cannot overlap by {overlap}; expected 1 to {window // 2}",
            param_hint="'--overlap'",
        )
    reading = Reading(_bands(bands), _range(stretch))
    return run(
        images,
        question,
        out,
        settings,
        Cut(window, OVERLAP if overlap is None else overlap / window, reading, min_area or 1),
    )


def _bands(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    numbers = tuple(int(part) if part.strip().isdigit() else 0 for part in text.split(","))
    if len(numbers) not in (1, 3) or min(numbers) < 1:
        raise typer.BadParameter(f"expected one band or three, from 1, as 4,3,2; got {text!r}", param_hint="'--bands'")
    return numbers


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, _, high = text.partition(",")
    try:
        bounds = float(low), float(high)
    except ValueError:
        bounds = (0.0, 0.0)
    if not bounds[0] < bounds[1]:
        raise typer.BadParameter(f"expected LOW,HIGH with LOW < HIGH, as 0,3000; got {text!r}", param_hint="'--range'")
    return bounds
