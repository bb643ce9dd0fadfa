"""`lexiseg models prove`: its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lexiseg_model.command_line.options import Grouped
from lexiseg_train.commands.program import Program

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    "prove",
    cls=Grouped,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def prove_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A model that `lexiseg models available` names")],
    dataset: Annotated[str, typer.Option(help="A benchmark with a published figure, as voc21")],
    root: Annotated[Path, typer.Option(help="Folder that holds the data sets")],
    program: Annotated[Program, "models"],
    pictures: Annotated[int, typer.Option(min=1, help="How many, from the first on")] = 50,
    out: Annotated[Path, typer.Option(help="File that gets a line, to be sent to us")] = Path("proofs.jsonl"),
    progress: Annotated[Path, typer.Option(help="Folder of intermediate results")] = Path("runs/eval"),
) -> None:
    """Measure a model with the authors' weights on some pictures of a benchmark, next to the published figure.

    Weights come from the hub, or from files: then options of `lexiseg models import` follow, and the model is
    imported first. A figure of some pictures differs from that of all by some points.

    Examples:

      lexiseg models prove dense-clip --dataset voc21 --root data/

      lexiseg models prove tcl --dataset voc21 --root data/ --checkpoint tcl.pth --clip ViT-B-16.pt --models-dir models/
    """
    from lexiseg_train.commands.evaluate.options import EvalOptions
    from lexiseg_train.commands.prove.run import prove

    def import_model(arguments: Sequence[str]) -> None:
        context.find_root().command.main(["models", "import", *arguments], standalone_mode=False)

    options = EvalOptions(root, progress, dataset, limit=pictures)
    raise typer.Exit(prove(name, options, out, program, context.args, import_model))
