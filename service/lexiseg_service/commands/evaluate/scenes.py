"""`lexiseg eval --task instance | panoptic | point | box`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from lexiseg_model.data.read_scenes import read_instance_scenes, read_object_scenes, read_panoptic_scenes
from lexiseg_model.data.scenes import SceneClass, SceneSet
from lexiseg_model.evaluation.resumable import Ranks, Record, device_of, ranks
from lexiseg_model.evaluation.scenes.figures import (
    COLUMNS,
    Figures,
    SceneReport,
    instance_figures,
    panoptic_figures,
    prompt_figures,
)
from lexiseg_model.evaluation.scenes.judges import InstanceJudge, Judge, PanopticJudge, PromptJudge, scene_run
from lexiseg_model.evaluation.scenes.oracle import PromptProtocol, centre_points, point_grid, tight_boxes
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Task
from lexiseg_service.commands.bar import steps_of_first
from lexiseg_service.commands.evaluate.reports import Wanted, write_json
from lexiseg_service.commands.in_process import load
from lexiseg_service.question.classes import is_thing
from lexiseg_service.settings import Settings

Truth = TypeVar("Truth")
ANSWERED_BY: dict[str, Task] = {
    "panoptic": "panoptic",
    "instance": "instance",
    "point": "prompt",
    "box": "prompt",
}


def run(settings: Settings, wanted: Wanted) -> int:
    """Evaluate, print tables and write the report; processes of torchrun share the images.

    Raises:
        ModelError: the data set or the model is not as expected.
    """
    with ranks() as team:
        own = settings.model_copy(update={"device": device_of(settings.device)})
        report = measure(load(own, ANSWERED_BY[wanted.task]), wanted, team)
    if team.first:
        _print(report)
        write_json(wanted.json, report.to_json())
    return 0


def measure(segmenter: Segmenter, wanted: Wanted, team: Ranks) -> SceneReport:
    """Measure a task on one data set.

    Raises:
        DatasetError: the data set is missing, damaged, or has no truth for the task.
    """
    return _MEASURES[wanted.task](segmenter, wanted, team)


def _panoptic(segmenter: Segmenter, wanted: Wanted, team: Ranks) -> SceneReport:
    data = _limited(read_panoptic_scenes(wanted.dataset, wanted.root, wanted.split, is_thing), wanted.limit)
    return _measure(segmenter, data, PanopticJudge(segmenter, data, wanted.refine), panoptic_figures, wanted, team)


def _instance(segmenter: Segmenter, wanted: Wanted, team: Ranks) -> SceneReport:
    data = _limited(read_instance_scenes(wanted.dataset, wanted.root, wanted.split, is_thing), wanted.limit)
    return _measure(segmenter, data, InstanceJudge(segmenter, data, wanted.refine), instance_figures, wanted, team)


def _prompt(segmenter: Segmenter, wanted: Wanted, team: Ranks) -> SceneReport:
    data = _limited(read_object_scenes(wanted.dataset, wanted.root, wanted.split, is_thing), wanted.limit)
    judge = PromptJudge(segmenter, _protocol(wanted))
    return _measure(segmenter, data, judge, prompt_figures, wanted, team)


_MEASURES = {"panoptic": _panoptic, "instance": _instance, "point": _prompt, "box": _prompt}


def _protocol(wanted: Wanted) -> PromptProtocol:
    if wanted.task == "box":
        return tight_boxes()
    return centre_points() if wanted.grid is None else point_grid(wanted.grid)


def _limited(data: SceneSet[Truth], limit: int | None) -> SceneSet[Truth]:
    return replace(data, scenes=data.scenes[:limit])


def _measure(
    segmenter: Segmenter,
    data: SceneSet[Truth],
    judge: Judge[Truth],
    add_up: Callable[[Sequence[Record], Sequence[SceneClass]], Figures],
    wanted: Wanted,
    team: Ranks,
) -> SceneReport:
    assert wanted.task != "semantic"  # indexed and protocol measure it
    job = scene_run(segmenter, data, wanted.task, judge, wanted.progress, team)
    title = f"{segmenter.card.name} on {data.name}, {wanted.task}"
    if job.done:
        title += f", {job.done:,} images done earlier"
    with steps_of_first(title, len(job.left), first=team.first) as advance:
        records = job.run(advance)
    figures = add_up(records, data.classes)
    return SceneReport(wanted.task, segmenter.card, segmenter.digest, data, judge.settings, figures)


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
