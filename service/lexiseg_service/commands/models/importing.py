"""`lexiseg models import`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import typer

from lexiseg_model import catalog, importing
from lexiseg_model.clip.checkpoint import is_torchscript
from lexiseg_model.errors import OptionError
from lexiseg_model.methods.dense_clip.settings import known_policy
from lexiseg_model.methods.tcl.checkpoint import ARCHITECTURE
from lexiseg_model.methods.unpair_seg.settings import ARCHITECTURE as CONVNEXT
from lexiseg_service.settings import Settings

# Which files and options a method's import takes; one that belongs to another method is refused, not overlooked.
TAKES = {
    "tcl": {"checkpoint", "clip"},
    "dense-clip": {"clip", "policy", "architecture", "activation", "proxy", "heads"},
    "s-seg": {"checkpoint", "backbone"},
    "unpair-seg": {"checkpoint", "clip", "architecture"},
}


class Order(NamedTuple):
    """What to import, from which files, under which name."""

    name: str
    method: str
    checkpoint: Path | None
    clip: list[Path]
    policy: str | None
    architecture: str | None
    activation: str | None
    proxy: Path | None
    heads: Path | None
    backbone: str | None
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
    if order.method == "tcl" and order.architecture not in (None, ARCHITECTURE):
        raise OptionError(f"--architecture {order.architecture}; TCL was published for {ARCHITECTURE} alone")
    _refuse_foreign(order)
    if order.method == "tcl":
        if order.checkpoint is None:
            raise OptionError("--method tcl needs --checkpoint, the authors' tcl.pth")
        return importing.import_tcl(order.name, order.checkpoint, order.clip, models_dir, order.replace)
    if order.method == "s-seg":
        if order.checkpoint is None:
            raise OptionError("--method s-seg needs --checkpoint, of a training of S-Seg")
        return importing.import_s_seg(order.name, order.checkpoint, models_dir, order.backbone, order.replace)
    if order.method == "unpair-seg":
        if order.checkpoint is None:
            raise OptionError("--method unpair-seg needs --checkpoint, the authors' stage one or one of your training")
        architecture = order.architecture or CONVNEXT
        return importing.import_unpair_seg(
            order.name, order.checkpoint, order.clip, models_dir, architecture, order.replace
        )
    if not order.clip:
        raise OptionError("--method dense-clip needs --clip, a file with CLIP's towers")
    return importing.import_dense_clip(
        order.name,
        order.clip,
        models_dir,
        known_policy((order.policy or "naclip").lower().replace("-", "_")),
        order.architecture or ARCHITECTURE,
        None if order.activation is None else order.activation == "quickgelu",
        order.proxy,
        order.heads,
        order.replace,
    )


def _refuse_foreign(order: Order) -> None:
    given = order._asdict()
    if order.method == "tcl":
        del given["architecture"]  # the only one there is may be said
    for option in sorted(set().union(*TAKES.values()) - TAKES[order.method]):
        if given.get(option):
            owners = " or ".join(method for method, takes in TAKES.items() if option in takes)
            raise OptionError(f"--{option} {_said(given[option])} is for --method {owners}, not {order.method}")


def _said(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
