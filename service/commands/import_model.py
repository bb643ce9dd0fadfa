"""`lexiseg models import`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import typer

from model import catalog, importing
from model.clip.checkpoint import is_torchscript
from model.errors import OptionError
from model.methods.dense_clip.settings import known_policy
from model.methods.tcl.checkpoint import ARCHITECTURE
from service.settings import Settings


class Order(NamedTuple):
    """What to import, from which files, under which name."""

    name: str
    method: str
    checkpoint: Path | None
    clip: list[Path]
    policy: str | None
    architecture: str
    activation: str | None
    proxy: Path | None
    heads: Path | None
    replace: bool


def run(settings: Settings, order: Order) -> int:
    """Writes the model directory and says how to serve it.

    Raises:
        ModelError: a file, a name or an option is not as expected.
    """
    if settings.models_dir is None:
        raise OptionError("no folder to import into: set LEXISEG_MODELS_DIR, or name one with --models-dir")
    for path in order.clip:
        if is_torchscript(path):
            typer.echo(f"{path} is a TorchScript archive: running its code to read the tensors", err=True)
    folder = _import(settings.models_dir, order)
    card = catalog.read_card(folder)
    typer.echo(f"{folder}: {card.method}, sha256 {card.weights_sha256}")
    typer.echo(f"serve it with: LEXISEG_MODELS_DIR={settings.models_dir} lexiseg serve --model {order.name}")
    return 0


def _import(models_dir: Path, order: Order) -> Path:
    if order.method == "tcl":
        if order.checkpoint is None:
            raise OptionError("--method tcl needs --checkpoint, the authors' tcl.pth")
        if any(given is not None for given in (order.policy, order.activation, order.proxy, order.heads)):
            raise OptionError("--policy, --activation, --proxy and --heads are for --method dense-clip")
        if order.architecture != ARCHITECTURE:
            raise OptionError(f"--architecture {order.architecture}; TCL was published for {ARCHITECTURE} alone")
        return importing.import_tcl(order.name, order.checkpoint, order.clip, models_dir, order.replace)
    if order.checkpoint is not None:
        raise OptionError(f"--checkpoint {order.checkpoint} is for --method tcl; give CLIP's towers with --clip")
    if not order.clip:
        raise OptionError("--method dense-clip needs --clip, a file with CLIP's towers")
    return importing.import_dense_clip(
        order.name,
        order.clip,
        models_dir,
        known_policy((order.policy or "naclip").lower().replace("-", "_")),
        order.architecture,
        None if order.activation is None else order.activation == "quickgelu",
        order.proxy,
        order.heads,
        order.replace,
    )
