"""`lexiseg eval` on folders and scenes: mIoU, two models compared, panoptic quality, mask AP, points and boxes."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.command_line.options import write_json
from lexiseg_model.errors import OptionError
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Task
from lexiseg_train.commands.evaluate.options import EvalOptions
from lexiseg_train.commands.program import Program
from lexiseg_train.data.indexed import one_value_warning_of, read_dataset
from lexiseg_train.data.read_scenes import read_instance_scenes, read_object_scenes, read_panoptic_scenes
from lexiseg_train.data.scenes import SceneClass, SceneSet
from lexiseg_train.evaluation.comparison import Comparison, Examination, Pair, comparison, examine, read_pair
from lexiseg_train.evaluation.resumable import Record
from lexiseg_train.evaluation.run import ONE_VIEW, Views, evaluate
from lexiseg_train.evaluation.scenes.figures import (
    COLUMNS,
    TITLES,
    Figures,
    SceneReport,
    instance_figures,
    panoptic_figures,
    prompt_figures,
    text,
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


def run_semantic(program: Program, options: EvalOptions, renames: list[str], views: Views = ONE_VIEW) -> int:
    """Measure the mIoU on the first `limit` images, or all; print a table and write the report."""
    data = read_dataset(options.root, options.dataset, options.split)
    data = replace(data, samples=data.samples[: options.limit])
    renamed = {}
    for rename in renames:
        name, equals, word = rename.partition("=")
        if not equals or not word or name not in data.classes:
            raise OptionError(f"--rename {rename!r}: expected CLASS=WORD with CLASS one of {', '.join(data.classes)}")
        renamed[name] = word
    segmenter = program.load(program.model)
    with bar_of(f"{program.model} on {options.dataset}/{options.split}", len(data.samples)) as bar:
        report = evaluate(segmenter, data, renamed, bar.step, options.refine, views)
    warn(report.warnings)
    table = Table("class", "IoU %", title=f"{report.model} on {report.dataset}/{report.split}, {report.images} images")
    for name, value in zip(report.classes, report.scores.per_class, strict=True):
        table.add_row(name + (f" ({report.renamed[name]})" if name in report.renamed else ""), f"{value:.1f}")
    table.add_section()
    table.add_row("mIoU", f"{report.scores.miou:.2f}")
    table.add_row("pixel accuracy", f"{report.scores.pixel_accuracy:.2f}")
    Console().print(table)
    write_json(options.json, report.to_json())
    return 0


def run_comparison(program: Program, models: tuple[str, str], datasets: list[str], options: EvalOptions) -> int:
    """Measure both models, by name or directory; print a table for each data set and write the report."""
    pairs = [read_pair(options.root, name, options.split, options.limit) for name in datasets]
    warnings = [one_value_warning_of(pair.split) for pair in pairs]
    for of_set in warnings:
        warn(of_set)
    (digest_a, by_a), (digest_b, by_b) = (_examined(program, name, pairs) for name in models)
    comparisons = [comparison(*of_set) for of_set in zip(pairs, by_a, by_b, strict=True)]
    for each in comparisons:
        _print_comparison(each, *models)
    report = {
        "a": {"model": models[0], "model_digest": digest_a},
        "b": {"model": models[1], "model_digest": digest_b},
        "datasets": [
            each.to_json() | {"warnings": list(of_set)} for each, of_set in zip(comparisons, warnings, strict=True)
        ],
    }
    write_json(options.json, report)
    return 0


def _examined(program: Program, name: str, pairs: list[Pair]) -> tuple[str, list[Examination]]:
    """One model's digest and its examination on every data set; it leaves memory before the next one comes."""
    segmenter = program.load(name)
    with bar_of(name, sum(pair.photographs for pair in pairs)) as bar:
        examinations = [examine(segmenter, pair, bar.step) for pair in pairs]
    digest = segmenter.digest
    del segmenter
    gc.collect()
    return digest, examinations


def _print_comparison(compared: Comparison, a: str, b: str) -> None:
    title = f"{compared.dataset}/{compared.split}, {compared.photographs} photographs: B = {b} against A = {a}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("measure, %", no_wrap=True)
    for column in ("A", "B", "B - A", "95 % interval"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in compared.differences:
        interval = "-" if math.isnan(row.low) else f"{row.low:+.2f}, {row.high:+.2f}"
        figures = [f"{row.a:.2f}", f"{row.b:.2f}", f"{row.difference:+.2f}"]
        table.add_row(row.measure, *("-" if "nan" in figure else figure for figure in figures), interval)
    Console().print(table)


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
    for name, value in report.figures.whole.items():
        figures.add_row(TITLES[name], text(value))
    console = Console(highlight=False)
    console.print(title)
    console.print(table)
    console.print(figures)
