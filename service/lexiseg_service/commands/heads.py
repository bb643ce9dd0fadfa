"""`lexiseg teach` and `lexiseg heads ...`: the heads of this installation, or of a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from lexiseg_model.command_line.bar import echo
from lexiseg_model.command_line.options import Grouped, Server
from lexiseg_service.commands.options import check_server, takes_settings
from lexiseg_service.settings import Settings

if TYPE_CHECKING:  # imported where they are used: the command line must start without them
    from lexiseg_client import Head

Source = Annotated[
    Path, typer.Argument(metavar="SRC", exists=True, help="Folder, zip, tar or file of labels, in any known layout")
]
Name = Annotated[str, typer.Option("--name", help="Name of the head: at most 64 characters of a-z, 0-9 and -")]
heads = typer.Typer(
    help="List and delete what `teach` and the page have taught.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@heads.command("list", cls=Grouped)
@takes_settings("heads")
def list_heads(context: typer.Context, settings: Settings, server: Server = None) -> None:
    """List heads, one a line: NAME@VERSION, its pictures, its model.

    Example:  lexiseg heads list --server http://localhost:8000
    """
    from lexiseg_service.commands import server as servers

    check_kept(context, server, settings)
    if server is not None:
        with servers.Server(server, settings) as remote:
            listed = remote.heads()
    else:
        import orjson

        from lexiseg_client.heads import head_of
        from lexiseg_service.in_process import heads_of
        from lexiseg_service.records.documents import run_with

        local = heads_of(settings)
        kept = run_with(local.store, local.list_all(""))
        listed = [head_of(each) for each in orjson.loads(orjson.dumps(kept))]  # as `GET /v1/heads` lists them
    for head in listed:
        echo(line_of(head))


@heads.command(cls=Grouped)
@takes_settings("heads")
def delete(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the head, without a version")],
    settings: Settings,
    server: Server = None,
) -> None:
    """Delete a head, and what is kept of its pictures.

    Example:  lexiseg heads delete mugs --state-dir state/
    """
    from lexiseg_service.commands import server as servers
    from lexiseg_service.in_process import heads_of
    from lexiseg_service.records.documents import check_name, run_with

    check_kept(context, server, settings)
    check_name(name)
    if server is not None:
        with servers.Server(server, settings) as remote:
            remote.delete_head(name)
        return
    local = heads_of(settings)
    run_with(local.store, local.delete(name, ""))


def check_kept(context: typer.Context, server: str | None, settings: Settings) -> None:
    """Check that heads are kept somewhere: at a server that is asked over REST, or by this installation."""
    check_server(context, server)
    if server is not None:
        from lexiseg_service.commands.server import check_rest

        check_rest(server)
    elif settings.state_dir is None and settings.redis_url is None:
        raise typer.BadParameter("one of them says where the head is kept", param_hint="'--state-dir' or '--server'")


def line_of(head: Head) -> str:
    expires = f", until {head.expires}" if head.expires else ""
    passes = f", {head.image_passes} image passes" if head.image_passes > 1 else ""
    return f"{head.name}@{head.version}: pictures {head.pictures}, {head.model}{passes}{expires}"


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
    from lexiseg_client import Labelled, Picture
    from lexiseg_service.commands.local import open_server
    from lexiseg_service.gateway.heads import reviewed_set
    from lexiseg_service.gateway.uploaded_archive import IMPORT
    from lexiseg_service.records.documents import check_name

    check_name(name)
    reviewed_set.check_importer()
    with TemporaryDirectory(prefix="lexiseg-") as place:
        reviewed = asyncio.run(reviewed_set.read(source, Path(place), IMPORT))
    for warning in reviewed.warnings:
        echo(f"warning: {warning}", err=True)
    pictures = [
        Picture(
            each.jpeg,
            [Labelled(mask={"size": list(each.size), "counts": counts}, label=label) for label, counts in each.masks],
            key=each.key,
            reviewed=reviewed.classes,
        )
        for each in reviewed.pictures
    ]
    with open_server(server, settings, "semantic") as connection:
        head = connection.teach(name, reviewed.classes, pictures)
    echo(line_of(head))
    for entry in head.classes:
        shares = entry.iou_range or [share for share in [entry.iou_taught] if share is not None]
        taught = " to ".join(dict.fromkeys(f"{share:.1f}" for share in shares))
        iou = f", IoU {entry.iou_words:.1f} by words, {taught} as taught" if taught else ""
        wants = f"; {entry.wants} more would help" if entry.wants else ""
        origin = "; found by words" if entry.kept else ""
        echo(f"  {entry.name}: pictures {entry.pictures}{iou}{origin}{wants}")
