"""`lexiseg segment-scene`: its options."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexiseg_model.command_line.options import STDOUT, Background, Classes, VocabularyName, output_folder
from lexiseg_service.commands import options
from lexiseg_service.commands.options import check_installed, takes_settings
from lexiseg_service.settings import Limits, Settings

if TYPE_CHECKING:  # imports optional libraries
    from lexiseg_service.commands.segment_scene.scene import Reading

WINDOW = 1024


@takes_settings("segment")
def segment_scene(
    images: Annotated[list[str], typer.Argument(metavar="SCENE...", help="Rasters that GDAL reads, as GeoTIFF")],
    settings: Settings,
    classes: Classes = None,
    vocabulary: VocabularyName = None,
    window: Annotated[int, typer.Option(min=64, help="Side of a window, in pixels, at least")] = WINDOW,
    bands: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", help="Bands from 1 [default: red, green, blue, or the first three]"),
    ] = None,
    stretch: Annotated[
        str | None,
        typer.Option("--range", metavar="LOW,HIGH", help="Values of black and white, of more than 8 bits"),
    ] = None,
    task: Annotated[
        Literal["semantic", "instance", "panoptic"],
        typer.Option(help="What a segment is: a class, an object, or either (things and stuff)"),
    ] = "semantic",
    out: Annotated[Path, typer.Option(help="Folder of the results", callback=output_folder)] = Path("out"),
    background: Background = None,
    threshold: options.Threshold = None,
    max_side: options.MaxSide = None,
) -> None:
    """Segment rasters of any size window by window: outlines as GeoJSON and GeoPackage, a map of classes as GeoTIFF.

    Results are in the raster's coordinates. Nothing is replaced: a second run writes STEM-2.

    Examples:

      lexiseg segment-scene scene.tif -c road -c building

      lexiseg segment-scene scene.tif --vocabulary ade20k --window 512 --bands 4,3,2 --range 0,3000
    """
    from lexiseg_service.commands.question import question_of

    if str(out) == STDOUT:
        raise typer.BadParameter("writes files of its own into a folder", param_hint="'--out'")
    question = question_of(
        classes, vocabulary, task=task, background=background, threshold=threshold, max_side=max_side
    )
    check_installed("SCENE", "scene", "rasterio", "pyogrio", "shapely")
    reading = _reading_of(window, bands, stretch, settings.limits)
    from lexiseg_service.batch.sources.source import Unreadable
    from lexiseg_service.commands.segment_scene.scene import OF_GDAL
    from lexiseg_service.in_process import check_model, resolved

    class_list = resolved(question, settings, words_alone=True)
    missing = [name for name in images if not OF_GDAL.match(name) and not Path(name).exists()]
    if len(missing) == len(images):
        raise Unreadable("\n".join(f"{name}: No such file" for name in missing))
    check_model(settings, question.task)
    from lexiseg_service.commands.segment_scene.windows import run  # imports torch: after all checks

    raise typer.Exit(run(images, class_list, question, out, settings, reading))


def _reading_of(window: int, bands: str | None, stretch: str | None, limits: Limits) -> Reading:
    from lexiseg_service.commands.segment_scene.scene import Reading

    if window**2 > limits.max_pixels:
        longest = int(limits.max_pixels**0.5)
        raise typer.BadParameter(
            f"expected at most {longest} pixels, by --max-pixels; got {window}", param_hint="'--window'"
        )
    return Reading(window, None if bands is None else _bands(bands), None if stretch is None else _range(stretch))


def _bands(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) if part.strip().isdigit() else 0 for part in text.split(","))
    if len(numbers) not in (1, 3) or min(numbers) < 1:
        raise typer.BadParameter(f"expected one band or three, from 1, as 4,3,2; got {text!r}", param_hint="'--bands'")
    return numbers


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(",")
    with suppress(ValueError):
        if float(low) < float(high):
            return float(low), float(high)
    raise typer.BadParameter(f"expected LOW,HIGH with LOW < HIGH, as 0,3000; got {text!r}", param_hint="'--range'")
