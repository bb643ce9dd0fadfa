"""`lexiseg teach`: a head from a folder of labelled pictures, kept by this installation or by a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from lexiseg_model.command_line.options import Server
from lexiseg_service.commands.heads import check_kept, line_of
from lexiseg_service.commands.options import takes_settings
from lexiseg_service.settings import Settings

if TYPE_CHECKING:  # imported where they are used: the command line must start without them
    from lexiseg_client import Head, Picture
    from lexiseg_service.gateway.heads.reviewed_set import ReviewedSet

Source = Annotated[
    Path, typer.Argument(metavar="SRC", exists=True, help="Folder, zip, tar or file of labels, in any known layout")
]
Name = Annotated[str, typer.Option("--name", help="Name of the head: at most 64 characters of a-z, 0-9 and -")]


@takes_settings("teach")
def teach(context: typer.Context, source: Source, name: Name, settings: Settings, server: Server = None) -> None:
    """Teach classes by labelled pictures, as annotation tools export them; `segment --head` finds them then.

    What is not labelled in a picture shows none of the classes. Where a set says which pictures are reviewed, only
    they teach. A head of the name adds the classes and pictures to its own; a picture of the same file name
    takes the place of the one before.

    \b
    Examples:
      lexiseg teach exported/ --name mugs --state-dir state/
      lexiseg segment table.jpg --head mugs -c table --state-dir state/
      lexiseg teach project.zip --name mugs --server http://localhost:8000
    """
    check_kept(context, server, settings)
    from lexiseg_service.commands.local import open_server
    from lexiseg_service.gateway.heads import reviewed_set
    from lexiseg_service.gateway.uploaded_archive import IMPORT
    from lexiseg_service.records.documents import check_name

    check_name(name)
    reviewed_set.check_importer()
    with TemporaryDirectory(prefix="lexiseg-") as place:
        reviewed = asyncio.run(reviewed_set.read(source, Path(place), IMPORT))
    for warning in reviewed.warnings:
        typer.echo(f"warning: {warning}", err=True)
    with open_server(server, settings, "semantic") as connection:
        _print(connection.teach(name, reviewed.classes, _pictures(reviewed)))


def _pictures(reviewed: ReviewedSet) -> list[Picture]:
    from lexiseg_client import Labelled, Picture

    return [
        Picture(
            each.jpeg,
            [Labelled(mask={"size": list(each.size), "counts": counts}, label=label) for label, counts in each.masks],
            key=each.key,
            reviewed=reviewed.classes,
        )
        for each in reviewed.pictures
    ]


def _print(head: Head) -> None:
    typer.echo(line_of(head))
    for entry in head.classes:
        shares = entry.iou_range or [share for share in [entry.iou_taught] if share is not None]
        taught = " to ".join(f"{share:.1f}" for share in shares)
        iou = f", IoU {entry.iou_words:.1f} by words, {taught} as taught" if taught else ""
        wants = f"; {entry.wants} more would help" if entry.wants else ""
        source = "; found by words" if entry.kept else ""
        typer.echo(f"  {entry.name}: {entry.pictures} pictures{iou}{source}{wants}")
