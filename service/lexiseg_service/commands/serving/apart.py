"""The options of `lexiseg gateway` and `lexiseg worker`: what `lexiseg serve` does in one process, in two."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str | None, typer.Option(help="Address to listen on [env: LEXISEG_HOST]")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning, error [env: LEXISEG_LOG_LEVEL]")]
LogFormat = Annotated[str | None, typer.Option(help="json or console [env: LEXISEG_LOG_FORMAT]")]


def gateway(
    workers: Annotated[
        str | None,
        typer.Option(help="HOST:PORT or dns:///HOST:PORT, several between commas [env: LEXISEG_WORKERS]"),
    ] = None,
    host: Host = None,
    http_port: Annotated[int | None, typer.Option(help="Port, 0 for any free one [env: LEXISEG_HTTP_PORT]")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="The same for gRPC [env: LEXISEG_GRPC_PORT]")] = None,
    grpc_reflection: Annotated[
        bool | None, typer.Option(help="gRPC clients may ask for the interface [env: LEXISEG_GRPC_REFLECTION]")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Of requests that name none [env: LEXISEG_MODEL]")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Keeps users' vocabularies [env: LEXISEG_STATE_DIR]")] = None,
    api_keys_file: Annotated[Path | None, typer.Option(help="Keys let in [env: LEXISEG_API_KEYS_FILE]")] = None,
    rate_limit: Annotated[float | None, typer.Option(help="Requests/s of a client [env: LEXISEG_RATE_LIMIT]")] = None,
    rate_burst: Annotated[int | None, typer.Option(help="At once after a pause [env: LEXISEG_RATE_BURST]")] = None,
    concurrency_limit: Annotated[
        int | None, typer.Option(help="Requests at a time of a client [env: LEXISEG_CONCURRENCY_LIMIT]")
    ] = None,
    cors_origins: Annotated[
        str | None, typer.Option(help="Web pages that may ask, between commas [env: LEXISEG_CORS_ORIGINS]")
    ] = None,
    url_fetch: Annotated[
        bool | None, typer.Option(help="Take images by URL, from public HTTPS hosts [env: LEXISEG_URL_FETCH]")
    ] = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Serve REST and gRPC in front of workers elsewhere; loads no model.

    Examples:

      lexiseg gateway --workers 10.0.0.7:50061,10.0.0.8:50061

      lexiseg gateway --workers dns:///workers:50061 --http-port 8080
    """
    given = dict(locals())
    from lexiseg_service.commands.options import settings_of
    from lexiseg_service.commands.serving.gateway import run

    raise typer.Exit(run(settings_of(given)))


def worker(
    host: Host = None,
    worker_port: Annotated[
        int | None, typer.Option(help="Port for gateways, 0 for any free one [env: LEXISEG_WORKER_PORT]")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="HTTP: /metrics, /livez, /readyz [env: LEXISEG_METRICS_PORT]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="NAME, or several between commas, the default first [env: LEXISEG_MODEL]")
    ] = None,
    models_file: Annotated[Path | None, typer.Option(help="YAML list of models [env: LEXISEG_MODELS_FILE]")] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder of model directories [env: LEXISEG_MODELS_DIR]")
    ] = None,
    model_memory_bytes: Annotated[
        int | None, typer.Option(help="Of all loaded models' weights [env: LEXISEG_MODEL_MEMORY_BYTES; default: all]")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N [env: LEXISEG_DEVICE]")] = None,
    runtime: Annotated[str | None, typer.Option(help="auto, torch, onnx or onnx-int8 [env: LEXISEG_RUNTIME]")] = None,
    precision: Annotated[str | None, typer.Option(help="fast or exact [env: LEXISEG_PRECISION]")] = None,
    max_batch: Annotated[int | None, typer.Option(help="Tiles in one image pass [env: LEXISEG_MAX_BATCH]")] = None,
    queue_limit: Annotated[int | None, typer.Option(help="Requests in flight [env: LEXISEG_QUEUE_LIMIT]")] = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Answer gateways: owns models and a device. Its ports are for the cluster, they ask for no key.

    Example:  lexiseg worker --host 0.0.0.0 --model tiny
    """
    given = dict(locals())
    from lexiseg_service.commands.options import settings_of
    from lexiseg_service.commands.serving.worker import run

    raise typer.Exit(run(settings_of(given)))
