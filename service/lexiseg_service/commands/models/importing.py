"""`lexiseg models import`, with the options of the methods.

The command is built when it is called, because methods import torch.
"""

from __future__ import annotations

import inspect
import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.method import Method
from lexiseg_model.command_line.options import Grouped
from lexiseg_model.errors import OptionError
from lexiseg_service.commands.options import flag, option, replace_parameter, takes_settings
from lexiseg_service.settings import Settings


def command() -> typer.Typer:
    """The command with the options of all installed methods."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    wrapped = replace_parameter(import_model, "files", _options(importing.importable()), dict)
    app.command(cls=Grouped)(takes_settings("models")(wrapped))
    return app


def import_model(
    name: Annotated[str, typer.Argument(help="What the model will be called: `--model NAME` serves it")],
    files: dict[str, Any],
    settings: Settings,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a model of that name")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Read files that hold more than tensors, and say what else they name")
    ] = False,
) -> None:
    """Convert a checkpoint of its authors or of a training into a model directory, once: safetensors and a card.

    OpenAI publishes CLIP as TorchScript archives, and reading one runs the code inside. Only this command does that: it
    says so, and keeps plain tensors. Import files that you trust.

    A checkpoint that a training wrote may hold objects of its code, as TCL's holds OmegaConf's. With --trust they are
    read as stand-ins, which run nothing, and named.

    Examples:

      lexiseg models import --method tcl --checkpoint tcl.pth --clip ViT-B-16.pt tcl

      lexiseg models import --method dense-clip --policy sclip --clip ViT-B-16.pt my-sclip

      lexiseg models import --method unpair-seg --checkpoint stage1.pth unpair-seg

      lexiseg models import --method s-seg --checkpoint last.pt my-s-seg

      lexiseg models import --method tcl --checkpoint ckpt_50000.pth --clip ViT-B-16.pt --trust my-tcl
    """
    if settings.models_dir is None:
        raise OptionError("no folder to import into: set LEXISEG_MODELS_DIR, or name one with --models-dir")
    methods = importing.importable()
    method = methods[files.pop("method")]
    _refuse_foreign(method, methods.values(), files)
    options = importing.read_options(method, files)
    from lexiseg_model.catalogue.weights import is_torchscript  # imports torch

    for path in filter(is_torchscript, options.archives):
        typer.echo(f"{path} is a TorchScript archive: running its code to read the tensors", err=True)
    foreign = {path: foreign_names(path) for path in options.files} if trust else {}
    for path, names in foreign.items():
        if names:
            typer.echo(f"{path} names {', '.join(names)}: read as stand-ins, none of this code runs", err=True)
    with stand_ins(name for names in foreign.values() for name in names):
        folder = importing.import_model(method, name, options, settings.models_dir, replace)
    card = catalogue.read_card(folder)
    typer.echo(f"{folder}: {card.method}, sha256 {card.weights_sha256}")
    typer.echo(f"serve it with: LEXISEG_MODELS_DIR={settings.models_dir} lexiseg serve --model {name}")


def _refuse_foreign(method: Method, methods: Iterable[Method], files: Mapping[str, Any]) -> None:
    takes = {other.model_name: importing.options_of(other).model_fields for other in methods}
    for field, value in files.items():
        if field not in takes[method.model_name]:
            owners = " or ".join(name for name, fields in takes.items() if field in fields)
            words = " ".join(map(str, value)) if isinstance(value, list) else value
            raise OptionError(f"{flag(field)} {words} is for --method {owners}, not {method.model_name}")


def _options(methods: Mapping[str, Method]) -> list[inspect.Parameter]:
    """The method, and one for each field of any; methods that share one share its type."""
    fields: dict[str, dict[str, FieldInfo]] = {}
    for name, method in methods.items():
        for field, info in importing.options_of(method).model_fields.items():
            fields.setdefault(field, {})[name] = info
    return [
        option("method", Literal[tuple(methods)], "Whose checkpoint it is", required=True),
        *(option(field, _kind(next(iter(owners.values()))), _help(owners)) for field, owners in fields.items()),
    ]


def _kind(info: FieldInfo) -> Any:
    """typer's type of a field: paths one by one, words as typed; the method reads them."""
    kinds = [kind for kind in get_args(info.annotation) if kind is not NoneType]
    if get_origin(info.annotation) is tuple:
        return list[Path]
    return Path if Path in (info.annotation, *kinds) else str


def _help(owners: dict[str, FieldInfo]) -> str:
    by_text: dict[str, list[str]] = {}
    for method, info in owners.items():
        by_text.setdefault(info.description or "", []).append(method)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in by_text.items())


class StandIn(dict[Any, Any]):
    """An object of any class in a torch file: its items, and its attributes in `__dict__`.

    Training code saves its configuration with the tensors, as TCL's does with OmegaConf. To unpickle such an object
    would run code that the file names. A stand-in keeps what it was made of, and runs nothing.
    """

    def __init__(self, *_: object, **__: object) -> None:
        """Drop the arguments of the class or function that it stands for."""
        super().__init__()

    def __setstate__(self, state: object) -> None:
        if isinstance(state, Mapping):
            self.__dict__.update(state)


def foreign_names(path: Path) -> list[str]:
    """Names of classes and functions in a torch file that `weights_only=True` refuses; none in any other file."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return []
    try:
        return sorted(get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError):  # not of `torch.save`, or damaged
        return []


@contextmanager
def stand_ins(names: Iterable[str]) -> Iterator[None]:
    """Let `torch.load(weights_only=True)` read objects of these names as stand-ins during the block."""
    with safe_globals([(StandIn, name) for name in names]):
        yield
