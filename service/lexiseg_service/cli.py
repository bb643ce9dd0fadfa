"""The command line: names, options and examples. The work is in `lexiseg_service.commands`."""

from __future__ import annotations

import os

# Read by OpenMP when torch loads: threads that wait by spinning starve each other as soon as two programs share the
# cores (measured: an image pass twenty times slower), and gain nothing when they do not.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from pathlib import Path
from typing import Annotated, Literal

import typer

from lexiseg_service.commands.evaluate.app import evaluate
from lexiseg_service.commands.models.app import models
from lexiseg_service.commands.sample import sample
from lexiseg_service.commands.serving.apart import gateway, worker
from lexiseg_service.commands.video.app import video

app = typer.Typer(
    name="lexiseg",
    help="Send an image and words, get masks.\n\n"
    "  lexiseg serve\n\n"
    "  lexiseg sample\n\n"
    "  lexiseg segment street.jpg -c car -c road --out out/\n\n"
    "  lexiseg video clip.mp4 -c dog -c grass --out out.mp4\n\n"
    "  lexiseg models list",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(models, name="models")
keys = typer.Typer(help="API keys of a server.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys, name="keys")
app.command()(gateway)
app.command()(worker)
app.command()(video)
app.command()(sample)
app.command("eval")(evaluate)

Model = Annotated[str | None, typer.Option(help="Model name, NAME or NAME@VERSION [env: LEXISEG_MODEL; default: tiny]")]
ModelsDir = Annotated[Path | None, typer.Option(help="Folder of model directories [env: LEXISEG_MODELS_DIR]")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N [env: LEXISEG_DEVICE; default: auto]")]
Runtime = Annotated[
    str | None, typer.Option(help="auto, torch, onnx or onnx-int8 [env: LEXISEG_RUNTIME; default: auto]")
]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [env: LEXISEG_HOST]")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port, 0 for any free one [env: LEXISEG_HTTP_PORT]")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="The same for gRPC [env: LEXISEG_GRPC_PORT]")] = None,
    model: Annotated[
        str | None, typer.Option(help="NAME, or several between commas, the default first [env: LEXISEG_MODEL]")
    ] = None,
    models_file: Annotated[Path | None, typer.Option(help="YAML list of models [env: LEXISEG_MODELS_FILE]")] = None,
    models_dir: ModelsDir = None,
    model_memory_bytes: Annotated[
        int | None, typer.Option(help="Of all loaded models' weights [env: LEXISEG_MODEL_MEMORY_BYTES; default: all]")
    ] = None,
    device: Device = None,
    runtime: Runtime = None,
    precision: Annotated[str | None, typer.Option(help="fast or exact [env: LEXISEG_PRECISION; default: fast]")] = None,
    max_batch: Annotated[int | None, typer.Option(help="Tiles in one image pass [env: LEXISEG_MAX_BATCH]")] = None,
    queue_limit: Annotated[int | None, typer.Option(help="Requests in flight [env: LEXISEG_QUEUE_LIMIT]")] = None,
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
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning, error [env: LEXISEG_LOG_LEVEL]")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console [env: LEXISEG_LOG_FORMAT]")] = None,
) -> None:
    """Serve masks over HTTP: gateway and worker in one process.

    Examples:

      lexiseg serve --http-port 8080 --log-format console

      lexiseg serve --model tiny,dense-clip
    """
    from lexiseg_service.commands.options import settings_of
    from lexiseg_service.commands.serving.serve import run

    given = dict(locals())
    raise typer.Exit(run(settings_of({name: given[name] for name in SERVE_OPTIONS})))


SERVE_OPTIONS = (
    "host", "http_port", "grpc_port", "model", "models_file", "models_dir", "model_memory_bytes", "device", "precision",
    "runtime", "max_batch", "queue_limit", "state_dir",
    "api_keys_file", "rate_limit", "rate_burst", "concurrency_limit", "cors_origins", "url_fetch",
    "log_level", "log_format",
)  # fmt: skip


