"""`lexiseg eval`: a command for each way of measuring, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from lexiseg_model.command_line.options import Grouped, JsonReport, output_file, output_folder
from lexiseg_train.commands.evaluate.options import EvalOptions
from lexiseg_train.commands.program import Program


class Evaluations(TyperGroup):
    """A group that is `semantic` without the name of a command, and `compare` with --compare A B."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args != ["--help"] and not ctx.resilient_parsing:
            place = args.index("--compare") if "--compare" in args else None
            args = ["semantic", *args] if place is None else ["compare", *args[:place], *args[place + 1 :]]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Evaluations,
    help="Measure a model on data sets: docs/quality.md. Without the name of a command it is `semantic`, or with "
    "--compare A B `compare`. A stopped run continues, but for these two.\n\n"
    "Examples:\n\n"
    "  lexiseg eval --model tiny --dataset camvid --root data/ --json camvid.json\n\n"
    "  lexiseg eval --compare tiny runs/mine --dataset voc --dataset coco --root data/\n\n"
    "  lexiseg eval box --model tiny --dataset voc --root data/",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Root = Annotated[Path, typer.Option(help="Folder that holds the data sets")]
Folder = Annotated[str, typer.Option("--dataset", help="Name of the data set's folder")]
Scenes = Annotated[
    str,
    typer.Option(
        "--dataset",
        help="Name of the data set's folder, where connected components stand in for instances; or coco-panoptic, "
        "ade20k-panoptic, cityscapes-panoptic, coco-instance in their official layouts; or, but for panoptic, any JSON "
        "in COCO's format",
    ),
]
SplitName = Annotated[str, typer.Option("--split", help="Which split")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first images")]
Refine = Annotated[Literal["none", "pamr", "lposs", "regions"] | None, typer.Option(help="[default: the model's own]")]
Markdown = Annotated[Path | None, typer.Option(help="Also write the Markdown here", callback=output_file)]
Progress = Annotated[
    Path,
    typer.Option(help="Folder of intermediate results, from which a stopped run continues", callback=output_folder),
]
PROGRESS = Path("runs/eval")


@app.command("semantic", cls=Grouped)
def semantic(
    root: Root,
    dataset: Folder,
    program: Annotated[Program, "eval"],
    split: SplitName = "val",
    limit: Limit = None,
    refine: Refine = None,
    scale: Annotated[
        list[float] | None,
        typer.Option(min=0.1, max=4, help="Average over this scale of the model's input; repeat it [default: 1]"),
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Average over the mirrored image as well")] = False,
    rename: Annotated[list[str] | None, typer.Option(help="Ask with another word: car=automobile; repeat it")] = None,
    json: JsonReport = None,
) -> None:
    """Measure the mIoU on a folder of photographs with masks.

    Examples:

      lexiseg eval --model tiny --dataset camvid --root data/ --json camvid.json

      lexiseg eval semantic --model tiny --dataset voc --root data/ --scale 0.75 --scale 1.25 --flip
    """
    program.check_models(program.model)
    from lexiseg_train.commands.evaluate.scenes import run_semantic
    from lexiseg_train.evaluation.run import Views

    options = EvalOptions(root, PROGRESS, dataset, split, limit=limit, refine=refine, json=json)
    raise typer.Exit(run_semantic(program, options, rename or [], Views(tuple(scale or (1.0,)), flip)))


TORCHRUN = "torchrun shares the images among processes"
PANOPTIC = f"""Measure panoptic quality; {TORCHRUN}.

Example:  lexiseg eval panoptic --model unpair-seg --dataset ade20k-panoptic --root data/ --json ade20k.json
"""
INSTANCE = f"""Measure mask AP; {TORCHRUN}.

Example:  lexiseg eval instance --model unpair-seg --dataset coco-instance --root data/
"""


@app.command("panoptic", cls=Grouped, help=PANOPTIC)
@app.command("instance", cls=Grouped, help=INSTANCE)
def scene(
    context: typer.Context,
    root: Root,
    dataset: Scenes,
    program: Annotated[Program, "eval"],
    split: SplitName = "val",
    limit: Limit = None,
    refine: Refine = None,
    progress: Progress = PROGRESS,
    json: JsonReport = None,
) -> None:
    task: Any = context.info_name
    _scenes(program, EvalOptions(root, progress, dataset, split, task, limit=limit, refine=refine, json=json))


@app.command("point", cls=Grouped)
def point(
    root: Root,
    dataset: Scenes,
    program: Annotated[Program, "eval"],
    grid: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Points along each side, of which the best counts, as 20 in Unpair-Seg's figures [default: one point, "
            "where an object is deepest]",
        ),
    ] = None,
    split: SplitName = "val",
    limit: Limit = None,
    progress: Progress = PROGRESS,
    json: JsonReport = None,
) -> None:
    """Measure the IoU of masks that answer points; torchrun shares the images among processes.

    Examples:

      lexiseg eval point --model tiny --dataset mine/annotations.json --root data/

      lexiseg eval point --model unpair-seg --grid 20 --dataset coco-panoptic --root data/
    """
    _scenes(program, EvalOptions(root, progress, dataset, split, "point", limit=limit, grid=grid, json=json))


