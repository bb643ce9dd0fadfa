"""`lexiseg models ...`: what can be served, and how weights get here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

models = typer.Typer(help="Models that can be served.", no_args_is_help=True, rich_markup_mode=None)

ModelsDir = Annotated[Path | None, typer.Option(help="Folder of model directories [env: LEXISEG_MODELS_DIR]")]


@models.command("list")
def list_models(models_dir: ModelsDir = None) -> None:
    """List the models there are, with their measured quality and whether their weights are here.

    Those "to be had" come from the hub, or are imported first: `lexiseg serve --model NAME` says how.

    Example:  lexiseg models list
    """
    from lexiseg_service.commands.models.listing import list_all
    from lexiseg_service.commands.options import settings_of

    list_all(settings_of({"models_dir": models_dir}))


@models.command("import")
def import_model(
    name: Annotated[str, typer.Argument(help="What the model will be called: `--model NAME` serves it")],
    method: Annotated[Literal["tcl", "dense-clip", "unpair-seg", "s-seg"], typer.Option(help="Whose checkpoint it is")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="tcl: the authors' tcl.pth; unpair-seg: their stage one, or a training's; s-seg: of a training"
        ),
    ] = None,
    clip: Annotated[
        list[Path] | None,
        typer.Option(help="CLIP's towers: a state dict, safetensors or OpenAI's archive; repeat it for a file a tower"),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="dense-clip: maskclip, sclip, clearclip, naclip, proxyclip, clip-dinoiser"),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(help="open_clip's name of the CLIP; dense-clip: ViT-B-16, unpair-seg: convnext_large_d_320"),
    ] = None,
    activation: Annotated[
        Literal["quickgelu", "gelu"] | None, typer.Option(help="dense-clip: where the file does not tell")
    ] = None,
    proxy: Annotated[Path | None, typer.Option(help="dense-clip, policy proxyclip: weights of DINO ViT-B/8")] = None,
    heads: Annotated[Path | None, typer.Option(help="dense-clip, policy clip-dinoiser: its trained heads")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="s-seg: timm's name of its backbone, where that is not Swin-S")
    ] = None,
    models_dir: ModelsDir = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a model of that name")] = False,
) -> None:
    """Convert a checkpoint of its authors or of a training into a model directory, once: safetensors and a card.

    OpenAI publishes CLIP as TorchScript archives, and reading one runs the code inside. This command does so, says so,
    and keeps plain tensors; nothing else of lexiseg ever reads such a file. Import files that you trust.

    Examples:

      lexiseg models import --method tcl --checkpoint tcl.pth --clip ViT-B-16.pt tcl

      lexiseg models import --method dense-clip --policy sclip --clip ViT-B-16.pt my-sclip

      lexiseg models import --method unpair-seg --checkpoint stage1.pth unpair-seg

      lexiseg models import --method s-seg --checkpoint last.pt my-s-seg
    """
    from lexiseg_service.commands.models.importing import Order, run
    from lexiseg_service.commands.options import settings_of

    settings = settings_of({"models_dir": models_dir})
    order = Order(
        name, method, checkpoint, clip or [], policy, architecture, activation, proxy, heads, backbone, replace
    )
    raise typer.Exit(run(settings, order))