@app.command()
def segment(
    images: Annotated[list[Path], typer.Argument(help="Image files")],
    classes: Annotated[list[str] | None, typer.Option("-c", "--class", help="A class to look for; repeat it")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="A named class list instead, as `ade20k`")] = None,
    points: Annotated[
        list[str] | None,
        typer.Option("--point", metavar="X,Y", help="A click on an object, in pixels; repeat it for other objects"),
    ] = None,
    boxes: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="LEFT,TOP,RIGHT,BOTTOM", help="A box around an object; repeat it for others"),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            metavar="'PART PART ...'",
            help="One object by several parts: points X,Y on it, points -X,Y beside it, a box; repeat it for others",
        ),
    ] = None,
    task: Annotated[
        Literal["semantic", "instance", "panoptic"] | None,
        typer.Option(help="A segment is a class, an object, or either (things and stuff) [default: semantic]"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and annotations.json")] = Path("out"),
    background: Annotated[
        bool | None,
        typer.Option(help="Pixels that no class explains belong to nobody [default: yes, or the vocabulary's own]"),
    ] = None,
    threshold: Annotated[float, typer.Option(help="Drop segments with a lower score, 0..1")] = 0.0,
    max_side: Annotated[int | None, typer.Option(help="Cap the network's input, in pixels")] = None,
    model: Model = None,
    models_dir: ModelsDir = None,
    device: Device = None,
    server: Annotated[str | None, typer.Option(metavar="URL", help="Ask a running server, load no model here")] = None,
    api_key: Annotated[str | None, typer.Option(help="Key for the server [env: LEXISEG_API_KEY]")] = None,
) -> None:
    """Segment image files, here or by a server: an overlay PNG each, and one COCO-style JSON for all.

    Asked with words (-c, --vocabulary), with clicks and boxes (--point, --box, --prompt), or with both: then each mask
    that a click shows gets the label that fits. The same prompts hold for every file. `prompt_index` in the JSON counts
    the points, then the boxes, then the prompts of several parts. With --task panoptic there are also panoptic.json
    and the maps in panoptic/, as panopticapi reads them.

    Examples:

      lexiseg segment street.jpg -c car -c road --out out/

      lexiseg segment photos/*.jpg -c sky -c building -c "traffic sign" --no-background

      lexiseg segment photos/*.jpg --vocabulary ade20k

      lexiseg segment photo.jpg --point 120,80 --box 10,20,200,180

      lexiseg segment photo.jpg --prompt "120,80 130,90 -40,60 10,20,200,180" -c cat -c dog

      lexiseg segment street.jpg --vocabulary cityscapes --task panoptic --no-background

      lexiseg segment photos/*.jpg -c sky --server http://localhost:8000
    """
    from lexiseg_service.commands.options import settings_of
    from lexiseg_service.commands.segment.prompts import read_prompts
    from lexiseg_service.commands.segment.question import Question

    shown = tuple(read_prompts(points or [], boxes or [], prompts or []))
    if (classes and vocabulary) or not (classes or vocabulary or shown):
        others = "" if task else ", or prompts"
        raise typer.BadParameter(f"give either classes or --vocabulary NAME{others}", param_hint="'-c' / '--class'")
    if shown and task is not None:
        raise typer.BadParameter(f"points and boxes ask for what they show, not for {task}", param_hint="'--task'")
    if shown and background is False and not (classes or vocabulary):
        raise typer.BadParameter(
            "without classes there is no class for every pixel to get; leave it out, or give -c or --vocabulary",
            param_hint="'--no-background'",
        )
    settings = settings_of({"model": model, "models_dir": models_dir, "device": device, "api_key": api_key})
    question = Question(
        tuple(classes or ()),
        vocabulary,
        background,
        threshold,
        max_side,
        "prompt" if shown else task or "semantic",
        shown,
    )
    if server is None:
        if api_key is not None:
            raise typer.BadParameter("there is no server to show it to; give --server URL", param_hint="'--api-key'")
        from lexiseg_service.commands.segment.here import run

        raise typer.Exit(run(images, question, out, settings))
    if models_dir is not None or device is not None:
        raise typer.BadParameter("the server has its own models and devices", param_hint="'--models-dir' / '--device'")
    from lexiseg_service.commands.segment.remote import run as ask_server

    raise typer.Exit(ask_server(images, question, out, settings, server))


@keys.command("new")
def new_key(
    identity: Annotated[str, typer.Argument(metavar="ID", help="A name for its owner; it stands in the logs")],
) -> None:
    """Make an API key: its line goes to the standard output, the key itself only to the terminal.

    Example:  lexiseg keys new camera-7 >> keys.txt
    """
    from lexiseg_service.commands.serving.keys import new

    new(identity)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, as `tiny`")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values to change")] = None,
) -> None:
    """Train a model by a recipe; started again, it goes on from its last checkpoint.

    Examples:

      lexiseg train tiny

      lexiseg train tiny data=/data/mine minutes=60 start=scratch out=runs/mine

      lexiseg train tiny_prompts below=runs/mine/tiny.safetensors data=/data/mine out=runs/mine-prompts
    """
    from lexiseg_service.commands.train import run

    raise typer.Exit(run(recipe, overrides or []))


@app.command()
def export(
    model: Model = None,
    models_dir: ModelsDir = None,
    out: Annotated[Path | None, typer.Option(help="Folder [default: beside the card, or in the cache]")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="8-bit graphs as well, for CPUs: faster, slightly off")] = False,
    photos: Annotated[
        Path | None, typer.Option(help="Photographs: to compare labels with torch's; --int8 of convolutions needs them")
    ] = None,
) -> None:
    """Write a model's image pass as ONNX; LEXISEG_RUNTIME=onnx or onnx-int8 serves it.

    Examples:

      lexiseg export --model tiny

      lexiseg export --model tiny --int8 --photos pictures/
    """
    from lexiseg_service.commands.models.export import run
    from lexiseg_service.commands.options import settings_of

    raise typer.Exit(run(settings_of({"model": model, "models_dir": models_dir}), out, int8, photos))


def main() -> None:
    """Entry point: errors of ours are one line, not a stack trace."""
    from lexiseg_model.errors import ModelError
    from lexiseg_service.errors import ServiceError

    try:
        app()
    except (ModelError, ServiceError) as error:
        typer.echo(f"lexiseg: {error}", err=True)
        raise SystemExit(1) from None
    except OSError as error:  # a folder that cannot be made, a disk that is full
        typer.echo(f"lexiseg: {error.filename or ''}: {error.strerror or error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
