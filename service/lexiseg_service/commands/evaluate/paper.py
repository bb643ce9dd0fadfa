"""`lexiseg eval --paper`: the tables of a paper, our figures beside them, and the data that is missing."""

from __future__ import annotations

import typer

from lexiseg_model import catalogue
from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.benchmarks.papers import POINT_GRID, PaperLine, PaperResult, lines_of, to_markdown
from lexiseg_model.evaluation.benchmarks.protocol import protocol
from lexiseg_model.evaluation.resumable import Ranks, device_of, ranks
from lexiseg_service.commands.evaluate import protocol as semantic
from lexiseg_service.commands.evaluate import scenes
from lexiseg_service.commands.evaluate.options import EvalOptions
from lexiseg_service.commands.outputs import write_json, write_text
from lexiseg_service.settings import Settings


def run(settings: Settings, options: EvalOptions) -> int:
    """Measure every line of the paper whose data is there, print the tables, and write the requested files.

    Raises:
        ModelError: the paper or the model is not as expected.
    """
    lines = lines_of(options.protocol)
    folder = catalogue.find(settings.default_model or settings.model, settings.models_dir)
    with ranks() as team:
        loaded = semantic.LoadedModel(folder, device_of(settings.device), settings.text_tower)
        results = [_measured(loaded, line, options, team) for line in lines]
    if team.first:
        _print(folder.card.name, results, options)
    return 0


def _measured(loaded: semantic.LoadedModel, line: PaperLine, options: EvalOptions, team: Ranks) -> PaperResult:
    try:
        if line.task == "semantic":
            return _semantic(loaded, line, options, team)
        return _scenes(loaded, line, options, team)
    except DatasetError as error:
        return PaperResult(line, {}, missing=str(error))


def _semantic(loaded: semantic.LoadedModel, line: PaperLine, options: EvalOptions, team: Ranks) -> PaperResult:
    line_options = options._replace(dataset=line.dataset, refine=line.refine)
    rules = protocol(options.protocol)
    (data,) = semantic.read_sets(rules, line_options, team)
    report = semantic.evaluate(loaded, rules, data, line_options, team)
    return PaperResult(line, {"miou": round(report.miou, 2)}, f"{report.images:,} of {report.official:,}")


def _scenes(loaded: semantic.LoadedModel, line: PaperLine, options: EvalOptions, team: Ranks) -> PaperResult:
    assert line.task != "semantic"
    card = loaded.model_folder.card
    if scenes.ANSWERED_BY[line.task] not in card.tasks:
        return PaperResult(line, {}, missing=f"{card.name} does not answer the task {line.task}")
    grid = POINT_GRID if line.task == "point" else None
    line_options = options._replace(task=line.task, dataset=line.dataset, grid=grid)
    data = scenes.read_data(line_options)
    report = scenes.measure(loaded.of(card), data, line_options, team)
    figures = {name: report.figures.whole.get(name) for name in line.measures}
    n_images, official = len(report.data.scenes), report.data.official
    return PaperResult(line, figures, f"{n_images:,}" if official is None else f"{n_images:,} of {official:,}")


def _print(model: str, results: list[PaperResult], options: EvalOptions) -> None:
    markdown = to_markdown(model, options.protocol, results)
    values = {"model": model, "paper": options.protocol, "lines": [result.to_json() for result in results]}
    write_json(options.json, values)
    write_text(options.markdown, markdown)
    typer.echo(markdown, nl=False)