@app.command("box", cls=Grouped)
def box(
    root: Root,
    dataset: Scenes,
    program: Annotated[Program, "eval"],
    split: SplitName = "val",
    limit: Limit = None,
    progress: Progress = PROGRESS,
    json: JsonReport = None,
) -> None:
    """Measure the IoU of masks that answer tight boxes; torchrun shares the images among processes.

    Example:  lexiseg eval box --model tiny --dataset voc --root data/
    """
    _scenes(program, EvalOptions(root, progress, dataset, split, "box", limit=limit, json=json))


def _scenes(program: Program, options: EvalOptions) -> None:
    program.check_models(program.model)
    from lexiseg_train.commands.evaluate.scenes import run

    raise typer.Exit(run(program, options))


@app.command("benchmark", cls=Grouped)
def benchmark(
    root: Root,
    dataset: Annotated[str, typer.Option(help="A public benchmark in its official layout, or `all` that are there")],
    protocol: Annotated[
        str, typer.Option(help="Its rules: tcl, unpair-seg, s-seg, or of a policy's authors: naclip, sclip ...")
    ],
    program: Annotated[Program, "benchmark"],
    split: SplitName = "val",
    limit: Limit = None,
    refine: Annotated[
        Literal["none", "pamr"] | None, typer.Option(help="[default: the protocol's, then the model's own]")
    ] = None,
    progress: Progress = PROGRESS,
    json: JsonReport = None,
    markdown: Markdown = None,
) -> None:
    """Measure the mIoU on a public benchmark by a protocol, next to published figures; torch computes.

    Examples:

      lexiseg eval benchmark --model tcl --protocol tcl --dataset voc21 --root data/

      torchrun --nproc-per-node 8 -m lexiseg_service.cli eval benchmark --protocol tcl --dataset all --root data/
    """
    program.check_models(program.model)
    from lexiseg_train.commands.evaluate.benchmarks import run

    options = EvalOptions(root, progress, dataset, split, protocol=protocol, limit=limit, refine=refine)
    raise typer.Exit(run(program, options._replace(json=json, markdown=markdown)))


@app.command("paper", cls=Grouped)
def paper(
    name: Annotated[str, typer.Argument(metavar="PAPER", help="tcl, unpair-seg or s-seg")],
    root: Root,
    program: Annotated[Program, "benchmark"],
    limit: Limit = None,
    progress: Progress = PROGRESS,
    json: JsonReport = None,
    markdown: Markdown = None,
) -> None:
    """Measure every table of a paper where the data is there, next to its figures; the rest is listed.

    Example:  lexiseg eval paper unpair-seg --model unpair-seg --root data/ --markdown unpair-seg.md
    """
    program.check_models(program.model)
    from lexiseg_train.commands.evaluate.benchmarks import run_paper

    options = EvalOptions(root, progress, protocol=name, limit=limit, json=json, markdown=markdown)
    raise typer.Exit(run_paper(program, options))


@app.command("compare", cls=Grouped)
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A model, by name or directory")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one")],
    root: Root,
    dataset: Annotated[list[str], typer.Option(help="Name of a data set's folder; repeat it")],
    program: Annotated[Program, "compare"],
    split: SplitName = "val",
    limit: Limit = None,
    json: JsonReport = None,
) -> None:
    """Let two models answer the same photographs, and give every difference its interval (paired bootstrap).

    Example:  lexiseg eval compare tiny runs/mine --dataset voc --dataset coco --root data/ --json compared.json
    """
    program.check_models(a, b)
    from lexiseg_train.commands.evaluate.scenes import run_comparison

    options = EvalOptions(root, PROGRESS, split=split, limit=limit, json=json)
    raise typer.Exit(run_comparison(program, (a, b), dataset, options))
