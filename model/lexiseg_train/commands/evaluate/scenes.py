"""`lexiseg eval panoptic | instance | point | box`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.command_line.options import write_json
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Task
from lexiseg_train.commands.evaluate.options import EvalOptions
from lexiseg_train.commands.program import Program
from lexiseg_train.data.read_scenes import read_instance_scenes, read_object_scenes, read_panoptic_scenes
from lexiseg_train.data.scenes import SceneClass, SceneSet
from lexiseg_train.evaluation.resumable import Record
from lexiseg_train.evaluation.scenes.figures import (
    COLUMNS,
    Figures,
    SceneReport,
    instance_figures,
    panoptic_figures,
    prompt_figures,
)
from lexiseg_train.evaluation.scenes.judges import (
    InstanceJudge,
    Judge,
    PanopticJudge,
    PromptJudge,
    centre_points,
    point_grid,
    scene_run,
    tight_boxes,
)
from lexiseg_train.training.processes import join, rank

AddUp = Callable[[Sequence[Record], Sequence[SceneClass]], Figures]
READERS: dict[str, Callable[..., SceneSet[Any]]] = {
    "panoptic": read_panoptic_scenes,
    "instance": read_instance_scenes,
    **dict.fromkeys(("point", "box"), read_object_scenes),
}
ANSWERED_BY: dict[str, Task] = {"panoptic": "panoptic", "instance": "instance", "point": "prompt", "box": "prompt"}


def run(program: Program, options: EvalOptions) -> int:
    """Evaluate, print tables and write the report; processes of torchrun share the images."""
    data = read_data(options)
    segmenter = program.load_for(ANSWERED_BY[options.task], device=str(join(program.settings.device)))
    report = measure(segmenter, data, options)
    warn(report.warnings)
    if rank() == 0:
        _print(report)
        write_json(options.json, report.to_json())
    return 0


def warn(sentences: Iterable[str]) -> None:
    """Print each on the standard error, once for all processes of torchrun."""
    for sentence in sentences:
        if rank() == 0:
            typer.echo(f"warning: {sentence}", err=True)


def read_data(options: EvalOptions) -> SceneSet[Any]:
    data = READERS[options.task](options.dataset, options.root, options.split)
    return replace(data, scenes=data.scenes[: options.limit])


def measure(segmenter: Segmenter, data: SceneSet[Any], options: EvalOptions) -> SceneReport:
    assert options.task != "semantic"  # folders and protocol measure it
    judge, add_up = _judge(segmenter, data, options)
    job = scene_run(segmenter, data, options.task, judge, options.progress)
    title = f"{segmenter.card.name} on {data.name}, {options.task}"
    with bar_of(title, job.n_before + len(job.left), job.n_before, is_visible=rank() == 0) as bar:
        records = job.run(bar.step)
    figures = add_up(records, data.classes)
    return SceneReport(options.task, segmenter.card, segmenter.digest, data, judge.settings, figures)


def _judge(segmenter: Segmenter, data: SceneSet[Any], options: EvalOptions) -> tuple[Judge[Any], AddUp]:
    match options.task:
        case "panoptic":
            return PanopticJudge(segmenter, data, options.refine), panoptic_figures
        case "instance":
            return InstanceJudge(segmenter, data, options.refine), instance_figures
        case "box":
            return PromptJudge(segmenter, tight_boxes()), prompt_figures
    points = centre_points() if options.grid is None else point_grid(options.grid)
    return PromptJudge(segmenter, points), prompt_figures


def _print(report: SceneReport) -> None:
    settings = "".join(f", {name} {value}" for name, value in report.settings.items())
    of = "" if report.data.official is None else f" of {report.data.official:,}"
    title = (
        f"{report.card.name} on {report.data.name}/{report.data.split}, {report.task}{settings}: "
        f"{len(report.data.scenes):,}{of} images, instances are {report.data.source}"
    )
    table = Table("class", *COLUMNS[report.task].values())
    for row in report.class_rows():
        table.add_row(*row)
    figures = Table("figure", "")
    for name, value in report.titled_figures():
        figures.add_row(name, value)
    console = Console(highlight=False)
    console.print(title)
    console.print(table)
    console.print(figures)
