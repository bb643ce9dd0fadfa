"""`lexiseg segment-scene`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lexiseg_model.command_line.options import STDOUT, Background, Classes, VocabularyName, output_folder
from lexiseg_service.commands import options
from lexiseg_service.commands.options import takes_settings
from lexiseg_service.settings import Settings

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
    from lexiseg_service.commands.segment_scene.windows import reading_of, run

    if str(out) == STDOUT:
        raise typer.BadParameter("writes files of its own into a folder", param_hint="'--out'")
    question = question_of(
        classes, vocabulary, task=task, background=background, threshold=threshold, max_side=max_side
    )
    raise typer.Exit(run(images, question, out, settings, reading_of(window, bands, stretch, settings.limits)))
