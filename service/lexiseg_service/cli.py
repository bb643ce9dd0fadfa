"""The command line; the commands of `lexiseg_service.commands` are imported when they are called."""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys

# Read by OpenMP when torch loads: spinning threads starve each other when two processes share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Read by OpenBLAS when NumPy loads: requests compute in threads of their own, and its threads spin after each product.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Read by gRPC when it is imported: it would write a line to stderr, past our log, for each malformed request.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# During the imports Ctrl-C ends the process without a trace.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

if os.getpid() == 1:
    # The first process of a container has no default action for SIGTERM, which would be lost until a server handles it.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))

# In a locale of only ASCII, as C, Python reads UTF-8. Where it is told not to, other letters would be surrogates.
if sys.getfilesystemencoding() == "ascii" and os.environ.get("PYTHONUTF8") != "1":
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

# Read by glibc when a process starts. Its own thresholds grow, and then the memory of large images is never returned.
# The tensors of one image lie below them: they reuse memory, which saves 1,400 page faults a request.
if sys.argv[1:2] in (["serve"], ["gateway"], ["worker"]) and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(8 * 2**20)
    os.environ["MALLOC_TRIM_THRESHOLD_"] = str(32 * 2**20)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

from pathlib import Path
from typing import Annotated

import typer

from lexiseg_model.command_line.options import Grouped, output_folder
from lexiseg_service.commands.joined import Commands
from lexiseg_service.commands.options import takes_settings
from lexiseg_service.image.samples import SAMPLES, NoSample, photograph
from lexiseg_service.settings import Settings

app = typer.Typer(
    name="lexiseg",
    cls=Commands,
    help="Send an image and words, get masks.\n\n"
    "  lexiseg serve\n\n"
    "  lexiseg sample\n\n"
    "  lexiseg segment street.jpg -c car -c road --out out/\n\n"
    "  lexiseg video clip.mp4 -c dog -c grass --out out.mp4\n\n"
    "  lexiseg models list",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        typer.echo(f"lexiseg {version('lexiseg')}")
        raise typer.Exit


@app.callback()
def everything(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit")
    ] = False,
) -> None:
    """Send an image and words, get masks."""


keys = typer.Typer(help="API keys of a server.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys, name="keys")


@app.command()
def sample(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", show_default=False)] = None,
) -> None:
    """Copy a sample photograph into this folder: china.jpg, a pagoda by a lake, or flower.jpg, cat.jpg,
    coins.jpg, cup.jpg, astronaut.jpg or rocket.jpg.

    Example:  lexiseg sample && lexiseg segment china.jpg -c sky -c building -c trees
    """
    for name in names or ["china.jpg"]:
        content = photograph(name)
        try:
            with Path(name).open("xb") as file:
                file.write(content)
        except FileExistsError:
            if Path(name).read_bytes() != content:
                raise NoSample(f"{Path(name).resolve()} is there already, and is another picture") from None
        typer.echo(f"{name}: photograph by {SAMPLES[name].author}, {SAMPLES[name].licence}")


@keys.command("new")
def new_key(
    identity: Annotated[str, typer.Argument(metavar="ID", help="A name for its owner, shown in the logs")],
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help="segment, vocabularies or admin (everything, the jobs of other keys too); repeat it "
            "[default: segment, vocabularies]",
        ),
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            help="rate=5, burst=20, concurrent=2 or daily=10000; repeat it [default: of the settings]",
        ),
    ] = None,
) -> None:
    """Make an API key: its line goes to the standard output, the key itself to the standard error.

    Example:  lexiseg keys new camera-7 --scope segment >> keys.txt
    """
    from lexiseg_service.gateway.admission.key_file import line_of
    from lexiseg_service.gateway.admission.key_file import new_key as random_key

    key = random_key()
    line = line_of(identity, key, scopes or ("segment", "vocabularies"), limits or ())
    typer.echo(f"The key, for its owner; it is stored nowhere and not shown again:\n  {key}", err=True)
    typer.echo("The line for LEXISEG_API_KEYS_FILE:", err=True)
    typer.echo(line)


@app.command(cls=Grouped)
@takes_settings("export")
def export(
    settings: Settings,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder [default: beside the card, or in the cache]", callback=output_folder),
    ] = None,
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
    from lexiseg_service.in_process import check_named

    check_named(settings, settings.model)
    from lexiseg_service.commands.models.export import run

    raise typer.Exit(run(settings, out, int8, photos))


if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    from lexiseg_model.errors import ModelError
    from lexiseg_service.errors import ServiceError

    gc.set_threshold(20_000)  # by default 700 new objects begin a collection, an eighth of the time that a start takes
    atexit.register(gc.freeze)  # the interpreter's last collection would look at every object of torch: half a second
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be of any bytes
    try:
        app()
    except (ModelError, ServiceError) as error:
        from lexiseg_model.command_line.bar import echo

        echo(f"lexiseg: {error}", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:  # during the start of a command
        raise SystemExit(130) from None
    except OSError as error:  # such as a full disk
        place = f"{error.filename}: " if isinstance(error.filename, str) else ""
        typer.echo(f"lexiseg: {place}{error.strerror or error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
