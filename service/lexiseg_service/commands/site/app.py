"""`lexiseg site`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexiseg_model.command_line.options import output_folder
from lexiseg_service.commands.options import check_installed, takes_settings
from lexiseg_service.settings import Settings


@takes_settings("export")
def site(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A folder that does not exist yet, or is empty", callback=output_folder),
    ],
    settings: Settings,
    words: Annotated[int, typer.Option(min=0, help="Common English words to include, about 200 bytes each")] = 10_000,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="The one server that a visitor may send a question to")
    ] = None,
) -> None:
    """Write the playground as static files: everything runs in the browser, and no picture leaves it.

    For tiny, and for models of `lexiseg train tiny`; it needs `pip install "lexiseg[site]"`. onnxruntime-web is fetched
    from the npm registry, once.

    Examples:

      lexiseg site site/ && python -m http.server --directory site

      lexiseg site site/ --model mine --models-dir models
    """
    from lexiseg_service.in_process import check_named

    check_installed("site", "site", "onnx", "onnxscript")
    check_named(settings, settings.model)
    from lexiseg_service.commands.site.build import write_site

    write_site(settings, out, words, server)
