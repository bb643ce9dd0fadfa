"""`lexiseg eval`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lexiseg_model.command_line.options import Grouped, JsonReport
from lexiseg_model.command_line.outputs import output_file, output_folder
from lexiseg_train.commands.evaluate.options import EvalOptions
from lexiseg_train.commands.program import Program

GRID = 20  # points along each side, as Unpair-Seg's published figures


app = typer.Typer(rich_markup_mode=None)


@app.command("eval", cls=Grouped)
def evaluate(
    context: typer.Context,
    root: Annotated[Path, typer.Option(help="Folder that holds the data sets")],
    program: Annotated[Program, "eval"],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of the data set's folder; with --protocol a benchmark or `all`; repeat it with --compare; "
            "not with --paper"
        ),
    ] = None,
    task: Annotated[
        Literal["semantic", "instance", "panoptic", "point", "box"],
        typer.Option(help="What to measure: mIoU, mask AP, PQ, or the IoU of masks for points or boxes"),
    ] = "semantic",
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Instead of one model: two, by name or directory, photograph by photograph"),
    ] = None,
    split: Annotated[str, typer.Option(help="Which split")] = "val",
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Rules of a public benchmark: tcl, unpair-seg, s-seg, or of a policy's authors: naclip, sclip ..."
        ),
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(help="All tables of a paper whose data is there, ours beside them: tcl, unpair-seg or s-seg"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first images")] = None,
    refine: Annotated[
        Literal["none", "pamr", "lposs", "regions"] | None,
        typer.Option(help="lposs, regions: not by a protocol [default: the protocol's, then the model's own]"),
    ] = None,
    scale: Annotated[
        list[float] | None,
        typer.Option(min=0.1, max=4, help="Average over this scale of the model's input; repeat it [default: 1]"),
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Average over the mirrored image as well")] = False,
    points: Annotated[
        Literal["centre", "grid"] | None,
        typer.Option(
            help="Task point: one where an object is deepest, or the best of a grid of them [default: centre]"
        ),
    ] = None,
    grid: Annotated[
        int | None, typer.Option(min=1, help=f"Points along each side, with --points grid [default: {GRID}]")
    ] = None,
    json: JsonReport = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the Markdown here; with --protocol or --paper", callback=output_file)
    ] = None,
    progress: Annotated[
        Path,
        typer.Option(help="Folder of intermediate results, from which a stopped run continues", callback=output_folder),
    ] = Path("runs/eval"),
    rename: Annotated[list[str] | None, typer.Option(help="Ask with another word: car=automobile; repeat it")] = None,
) -> None:
    """Measure a model on a data set: mIoU, mask AP, panoptic quality, or how well points and boxes are answered.

    With a protocol the data set is a public benchmark in its official layout, and published figures stand beside the
    model's own. The other tasks know coco-panoptic, ade20k-panoptic, cityscapes-panoptic and coco-instance in their
    official layouts; of any other name they take the folder, where connected components stand in for instances.
    Instance, point and box also take any JSON in COCO's format. With --paper every table of a paper whose data
    is there is measured, and the rest is listed. With --compare two models answer the same photographs, and every
    difference comes with its interval (paired bootstrap): docs/quality.md.

    A run of a benchmark, or of another task than semantic, that was stopped goes on where it was; torchrun shares its
    images among processes.

    Examples:

      lexiseg eval --model tiny --dataset camvid --root data/ --json camvid.json

      lexiseg eval --compare tiny runs/mine --dataset voc --dataset coco --root data/ --json compared.json

      lexiseg eval --model tiny --task box --dataset voc --root data/

      lexiseg eval --model tiny --task point --dataset mine/annotations.json --root data/

      lexiseg eval --model unpair-seg --task point --points grid --dataset coco-panoptic --root data/

      lexiseg eval --model unpair-seg --task panoptic --dataset ade20k-panoptic --root data/ --json ade20k.json

      lexiseg eval --model tcl --protocol tcl --dataset voc21 --root data/

      lexiseg eval --model unpair-seg --paper unpair-seg --root data/ --markdown unpair-seg.md

      torchrun --nproc-per-node 8 -m lexiseg_service.cli eval --model tcl --protocol tcl --dataset all --root data/
    """
    options = EvalOptions(
        root, progress, split=split, task=task, limit=limit, refine=refine, json=json, markdown=markdown
    )
    alone = paper is None and compare is None
    defaults = {"--task": task == "semantic", "--split": split == "val"}
    sources = {f"--{name.replace('_', '-')}": context.get_parameter_source(name) for name in context.params}
    typed = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    named = [name for name in typed if not defaults.get(name)]  # a typed default contradicts nothing
    # Condition, options that are refused then, reason.
    rules = (
        (
            not alone or protocol or task != "semantic",
            "--scale --flip",
            "these belong to the task semantic on a folder",
        ),
        (
            paper,
            "--dataset --task --compare --protocol --refine --points --rename --split",
            "cannot be combined with --paper",
        ),
        (
            compare,
            "--task --model --protocol --refine --points --grid --markdown --rename",
            "cannot be combined with --compare",
        ),
        (alone and task != "point", "--points --grid", "these belong to --task point"),
        (alone and points != "grid", "--grid", "give --points grid as well"),
        (task != "semantic", "--protocol --markdown --rename", "these belong to --task semantic"),
        (task in ("point", "box"), "--refine", "masks of prompts are measured as they are"),
        (not protocol and not paper, "--markdown", "it belongs to --protocol or --paper"),
        (protocol, "--runtime", "a protocol runs on torch, as its published figures do"),
        (protocol, "--rename", "a protocol has its own words"),
        (protocol and refine in ("lposs", "regions"), "--refine", "a protocol knows none and pamr"),
    )
    for holds, names, reason in rules:
        if holds and (refused := [f"'{name}'" for name in names.split() if name in named]):
            raise typer.BadParameter(reason, param_hint=" / ".join(refused))
    if paper is None and not dataset:
        raise typer.BadParameter("name a data set", param_hint="'--dataset'")
    if compare is None and len(dataset or ()) > 1:
        raise typer.BadParameter("several data sets belong to --compare", param_hint="'--dataset'")
    program.check_models(*(compare or [program.model]))
    if compare is not None:
        from lexiseg_train.commands.evaluate.folders import run_comparison

        raise typer.Exit(run_comparison(program, compare, dataset or [], options))
    if paper is not None:
        from lexiseg_train.commands.evaluate.benchmarks import run_paper

        raise typer.Exit(run_paper(program, options._replace(protocol=paper)))
    options = options._replace(dataset=(dataset or [""])[0])
    if task != "semantic":
        from lexiseg_train.commands.evaluate.scenes import run as run_scenes

        side = (grid or GRID) if points == "grid" else None
        raise typer.Exit(run_scenes(program, options._replace(grid=side)))
    if protocol is not None:
        from lexiseg_train.commands.evaluate.benchmarks import run as run_protocol

        raise typer.Exit(run_protocol(program, options._replace(protocol=protocol)))
    from lexiseg_train.commands.evaluate.folders import run
    from lexiseg_train.evaluation.run import Views

    raise typer.Exit(run(program, options, rename or [], Views(tuple(scale or (1.0,)), flip)))
