"""`lexiseg mcp`: its options are settings, except `--http`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from lexiseg_service.commands.options import check_installed, takes_settings
from lexiseg_service.commands.serving.app import refuse_taken
from lexiseg_service.settings import Settings


@takes_settings("serve")
def mcp(
    settings: Settings,
    http: Annotated[bool, typer.Option("--http", help="Serve at /mcp, beside REST, instead of over stdio")] = False,
) -> None:
    """Serve image tools for language models (MCP): segment, find, cut out, count, measure, compare.

    Over standard input and output, for a program that starts it; with --http for every client of the service. Files are
    read from the current folder, or --mcp-folder; with --http only from --mcp-folder.

    Examples:

      lexiseg mcp --mcp-folder photos

      lexiseg mcp --http --http-port 8000
    """
    check_installed("mcp", "mcp", "mcp")
    if http:
        refuse_taken(settings, "http_port", "grpc_port")
        from lexiseg_service.commands.serving.serve import run

        adapters = tuple(dict.fromkeys([*settings.adapters, "mcp"]))
        raise typer.Exit(run(settings.model_copy(update={"adapters": adapters})))
    from lexiseg_service.adapters.mcp import serve_stdio
    from lexiseg_service.watch import logs
    from lexiseg_service.watch.metrics import Metrics
    from lexiseg_service.worker.worker import ModelWorker

    logs.configure(settings)  # to the standard error: the standard output carries the protocol
    metrics = Metrics()
    asyncio.run(serve_stdio(settings, ModelWorker(settings, metrics), metrics, settings.mcp_folder or Path.cwd()))
